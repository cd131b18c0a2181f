package smtp

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// isXchar is xchar of RFC 3461 §4.
func isXchar(c byte) bool { return c > ' ' && c <= '~' && c != '+' && c != '=' }

// DecodeXtext undoes the xtext encoding of RFC 3461 §4: "+2B" is "+". It
// reports false when s is not xtext. Lower-case digits are understood.
func DecodeXtext(s string) (string, bool) {
	plain := true
	for i := range len(s) {
		if !isXchar(s[i]) {
			if s[i] != '+' {
				return "", false
			}
			plain = false
		}
	}
	if plain {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), true
}

// AppendXtext appends s in xtext.
func AppendXtext(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; isXchar(c) {
			b = append(b, c)
		} else {
			b = append(b, '+', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return b
}

// DecodeUTF8Xtext undoes utf-8-addr-xtext and, where raw is set,
// utf-8-addr-unitext of RFC 6533 §3: "\x{E9}" is "é". Hexadecimal of xtext is
// understood too, because senders mix them up.
func DecodeUTF8Xtext(s string, raw bool) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\\':
			r, n := embeddedChar(s[i:])
			if n == 0 {
				return "", false
			}
			b.WriteRune(r)
			i += n
		case c == '+':
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(n))
			i += 3
		case c >= utf8.RuneSelf && raw, isXchar(c):
			b.WriteByte(c)
			i++
		default:
			return "", false
		}
	}
	out := b.String()
	return out, utf8.ValidString(out)
}

// embeddedChar reads "\x{HEXPOINT}", returning 0 as its length when s does not
// begin with one. Control characters and surrogates are none.
func embeddedChar(s string) (rune, int) {
	if !strings.HasPrefix(s, `\x{`) {
		return 0, 0
	}
	end := strings.IndexByte(s, '}')
	if end < 5 || end > 9 {
		return 0, 0
	}
	n, err := strconv.ParseUint(s[3:end], 16, 32)
	if err != nil || n < ' ' || n == 0x7f || n > utf8.MaxRune || n >= 0xD800 && n < 0xE000 {
		return 0, 0
	}
	return rune(n), end + 1
}

// AppendUTF8Xtext appends s as utf-8-addr-unitext where raw is set, else as
// utf-8-addr-xtext.
func AppendUTF8Xtext(b []byte, s string, raw bool) []byte {
	for _, r := range s {
		switch {
		case r < utf8.RuneSelf && isXchar(byte(r)) && r != '\\', r >= utf8.RuneSelf && raw:
			b = utf8.AppendRune(b, r)
		default:
			b = append(b, `\x{`...)
			if r < 0x10 {
				b = append(b, '0')
			}
			b = append(b, strings.ToUpper(strconv.FormatInt(int64(r), 16))...)
			b = append(b, '}')
		}
	}
	return b
}
