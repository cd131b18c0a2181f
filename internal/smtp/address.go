package smtp

import (
	"errors"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// Errors of the address parsers. errors.Is tells the kinds apart; the reply
// they deserve depends on the command (RC-16, RC-42).
var (
	ErrAddressSyntax = errors.New("not a valid mail address")
	ErrAddressLength = errors.New("address is too long")               // RFC 5321 §4.5.3.1
	ErrNotASCII      = errors.New("address needs SMTPUTF8")            // RFC 6531 §3.3
	ErrNoBrackets    = errors.New("address must be in angle brackets") // SRV-28
	ErrNoDomain      = errors.New("address has no domain")             // only <postmaster> may lack one
)

// Address is a Mailbox of RFC 5321 §4.1.2, byte-exact as it was written
// (SRV-29). The zero value is the null path <>.
type Address struct {
	Local  string // with its quotes if it had them
	Domain string // as written; brackets and all when it is an address literal; "" for <postmaster>
	text   string // both, where the parser found them side by side; spares String a copy
}

// IsNull reports the null path.
func (a Address) IsNull() bool { return a.Local == "" && a.Domain == "" }

// String returns the address without angle brackets.
func (a Address) String() string {
	switch {
	case a.Domain == "":
		return a.Local
	case len(a.text) == len(a.Local)+1+len(a.Domain) && strings.HasPrefix(a.text, a.Local) && strings.HasSuffix(a.text, a.Domain):
		return a.text // else somebody has changed a part
	}
	return a.Local + "@" + a.Domain
}

// Literal returns the IP address of an address literal.
func (a Address) Literal() (netip.Addr, bool) { return ParseLiteral(a.Domain) }

// IsPostmaster reports the local part that is always deliverable, in any case
// (RFC 5321 §4.5.1; P25-3).
func (a Address) IsPostmaster() bool { return strings.EqualFold(a.Unquoted(), "postmaster") }

// Unquoted returns the meaning of the local part: quotes and backslashes of a
// quoted string removed.
func (a Address) Unquoted() string {
	if len(a.Local) < 2 || a.Local[0] != '"' {
		return a.Local
	}
	var b strings.Builder
	for i := 1; i < len(a.Local)-1; i++ {
		if a.Local[i] == '\\' {
			i++
		}
		b.WriteByte(a.Local[i])
	}
	return b.String()
}

// NeedsUTF8 reports that the address goes only to peers with SMTPUTF8 even
// when its domain is written in A-labels (EXT-8).
func (a Address) NeedsUTF8() bool { return !isASCII(a.Local) }

// IsASCII reports that the address as written needs no SMTPUTF8.
func (a Address) IsASCII() bool { return isASCII(a.Local) && isASCII(a.Domain) }

// ParseAddress reads a Mailbox: local part, "@", domain or address literal,
// and nothing else. Octets above 127 are an ErrNotASCII unless utf8 is set, and
// must be valid UTF-8 (RFC 6531 §3.3).
func ParseAddress(s string, utf8 bool) (Address, error) {
	a, rest, err := cutMailbox(s, utf8)
	switch {
	case err != nil:
		return Address{}, err
	case rest != "":
		return Address{}, ErrAddressSyntax
	case a.Domain == "":
		return Address{}, ErrNoDomain
	}
	return a, nil
}

// CutPath reads the path at the beginning of the argument of MAIL FROM: or
// RCPT TO: and returns what follows it. "<>" gives the null path: only a
// reverse path may be that. "<postmaster>" gives an address without domain. A source route
// is read and dropped (RFC 5321 §4.1.1.3, §3.6.1). Spaces before the path are
// tolerated (SRV-28).
func CutPath(s string, utf8 bool) (a Address, rest string, err error) {
	s = strings.TrimLeft(s, " ")
	if s == "" || s[0] != '<' {
		return Address{}, "", ErrNoBrackets
	}
	s = s[1:]
	if strings.HasPrefix(s, ">") {
		return Address{}, s[1:], nil
	}
	whole := s
	if s[:min(1, len(s))] == "@" {
		if s, err = dropRoute(s, utf8); err != nil {
			return Address{}, "", err
		}
	}
	a, rest, err = cutMailbox(s, utf8)
	if err != nil {
		return Address{}, "", err
	}
	if !strings.HasPrefix(rest, ">") {
		return Address{}, "", ErrAddressSyntax
	}
	if len(whole)-len(rest)+2 > PathMax {
		return Address{}, "", ErrAddressLength
	}
	if a.Domain == "" && (!a.IsPostmaster() || len(whole) != len(s)) {
		return Address{}, "", ErrNoDomain
	}
	return a, rest[1:], nil
}

// dropRoute skips "@a,@b:" (A-d-l of RFC 5321 §4.1.2).
func dropRoute(s string, utf8 bool) (string, error) {
	for {
		if s == "" || s[0] != '@' {
			return "", ErrAddressSyntax
		}
		end := strings.IndexAny(s, ",:<> ")
		if end < 0 || !validHost(s[1:end], utf8) {
			return "", ErrAddressSyntax
		}
		sep := s[end]
		s = s[end+1:]
		switch sep {
		case ':':
			return s, nil
		case ',':
		default:
			return "", ErrAddressSyntax
		}
	}
}

// cutMailbox reads local part and domain, stopping before ">" or at the end.
func cutMailbox(s string, utf8ok bool) (a Address, rest string, err error) {
	n, err := localLen(s, utf8ok)
	if err != nil {
		return Address{}, "", err
	}
	a.Local, rest = s[:n], s[n:]
	if n > LocalPartMax {
		return Address{}, "", ErrAddressLength
	}
	if rest == "" || rest[0] != '@' {
		return a, rest, nil
	}
	rest = rest[1:]
	n = strings.IndexByte(rest, '>')
	if n < 0 {
		n = len(rest)
	}
	a.Domain, rest = rest[:n], rest[n:]
	a.text = s[:len(a.Local)+1+n]
	return a, rest, checkDomain(a.Domain, utf8ok)
}

func checkDomain(d string, utf8ok bool) error {
	switch {
	case len(d) > DomainMax:
		return ErrAddressLength
	case !utf8ok && !isASCII(d):
		return ErrNotASCII
	case strings.HasPrefix(d, "["):
		if _, ok := ParseLiteral(d); !ok {
			return ErrAddressSyntax
		}
	case !ValidDomain(d):
		return ErrAddressSyntax
	}
	return nil
}

// localLen returns the length of the Local-part s begins with.
func localLen(s string, utf8ok bool) (int, error) {
	if s != "" && s[0] == '"' {
		return quotedLen(s, utf8ok)
	}
	dot := true // a dot may not come first, last or after another
	n := 0
	for n < len(s) {
		c := s[n]
		if c == '.' {
			if dot {
				return 0, ErrAddressSyntax
			}
			dot = true
			n++
			continue
		}
		size, err := charLen(s[n:], utf8ok)
		if err != nil {
			return 0, err
		}
		if size == 1 && !isAtext(c) {
			break
		}
		dot = false
		n += size
	}
	if dot {
		return 0, ErrAddressSyntax
	}
	return n, nil
}

// quotedLen returns the length of the Quoted-string s begins with.
func quotedLen(s string, utf8ok bool) (int, error) {
	for n := 1; n < len(s); {
		switch c := s[n]; {
		case c == '"':
			return n + 1, nil
		case c == '\\':
			if n+1 >= len(s) || s[n+1] < ' ' || s[n+1] > '~' {
				return 0, ErrAddressSyntax
			}
			n += 2
		case c < ' ' || c == 0x7f:
			return 0, ErrAddressSyntax
		default:
			size, err := charLen(s[n:], utf8ok)
			if err != nil {
				return 0, err
			}
			n += size
		}
	}
	return 0, ErrAddressSyntax
}

// charLen returns the length of one character: UTF-8 is checked, never taken
// for Latin-1 (TRAP-11). C1 controls are refused with the other controls.
func charLen(s string, utf8ok bool) (int, error) {
	if s[0] < utf8.RuneSelf {
		return 1, nil
	}
	if !utf8ok {
		return 0, ErrNotASCII
	}
	r, size := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && size <= 1 || r >= 0x80 && r < 0xa0 {
		return 0, ErrAddressSyntax
	}
	return size, nil
}

// isAtext is atext of RFC 5322 §3.2.3.
func isAtext(c byte) bool {
	return isAlphaNum(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// validHost checks the argument of EHLO and of a source route.
func validHost(s string, utf8ok bool) bool {
	if strings.HasPrefix(s, "[") {
		_, ok := ParseLiteral(s)
		return ok
	}
	return (utf8ok || isASCII(s)) && ValidDomain(s)
}

// ValidHello checks the argument of EHLO or HELO: a domain or an address
// literal. Underscores and names without a dot pass (SRV-22).
func ValidHello(s string) bool { return len(s) <= DomainMax && validHost(s, true) }

// ValidDomain checks a domain name as mail uses it: labels of letters, digits,
// hyphens within and, because they exist, underscores; U-labels that IDNA
// accepts. No trailing dot (SRV-29).
func ValidDomain(s string) bool {
	if s == "" || len(s) > DomainMax {
		return false
	}
	if !isASCII(s) {
		a, err := ASCIIDomain(s)
		return err == nil && ValidDomain(a)
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return true
}

func validLabel(l string) bool {
	if l == "" || len(l) > LabelMax || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		if !isAlphaNum(l[i]) && l[i] != '-' && l[i] != '_' {
			return false
		}
	}
	return true
}

// ASCIIDomain returns a domain in A-labels, in lower case, as DNS and
// certificates want it (EXT-8). An address literal is returned unchanged.
func ASCIIDomain(s string) (string, error) {
	if isASCII(s) {
		return strings.ToLower(s), nil
	}
	if !utf8.ValidString(s) {
		return "", ErrAddressSyntax
	}
	a, err := idna.Lookup.ToASCII(s)
	if err != nil {
		return "", errors.Join(ErrAddressSyntax, err)
	}
	return a, nil
}

// ParseLiteral reads an address literal, "[192.0.2.1]" or "[IPv6:2001:db8::1]"
// (RFC 5321 §4.1.3). No other tag is registered.
func ParseLiteral(s string) (netip.Addr, bool) {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return netip.Addr{}, false
	}
	s = s[1 : len(s)-1]
	six := len(s) > 5 && strings.EqualFold(s[:5], "IPv6:")
	if six {
		s = s[5:]
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" || six == ip.Is4() {
		return netip.Addr{}, false
	}
	return ip, true
}

// FormatLiteral is the inverse of ParseLiteral.
func FormatLiteral(ip netip.Addr) string {
	ip = ip.Unmap()
	if ip.Is4() {
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.WithZone("").String() + "]"
}
