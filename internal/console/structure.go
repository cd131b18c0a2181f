package console

import (
	"html"
	"html/template"
	"strings"

	tokens "golang.org/x/net/html"

	"paquebot/internal/message"
)

// treeView is a node of the MIME tree.
type treeView struct {
	*message.Part
	Size  int // as transferred
	Below []*treeView
	More  int // parts that are not shown
}

// Charset is the one a text part names.
func (t *treeView) Charset() string { return t.Params["charset"] }

// treeMax is how many parts the page shows; depthMax how deep. A message may
// hold 5,000 parts, and browsers nest no deeper than 512 elements.
const (
	treeMax  = 1000
	depthMax = 60
)

func tree(root *message.Part) *treeView {
	left := treeMax
	return branch(root, &left, 0)
}

func branch(p *message.Part, left *int, depth int) *treeView {
	*left--
	t := &treeView{Part: p, Size: len(p.Body)}
	for i, child := range p.Children {
		if *left <= 0 || depth >= depthMax {
			t.More = len(p.Children) - i
			break
		}
		t.Below = append(t.Below, branch(child, left, depth+1))
	}
	return t
}

// markupMax is how much HTML source is shown, in bytes.
const markupMax = 512 << 10

// marksMax is how many pieces are told apart by colour; what follows is plain.
// A browser takes seconds to lay out a hundred thousand of them.
const marksMax = 10_000

// highlight writes HTML source with its tags, comments and attribute values
// marked. Every byte of the source goes through EscapeString; the marks are
// constants.
func highlight(source string) template.HTML {
	var out strings.Builder
	mark := func(class, text string) {
		out.WriteString(`<span class="` + class + `">` + html.EscapeString(text) + `</span>`)
	}
	z := tokens.NewTokenizer(strings.NewReader(source))
	for marks, shown := 0, 0; ; marks++ {
		if marks == marksMax {
			out.WriteString(html.EscapeString(foldLong(strings.ToValidUTF8(source[shown:], "\uFFFD"))))
			return template.HTML(out.String())
		}
		kind := z.Next()
		shown += len(z.Raw())
		raw := foldLong(strings.ToValidUTF8(string(z.Raw()), "\uFFFD"))
		switch kind {
		case tokens.ErrorToken:
			out.WriteString(html.EscapeString(raw))
			return template.HTML(out.String())
		case tokens.CommentToken, tokens.DoctypeToken:
			mark("h-note", raw)
		case tokens.StartTagToken, tokens.SelfClosingTagToken, tokens.EndTagToken:
			highlightTag(mark, raw)
		default:
			out.WriteString(html.EscapeString(raw))
		}
	}
}

// highlightTag marks a tag's name and the values in quotes.
func highlightTag(mark func(class, text string), raw string) {
	end := strings.IndexAny(raw, " \t\r\n")
	if end < 0 {
		mark("h-tag", raw)
		return
	}
	mark("h-tag", raw[:end])
	rest := raw[end:]
	for rest != "" {
		open := strings.IndexAny(rest, `"'`)
		if open < 0 {
			break
		}
		shut := strings.IndexByte(rest[open+1:], rest[open])
		if shut < 0 {
			break
		}
		mark("h-name", rest[:open])
		mark("h-value", rest[open:open+shut+2])
		rest = rest[open+shut+2:]
	}
	mark("h-tag", rest)
}
