package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/compat"
	"paquebot/internal/console"
	"paquebot/internal/critique"
	"paquebot/internal/mail"
	"paquebot/internal/node"
)

// alike is what makes dev answer as another catcher: --compat and the variables
// that recipes set for Mailpit.
type alike struct {
	clearAuth bool           // 1025 takes any AUTH in clear
	open      []string       // addresses beyond loopback that a variable opened
	keys      *compat.Keys   // who may use the page; nil: everybody
	label     string         // of this instance
	smtp, ui  netip.AddrPort // where 1025 and the page listen instead
}

// opensPage reports that the page is reached from elsewhere.
func (a alike) opensPage() bool { return a.ui.IsValid() && !a.ui.Addr().IsLoopback() }

// readMailpit reads MP_* variables, all of them with --compat mailpit. Else
// only those two are looked at that say that clients log in in clear: compose
// files have them, and nothing would come of the mail without. Flags that were
// given win.
func (c *DevCmd) readMailpit(env func(string) string) error {
	c.alike.clearAuth = c.Compat != "none" || truth(env("MP_SMTP_AUTH_ACCEPT_ANY")) || truth(env("MP_SMTP_AUTH_ALLOW_INSECURE"))
	if c.Compat != "mailpit" {
		return nil
	}
	c.alike.label = env("MP_LABEL")
	if c.Path == "" {
		c.Path = env("MP_WEBROOT")
	}
	if c.Webhook == "" {
		c.Webhook = env("MP_WEBHOOK_URL")
	}
	for _, read := range []func(func(string) string) error{c.mailpitAddresses, c.mailpitStore, c.mailpitKeys} {
		if err := read(env); err != nil {
			return err
		}
	}
	return nil
}

// truth reads a switch as Mailpit does.
func truth(text string) bool {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "1", "true", "yes", "on":
		return true
	}
	return false
}

// mailpitAddresses are where the two ports listen that Mailpit has.
func (c *DevCmd) mailpitAddresses(env func(string) string) error {
	for _, v := range []struct {
		name  string
		at    *netip.AddrPort
		port  *int
		usual int
	}{{"MP_SMTP_BIND_ADDR", &c.alike.smtp, &c.MX, usualSMTP}, {"MP_UI_BIND_ADDR", &c.alike.ui, &c.HTTP, usualHTTP}} {
		text := env(v.name)
		if text == "" {
			continue
		}
		at, err := bindAddress(text)
		if err != nil {
			return unsure(v.name+"="+text, err, "write 127.0.0.1:1025 or 0.0.0.0:1025")
		}
		if *v.port == v.usual {
			*v.port = int(at.Port())
		}
		*v.at = at
		if !at.Addr().IsLoopback() {
			c.alike.open = append(c.alike.open, v.name+"="+text)
		}
	}
	return nil
}

// bindAddress reads "0.0.0.0:1025", "[::]:1025", ":1025" and "localhost:1025".
func bindAddress(text string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, errors.New("not an address with a port")
	}
	switch strings.ToLower(host) {
	case "":
		host = "::"
	case "localhost":
		host = "127.0.0.1"
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, errors.New("not an address of this machine")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, errors.New("not a port")
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}

// unlimited is how much Mailpit's 0 is here: 1 GiB bounds it all the same.
const unlimited = 1_000_000

// mailpitStore is where mail is kept, and how much. Mailpit names a file; we keep
// a directory beside it and leave the file alone.
func (c *DevCmd) mailpitStore(env func(string) string) error {
	file := env("MP_DATABASE")
	if file == "" {
		file = env("MP_DATA_FILE")
	}
	switch {
	case strings.HasPrefix(file, "http://") || strings.HasPrefix(file, "https://"):
		return unsure("MP_DATABASE="+file, errors.New("mail is kept in a directory here, not in rqlite"), "name a path, or use --data DIR")
	case file != "" && c.Data == "":
		c.Data = strings.TrimSuffix(file, filepath.Ext(file)) + ".paquebot"
	}
	text := env("MP_MAX_MESSAGES")
	if text == "" || c.MaxMessages != catchDefault {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return unsure("MP_MAX_MESSAGES="+text, errors.New("not a number of messages"), "write 500")
	}
	if c.MaxMessages = n; n == 0 {
		c.MaxMessages = unlimited
	}
	return nil
}

// What the flags say when nobody says anything.
const (
	catchDefault = 10_000
	usualSMTP    = 1025
	usualHTTP    = 8025
)

// mailpitKeys are who may use the page, by value or by file.
func (c *DevCmd) mailpitKeys(env func(string) string) error {
	text := strings.Join(strings.Fields(env("MP_UI_AUTH")), "\n")
	if file := env("MP_UI_AUTH_FILE"); file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return unsure("MP_UI_AUTH_FILE", err, "")
		}
		text += "\n" + string(b)
	}
	if strings.TrimSpace(text) == "" {
		return nil
	}
	keys, err := compat.ParseKeys(text)
	if err != nil {
		return unsure("MP_UI_AUTH", err, "write user:password, several of them apart by spaces")
	}
	c.alike.keys = keys
	return nil
}

// compatible makes what answers as Mailpit and as MailHog.
func (c *DevCmd) compatible(n *node.Node, w node.World, dir string) (*compat.API, error) {
	ids, err := mail.NewIDs(w.Rand)
	if err != nil {
		return nil, err
	}
	return compat.New(compat.Config{
		Version: versionString(), Label: c.alike.label, MailHog: c.Compat == "mailhog", Database: dir, BasePath: c.basePath(), SMTPPort: tcpPort(n.Addr(mail.RoleMX, 0)),
	}, compat.Needs{
		Store: n.Caught(), IDs: func() mail.ID { return ids.Next(time.Now()) }, Mishaps: compat.OverMishap(n.Mishaps()),
		Release:   relays{n.Release()},
		HTMLCheck: func(document string) (any, error) { return critique.HTML(document) },
	}), nil
}

// relays is node's release as clients of Mailpit and MailHog know it.
type relays struct{ out *node.Release }

// Relays implements compat.Release.
func (r relays) Relays() []compat.Relay {
	names, hosts := r.out.Ways()
	var all []compat.Relay
	for _, n := range names {
		all = append(all, compat.Relay{Name: n, Host: hosts[n]})
	}
	return all
}

// Release implements compat.Release.
func (r relays) Release(ctx context.Context, id mail.ID, relay string, to []string) error {
	if names, _ := r.out.Ways(); relay == "" && len(names) > 0 {
		relay = names[0]
	}
	_, err := r.out.Send(ctx, id, relay, to)
	return err
}

// announces makes a webhook say what Mailpit's says, when it is to be that.
func (c *DevCmd) announces(a *console.Announcer, api *compat.API) {
	if c.Compat != "mailpit" {
		return
	}
	a.Body = func(m catch.Message) any { return api.Summary(m) }
	if c.alike.label != "" {
		a.Client = &http.Client{
			Transport:     labelled{c.alike.label},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
}

// labelled adds Mailpit's header to what is posted.
type labelled struct{ label string }

func (l labelled) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Mailpit-Label", l.label)
	return http.DefaultTransport.RoundTrip(r)
}

// basePath is --path as the browser has it: "/mail", or "".
func (c *DevCmd) basePath() string {
	if path := strings.Trim(c.Path, "/"); path != "" {
		return "/" + path
	}
	return ""
}

// readiness lets health checks in without a password.
func readiness(path string) bool {
	return strings.HasSuffix(path, "/livez") || strings.HasSuffix(path, "/readyz")
}

// locked asks for a password where one is set.
func (c *DevCmd) locked(next http.Handler) http.Handler {
	if c.alike.keys == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, given := r.BasicAuth()
		if !readiness(r.URL.Path) && !(given && c.alike.keys.Fit(user, password)) {
			w.Header().Set("WWW-Authenticate", `Basic realm="Login"`)
			http.Error(w, "Unauthorized.", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// warnings are lines of the start screen that say what is not as usual.
func (c *DevCmd) warnings(mx uint16) []string {
	var out []string
	if c.LAN {
		out = append(out, "--lan: whoever reaches this machine can send, and read all mail here")
	}
	if c.alike.clearAuth {
		out = append(out, fmt.Sprintf("any user and password are taken IN CLEAR on %d, as other catchers do; port 25 does not", mx))
	}
	for _, what := range c.alike.open {
		out = append(out, what+": whoever reaches this machine can use it")
	}
	return out
}
