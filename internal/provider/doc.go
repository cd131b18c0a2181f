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
// person can edit.
package provider
