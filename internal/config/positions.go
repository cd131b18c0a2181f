package config

import (
	"fmt"
	"strings"
)

// place is where a key stands in the text.
type place struct{ line, col, width int }

// positions maps the path of each key and table ("listener[1].address") to its
// place. BurntSushi/toml tells positions of syntax errors only, so this reads
// the keys again. It is called on text that parsed, and is merely incomplete,
// never wrong or endless, on other text.
func positions(text string) map[string]place {
	s := &scanner{text: text, line: 1, found: map[string]place{}, tables: map[string]int{}}
	for s.at < len(s.text) {
		s.blank()
		if s.at >= len(s.text) {
			break
		}
		if s.text[s.at] == '[' {
			s.header()
		} else {
			s.pair(s.table)
		}
		s.restOfLine()
	}
	return s.found
}

type scanner struct {
	text   string
	at     int
	line   int
	start  int // offset where the line begins
	table  string
	found  map[string]place
	tables map[string]int // path of an array of tables: how many so far
	depth  int
}

// nestMax bounds recursion in values; what is deeper has no place of its own.
const nestMax = 64

func (s *scanner) next() {
	if s.text[s.at] == '\n' {
		s.line, s.start = s.line+1, s.at+1
	}
	s.at++
}

// blank skips white space, line ends and comments.
func (s *scanner) blank() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.next()
		case '#':
			s.restOfLine()
		default:
			return
		}
	}
}

func (s *scanner) spaces() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\t') {
		s.at++
	}
}

func (s *scanner) restOfLine() {
	for s.at < len(s.text) && s.text[s.at] != '\n' {
		s.at++
	}
}

func (s *scanner) is(c byte) bool { return s.at < len(s.text) && s.text[s.at] == c }

// header reads "[a.b]" or "[[a.b]]".
func (s *scanner) header() {
	begin := s.at
	s.at++
	array := s.is('[')
	if array {
		s.at++
	}
	parts := s.key()
	for s.is(']') {
		s.at++
	}
	path := ""
	for i, p := range parts {
		path = join(path, p)
		if n, ok := s.tables[path]; ok && (!array || i < len(parts)-1) {
			path = fmt.Sprintf("%s[%d]", path, n-1)
		}
	}
	if array {
		n := s.tables[path]
		s.tables[path] = n + 1
		path = fmt.Sprintf("%s[%d]", path, n)
	}
	s.table = path
	s.found[path] = place{s.line, begin - s.start + 1, s.at - begin}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// key reads a dotted key.
func (s *scanner) key() []string {
	var parts []string
	for {
		s.spaces()
		begin := s.at
		if s.is('"') || s.is('\'') {
			parts = append(parts, s.quoted())
		} else {
			for s.at < len(s.text) && isBare(s.text[s.at]) {
				s.at++
			}
			parts = append(parts, s.text[begin:s.at])
		}
		s.spaces()
		if !s.is('.') {
			return parts
		}
		s.at++
	}
}

func isBare(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// pair reads "key = value".
func (s *scanner) pair(table string) {
	line, begin := s.line, s.at
	col := begin - s.start + 1
	parts := s.key()
	width := len(strings.TrimRight(s.text[begin:s.at], " \t"))
	path := table
	for _, p := range parts {
		path = join(path, p)
		if _, seen := s.found[path]; !seen {
			s.found[path] = place{line, col, width}
		}
	}
	if !s.is('=') {
		return
	}
	s.at++
	s.value(path)
}

// value skips a value and notes the keys inside it.
func (s *scanner) value(path string) {
	s.spaces()
	if s.at >= len(s.text) {
		return
	}
	switch s.text[s.at] {
	case '"', '\'':
		s.quoted()
	case '[', '{':
		s.depth++
		if s.depth < nestMax {
			s.list(path, s.text[s.at] == '[')
		}
		s.depth--
	default:
		for s.at < len(s.text) && !strings.ContainsRune(",]}#\n", rune(s.text[s.at])) {
			s.at++
		}
	}
}

// list reads "[a, b]" or "{ k = v }".
func (s *scanner) list(path string, array bool) {
	s.at++
	for i := 0; ; i++ {
		s.blank()
		if s.at >= len(s.text) || s.is(']') || s.is('}') {
			break
		}
		before := s.at
		if array {
			item := fmt.Sprintf("%s[%d]", path, i)
			s.found[item] = place{s.line, s.at - s.start + 1, 1}
			s.value(item)
			s.widen(item, before)
		} else {
			s.pair(path)
		}
		s.blank()
		if s.is(',') {
			s.at++
		}
		if s.at == before {
			return // not TOML; never loop
		}
	}
	if s.at < len(s.text) {
		s.at++
	}
}

// widen makes the mark of an array's item as wide as the item, on one line.
func (s *scanner) widen(item string, begin int) {
	if p := s.found[item]; p.line == s.line {
		p.width = max(1, len(strings.TrimRight(s.text[begin:s.at], " \t\r")))
		s.found[item] = p
	}
}

// quoted skips a string of any of TOML's four kinds and returns its inside,
// with escapes left as they are: keys with escapes merely have no place.
func (s *scanner) quoted() string {
	q := s.text[s.at]
	mark := string(q)
	if long := strings.Repeat(mark, 3); strings.HasPrefix(s.text[s.at:], long) {
		mark = long
	}
	s.at += len(mark)
	begin := s.at
	for s.at < len(s.text) && !strings.HasPrefix(s.text[s.at:], mark) {
		if s.text[s.at] == '\\' && q == '"' && s.at+1 < len(s.text) {
			s.next()
		}
		s.next()
	}
	inside := s.text[begin:min(s.at, len(s.text))]
	s.at = min(s.at+len(mark), len(s.text))
	for len(mark) == 3 && s.is(q) { // """" ends with a quote inside
		s.at++
	}
	return inside
}
