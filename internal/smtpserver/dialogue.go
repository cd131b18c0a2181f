package smtpserver

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/smtp"
)

// dialogueMax is how many lines of a session are kept, and lineKept how many
// octets of each: enough for a hundred recipients.
const (
	dialogueMax = 400
	lineKept    = 512
)

// mechanismsShown are the words after AUTH that are surely no secret.
var mechanismsShown = []string{
	"PLAIN", "LOGIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "OAUTHBEARER", "XOAUTH2",
	"EXTERNAL", "CRAM-MD5", "DIGEST-MD5", "NTLM", "GSSAPI", "ANONYMOUS",
}

// dialogue is what was said, without secrets and without content, for those who
// look for a fault. It is empty unless Config.KeepDialogue.
type dialogue struct {
	keep  bool
	lines []event.Line
}

func (d *dialogue) add(s *Session, client bool, text string) {
	if len(d.lines) >= dialogueMax {
		return
	}
	d.lines = append(d.lines, event.Line{At: time.Now(), Client: client, TLS: s.tls != nil, Text: text})
}

// note records a line that is no secret.
func (d *dialogue) note(s *Session, client bool, text string) {
	if d.keep {
		d.add(s, client, text)
	}
}

// content records that content came, and how much.
func (d *dialogue) content(s *Session, octets int64) {
	if d.keep {
		d.add(s, true, "("+strconv.FormatInt(octets, 10)+" octets of content)")
	}
}

// client records a command. Of AUTH only the mechanism is kept, if it is one; of an unknown
// word nothing, for it may be a password that lost its way.
func (d *dialogue) client(s *Session, verb smtp.Verb, line []byte) {
	if !d.keep {
		return
	}
	text := smtp.Printable(string(line[:min(len(line), lineKept)]))
	switch verb {
	case smtp.VerbAuth:
		word, rest, _ := strings.Cut(text, " ")
		mech, _, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
		if !slices.Contains(mechanismsShown, strings.ToUpper(mech)) {
			mech = "" // a client that forgot it may have said its password there
		}
		text = strings.TrimRight(word+" "+mech, " ") + " (hidden)"
	case smtp.VerbUnknown:
		text = "(unknown command, " + strconv.Itoa(len(line)) + " octets)"
	}
	d.add(s, true, text)
}

func (d *dialogue) server(s *Session, r smtp.Reply) {
	if !d.keep {
		return
	}
	wire := strings.TrimSuffix(string(r.AppendWire(nil)), "\r\n")
	for l := range strings.SplitSeq(wire, "\r\n") {
		d.add(s, false, l)
	}
}

// upTo is what was said so far and the reply that comes next.
func (d dialogue) upTo(s *Session, next smtp.Reply) []event.Line {
	d.lines = slices.Clip(d.lines) // the session goes on with its own
	d.server(s, next)
	return d.lines
}
