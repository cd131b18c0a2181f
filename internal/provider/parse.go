package provider

import (
	_ "embed"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"

	"paquebot/internal/mail"
)

//go:embed providers.toml
var providersTOML string

//go:embed networks.toml
var networksTOML string

// Catalogue is what the two files hold. It is not to be changed.
type Catalogue struct {
	Providers []*Provider
	Networks  []Network
	patterns  map[string]pattern // compiled regular expressions, by their text
}

// embedded is the program's own catalogue, read once and never changed. A test
// holds that it is valid, so its error cannot occur in a program that passed
// its tests.
var embedded = sync.OnceValues(func() (*Catalogue, error) { return Parse(providersTOML, networksTOML) })

// Load returns the catalogue the program was built with.
func Load() (*Catalogue, error) { return embedded() }

// Parse reads a catalogue from the text of its two files. It is strict: a key
// nobody knows is an error, as is everything that valid finds.
func Parse(providers, networks string) (*Catalogue, error) {
	var p struct {
		Provider []providerTOML `toml:"provider"`
	}
	if err := decode("providers.toml", providers, &p); err != nil {
		return nil, err
	}
	var n struct {
		Network []networkTOML `toml:"network"`
	}
	if err := decode("networks.toml", networks, &n); err != nil {
		return nil, err
	}
	c := &Catalogue{patterns: map[string]pattern{}}
	for _, t := range p.Provider {
		c.Providers = append(c.Providers, t.provider())
	}
	for _, t := range n.Network {
		c.Networks = append(c.Networks, t.network())
	}
	if err := c.compile(); err != nil {
		return nil, err
	}
	return c, c.valid()
}

func decode(name, text string, into any) error {
	meta, err := toml.Decode(text, into)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var unknown []string
	for _, k := range meta.Undecoded() {
		unknown = append(unknown, k.String())
	}
	if len(unknown) > 0 {
		sort.Strings(unknown)
		return fmt.Errorf("%s: unknown key %s", name, strings.Join(unknown, ", "))
	}
	return nil
}

// providerTOML is a provider as a person writes it.
type providerTOML struct {
	ID         string       `toml:"id"`
	Name       string       `toml:"name"`
	Title      string       `toml:"title"`
	Aliases    []string     `toml:"aliases"`
	Host       string       `toml:"host"` // instead of regions where there is but one
	Regions    []regionTOML `toml:"regions"`
	OwnHost    bool         `toml:"own_host"`
	Patterns   []string     `toml:"patterns"`
	MX         []string     `toml:"mx"`
	StartTLS   []uint16     `toml:"starttls"`
	Implicit   []uint16     `toml:"implicit"`
	Auth       authTOML     `toml:"auth"`
	Limits     limitsTOML   `toml:"limits"`
	Headers    headersTOML  `toml:"headers"`
	Notes      []string     `toml:"notes"`
	Docs       string       `toml:"docs"`
	Source     string       `toml:"source"`
	Checked    string       `toml:"checked"`
	Confidence string       `toml:"confidence"`
	Replies    []replyTOML  `toml:"reply"`
}

type regionTOML struct {
	Name            string `toml:"name"`
	Host            string `toml:"host"`
	MessageIDDomain string `toml:"message_id_domain"`
	Confidence      string `toml:"confidence"`
}

type authTOML struct {
	Mechanisms []string      `toml:"mechanisms"`
	OAuth2     bool          `toml:"oauth2"`
	None       bool          `toml:"none"`
	Optional   bool          `toml:"optional"`
	User       string        `toml:"user"`
	UserShape  string        `toml:"user_shape"`
	PassShape  string        `toml:"pass_shape"`
	SameIf     string        `toml:"same_if"`
	Hint       string        `toml:"hint"`
	Wrong      []mistakeTOML `toml:"wrong"`
}

type mistakeTOML struct {
	User string `toml:"user"`
	Pass string `toml:"pass"`
	Says string `toml:"says"`
}

type limitsTOML struct {
	MessageBytes          int64 `toml:"message_bytes"`
	Recipients            int   `toml:"recipients"`
	Connections           int   `toml:"connections"`
	MessagesPerConnection int   `toml:"messages_per_connection"`
	MessagesPerMinute     int   `toml:"messages_per_minute"`
	MessagesPerDay        int   `toml:"messages_per_day"`
	IdleSeconds           int   `toml:"idle_seconds"`
}

type headersTOML struct {
	Private           []string `toml:"private"`
	Idempotency       string   `toml:"idempotency"`
	RewritesMessageID bool     `toml:"rewrites_message_id"`
	MessageIDReply    string   `toml:"message_id_reply"`
	MessageIDDomain   string   `toml:"message_id_domain"`
	NoForeignDKIM     bool     `toml:"no_foreign_dkim"` // the exception is what one writes down
}

type replyTOML struct {
	Code       int    `toml:"code"`
	Text       string `toml:"text"`
	Class      string `toml:"class"`
	Means      string `toml:"means"`
	Do         string `toml:"do"`
	Example    string `toml:"example"`
	Confidence string `toml:"confidence"`
}

func (t providerTOML) provider() *Provider {
	p := &Provider{
		ID: t.ID, Name: t.Name, Title: t.Title, Aliases: t.Aliases,
		OwnHost: t.OwnHost, Patterns: t.Patterns, MX: t.MX,
		Auth: Auth{
			Mechanisms: t.Auth.Mechanisms, OAuth2: t.Auth.OAuth2, None: t.Auth.None, Optional: t.Auth.Optional,
			User: t.Auth.User, UserShape: t.Auth.UserShape, PassShape: t.Auth.PassShape, SameIf: t.Auth.SameIf, Hint: t.Auth.Hint,
		},
		Limits: Limits(t.Limits),
		Headers: Headers{
			Private: t.Headers.Private, Idempotency: t.Headers.Idempotency,
			RewritesMessageID: t.Headers.RewritesMessageID, MessageIDReply: t.Headers.MessageIDReply,
			MessageIDDomain: t.Headers.MessageIDDomain, ForeignDKIM: !t.Headers.NoForeignDKIM,
		},
		Notes: t.Notes, Docs: t.Docs, Source: t.Source, Checked: t.Checked, Confidence: t.Confidence,
	}
	if t.Host != "" {
		p.Regions = append(p.Regions, Region{Host: t.Host, Confidence: t.Confidence})
	}
	for _, r := range t.Regions {
		r.Confidence = or(r.Confidence, t.Confidence)
		p.Regions = append(p.Regions, Region(r))
	}
	for _, n := range t.StartTLS {
		p.Ports = append(p.Ports, Port{Number: n, Mode: mail.Verify})
	}
	for _, n := range t.Implicit {
		p.Ports = append(p.Ports, Port{Number: n, Mode: mail.Implicit})
	}
	for _, w := range t.Auth.Wrong {
		p.Auth.Wrong = append(p.Auth.Wrong, Mistake(w))
	}
	for _, r := range t.Replies {
		r.Confidence = or(r.Confidence, t.Confidence)
		p.Replies = append(p.Replies, ReplyHint(r))
	}
	return p
}

// networkTOML is a network as a person writes it.
type networkTOML struct {
	ID         string       `toml:"id"`
	Name       string       `toml:"name"`
	Title      string       `toml:"title"`
	Kind       string       `toml:"kind"`
	Vendors    []string     `toml:"vendors"`
	Names      []string     `toml:"names"`
	Ports      []filterTOML `toml:"ports"`
	WayOut     string       `toml:"way_out"`
	Source     string       `toml:"source"`
	Checked    string       `toml:"checked"`
	Confidence string       `toml:"confidence"`
}

type filterTOML struct {
	Port       uint16 `toml:"port"`
	State      string `toml:"state"`
	How        string `toml:"how"`
	Confidence string `toml:"confidence"`
}

func (t networkTOML) network() Network {
	n := Network{
		ID: t.ID, Name: t.Name, Title: t.Title, Kind: t.Kind, Vendors: t.Vendors, Names: t.Names,
		WayOut: t.WayOut, Source: t.Source, Checked: t.Checked, Confidence: t.Confidence,
	}
	for _, f := range t.Ports {
		f.Confidence = or(f.Confidence, t.Confidence)
		n.Ports = append(n.Ports, Filter(f))
	}
	return n
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
