package console

import (
	"slices"
	"strings"

	"golang.org/x/net/html"
)

const (
	linksMax = 200 // of one message
	codesMax = 20
)

// links returns the addresses a message asks to be followed, each once, those of
// the HTML first: what a test clicks.
func links(text, document string) []string {
	out := []string{}
	add := func(l string) {
		l = strings.TrimSpace(l)
		if (strings.HasPrefix(l, "http://") || strings.HasPrefix(l, "https://")) && len(out) < linksMax && !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	z := html.NewTokenizer(strings.NewReader(document))
	for kind := z.Next(); kind != html.ErrorToken && len(out) < linksMax; kind = z.Next() {
		if kind != html.StartTagToken {
			continue
		}
		name, more := z.TagName()
		for string(name) == "a" && more {
			var key, value []byte
			key, value, more = z.TagAttr()
			if string(key) == "href" {
				add(string(value))
			}
		}
	}
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool {
		return r <= ' ' || r == '<' || r == '>' || r == '"' || r == '(' || r == ')' || r == 0xa0
	}) {
		add(strings.TrimRight(word, ".,;:!?'"))
	}
	return out
}

// codes returns what looks like one-time codes: four to eight digits that stand
// alone, each once; "123-456" and "123 456" count as one.
func codes(text string) []string {
	out := []string{}
	for i := 0; i < len(text) && len(out) < codesMax; {
		if !isDigit(text[i]) {
			i++
			continue
		}
		end := i
		for end < len(text) && isDigit(text[end]) {
			end++
		}
		code := text[i:end]
		if len(code) == 3 && end+4 <= len(text) && (text[end] == '-' || text[end] == ' ') && allDigits(text[end+1:end+4]) && (end+4 == len(text) || !isDigit(text[end+4])) {
			code, end = code+text[end+1:end+4], end+4
		}
		if len(code) >= 4 && len(code) <= 8 && alone(text, i, end) && !slices.Contains(out, code) {
			out = append(out, code)
		}
		i = end
	}
	return out
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// alone reports whether text[from:to] is not part of a longer word, an address
// or an amount.
func alone(text string, from, to int) bool {
	part := func(c byte) bool {
		return isDigit(c) || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '/' || c == '=' || c == '@' || c == '&' || c == '%' || c == '#' || c >= 0x80
	}
	if from > 0 && (part(text[from-1]) || text[from-1] == '.' || text[from-1] == '-') {
		return false
	}
	if to < len(text) && (part(text[to]) || text[to] == '-') {
		return false
	}
	return !(to+1 < len(text) && text[to] == '.' && isDigit(text[to+1]))
}
