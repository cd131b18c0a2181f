package message

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// TextOfHTML returns the words of an HTML document, at most max bytes: no
// scripts, styles or comments, line breaks where blocks begin, list items with a
// dash, the address of a link after its words when they differ.
func TextOfHTML(document string, max int) string {
	w := htmlText{max: max}
	z := html.NewTokenizer(strings.NewReader(document))
	z.SetMaxBuf(htmlTokenMax)
	for w.out.Len() < max {
		switch z.Next() {
		case html.ErrorToken:
			return w.String()
		case html.TextToken:
			w.text(string(z.Text()))
		case html.StartTagToken:
			w.open(z, true)
		case html.SelfClosingTagToken:
			w.open(z, false)
		case html.EndTagToken:
			w.close(z)
		}
	}
	return w.String()
}

// htmlTokenMax bounds one tag or text run, in bytes.
const htmlTokenMax = 4 << 20

type htmlText struct {
	out    strings.Builder
	max    int
	hidden atom.Atom // the element whose content is not shown
	href   string
	since  int // where the words of the open link begin
	space  bool
	pre    int
}

func (w *htmlText) String() string {
	return strings.TrimSpace(cutText(w.out.String(), w.max))
}

func (w *htmlText) text(s string) {
	if w.hidden != 0 {
		return
	}
	if w.pre > 0 {
		w.out.WriteString(s)
		return
	}
	for i, word := range strings.Fields(s) {
		if i > 0 || w.space || startsBlank(s) {
			w.gap()
		}
		w.space = false
		w.out.WriteString(word)
	}
	if n := len(s); n > 0 && (s[n-1] == ' ' || s[n-1] == '\n' || s[n-1] == '\t' || s[n-1] == '\r') {
		w.space = true
	}
}

func startsBlank(s string) bool { return s != "" && strings.ContainsRune(" \t\r\n", rune(s[0])) }

// gap writes a space unless a line has just begun.
func (w *htmlText) gap() {
	if s := w.out.String(); s != "" && s[len(s)-1] != '\n' && s[len(s)-1] != ' ' {
		w.out.WriteByte(' ')
	}
}

// newline ends the line unless it is empty; blank asks for an empty line after it.
func (w *htmlText) newline(blank bool) {
	s := w.out.String()
	w.space = false
	switch {
	case s == "" || strings.HasSuffix(s, "\n\n"):
	case strings.HasSuffix(s, "\n"):
		if blank {
			w.out.WriteByte('\n')
		}
	case blank:
		w.out.WriteString("\n\n")
	default:
		w.out.WriteByte('\n')
	}
}

func (w *htmlText) open(z *html.Tokenizer, closes bool) {
	name, more := z.TagName()
	tag := atom.Lookup(name)
	if w.hidden == atom.Head && tag == atom.Body {
		w.hidden = 0 // nobody closed the head
	}
	if w.hidden != 0 {
		return
	}
	switch tag {
	case atom.Script, atom.Style, atom.Head, atom.Template, atom.Noscript, atom.Svg, atom.Title:
		if closes {
			w.hidden = tag
		}
	case atom.Br:
		w.out.WriteByte('\n')
		w.space = false
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Table, atom.Ul, atom.Ol, atom.Blockquote, atom.Hr:
		w.newline(true)
	case atom.Div, atom.Tr, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Dt, atom.Dd:
		w.newline(false)
	case atom.Pre:
		w.newline(true)
		w.pre++
	case atom.Li:
		w.newline(false)
		w.out.WriteString("- ")
	case atom.Td, atom.Th:
		w.space = true
	case atom.A:
		w.href, w.since = attribute(z, more, "href"), w.out.Len()
	case atom.Img:
		if alt := attribute(z, more, "alt"); alt != "" {
			w.text(" [" + alt + "] ")
		}
	}
}

func (w *htmlText) close(z *html.Tokenizer) {
	name, _ := z.TagName()
	tag := atom.Lookup(name)
	if w.hidden != 0 {
		if tag == w.hidden {
			w.hidden = 0
		}
		return
	}
	switch tag {
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Table, atom.Ul, atom.Ol, atom.Blockquote:
		w.newline(true)
	case atom.Div, atom.Tr, atom.Li:
		w.newline(false)
	case atom.Pre:
		w.pre = max(0, w.pre-1)
		w.newline(true)
	case atom.A:
		w.closeLink()
	}
}

// linkMax is how long an address may be to stand after its words, in bytes.
const linkMax = 500

func (w *htmlText) closeLink() {
	href := w.href
	w.href = ""
	if !strings.HasPrefix(href, "http") && !strings.HasPrefix(href, "mailto:") || len(href) > linkMax {
		return
	}
	if words := strings.TrimSpace(w.out.String()[min(w.since, w.out.Len()):]); words != "" && words != href && "mailto:"+words != href {
		w.out.WriteString(" <" + printable(href, linkMax) + ">")
	}
}

func attribute(z *html.Tokenizer, more bool, name string) string {
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		if string(key) == name {
			return string(value)
		}
	}
	return ""
}
