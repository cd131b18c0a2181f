package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Globals are the flags of every command and the streams it speaks on: answers
// on Stdout, all else on Stderr (ux.md §3.2.1).
type Globals struct {
	ConfigFile string `name:"config" short:"c" env:"PAQUEBOT_CONFIG" placeholder:"FILE" help:"The configuration; without it /etc/paquebot/paquebot.toml, if there is one."`
	JSON       bool   `name:"json" help:"One JSON document, for machines."`
	Plain      bool   `name:"plain" help:"One record a line, tab-separated."`
	Color      string `name:"color" enum:"auto,always,never" default:"auto" help:"auto, always or never."`

	Stdout io.Writer `kong:"-"`
	Stderr io.Writer `kong:"-"`
	Stdin  io.Reader `kong:"-"`
}

// defaultConfig is read when no file is named and it is there.
const defaultConfig = "/etc/paquebot/paquebot.toml"

// configFile is the file to read; "" for none.
func (g *Globals) configFile() string {
	if g.ConfigFile != "" {
		return g.ConfigFile
	}
	if _, err := os.Stat(defaultConfig); err == nil {
		return defaultConfig
	}
	return ""
}

// printJSON writes one document.
func (g *Globals) printJSON(doc any) error {
	e := json.NewEncoder(g.Stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

// record writes one line of --plain: full values, separated by tabs.
func (g *Globals) record(fields ...any) {
	for i, f := range fields {
		if i > 0 {
			fmt.Fprint(g.Stdout, "\t")
		}
		s := oneLine(fmt.Sprint(f))
		if t, ok := f.(time.Time); ok {
			s = "-"
			if !t.IsZero() {
				s = t.UTC().Format(time.RFC3339)
			}
		}
		if s == "" {
			s = "-"
		}
		fmt.Fprint(g.Stdout, s)
	}
	fmt.Fprintln(g.Stdout)
}

// terminal reports whether answers go to a person.
func (g *Globals) terminal() bool {
	f, ok := g.Stdout.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// coloured: NO_COLOR and TERM=dumb are obeyed when nobody insists.
func (g *Globals) coloured() bool {
	switch g.Color {
	case "always":
		return true
	case "never":
		return false
	}
	return g.terminal() && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// page is human output in the making.
type page struct {
	strings.Builder
	width  int
	now    time.Time
	zone   *time.Location
	colour bool
}

// widthDefault is what human output keeps to when nobody says otherwise.
const widthDefault = 80

// page begins a page as wide as the terminal.
func (g *Globals) page() *page {
	p := &page{width: widthDefault, now: time.Now(), zone: time.Local, colour: g.coloured()}
	if f, ok := g.Stdout.(*os.File); ok && g.terminal() {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > widthDefault {
			p.width = min(w, 160)
		}
	}
	return p
}

// show writes the page out.
func (g *Globals) show(p *page) error {
	_, err := io.WriteString(g.Stdout, p.String())
	return err
}

// Styles of words; the words say it too, colour never alone.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (p *page) paint(style, s string) string {
	if !p.colour || s == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}

func (p *page) line(format string, args ...any) {
	p.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}

// text writes a paragraph, wrapped, with an indent before each line but the
// first, which begins at the indent already if first is "".
func (p *page) text(first, indent, s string) {
	lines := wrap(s, p.width-len(indent))
	for i, l := range lines {
		lead := indent
		if i == 0 && first != "" {
			lead = first
		}
		p.line("%s%s", lead, l)
	}
}

// wrap breaks at spaces; a word that is too long stays whole, so that it can be
// pasted.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, w := range strings.Fields(oneLine(s)) {
		switch {
		case line == "":
			line = w
		case runes(line)+1+runes(w) <= width:
			line += " " + w
		default:
			lines, line = append(lines, line), w
		}
	}
	return append(lines, line)
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// cell cuts or pads to a width, in letters; negative: at the right.
func cell(s string, width int) string {
	s = oneLine(s)
	n := runes(s)
	w := max(width, -width)
	if n > w {
		r := []rune(s)
		return string(r[:w-1]) + "…"
	}
	pad := strings.Repeat(" ", w-n)
	if width < 0 {
		return pad + s
	}
	return s + pad
}

// cut shortens without padding.
func cut(s string, width int) string { return strings.TrimRight(cell(s, max(width, 1)), " ") }

// count writes a number with commas: "12,473".
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural writes "1 message", "3 messages".
func plural(n int64, one string) string {
	switch {
	case n == 1:
		return "1 " + one
	case strings.HasSuffix(one, "s"):
		return count(n) + " " + one + "es"
	}
	return count(n) + " " + one + "s"
}

// size writes octets: "312 B", "48 KiB".
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, u := float64(n), 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	if f >= 100 || f == math.Trunc(f) {
		return strconv.FormatFloat(math.Round(f), 'f', 0, 64) + " " + units[u]
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[u]
}

// span writes a duration in two units: "3h12m", "2d03h", "45s", "120 ms".
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "0s"
	case d > 0 && d < time.Millisecond:
		return "<1 ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return strconv.FormatInt(int64(d/time.Second), 10) + "s"
	case d < 10*time.Minute && d%time.Minute >= time.Second:
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	case d < time.Hour:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	case d < day:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%02dh", d/day, d%day/time.Hour)
}

// in says when something is due: "now", "in 4m".
func (p *page) in(t time.Time) string {
	switch d := t.Sub(p.now); {
	case t.IsZero():
		return "-"
	case d < time.Second:
		return "now"
	case d >= time.Minute && d < time.Hour:
		return "in " + span(d.Truncate(time.Minute))
	default:
		return "in " + span(d)
	}
}

// clock says a time of day, with the date when it is another day.
func (p *page) clock(t time.Time) string {
	t = t.In(p.zone)
	if t.Format(time.DateOnly) == p.now.In(p.zone).Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format("2006-01-02 15:04:05")
}
