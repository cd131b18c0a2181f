package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Severity says whether a problem forbids starting.
type Severity string

const (
	Error Severity = "error" // the configuration is not used
	Warn  Severity = "warn"  // used, but look at it
)

// Problem is one thing wrong with a configuration: where, why, what to do.
type Problem struct {
	Severity Severity `json:"severity"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`   // 1 is the first; 0: not in the text
	Column   int      `json:"column,omitempty"` // in octets, 1 is the first
	Width    int      `json:"-"`                // octets to underline
	Key      string   `json:"key,omitempty"`    // "listener[1].address"
	Message  string   `json:"message"`
	Remedy   string   `json:"remedy,omitempty"`
	Source   []string `json:"-"` // the line before and the line itself
}

// Error is the problem on one line.
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(filepath.Base(p.File) + ": ")
	}
	if p.Line > 0 {
		fmt.Fprintf(&b, "line %d: ", p.Line)
	}
	b.WriteString(p.Message)
	if p.Remedy != "" {
		b.WriteString("; " + strings.ReplaceAll(p.Remedy, "\n", " "))
	}
	return b.String()
}

// Failed reports whether one of the problems is an error.
func Failed(ps []Problem) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == Error })
}

// Count returns how many errors and warnings there are.
func Count(ps []Problem) (errors, warnings int) {
	for _, p := range ps {
		if p.Severity == Error {
			errors++
		} else {
			warnings++
		}
	}
	return
}

// sortProblems puts errors first, then by line.
func sortProblems(ps []Problem) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if a.Severity != b.Severity {
			return cmp.Compare(a.Severity, b.Severity) // "error" < "warn"
		}
		return cmp.Compare(a.Line, b.Line)
	})
}

// Render writes problems for people: the line, a caret under it, the remedy
// beside (ux.md §3.3, mock-up 8).
func Render(ps []Problem) string {
	var b strings.Builder
	for i, p := range ps {
		if i > 0 {
			b.WriteByte('\n')
		}
		p.render(&b)
	}
	return b.String()
}

// screen is the width human output keeps to.
const screen = 80

func (p Problem) render(b *strings.Builder) {
	head := p.Message
	if p.Line > 0 {
		head = fmt.Sprintf("line %d: %s", p.Line, head)
	}
	for i, l := range wrap(head, screen-7) {
		word := ""
		if i == 0 {
			word = string(p.Severity)
		}
		fmt.Fprintf(b, "%s\n", strings.TrimRight(fmt.Sprintf("%-6s %s", word, l), " "))
	}
	if !p.caret(b) && p.Remedy != "" {
		for _, para := range strings.Split(p.Remedy, "\n") {
			for _, l := range wrap(para, screen-7) {
				fmt.Fprintf(b, "       %s\n", l)
			}
		}
	}
}

// caret shows the source with the remedy beside the mark; false if there is no
// source or it is too wide for that, then the remedy stands below.
func (p Problem) caret(b *strings.Builder) bool {
	if p.Line == 0 || len(p.Source) == 0 {
		return false
	}
	for i, l := range p.Source {
		l = strings.ReplaceAll(l, "\t", " ")
		if len(l) > screen-8 {
			l = l[:screen-11] + "..."
		}
		fmt.Fprintf(b, "%5d | %s\n", p.Line-len(p.Source)+1+i, printable(l))
	}
	col, width := max(p.Column, 1), max(p.Width, 1)
	beside := screen - 8 - col - width
	if col+width > screen-8 {
		return false
	}
	mark := strings.Repeat(" ", col-1) + strings.Repeat("^", width)
	if beside < 30 || strings.Contains(p.Remedy, "\n") {
		fmt.Fprintf(b, "      | %s\n", mark)
		return false
	}
	lines := wrap(p.Remedy, beside)
	if len(lines) == 0 {
		lines = []string{""}
	}
	for i, l := range lines {
		if i > 0 {
			mark = strings.Repeat(" ", len(mark))
		}
		fmt.Fprintf(b, "%s\n", strings.TrimRight("      | "+mark+" "+l, " "))
	}
	return true
}

// printable keeps control characters of the file off the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// together joins "key = value" and "{ … }" into one word each.
func together(words []string) []string {
	var out []string
	open := false
	for i, w := range words {
		if open || i > 0 && len(out) > 0 && (w == "=" || words[i-1] == "=") {
			out[len(out)-1] += " " + w
		} else {
			out = append(out, w)
		}
		if strings.HasPrefix(w, "{") {
			open = true
		}
		if strings.HasSuffix(strings.TrimRight(w, ".,;:"), "}") {
			open = false
		}
	}
	return out
}

// wrap breaks text at spaces; a word longer than the width stays whole, because
// what is to be pasted is never broken.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, w := range together(strings.Fields(printable(s))) {
		switch {
		case line == "":
			line = w
		case len(line)+1+len(w) <= width:
			line += " " + w
		default:
			lines, line = append(lines, line), w
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
