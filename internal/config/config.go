package config

import (
	"net/netip"
	"time"
)

// Config is a whole configuration with its defaults filled in. What each key
// means stands in keys.go.
type Config struct {
	File string `toml:"-"` // as read; "" when there is none

	Hostname   string               `toml:"hostname"`
	DataDir    string               `toml:"data_dir"`
	TLS        TLS                  `toml:"tls"`
	Listeners  []Listener           `toml:"listener"`
	Domains    []Domain             `toml:"domain"`
	Routes     []Route              `toml:"route"`
	Smarthosts map[string]Smarthost `toml:"smarthost"`
	Pools      map[string]Pool      `toml:"pool"`
	Shapes     []Shape              `toml:"shape"`
	Queue      Queue                `toml:"queue"`
	Limits     Limits               `toml:"limits"`
	Auth       Auth                 `toml:"auth"`
	Accounts   []Account            `toml:"account"`
	DNS        DNS                  `toml:"dns"`
	Console    Console              `toml:"console"`
	Metrics    Metrics              `toml:"metrics"`
	Log        Log                  `toml:"log"`
	History    History              `toml:"history"`
}

// TLS is the certificate the listeners show.
type TLS struct {
	Cert       string `toml:"cert"`
	Key        string `toml:"key"`
	MinVersion string `toml:"min_version"`
}

// Listener is one port and its job.
type Listener struct {
	Address        string         `toml:"address"`
	Role           string         `toml:"role"` // mx, submission, submissions
	ProxyProtocol  []netip.Prefix `toml:"proxy_protocol"`
	Trusted        []netip.Prefix `toml:"trusted"`
	XClient        []netip.Prefix `toml:"xclient"`
	MaxConnections int            `toml:"max_connections"`
	MaxMessageSize Size           `toml:"max_message_size"` // 0: limits.message_size
	GreetingDelay  time.Duration  `toml:"greeting_delay"`
	RequireTLS     bool           `toml:"require_tls"`
	InsecureAuth   bool           `toml:"insecure_auth"`
	AnyPort        bool           `toml:"any_port"`
	ShowClient     bool           `toml:"show_client"`
	Extensions     []string       `toml:"extensions"` // binarymime, deliverby, futurerelease, mt-priority
}

// Domain is a domain whose mail is for us.
type Domain struct {
	Name       string     `toml:"name"`
	Deliver    string     `toml:"deliver"`
	Recipients Recipients `toml:"recipients"`
	Aliases    Aliases    `toml:"aliases"`
	CatchAll   string     `toml:"catch_all"`
	Secret     Secret     `toml:"secret"` // of a webhook's signature
}

// Route says how outgoing mail leaves; the first that matches is taken.
type Route struct {
	Match Match  `toml:"match"`
	Via   string `toml:"via"`
	Pool  string `toml:"pool"`
	TLS   string `toml:"tls"`
}

// Match selects mail. Empty lists match all; in a list one match suffices; all
// lists given must match.
type Match struct {
	Recipient []string `toml:"recipient"`
	Sender    []string `toml:"sender"`
	Account   []string `toml:"account"`
}

// Smarthost is a server that takes outgoing mail from us.
type Smarthost struct {
	Provider   string     `toml:"provider"`
	Region     string     `toml:"region"`
	Host       string     `toml:"host"`
	Ports      []int      `toml:"ports"`
	Endpoints  []Endpoint `toml:"endpoints"`
	MX         bool       `toml:"mx"`
	TLS        string     `toml:"tls"` // verify, encrypt, clear
	Username   string     `toml:"username"`
	Password   Secret     `toml:"password"`
	OAuth2     *OAuth2    `toml:"oauth2"`
	ClientCert string     `toml:"client_cert"`
	ClientKey  string     `toml:"client_key"`
	CA         string     `toml:"ca"`
	Mechanisms []string   `toml:"mechanisms"`

	Connections           int           `toml:"connections"`
	Rate                  Rate          `toml:"rate"`
	MessagesPerConnection int           `toml:"messages_per_connection"`
	RecipientsPerMessage  int           `toml:"recipients_per_message"`
	QuotaPerDay           int           `toml:"quota_per_day"`
	Failover              string        `toml:"failover"`
	FailoverAfter         time.Duration `toml:"failover_after"`
	Recheck               time.Duration `toml:"recheck"`
}

// Endpoint is one port of a smart host.
type Endpoint struct {
	Host string `toml:"host"` // "": the smart host's
	Port int    `toml:"port"`
	TLS  string `toml:"tls"` // starttls, tls, none; "": as is usual on the port
}

// OAuth2 is how a smart host's access token is got.
type OAuth2 struct {
	Preset       string   `toml:"preset"` // microsoft, google
	Tenant       string   `toml:"tenant"`
	ClientID     string   `toml:"client_id"`
	ClientSecret Secret   `toml:"client_secret"`
	TokenURL     string   `toml:"token_url"`
	DeviceURL    string   `toml:"device_url"`
	CA           string   `toml:"ca"`
	Scopes       []string `toml:"scopes"`
	RefreshToken Secret   `toml:"refresh_token"`
}

// Pool is a set of our own addresses to send from.
type Pool struct {
	Sources []Source `toml:"sources"`
}

// Source is one of our addresses with its EHLO name.
type Source struct {
	Address netip.Addr `toml:"address"`
	Ehlo    string     `toml:"ehlo"`
}

// Shape limits what a receiving site gets from us.
type Shape struct {
	Site                  string `toml:"site"`
	Connections           int    `toml:"connections"`
	Rate                  Rate   `toml:"rate"`
	MessagesPerConnection int    `toml:"messages_per_connection"`
}

// Queue is when mail is tried again and when it is given up.
type Queue struct {
	Retry        []time.Duration `toml:"retry"`
	Expire       time.Duration   `toml:"expire"`
	ExpireBounce time.Duration   `toml:"expire_bounce"`
	NotifyDelay  time.Duration   `toml:"notify_delay"`
	Workers      int             `toml:"workers"`
	MinFree      Size            `toml:"min_free"`
}

// Limits bound what peers and accounts may ask of us (standards §22).
type Limits struct {
	ConnectionsPerIP       int  `toml:"connections_per_ip"`
	ConnectionsPerAccount  int  `toml:"connections_per_account"`
	ConnectionRate         Rate `toml:"connection_rate"`
	HandshakeRate          Rate `toml:"handshake_rate"`
	MessagesPerSessionMX   int  `toml:"messages_per_session_mx"`
	MessagesPerSession     int  `toml:"messages_per_session"`
	Recipients             int  `toml:"recipients"`
	BadRecipientsMX        int  `toml:"bad_recipients_mx"`
	BadRecipients          int  `toml:"bad_recipients"`
	ProtocolErrors         int  `toml:"protocol_errors"`
	AuthFailuresPerSession int  `toml:"auth_failures_per_session"`
	AuthFailuresPerHour    int  `toml:"auth_failures_per_hour"`
	AccountMessagesPerHour int  `toml:"account_messages_per_hour"`
	AccountMessagesPerDay  int  `toml:"account_messages_per_day"`
	MessageSize            Size `toml:"message_size"`
	Hops                   int  `toml:"hops"`
}

// Auth is how senders prove who they are.
type Auth struct {
	Mechanisms []string  `toml:"mechanisms"`
	OAuth      AuthOAuth `toml:"oauth"`
	ClientCA   string    `toml:"client_ca"`
}

// AuthOAuth is whose tokens are believed for OAUTHBEARER and XOAUTH2.
type AuthOAuth struct {
	Issuer   string `toml:"issuer"`
	Audience string `toml:"audience"`
	Claim    string `toml:"claim"`
}

// Account is an account that stands in the file instead of the table.
type Account struct {
	Name            string   `toml:"name"`
	PasswordHash    string   `toml:"password_hash"`
	SCRAM           string   `toml:"scram"`
	Senders         []string `toml:"senders"`
	Disabled        bool     `toml:"disabled"`
	MessagesPerHour int      `toml:"messages_per_hour"`
	MessagesPerDay  int      `toml:"messages_per_day"`
	MaxRecipients   int      `toml:"max_recipients"`
	MaxMessageSize  Size     `toml:"max_message_size"`
}

// DNS is whom we ask.
type DNS struct {
	Servers    []string      `toml:"servers"`
	Timeout    time.Duration `toml:"timeout"`
	TrustAD    bool          `toml:"trust_ad"`
	AllowLocal bool          `toml:"allow_local"`
}

// Console is the web page for operators; empty: none.
type Console struct {
	Address string `toml:"address"`
}

// Metrics is where /metrics, /livez and /readyz answer; empty: nowhere.
type Metrics struct {
	Address string `toml:"address"`
}

// Log is what goes to standard error.
type Log struct {
	Format  string `toml:"format"` // text, json
	Level   string `toml:"level"`  // debug, info, warn, alarm
	Privacy string `toml:"privacy"`
}

// History is how long `trace` remembers.
type History struct {
	Retention time.Duration `toml:"retention"`
	MaxSize   Size          `toml:"max_size"`
}
