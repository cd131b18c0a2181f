package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// dialogue prints a session with swaks' signs, which people in mail can read:
// " -> " sent, "<- " received, "~" instead of "-" under TLS, "*" for a refusal.
// The time each answer took stands at the right.
type dialogue struct {
	w        io.Writer
	tls      bool
	trust    string    // what is said of a certificate that was accepted
	body     []byte    // shown in the dialogue; nil: summed up
	starting bool      // STARTTLS was sent
	login    bool      // within AUTH
	since    time.Time // of what an answer is awaited for
	lines    []string  // of a reply that goes on
	took     time.Duration
}

// dialogueWidth is where the times end.
const dialogueWidth = widthDefault - 1

func (d *dialogue) note(sign, format string, args ...any) {
	fmt.Fprintf(d.w, "%s %s\n", sign, oneLine(fmt.Sprintf(format, args...)))
}

// timed is a line with the time it took.
func (d *dialogue) timed(text string, took time.Duration) {
	at := "+" + span(took)
	gap := max(dialogueWidth-runes(text)-runes(at), 2)
	fmt.Fprintln(d.w, text+strings.Repeat(" ", gap)+at)
}

// waited is the time since what we said last.
func (d *dialogue) waited() time.Duration {
	if d.since.IsZero() {
		d.since = time.Now()
	}
	return time.Since(d.since)
}

func (d *dialogue) dash() string {
	if d.tls {
		return "~"
	}
	return "-"
}

// line takes a line of a Client's transcript.
func (d *dialogue) line(client bool, line string) {
	if client {
		d.said(line)
		return
	}
	if d.login && strings.HasPrefix(line, "334 ") && !strings.HasPrefix(line, "334 <redacted ") {
		line = "334 <redacted>" // SCRAM's last word lets passwords be guessed at leisure
	}
	if len(d.lines) == 0 {
		d.took = d.waited()
	}
	d.lines = append(d.lines, line)
	if len(line) > 3 && line[3] == '-' && len(d.lines) < repliesShown {
		return
	}
	d.heard(d.lines)
	d.lines = nil
}

// repliesShown bounds the lines of a reply that are kept to be shown as one.
const repliesShown = 100

func (d *dialogue) said(line string) {
	switch words, ok := strings.CutPrefix(line, "(TLS: "); {
	case ok:
		d.tls = true
		words = strings.TrimSuffix(words, ")")
		at := strings.LastIndexByte(words, ' ') // "TLS 1.3 TLS_AES_128_GCM_SHA256"
		d.timed("=== "+words[:max(at, 0)]+", "+strings.TrimPrefix(words[at+1:], "TLS_")+", "+d.trust, d.waited())
	case strings.HasPrefix(line, "(TLS "), line == "(closed)": // the end of it is told elsewhere
	case line == ".":
		fmt.Fprintf(d.w, " %s> .\n", d.dash())
	case strings.HasSuffix(line, " octets)"):
		d.content(strings.Trim(line, "()"))
	default:
		fmt.Fprintf(d.w, " %s> %s\n", d.dash(), oneLine(line))
		if strings.HasPrefix(line, "BDAT ") {
			d.content("")
		}
		d.login = strings.HasPrefix(line, "AUTH ") || strings.HasPrefix(line, "<redacted")
		d.starting = strings.EqualFold(line, "STARTTLS")
	}
	d.since = time.Now()
}

// content shows the message, or says how long it is.
func (d *dialogue) content(octets string) {
	switch {
	case d.body != nil:
		for l := range strings.SplitSeq(strings.TrimSuffix(string(d.body), "\r\n"), "\r\n") {
			fmt.Fprintf(d.w, " %s> %s\n", d.dash(), oneLine(l))
		}
	case octets != "":
		fmt.Fprintf(d.w, " %s> %s %s(--body-shown shows them)\n", d.dash(), octets, strings.Repeat(" ", max(1, 45-len(octets))))
	}
}

// heard prints a reply; what EHLO lists goes into one paragraph, all else stays
// as it came.
func (d *dialogue) heard(lines []string) {
	mark := " "
	if first := lines[0]; first != "" && (first[0] == '4' || first[0] == '5') {
		mark = "*"
	}
	lead := "<" + d.dash() + mark + " "
	if len(lines) > 2 && mark == " " {
		var words []string
		for _, l := range lines[1:] {
			words = append(words, l[min(4, len(l)):])
		}
		lines = wrap(lines[0]+" | "+strings.Join(words, " | "), dialogueWidth-len(lead)-len("  +999 ms"))
		for i := 1; i < len(lines); i++ {
			lines[i] = "    " + lines[i]
		}
	}
	first := true
	for _, l := range lines {
		for i, part := range broken(l, dialogueWidth-len(lead)-len("  +999 ms")) {
			if i > 0 {
				part = "    " + part
			}
			if first {
				d.timed(lead+part, d.took)
			} else {
				fmt.Fprintln(d.w, lead+part)
			}
			first = false
		}
	}
	if d.starting && strings.HasPrefix(lines[0], "220") {
		d.starting = false
		d.since = time.Now()
	}
}

// broken is a line that stays as it is unless it is too wide.
func broken(l string, width int) []string {
	if l = oneLine(l); runes(l) <= width {
		return []string{l}
	}
	return wrap(l, width)
}
