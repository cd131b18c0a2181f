package dns

import (
	"errors"
	"strings"

	"golang.org/x/net/idna"
)

// ErrBadName means that a text cannot be a domain name, so no such name exists.
var ErrBadName = errors.New("not a domain name")

// nameMax is the longest name as text without the final dot (RFC 1035 §2.3.4).
const nameMax = 253

// ToASCII returns a domain name as it is looked up: A-labels, lower case, no
// trailing dot (MX-14; RFC 5891 §4). Underscores are kept, as in "_dmarc". It
// fails with ErrBadName.
func ToASCII(name string) (string, error) {
	name = strings.TrimSuffix(name, ".")
	if !isASCII(name) {
		// The profile is cheap beside the conversion, and IDNs are rare.
		p := idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.StrictDomainName(false))
		a, err := p.ToASCII(name)
		if err != nil {
			return "", ErrBadName
		}
		name = a
	}
	name = strings.ToLower(name)
	if !plausible(name) {
		return "", ErrBadName
	}
	return name, nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// plausible checks lengths and characters only: whether the name exists is for
// its servers to say. Characters that need quoting in zone files are refused,
// for no mail host has them.
func plausible(name string) bool {
	if name == "" || len(name) > nameMax {
		return false
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_', c == '/':
			// "/" is in the names of classless reverse zones (RFC 2317).
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0
}

// isLocalhost and neverExists know the names that are never asked of anybody
// (RFC 6761 §6.3 and §6.4, RFC 7686 §2).
func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

func neverExists(name string) bool {
	return name == "invalid" || strings.HasSuffix(name, ".invalid") ||
		name == "onion" || strings.HasSuffix(name, ".onion")
}
