package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"paquebot/internal/dns"
)

// checkNames holds our name, our addresses and the names of these against each
// other: receivers do the same, and refuse what does not agree (RFC 5321
// §4.1.4, and the rules of the large ones).
func (h Host) checkNames(ctx context.Context, ours []netip.Addr) []Check {
	out := []Check{h.checkHostname(ctx)}
	if len(ours) == 0 {
		return append(out, Check{"address", Fail, "no address from which the world could be reached"})
	}
	for _, a := range ours {
		out = append(out, h.checkAddress(ctx, a)...)
	}
	return out
}

// checkHostname: a name others can look up.
func (h Host) checkHostname(ctx context.Context) Check {
	name := strings.TrimSuffix(h.Hostname, ".")
	switch {
	case name == "":
		return Check{"hostname", Fail, "this machine has no name; set hostname in the configuration"}
	case !strings.Contains(name, "."):
		return Check{"hostname", Warn, fmt.Sprintf("%q has no domain: receivers refuse such a name in EHLO (RFC 5321 s4.1.4)", name)}
	}
	switch a := h.Names.Addrs(ctx, name); a.Status {
	case dns.OK:
		return Check{"hostname", Good, name + " is " + join(a.Records)}
	case dns.Temp:
		return Check{"hostname", Unsure, fmt.Sprintf("%s: nobody could say: %v", name, a.Cause)}
	default:
		return Check{"hostname", Fail, name + " has no address in the DNS"}
	}
}

func join(addrs []netip.Addr) string {
	var s []string
	for _, a := range addrs {
		s = append(s, a.String())
	}
	return strings.Join(s, ", ")
}

// checkAddress: the name of an address leads back to it, and is the one we
// greet with.
func (h Host) checkAddress(ctx context.Context, a netip.Addr) []Check {
	if !public(a) {
		return []Check{{"PTR", Unsure, fmt.Sprintf("%s is an inner address: with which one others see us cannot be known from here", a)}}
	}
	names := h.Names.Names(ctx, a)
	switch names.Status {
	case dns.OK:
	case dns.Temp:
		return []Check{{"PTR", Unsure, fmt.Sprintf("%s: nobody could say: %v", a, names.Cause)}}
	default:
		return []Check{{"PTR", Fail, fmt.Sprintf("%s has no name: large receivers refuse its mail; ask whoever owns the address", a)}}
	}
	back := h.Names.Confirmed(ctx, a)
	switch back.Status {
	case dns.OK:
	case dns.Temp:
		return []Check{{"PTR", Unsure, fmt.Sprintf("%s -> %s, but whether that leads back nobody could say: %v", a, names.Records[0], back.Cause)}}
	default:
		return []Check{{"PTR", Fail, fmt.Sprintf("%s -> %s, which does not lead back", a, names.Records[0])}}
	}
	out := []Check{{"PTR", Good, fmt.Sprintf("%s <-> %s", a, back.Records[0])}}
	return append(out, h.checkGreeting(ctx, a, back.Records))
}

// checkGreeting: EHLO with the address's own name, or at least with one that
// leads to it (RFC 5321 §4.1.4 asks for a name that resolves).
func (h Host) checkGreeting(ctx context.Context, a netip.Addr, names []string) Check {
	ehlo := strings.ToLower(strings.TrimSuffix(h.ehlo(a), "."))
	switch forward := h.Names.Addrs(ctx, ehlo); {
	case slices.Contains(names, ehlo):
		return Check{"EHLO", Good, fmt.Sprintf("%s, the name of %s", ehlo, a)}
	case slices.Contains(forward.Records, a):
		return Check{"EHLO", Warn, fmt.Sprintf("%s leads to %s, whose own name is %s: use one name for both", ehlo, a, names[0])}
	case forward.Status == dns.Temp:
		return Check{"EHLO", Unsure, fmt.Sprintf("%s: nobody could say: %v", ehlo, forward.Cause)}
	}
	return Check{"EHLO", Fail, fmt.Sprintf("%s does not lead to %s, which is %s", ehlo, a, names[0])}
}
