package smtp

import (
	"strconv"
	"strings"
)

// Extensions is what one EHLO reply offers. It belongs to one connection and
// one TLS state; nothing of it survives a handshake (EXT-21, TLS-9).
type Extensions struct {
	Domain string // the first word: the server's name, never a keyword (EH-4)
	params map[string]string
}

// extensionsMax bounds the keywords kept of one reply; real servers offer
// fewer than thirty.
const extensionsMax = 100

// ParseExtensions reads a positive reply to EHLO. The first line names the
// server, each further line is a keyword and its parameters; keywords are
// whole words in any case (EXT-20, TRAP-8). Of a repeated keyword the first
// line counts, but that mechanisms of several AUTH lines add up. The dialect
// "AUTH=PLAIN LOGIN" is read as AUTH.
func ParseExtensions(ehlo Reply) Extensions {
	first, rest, _ := strings.Cut(ehlo.Text, "\n")
	e := Extensions{params: make(map[string]string)}
	e.Domain, _, _ = strings.Cut(strings.TrimSpace(first), " ")
	for rest != "" && len(e.params) < extensionsMax {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		e.add(strings.TrimSpace(line))
	}
	return e
}

func (e *Extensions) add(line string) {
	word, param, _ := strings.Cut(line, " ")
	word = strings.ToUpper(word)
	if mech, ok := strings.CutPrefix(word, "AUTH="); ok {
		word, param = "AUTH", mech+" "+param
	}
	param = strings.TrimSpace(param)
	if !isKeyword(word) {
		return
	}
	old, seen := e.params[word]
	switch {
	case !seen:
		e.params[word] = param
	case word == "AUTH":
		e.params[word] = old + " " + param
	}
}

// isKeyword checks ehlo-keyword of RFC 5321 §4.1.1.1.
func isKeyword(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isAlphaNum(c) && (i == 0 || c != '-') {
			return false
		}
	}
	return s != ""
}

func isAlphaNum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// Has reports whether a keyword was offered, in any case.
func (e Extensions) Has(keyword string) bool {
	_, ok := e.params[strings.ToUpper(keyword)]
	return ok
}

// Param returns what followed a keyword, "" if nothing did.
func (e Extensions) Param(keyword string) string { return e.params[strings.ToUpper(keyword)] }

// Keywords counts the keywords offered; 0 after HELO.
func (e Extensions) Keywords() int { return len(e.params) }

// Size returns the limit of SIZE in octets; 0 when the server names none or
// what it names is no number (RFC 1870 §3).
func (e Extensions) Size() int64 {
	n, err := strconv.ParseInt(e.Param("SIZE"), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Auth returns the mechanisms offered, in upper case and in the server's
// order, each once.
func (e Extensions) Auth() []string {
	var out []string
	seen := make(map[string]bool)
	for _, m := range strings.Fields(strings.ToUpper(e.Param("AUTH"))) {
		if !seen[m] {
			seen[m] = true
			out = append(out, m)
		}
	}
	return out
}

// DeliverByMin returns the least BY-time in seconds; 0 if none is given
// (RFC 2852 §3).
func (e Extensions) DeliverByMin() int64 {
	n, err := strconv.ParseInt(e.Param("DELIVERBY"), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// SessionLimits are the values of LIMITS (RFC 9422); 0 where none was named.
type SessionLimits struct {
	MailMax       int // transactions in one session
	RcptMax       int // recipients of one transaction
	RcptDomainMax int // recipient domains of one transaction
}

// Limits returns the values of LIMITS. Unknown and malformed ones are ignored
// (RFC 9422 §3, EXT-12).
func (e Extensions) Limits() SessionLimits {
	var l SessionLimits
	for _, word := range strings.Fields(e.Param("LIMITS")) {
		name, value, _ := strings.Cut(word, "=")
		n, ok := limitValue(value)
		if !ok {
			continue
		}
		switch strings.ToUpper(name) {
		case "MAILMAX":
			l.MailMax = n
		case "RCPTMAX":
			l.RcptMax = n
		case "RCPTDOMAINMAX":
			l.RcptDomainMax = n
		}
	}
	return l
}

// limitValue reads one to six digits, the first of which is not 0.
func limitValue(s string) (int, bool) {
	if s == "" || len(s) > 6 || s[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
