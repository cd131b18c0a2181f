package console

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// requestMax bounds what a request may carry, in bytes: nothing here takes more
// than a form.
const requestMax = 64 << 10

// guard answers only whom it should, and says so in every header a browser
// listens to.
func (c *console) guard(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "SAMEORIGIN")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), interest-cohort=()")
		h.Set("X-DNS-Prefetch-Control", "off")
		h.Set("Cache-Control", "no-store")
		switch {
		case !c.knownHost(r.Host):
			// A name that resolves to us but is not ours: DNS rebinding.
			http.Error(w, "This page does not answer to the name "+clip(r.Host, 100)+"; use localhost, or start with the name allowed.", http.StatusMisdirectedRequest)
		case sameOrigin.Check(r) != nil:
			http.Error(w, "A request that changes something must come from this page.", http.StatusForbidden)
		case c.strangePage(r):
			http.Error(w, "Other sites' pages may not read this.", http.StatusForbidden)
		default:
			most := int64(requestMax)
			if c.needs.MoreBody != nil {
				most = max(most, c.needs.MoreBody(r))
			}
			if r.URL.Path == c.at("/api/dev/rules") {
				most = max(most, rulesBody)
			}
			r.Body = http.MaxBytesReader(w, r.Body, most)
			next.ServeHTTP(w, r)
		}
	})
}

// pagePolicy lets our page use its own script, style and images and show its
// own frames, and nothing else from anywhere.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// knownHost reports whether a Host header names us: loopback by name or number,
// or a configured name.
func (c *console) knownHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	a, err := netip.ParseAddr(name)
	if err == nil && (c.config.LAN || a.Unmap().IsLoopback()) || c.config.LAN && name != "" && !strings.ContainsAny(name, ".:") {
		return true
	}
	for _, known := range c.config.Hosts {
		if known == "*" || strings.EqualFold(known, name) {
			return true
		}
	}
	return false
}

// strangePage reports whether another site's page asks, other than by a person
// following a link to here. It could not read the answer, but could keep streams
// open. A mail's own frame is a stranger too (its origin is opaque), and may
// load the mail's images.
func (c *console) strangePage(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	if site != "cross-site" && site != "same-site" {
		return false
	}
	if r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
		return false
	}
	path := strings.TrimPrefix(r.URL.Path, c.config.BasePath)
	isPart := strings.HasPrefix(path, "/api/dev/messages/") && strings.Contains(path, "/parts/") ||
		strings.HasPrefix(path, "/api/v1/message/") && strings.Contains(path, "/part/")
	isRemote := strings.HasPrefix(path, "/m/") && strings.HasSuffix(path, "/remote")
	return !((isPart || isRemote) && r.Header.Get("Sec-Fetch-Dest") == "image")
}
