package config

// Key is what there is to say about one key of the file. The table below is the
// only place it is said.
type Key struct {
	Path    string // "listener.address"; NAME stands for a name of the operator's choice
	Doc     string // sentences; the first says what it is
	Default string // as TOML; "" when there is none
	Auto    string // the default in words, where it depends on the machine
	Example string // as TOML, a value or, for tables, lines
	Values  string // "mx|submission|submissions" when only these are allowed
	Restart bool   // a reload cannot change it
}

// Keys returns the table.
func Keys() []Key { return keys }

// FindKey returns what there is to say about a path as written in a file
// ("listener[1].role", "smarthost.sendgrid.host") or in the table.
func FindKey(path string) (Key, bool) {
	schema := schemaPath(path)
	for _, k := range keys {
		if k.Path == path || k.Path == schema {
			return k, true
		}
	}
	return Key{}, false
}

var keys = []Key{
	{Path: "hostname", Auto: "the machine's name", Example: `"mx1.example.org"`,
		Doc: "The name this server says it has: in the greeting, EHLO, Received and Message-ID. It should be a full name whose address points back to it."},
	{Path: "data_dir", Default: `"/var/lib/paquebot"`, Example: `"/var/lib/paquebot"`, Restart: true,
		Doc: "The folder for everything that must survive: the spool, accounts, history and the operator's socket. Only the server's user can read it."},

	{Path: "tls", Doc: "The certificate all listeners show. Without one the server makes a self-signed one, which senders to port 25 accept and programs that submit mail refuse.",
		Example: "cert = \"/etc/paquebot/fullchain.pem\"\nkey = \"/etc/paquebot/privkey.pem\""},
	{Path: "tls.cert", Example: `"/etc/paquebot/fullchain.pem"`,
		Doc: "File with the certificate and its chain, PEM, the server's own first. It is read again when it changes."},
	{Path: "tls.key", Example: `"/etc/paquebot/privkey.pem"`,
		Doc: "File with the private key of the certificate, PEM. Only the server's user should be able to read it."},
	{Path: "tls.min_version", Default: `"1.2"`, Example: `"1.3"`, Values: "1.2|1.3",
		Doc: "The oldest TLS version accepted. Nothing below 1.2 is ever spoken."},

	{Path: "listener", Doc: "A port and its job. Without any, the four standard ones are opened: 25, 587, 465 and 2525. Repeat the table for more; giving one replaces all four.",
		Default: `[{address=":25",role="mx"},{address=":587",role="submission"},{address=":465",role="submissions"},{address=":2525",role="submission"}]`,
		Example: "address = \":587\"\nrole = \"submission\""},
	{Path: "listener.address", Example: `":587"`,
		Doc: "Where to listen: \":587\" for all addresses, \"192.0.2.1:587\" or \"[2001:db8::1]:587\" for one."},
	{Path: "listener.role", Example: `"submission"`, Values: "mx|submission|submissions",
		Doc: "The port's job. mx: servers bring mail for our domains, nobody authenticates (25). submission: STARTTLS, then AUTH, then mail (587, 2525). submissions: the same with TLS from the first byte (465)."},
	{Path: "listener.proxy_protocol", Example: `["10.0.0.0/8"]`,
		Doc: "Networks of load balancers that must begin each connection with a PROXY protocol header (version 1 or 2). All others are refused on this listener."},
	{Path: "listener.trusted", Example: `["10.20.0.0/16"]`,
		Doc: "Networks whose clients may send anywhere without AUTH on this listener. Everybody in them can send mail in your name: name machines, not the world."},
	{Path: "listener.xclient", Example: `["127.0.0.1/32"]`,
		Doc: "Networks that may use XCLIENT to say whom they speak for. For proxies and tests."},
	{Path: "listener.max_connections", Default: `5000`, Example: `5000`,
		Doc: "Connections at one time on this listener, all clients together. More are told 421."},
	{Path: "listener.max_message_size", Auto: "limits.message_size", Example: `"25MiB"`,
		Doc: "The largest message this listener takes, announced as SIZE."},
	{Path: "listener.greeting_delay", Default: `"0s"`, Example: `"2s"`,
		Doc: "How long to wait before the greeting on an mx listener. Programs that speak before they are greeted are not mail servers and are refused. At most 10s."},
	{Path: "listener.require_tls", Default: `false`, Example: `true`,
		Doc: "Refuse mail in clear on an mx listener. Some honest servers still have no TLS; their mail is lost to you. Submission listeners always demand TLS."},
	{Path: "listener.insecure_auth", Default: `false`, Example: `true`,
		Doc: "Allow AUTH without TLS. Accepted only when the listener's address is loopback."},
	{Path: "listener.any_port", Default: `false`, Example: `true`,
		Doc: "Allow a role on another role's standard port, such as submission on 25. Each standard port has one job that the other side relies on; say this only when you know who connects."},
	{Path: "listener.show_client", Default: `false`, Example: `true`,
		Doc: "Name the submitting client's address in the Received field. Submission listeners leave it out, and keep it in the log; mx listeners always name it."},
	{Path: "listener.extensions", Default: `[]`, Example: `["futurerelease", "deliverby", "mt-priority"]`, Values: "binarymime|deliverby|futurerelease|mt-priority",
		Doc: "SMTP extensions that are off unless asked for: binarymime (content of any octets, by BDAT), deliverby (a deadline by the sender), futurerelease (hold until a time; submission only), mt-priority (-9 to 9)."},

	{Path: "domain", Doc: "A domain whose mail is for us: port 25 accepts it, and it is handed over as `deliver` says. Repeat the table for more domains. Mail for other domains is relayed only for those who authenticate or are trusted.",
		Example: "name = \"example.org\"\ndeliver = \"lmtp://127.0.0.1:24\""},
	{Path: "domain.name", Example: `"example.org"`,
		Doc: "The domain. \"*.example.org\" means all its subdomains, not itself."},
	{Path: "domain.deliver", Example: `"lmtp://127.0.0.1:24"`,
		Doc: "Where its mail goes: lmtp://HOST:PORT, lmtp:/run/lmtp.sock, smtp://HOST:PORT, maildir:/var/mail/{local}, https://app.example/hook, or catch (kept for the console)."},
	{Path: "domain.recipients", Default: `"any"`, Example: `["anna", "bo"]`,
		Doc: "Who exists there: \"any\", \"verify\" (the next hop is asked at RCPT), a list of local parts, or { file = \"…\" } with one in each line. Mail to others is refused at RCPT, so that no bounce is owed."},
	{Path: "domain.aliases", Example: `{ info = ["anna", "bo@example.net"] }`,
		Doc: "Addresses that stand for others: a table, or { file = \"…\" } with lines \"name: target, target\". Aliases may lead to other domains and to each other."},
	{Path: "domain.catch_all", Example: `"anna@example.org"`,
		Doc: "Who gets mail for those who do not exist. It attracts all the spam there is."},
	{Path: "domain.secret", Example: `{ file = "/etc/paquebot/hook.key" }`,
		Doc: "Where the secret is with which posts to an https destination are signed (HMAC-SHA256): { file = \"…\" } or { env = \"NAME\" }."},

	{Path: "route", Doc: "How outgoing mail leaves. Routes are tried from the top; the first that matches is taken. Without any, or when none matches, mail goes to the MX of its domain.",
		Example: "via = \"sendgrid\""},
	{Path: "route.match", Example: `{ recipient = "*.corp.example" }`,
		Doc: "Which mail takes this route; all of it when left out."},
	{Path: "route.match.recipient", Example: `["*.corp.example", "corp.example"]`,
		Doc: "Recipient patterns: a domain, \"*.domain\" for its subdomains, or a whole address. One suffices."},
	{Path: "route.match.sender", Example: `"news.example.org"`,
		Doc: "Patterns for the envelope's sender; \"<>\" is the null sender of bounces."},
	{Path: "route.match.account", Example: `["app-7"]`,
		Doc: "Accounts that submitted the mail."},
	{Path: "route.via", Example: `"sendgrid"`,
		Doc: "The name of a [smarthost] or of a [pool], \"mx\" for the MX of the domain, or a destination as in domain.deliver. TLS is never given up on the way."},
	{Path: "route.pool", Example: `"bulk"`,
		Doc: "The pool of own addresses to send from."},
	{Path: "route.tls", Auto: "may for MX and smtp://, verify for smart hosts", Example: `"verify"`, Values: "may|encrypt|verify",
		Doc: "The TLS this route demands: may (when offered), encrypt (any certificate), verify (a certificate for the host's name). Mail waits rather than leave with less."},

	{Path: "smarthost", Doc: "Servers that take outgoing mail from us, each under a name that routes use.",
		Example: "host = \"smtp.provider.example\"\nusername = \"app\"\npassword = { file = \"/etc/paquebot/provider.key\" }"},
	{Path: "smarthost.NAME.provider", Example: `"sendgrid"`,
		Doc: "A provider of the catalogue, which knows host, ports and limits. This version has no catalogue yet: give `host`."},
	{Path: "smarthost.NAME.host", Example: `"smtp.provider.example"`,
		Doc: "The server's host name. Its certificate must be for this name."},
	{Path: "smarthost.NAME.ports", Default: `[587, 465, 2525, 25]`, Example: `[465]`,
		Doc: "Ports to try, in this order; 465 begins with TLS, the others use STARTTLS. When one is silent the next is tried, always with the same security."},
	{Path: "smarthost.NAME.tls", Default: `"verify"`, Example: `"verify"`, Values: "verify|encrypt|clear",
		Doc: "The TLS demanded. encrypt takes any certificate and is refused together with a password; clear is for loopback only."},
	{Path: "smarthost.NAME.username", Example: `"apikey"`,
		Doc: "User name for AUTH."},
	{Path: "smarthost.NAME.password", Example: `{ file = "/etc/paquebot/sendgrid.key" }`,
		Doc: "Where the password is: { file = \"…\" } or { env = \"NAME\" }. Never the password itself."},
	{Path: "smarthost.NAME.oauth2", Example: `{ token_url = "https://login.example/token", client_id = "…", client_secret = { env = "SECRET" } }`,
		Doc: "Get access tokens for XOAUTH2 and OAUTHBEARER instead of using a password."},
	{Path: "smarthost.NAME.oauth2.tenant", Example: `"contoso.onmicrosoft.com"`,
		Doc: "Microsoft's directory; it decides token_url."},
	{Path: "smarthost.NAME.oauth2.client_id", Example: `"7f0c…"`, Doc: "The application's id."},
	{Path: "smarthost.NAME.oauth2.client_secret", Example: `{ env = "M365_SECRET" }`, Doc: "The application's secret, by file or environment."},
	{Path: "smarthost.NAME.oauth2.token_url", Example: `"https://oauth2.googleapis.com/token"`, Doc: "Where tokens are given out; https only."},
	{Path: "smarthost.NAME.oauth2.scopes", Example: `["https://outlook.office365.com/.default"]`, Doc: "What to ask for."},
	{Path: "smarthost.NAME.oauth2.refresh_token", Example: `{ file = "/etc/paquebot/refresh" }`, Doc: "A refresh token, for providers without client credentials."},
	{Path: "smarthost.NAME.client_cert", Example: `"/etc/paquebot/client.pem"`,
		Doc: "Certificate to show to the smart host, PEM."},
	{Path: "smarthost.NAME.client_key", Example: `"/etc/paquebot/client.key"`,
		Doc: "Key of client_cert."},
	{Path: "smarthost.NAME.ca", Example: `"/etc/paquebot/corp-root.pem"`,
		Doc: "Certificates to trust for this host instead of the system's, PEM."},
	{Path: "smarthost.NAME.mechanisms", Example: `["PLAIN"]`, Auto: "the strongest offered",
		Doc: "AUTH mechanisms that may be used."},

	{Path: "pool", Doc: "Own addresses to send from, each pool under a name that routes use.",
		Example: "sources = [{ address = \"192.0.2.10\", ehlo = \"out1.example.org\" }]"},
	{Path: "pool.NAME.sources", Example: `[{ address = "192.0.2.10", ehlo = "out1.example.org" }]`,
		Doc: "The addresses, used in turn."},
	{Path: "pool.NAME.sources.address", Example: `"192.0.2.10"`, Doc: "An address of this machine."},
	{Path: "pool.NAME.sources.ehlo", Auto: "hostname", Example: `"out1.example.org"`,
		Doc: "The name to say in EHLO from there; the address's reverse name should be the same."},

	{Path: "shape", Doc: "What a receiving site gets from us at most. Others get the defaults.",
		Example: "site = \"google\"\nconnections = 20\nrate = \"600/min\""},
	{Path: "shape.site", Example: `"google"`,
		Doc: "The site: the domain of its MX hosts, a smart host's name, or \"*\" for all that are not named."},
	{Path: "shape.connections", Default: `20`, Example: `20`, Doc: "Connections to the site at one time."},
	{Path: "shape.rate", Auto: "no limit", Example: `"600/min"`, Doc: "Messages in a time."},
	{Path: "shape.messages_per_connection", Default: `100`, Example: `100`, Doc: "Messages on one connection before a new one is made."},

	{Path: "queue", Doc: "When mail is tried again, and when it is given up.", Example: "retry = [\"5m\", \"1h\"]"},
	{Path: "queue.retry", Default: `["5m", "10m", "20m", "1h", "2h", "4h"]`, Example: `["1m", "5m", "30m", "4h"]`, Restart: true,
		Doc: "Pauses after the first, second, … failed try; the last repeats."},
	{Path: "queue.expire", Default: `"5d"`, Example: `"2d"`, Restart: true,
		Doc: "Age at which a message is given up and its sender told. RFC 5321 asks for four to five days."},
	{Path: "queue.expire_bounce", Default: `"2d"`, Example: `"1d"`, Restart: true,
		Doc: "The same for bounces, whose sender nobody can tell."},
	{Path: "queue.notify_delay", Default: `"4h"`, Example: `"0s"`, Restart: true,
		Doc: "Age at which the sender is told that a message still waits; 0s: never, unless asked for with NOTIFY=DELAY."},
	{Path: "queue.workers", Default: `500`, Example: `500`, Restart: true,
		Doc: "Deliveries under way at one time, all sites together."},
	{Path: "queue.min_free", Default: `"256MiB"`, Example: `"10GiB"`, Restart: true,
		Doc: "Space that must stay free on the disk of data_dir: below it new mail is told 452 and what waits goes on leaving."},

	{Path: "limits", Doc: "What clients and accounts may ask of the server at most. Each limit that refuses counts in the metric paquebot_refused_total under its name.",
		Example: "recipients = 500"},
	{Path: "limits.connections_per_ip", Default: `20`, Example: `50`, Doc: "Connections at one time from one address (IPv6: from one /64)."},
	{Path: "limits.connections_per_account", Default: `20`, Example: `50`, Doc: "Connections at one time that are logged in as one account."},
	{Path: "limits.connection_rate", Default: `"60/min"`, Example: `"600/min"`, Doc: "New connections from one address. Trusted networks are exempt."},
	{Path: "limits.handshake_rate", Default: `"120/min"`, Example: `"120/min"`, Doc: "TLS handshakes from one address."},
	{Path: "limits.messages_per_session_mx", Default: `100`, Example: `100`, Doc: "Messages in one session on an mx listener, announced as LIMITS MAILMAX."},
	{Path: "limits.messages_per_session", Default: `1000`, Example: `1000`, Doc: "Messages in one session on a submission listener."},
	{Path: "limits.recipients", Default: `1000`, Example: `1000`, Doc: "Recipients of one message; RFC 5321 demands at least 100."},
	{Path: "limits.bad_recipients_mx", Default: `10`, Example: `10`, Doc: "Unknown recipients in one session on an mx listener before it is closed."},
	{Path: "limits.bad_recipients", Default: `50`, Example: `50`, Doc: "The same on a submission listener."},
	{Path: "limits.protocol_errors", Default: `20`, Example: `20`, Doc: "Commands that make no sense in one session before it is closed."},
	{Path: "limits.auth_failures_per_session", Default: `3`, Example: `3`, Doc: "Wrong credentials in one session before it is closed."},
	{Path: "limits.auth_failures_per_hour", Default: `20`, Example: `20`, Doc: "Wrong credentials for one user from one address in an hour before both are blocked for a while."},
	{Path: "limits.account_messages_per_hour", Default: `0`, Example: `1000`, Doc: "Messages of one account in an hour, unless its own limit says otherwise; 0: no limit."},
	{Path: "limits.account_messages_per_day", Default: `0`, Example: `10000`, Doc: "Messages of one account in a day; 0: no limit."},
	{Path: "limits.message_size", Default: `"50MiB"`, Example: `"25MiB"`, Doc: "The largest message, announced as SIZE."},
	{Path: "limits.hops", Default: `100`, Example: `100`, Doc: "Received fields a message may carry before it is taken for a loop; RFC 5321 demands at least 100."},

	{Path: "auth", Doc: "How senders prove who they are. Accounts are kept by `paquebot account`, or given here as [[account]].", Example: "mechanisms = [\"SCRAM-SHA-256\", \"PLAIN\"]"},
	{Path: "auth.mechanisms", Auto: "all that can work: SCRAM-SHA-256-PLUS, SCRAM-SHA-256, PLAIN, LOGIN; OAUTHBEARER and XOAUTH2 with auth.oauth; EXTERNAL with auth.client_ca", Example: `["SCRAM-SHA-256", "PLAIN"]`,
		Doc: "SASL mechanisms to offer, in this order. All need TLS first."},
	{Path: "auth.oauth", Doc: "Believe access tokens of an OpenID Connect issuer (OAUTHBEARER, XOAUTH2).", Example: "issuer = \"https://login.example.org\"\naudience = \"smtp\""},
	{Path: "auth.oauth.issuer", Example: `"https://login.example.org"`, Doc: "The issuer's address; its keys are found there."},
	{Path: "auth.oauth.audience", Example: `"smtp"`, Doc: "The audience a token must be for."},
	{Path: "auth.oauth.claim", Default: `"email"`, Example: `"preferred_username"`, Doc: "The claim that names the account."},
	{Path: "auth.client_ca", Example: `"/etc/paquebot/clients.pem"`, Doc: "Certificates that vouch for client certificates (EXTERNAL), PEM."},

	{Path: "account", Doc: "An account that lives in this file instead of the table that `paquebot account` keeps. Such accounts cannot be changed by commands.",
		Example: "name = \"app-7\"\npassword_hash = \"$argon2id$…\"\nsenders = [\"*@example.org\"]"},
	{Path: "account.name", Example: `"app-7"`, Doc: "The user name."},
	{Path: "account.password_hash", Example: `"$argon2id$v=19$m=65536,t=1,p=2$…"`, Doc: "As printed by `paquebot account add --hash-only`."},
	{Path: "account.scram", Example: `"SCRAM-SHA-256$15000:c2FsdA==$c3RvcmVk:c2VydmVy"`, Doc: "The same for SCRAM, printed by the same command. While one account has none, SCRAM is offered to nobody, because programs that are offered it try nothing else."},
	{Path: "account.senders", Auto: "the account's own name, if it is an address", Example: `["*@example.org", "news@example.net"]`, Doc: "Addresses it may send as: an address, \"*@domain\", or \"*\"."},
	{Path: "account.disabled", Default: `false`, Example: `true`, Doc: "Refuse its credentials."},
	{Path: "account.messages_per_hour", Auto: "limits.account_messages_per_hour", Example: `1000`, Doc: "Messages in an hour."},
	{Path: "account.messages_per_day", Auto: "limits.account_messages_per_day", Example: `10000`, Doc: "Messages in a day."},
	{Path: "account.max_recipients", Auto: "limits.recipients", Example: `100`, Doc: "Recipients of one message."},
	{Path: "account.max_message_size", Auto: "the listener's", Example: `"25MiB"`, Doc: "The largest message."},

	{Path: "dns", Doc: "Whom to ask.", Example: "servers = [\"127.0.0.1:53\"]"},
	{Path: "dns.servers", Auto: "those of /etc/resolv.conf", Example: `["127.0.0.1:53"]`, Doc: "Resolvers, address and port; tried in order."},
	{Path: "dns.timeout", Default: `"5s"`, Example: `"5s"`, Doc: "How long to wait for one answer."},
	{Path: "dns.trust_ad", Default: `false`, Example: `true`, Doc: "Believe the AD bit (DNSSEC checked) of the resolvers even when they are not on this machine. Only over a network nobody else is on."},

	{Path: "dns.allow_local", Default: `false`, Example: `true`, Doc: "Follow MX records to loopback, private and documentation addresses. For laboratories, and networks whose internal names live in DNS."},

	{Path: "console", Doc: "The web page for operators.", Example: "address = \"127.0.0.1:8025\""},
	{Path: "console.address", Auto: "none", Example: `"127.0.0.1:8025"`, Restart: true, Doc: "Where it answers. It has no password of its own: loopback only."},

	{Path: "metrics", Doc: "Figures for Prometheus, and health.", Example: "address = \"127.0.0.1:9125\""},
	{Path: "metrics.address", Auto: "none", Example: `"127.0.0.1:9125"`, Restart: true, Doc: "Where /metrics, /livez and /readyz answer."},

	{Path: "log", Doc: "The log, on standard error.", Example: "format = \"json\"\nlevel = \"info\""},
	{Path: "log.format", Default: `"text"`, Example: `"json"`, Values: "text|json", Restart: true, Doc: "How a line looks."},
	{Path: "log.level", Default: `"info"`, Example: `"debug"`, Values: "debug|info|warn|alarm", Restart: true, Doc: "The least important events to write."},
	{Path: "log.privacy", Default: `"full"`, Example: `"domain-only"`, Values: "full|domain-only", Restart: true, Doc: "domain-only writes \"*@example.org\" instead of addresses and cuts client addresses to /24 and /48."},

	{Path: "history", Doc: "What `paquebot trace` remembers.", Example: "retention = \"14d\""},
	{Path: "history.retention", Default: `"14d"`, Example: `"30d"`, Restart: true, Doc: "How long the life of a message can be told after it arrived; 0s: nothing is kept."},
	{Path: "history.max_size", Default: `"4GiB"`, Example: `"20GiB"`, Restart: true, Doc: "Space the history may take; the oldest goes first."},
}
