package event

import (
	"net/netip"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Event is something that happened. Fields of the concrete types become log
// attributes in snake case ("TookSeconds" is took_seconds).
type Event interface {
	// Name is "room.verb", the log message and the key in a trace.
	Name() string
	// Level says who must look.
	Level() Level
}

// Level of an event.
type Level int

const (
	Debug Level = iota // of interest only when looking for something
	Info               // the normal course
	Warn               // somebody should look in working hours
	Alarm              // somebody must act: mail waits or is refused because of it
)

// OfMessage is an Event in the life of a message; trace shows these.
type OfMessage interface {
	Event
	Message() mail.ID
}

// Sink takes events. Emit does not block and may be called from any goroutine.
type Sink interface{ Emit(Event) }

// SinkFunc makes a function a Sink.
type SinkFunc func(Event)

// Emit calls f.
func (f SinkFunc) Emit(e Event) { f(e) }

// Discard is the Sink nobody reads.
var Discard Sink = SinkFunc(func(Event) {})

// All hands each event to every sink in turn.
func All(sinks ...Sink) Sink {
	return SinkFunc(func(e Event) {
		for _, s := range sinks {
			s.Emit(e)
		}
	})
}

// ---- sessions (listen, smtpserver) ----

// ConnectionRefused: a peer was turned away before a session began.
type ConnectionRefused struct {
	Listener string
	Role     mail.Role
	Client   netip.AddrPort
	Reply    smtp.Reply
	Reason   string // "too many from this address", "proxy not listed", ...
}

// ConnectionProxied: a listed proxy brought a connection for somebody else; from
// here on Client is the peer (INT-1).
type ConnectionProxied struct {
	Listener string
	Client   netip.AddrPort
	Proxy    netip.AddrPort
}

// SessionStarted: a peer was greeted.
type SessionStarted struct{ Origin mail.Origin }

// SessionEnded: the connection is gone.
type SessionEnded struct {
	Origin      mail.Origin
	Reason      string // "quit", "client closed", "idle", "too many errors", "shutdown", ...
	Messages    int    // accepted in this session
	Refusals    int    // 4xx and 5xx replies given
	TookSeconds float64
	BytesIn     int64
	BytesOut    int64
	Advice      string // what the peer's owner should change, "" if nothing
	Fault       string // a panic of ours that ended it, with the stack, at most 4 KiB; "" if there was none
	Dialogue    []Line // redacted; nil unless the server keeps dialogues
}

// Line is one line of a dialogue, without CRLF and with secrets replaced.
type Line struct {
	At     time.Time
	Client bool // said by the client
	TLS    bool // inside TLS
	Text   string
}

// CommandRefused: a 4xx or 5xx reply was given within a session.
type CommandRefused struct {
	Origin  mail.Origin
	Command string // the verb and, for MAIL and RCPT, the address; never credentials
	Reply   smtp.Reply
	Rule    string // which rule or limit refused: "relay", "syntax", "rate:account-hour"
	Advice  string // what to change, in a sentence; "" if nothing helps
}

// TLSFailed: a handshake on our side failed.
type TLSFailed struct {
	Origin mail.Origin
	Error  string
	Advice string // "client uses STARTTLS mode on 465; switch to SSL/TLS"
}

// AuthSucceeded and AuthFailed: a credential was checked.
type AuthSucceeded struct {
	Origin      mail.Origin
	TookSeconds float64
}
type AuthFailed struct {
	Origin mail.Origin
	User   string // as claimed
	Method string
	Reply  smtp.Reply
	Reason string // for us alone: "no such account", "wrong password", "disabled"
}

// Attacked: a peer did what no honest client does.
type Attacked struct {
	Origin mail.Origin
	Kind   string // "starttls-injection", "smuggling", "cross-protocol", "early-talker", ...
	Detail string
}

// MishapStruck: something went wrong on purpose, by a rule or by what an address
// asks for; on a developer's machine only.
type MishapStruck struct {
	Origin    mail.Origin
	Rule      string // its ID, or the address's word: "+550"
	Stage     string // "rcpt"
	Action    string // in words: "says 550"
	Reply     smtp.Reply
	User      string
	Sender    string
	Recipient string
	Fails     bool // more than a delay
}

// ---- a message's life ----

// MessageAccepted: on stable storage; the 250 follows.
type MessageAccepted struct {
	Envelope    *mail.Envelope
	TookSeconds float64 // from the final dot to durable
	Repaired    []string
	Verdict     []string // reasons noted by policy
	Dialogue    []Line   // so far, redacted; nil unless kept
}

// MessageRefused: refused after its content was seen.
type MessageRefused struct {
	Envelope *mail.Envelope
	Reply    smtp.Reply
	Rule     string
}

// MessageRouted: where recipients will be tried.
type MessageRouted struct {
	ID         mail.ID
	Recipients []string
	Site       string
	Transport  mail.Transport
	Hops       []string // "mx1.example.org:25 (10)"
}

// DeliveryTried: one attempt's outcome for one recipient.
type DeliveryTried struct {
	ID        mail.ID
	Recipient string
	Number    uint32 // of the try, 1 first
	Site      string
	Outcome   mail.Outcome
}

// RecipientSettled: a new standing was written down.
type RecipientSettled struct {
	ID        mail.ID
	Recipient string
	Sender    string
	Account   string
	Standing  mail.Standing
	Why       string // in plain words: "greylisting", "no such user"
}

// ReportSent: a DSN entered the spool (or was dropped, see Dropped).
type ReportSent struct {
	ID      mail.ID // of the message reported on
	Report  mail.ID // of the report; zero when Dropped says why there is none
	Action  string  // "failed", "delayed", "delivered", "relayed", "expanded"
	To      string
	Dropped string // "null sender", "NOTIFY=NEVER", ...
}

// ReportFailed: a report that is owed could not be made or stored. It is tried
// again; this is said once per message.
type ReportFailed struct {
	ID    mail.ID // of the message reported on
	To    string
	Error string
}

// MessageFinished: every recipient is final and everybody was told.
type MessageFinished struct {
	ID          mail.ID
	Delivered   int
	Failed      int
	TookSeconds float64 // since arrival
}

// OperatorActed: hold, release, retry, bounce or delete on one message.
type OperatorActed struct {
	ID     mail.ID
	Action string
	By     string
	Reason string
	Count  int // recipients touched
}

// ---- the machinery ----

// SiteBackedOff: a receiving site is left alone until a time.
type SiteBackedOff struct {
	Site  string
	Until time.Time
	Why   string
	Reply smtp.Reply
}

// SiteResumed: a site takes mail again.
type SiteResumed struct{ Site string }

// RuleSet: an operator's rule over many messages came into force or ended.
type RuleSet struct {
	Rule   string // its ID
	Action string
	Match  string // as the operator wrote it
	Until  time.Time
	By     string
	Reason string
	Ended  bool
}

// ConnectionOpened: an outgoing connection is ready for MAIL.
type ConnectionOpened struct {
	Site        string
	Host        string
	Addr        netip.AddrPort
	TLS         *mail.TLS
	TookSeconds float64
}

// ConnectionFailed: an outgoing connection did not come to MAIL.
type ConnectionFailed struct {
	Site  string
	Host  string
	Addr  netip.AddrPort
	Stage mail.Stage
	Reply smtp.Reply
}

// SmarthostChanged: mail for a smart host takes another of its endpoints from
// now on.
type SmarthostChanged struct {
	Smarthost string
	From, To  string // "smtp.provider.example:587"
	Why       string // in plain words
}

// SmarthostAlarmed: an endpoint of a smart host cannot prove who it is, has no
// TLS any more, or refused our credential. Stopped: nothing leaves by any of its
// endpoints until this is mended; else mail leaves by another one.
type SmarthostAlarmed struct {
	Smarthost string
	Endpoint  string
	Addr      netip.AddrPort
	Stage     mail.Stage
	Reply     smtp.Reply
	Why       string // in plain words, with what to do
	Stopped   bool
}

// SmarthostMended: what SmarthostAlarmed told of is over.
type SmarthostMended struct {
	Smarthost   string
	Endpoint    string // by which mail leaves now
	TookSeconds float64
}

// SmarthostFailedOver: mail for a smart host goes to another one, by the
// operator's rule, or (Ended) goes to itself again.
type SmarthostFailedOver struct {
	Smarthost string
	To        string
	Why       string
	Ended     bool
}

// ContentAdapted: a message went to a next hop with other header fields than it
// is stored with (SH-12).
type ContentAdapted struct {
	ID       mail.ID
	Site     string
	Stripped []string // names of fields
	Added    []string
	Why      string
}

// SpoolRecovered: the spool was opened.
type SpoolRecovered struct {
	Messages    int64 // unfinished
	Replayed    int64 // journal records read
	TornBytes   int64 // cut from the tail
	TookSeconds float64
	Rebuilt     bool // the index was made anew
}

// SpoolSynced: one group commit.
type SpoolSynced struct {
	Records     int
	Bytes       int64
	TookSeconds float64
}

// SpoolTroubled: storage refuses. Stopped means fail-stop: nothing is accepted
// until a restart.
type SpoolTroubled struct {
	Operation string
	Error     string
	Stopped   bool
}

// SpoolHealed: storage works again after SpoolTroubled.
type SpoolHealed struct{}

// SpoolCompacted: a segment was removed.
type SpoolCompacted struct {
	Segment     uint64
	CopiedBytes int64
	FreedBytes  int64
}

// WatchdogRan: promise P2 was checked.
type WatchdogRan struct {
	Recipients int64 // live
	Stray      int64 // had no next event, and got one
}

// ServerStarted, ServerReloaded, ServerDraining, ServerStopped: the process.
type ServerStarted struct {
	Version     string
	Hostname    string
	Listeners   []string
	TookSeconds float64
}
type ServerReloaded struct {
	Error        string   // "" when the new settings are in force
	NeedsRestart []string // keys that changed and that only a restart brings into force
}
type ServerDraining struct{ Sessions int }
type ServerStopped struct{ TookSeconds float64 }

// CertificateLoaded and CertificateTroubled: what the listeners show.
type CertificateLoaded struct {
	File       string
	Names      []string
	NotAfter   time.Time
	SelfSigned bool
}
type CertificateTroubled struct {
	File  string
	Error string
}

// AccountChanged: added, disabled, password or token changed. Never a secret.
type AccountChanged struct {
	Account string
	Action  string
	By      string
}

// TokenGot: an issuer gave an access token for a smart host.
type TokenGot struct {
	Smarthost   string
	Issuer      string
	Expires     time.Time
	TookSeconds float64
}

// TokenTroubled: an issuer gave none; mail for the smart host waits. Permanent
// means until somebody logs in or changes the configuration; that is said once.
type TokenTroubled struct {
	Smarthost string
	Issuer    string
	Error     string
	Permanent bool
}

// MessageCaught: a message reached a catch store.
type MessageCaught struct {
	ID         mail.ID
	Mailbox    string
	Recipients []string
}

// AnnouncementFailed: an application did not take the word of a caught message;
// it is told again in RetrySeconds.
type AnnouncementFailed struct {
	ID           mail.ID
	Attempt      int
	Status       int    // of HTTP; 0: no answer
	Error        string // "" if there was an answer
	RetrySeconds float64
}

func (ConnectionRefused) Name() string   { return "listen.refused" }
func (ConnectionProxied) Name() string   { return "listen.proxied" }
func (SessionStarted) Name() string      { return "session.started" }
func (SessionEnded) Name() string        { return "session.ended" }
func (CommandRefused) Name() string      { return "session.refused" }
func (TLSFailed) Name() string           { return "session.tls_failed" }
func (AuthSucceeded) Name() string       { return "auth.succeeded" }
func (AuthFailed) Name() string          { return "auth.failed" }
func (Attacked) Name() string            { return "session.attacked" }
func (MishapStruck) Name() string        { return "mishap.struck" }
func (MessageAccepted) Name() string     { return "message.accepted" }
func (MessageRefused) Name() string      { return "message.refused" }
func (MessageRouted) Name() string       { return "message.routed" }
func (DeliveryTried) Name() string       { return "delivery.tried" }
func (RecipientSettled) Name() string    { return "recipient.settled" }
func (ReportSent) Name() string          { return "report.sent" }
func (ReportFailed) Name() string        { return "report.failed" }
func (MessageFinished) Name() string     { return "message.finished" }
func (OperatorActed) Name() string       { return "queue.acted" }
func (SiteBackedOff) Name() string       { return "site.backed_off" }
func (SiteResumed) Name() string         { return "site.resumed" }
func (RuleSet) Name() string             { return "queue.rule" }
func (ConnectionOpened) Name() string    { return "connection.opened" }
func (ConnectionFailed) Name() string    { return "connection.failed" }
func (SmarthostChanged) Name() string    { return "smarthost.changed" }
func (SmarthostAlarmed) Name() string    { return "smarthost.alarm" }
func (SmarthostMended) Name() string     { return "smarthost.mended" }
func (SmarthostFailedOver) Name() string { return "smarthost.failed_over" }
func (ContentAdapted) Name() string      { return "delivery.adapted" }
func (SpoolRecovered) Name() string      { return "spool.recovered" }
func (SpoolSynced) Name() string         { return "spool.synced" }
func (SpoolTroubled) Name() string       { return "spool.troubled" }
func (SpoolHealed) Name() string         { return "spool.healed" }
func (SpoolCompacted) Name() string      { return "spool.compacted" }
func (WatchdogRan) Name() string         { return "queue.watchdog" }
func (ServerStarted) Name() string       { return "ready" }
func (ServerReloaded) Name() string      { return "server.reloaded" }
func (ServerDraining) Name() string      { return "server.draining" }
func (ServerStopped) Name() string       { return "server.stopped" }
func (CertificateLoaded) Name() string   { return "tls.loaded" }
func (CertificateTroubled) Name() string { return "tls.troubled" }
func (AccountChanged) Name() string      { return "account.changed" }
func (TokenGot) Name() string            { return "token.got" }
func (TokenTroubled) Name() string       { return "token.troubled" }
func (MessageCaught) Name() string       { return "message.caught" }
func (AnnouncementFailed) Name() string  { return "webhook.failed" }

func (ConnectionRefused) Level() Level   { return Info }
func (ConnectionProxied) Level() Level   { return Debug }
func (SessionStarted) Level() Level      { return Debug }
func (CommandRefused) Level() Level      { return Info }
func (TLSFailed) Level() Level           { return Info }
func (AuthSucceeded) Level() Level       { return Debug }
func (AuthFailed) Level() Level          { return Warn }
func (Attacked) Level() Level            { return Warn }
func (MishapStruck) Level() Level        { return Info }
func (MessageAccepted) Level() Level     { return Info }
func (MessageRefused) Level() Level      { return Info }
func (MessageRouted) Level() Level       { return Debug }
func (DeliveryTried) Level() Level       { return Debug }
func (RecipientSettled) Level() Level    { return Info }
func (ReportSent) Level() Level          { return Info }
func (ReportFailed) Level() Level        { return Warn }
func (MessageFinished) Level() Level     { return Debug }
func (OperatorActed) Level() Level       { return Info }
func (SiteBackedOff) Level() Level       { return Warn }
func (SiteResumed) Level() Level         { return Info }
func (RuleSet) Level() Level             { return Info }
func (ConnectionOpened) Level() Level    { return Debug }
func (ConnectionFailed) Level() Level    { return Debug }
func (SmarthostChanged) Level() Level    { return Warn }
func (SmarthostMended) Level() Level     { return Warn }
func (SmarthostFailedOver) Level() Level { return Warn }
func (ContentAdapted) Level() Level      { return Debug }
func (SpoolRecovered) Level() Level      { return Info }
func (SpoolSynced) Level() Level         { return Debug }
func (SpoolHealed) Level() Level         { return Warn }
func (SpoolCompacted) Level() Level      { return Debug }
func (ServerStarted) Level() Level       { return Info }
func (ServerDraining) Level() Level      { return Info }
func (ServerStopped) Level() Level       { return Info }
func (CertificateLoaded) Level() Level   { return Info }
func (AccountChanged) Level() Level      { return Info }
func (MessageCaught) Level() Level       { return Debug }
func (AnnouncementFailed) Level() Level  { return Warn }
func (TokenGot) Level() Level            { return Debug }

func (SpoolTroubled) Level() Level       { return Alarm }
func (CertificateTroubled) Level() Level { return Alarm }

// Level is Warn where mail still leaves by another endpoint.
func (e SmarthostAlarmed) Level() Level {
	if e.Stopped {
		return Alarm
	}
	return Warn
}

func (e WatchdogRan) Level() Level {
	if e.Stray > 0 {
		return Alarm
	}
	return Debug
}

func (e TokenTroubled) Level() Level {
	if e.Permanent {
		return Alarm
	}
	return Warn
}

func (e ServerReloaded) Level() Level {
	if e.Error != "" {
		return Alarm
	}
	return Info
}

func (e MessageAccepted) Message() mail.ID    { return e.Envelope.ID }
func (e MessageRefused) Message() mail.ID     { return e.Envelope.ID }
func (e MessageRouted) Message() mail.ID      { return e.ID }
func (e DeliveryTried) Message() mail.ID      { return e.ID }
func (e RecipientSettled) Message() mail.ID   { return e.ID }
func (e ReportSent) Message() mail.ID         { return e.ID }
func (e ReportFailed) Message() mail.ID       { return e.ID }
func (e ContentAdapted) Message() mail.ID     { return e.ID }
func (e MessageFinished) Message() mail.ID    { return e.ID }
func (e OperatorActed) Message() mail.ID      { return e.ID }
func (e MessageCaught) Message() mail.ID      { return e.ID }
func (e AnnouncementFailed) Message() mail.ID { return e.ID }

// Level is Debug, but Alarm when the session met a fault of ours: clients find
// it again and again, and their mail waits.
func (e SessionEnded) Level() Level {
	if e.Fault != "" {
		return Alarm
	}
	return Debug
}
