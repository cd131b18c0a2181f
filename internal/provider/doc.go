// Package provider is the catalogue of those who take mail from others
// (providers: Amazon SES, SendGrid, Microsoft 365 and so on) and of networks
// that are known to filter ports. It is data, reviewed and dated, with the few
// functions that look things up in it: hosts by region, ports with their
// modes, how a credential looks, which private header fields a provider reads,
// what its replies mean.
//
// It may not know configuration, connections or time: it never asks the
// network, and whoever uses it lets a probe decide where catalogue and world
// differ.
//
// Read catalogue.go first, then providers.toml and networks.toml, which a
// person can edit; lookup.go is what others call.
//
// Standards: PROV, NET, SH-2, SH-5, SH-12, SH-14, RC-70..73; RFC 8314, 6409.
//
// Invariants: the catalogue never changes while the program runs; no function
// returns a password in an error; every fact has a source, a date and a
// confidence.
package provider
