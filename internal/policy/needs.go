package policy

import (
	"context"
	"net/netip"

	"paquebot/internal/dns"
)

// DNS answers about domains; *dns.Resolver does.
type DNS interface {
	MX(ctx context.Context, domain string) dns.Answer[dns.MX]
	Addrs(ctx context.Context, host string) dns.Answer[netip.Addr]
}

// Accounts knows what a principal may; *accounts.Accounts does. The errors of
// Peek and Allow are replies or faults; MaySend's is a fault.
type Accounts interface {
	// MaySend: may the account send as address; "" asks for the null sender.
	MaySend(account, address string) (bool, error)
	// SendersOf lists the patterns it may send as, for the log.
	SendersOf(account string) []string
	// Peek asks whether it may send one more message now, without counting.
	Peek(account string) error
	// Allow counts a message, or refuses it.
	Allow(account string, recipients int, size int64) error
}

// Verifier asks the next hop of one of our domains whether a recipient exists
// (by MAIL FROM:<> and RCPT, without sending anything).
type Verifier interface {
	// Verify returns nil if it does, a permanent smtp.Reply if it does not, and
	// any other error in doubt.
	Verify(ctx context.Context, address string) error
}

// Needs are what policy needs of others; node gives them.
type Needs struct {
	DNS      DNS      // nil: no domain is looked up
	Accounts Accounts // nil where nobody logs in
	Verifier Verifier // nil: domains that ask for it are in doubt
	// ByMX reports whether a recipient's mail leaves by MX records. Only such
	// domains must exist in our DNS; what goes to a smart host or a route of
	// its own may be known there alone. Nil: all do.
	ByMX func(address string) bool
}
