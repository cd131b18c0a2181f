package dns

import (
	"net/netip"
	"time"
)

// Status says how a question ended.
type Status uint8

const (
	OK       Status = iota // there are such records
	NXDomain               // the name does not exist
	NoData                 // the name exists, without such records
	Temp                   // nobody could say: timeout, SERVFAIL, bogus, garbage
)

var statusNames = [...]string{"ok", "nxdomain", "nodata", "temp"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "unknown"
}

// MarshalText makes a Status its name in JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// None reports that there surely are no such records.
func (s Status) None() bool { return s == NXDomain || s == NoData }

// Answer is what became of one question. Its records may be shared with other
// askers and must not be changed.
type Answer[T any] struct {
	Status  Status
	Records []T           // of the type asked for; at least one if OK, else none
	Name    string        // the owner of the records, after all aliases (CNAME)
	Aliased bool          // Name is not the name asked for
	Secure  bool          // validated by a resolver we trust (AD), all aliases included
	TTL     time.Duration // how long the answer may be kept, within MX-13's bounds
	Cause   error         // why Temp, or why a name cannot exist; nil otherwise
}

// MX is one mail exchanger.
type MX struct {
	Preference uint16 // lower is tried first
	Host       string // lower case, A-labels, no trailing dot; "." of a null MX
}

// SRV is one place where a service is offered (RFC 2782).
type SRV struct {
	Priority uint16 // lower is tried first
	Weight   uint16 // share among those of one priority
	Port     uint16
	Target   string // lower case, A-labels, no trailing dot; "." of a service not offered
}

// TLSA says which certificate or key a TLS service has (RFC 6698 §2). What the
// numbers mean, and which make sense, is for internal/tlspolicy.
type TLSA struct {
	Usage    uint8
	Selector uint8
	Matching uint8
	Data     []byte // the certificate association data
}

// NotOffered reports whether a domain says that it has no such service: exactly
// one SRV record, whose target is the root (RFC 2782, RFC 6186 §3.4).
func NotOffered(records []SRV) bool { return len(records) == 1 && records[0].Target == "." }

// NullMX reports whether a domain says that it takes no mail: exactly one MX,
// whose target is the root (RFC 7505 §3; MX-7). A "." beside others is merely
// unusable.
func NullMX(records []MX) bool { return len(records) == 1 && records[0].Host == "." }

// convert keeps an answer's verdict and replaces its records.
func convert[T, U any](a Answer[T], records []U) Answer[U] {
	return Answer[U]{Status: a.Status, Records: records, Name: a.Name, Aliased: a.Aliased,
		Secure: a.Secure, TTL: a.TTL, Cause: a.Cause}
}

// mergeAddrs merges the answers for A and AAAA. The host has addresses if either
// family has; if none has and one could not be learnt, nothing is known (MX-9).
func mergeAddrs(v4, v6 Answer[netip.Addr]) Answer[netip.Addr] {
	out := v4
	out.Records = nil
	out.Secure = v4.Secure && v6.Secure
	out.TTL = min(v4.TTL, v6.TTL)
	switch {
	case v4.Status == OK || v6.Status == OK:
		out.Status, out.Cause = OK, nil
		out.Records = append(append(make([]netip.Addr, 0, len(v4.Records)+len(v6.Records)), v6.Records...), v4.Records...)
		if v4.Status != OK {
			out.Name, out.Aliased = v6.Name, v6.Aliased
		}
	case v4.Status == Temp || v6.Status == Temp:
		out.Status = Temp
		if out.Cause == nil {
			out.Cause = v6.Cause
		}
	case v4.Status == NXDomain || v6.Status == NXDomain:
		out.Status = NXDomain
	}
	return out
}
