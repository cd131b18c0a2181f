// Package oauth gets OAuth 2 access tokens for smart hosts that want them
// instead of passwords (XOAUTH2, OAUTHBEARER).
//
// A Source asks by client credentials or with a refresh token, keeps a token
// until shortly before it ends, lets many askers share one question, and writes
// down a refresh token that was rotated. Login is the device code flow, by which
// a person gives a program on a machine without a browser its first refresh
// token. Read source.go, then device.go; grant.go is the dialogue with an
// issuer, keep.go the file in which a refresh token survives.
//
// It may not know SMTP, smart hosts or configuration files.
//
// RFCs: 6749 (§4.4, §5, §6), 8628 (device code), 6750.
//
// Invariants: issuers are asked by https only, and redirects are not followed;
// no secret is in an error, an event or a Status; everything that waits has an
// end.
package oauth
