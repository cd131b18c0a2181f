package smtpclient

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Options of one session.
type Options struct {
	Ehlo     string        // our name: a FQDN or an address literal (MX-15)
	LMTP     bool          // LHLO, and a reply per recipient (RFC 2033)
	Security mail.Security // the least that will do; "" is Opportunistic
	TLS      *tls.Config   // of handshakes; nil: none will be tried
	Verified string        // how TLS verifies a peer, for mail.TLS: "none", "pkix", "dane-ee", ...
	// Judge says of the chain a peer shows, its own certificate first, how it
	// was verified, in the place of TLS and Verified; its error means that the
	// peer is not to be trusted. nil: as TLS says.
	Judge    func(chain []*x509.Certificate) (verified string, err error)
	Login    *Login   // credential; nil: do not authenticate
	Timeouts Timeouts // zero fields mean DefaultTimeouts

	// NoPipelining and NoChunking work around peers that offer what they cannot
	// do (MIS-5, MIS-6, MIS-13).
	NoPipelining bool
	NoChunking   bool

	// Transcript hears each line of the dialogue, without line ends; content is
	// summed up, credentials are replaced (SH-13). nil: nobody listens.
	Transcript func(client bool, line string)
}

// Client is one session, ready for transactions. It is for one goroutine at a
// time.
type Client struct {
	opt   Options
	conn  net.Conn
	br    *bufio.Reader
	ctx   context.Context // of the operation under way
	ext   smtp.Extensions
	esmtp bool
	tls   *mail.TLS

	greeting     string
	loggedIn     bool
	loggingIn    bool
	secrets      []string // of the AUTH under way
	broken       bool     // nothing more can be said here, not even QUIT
	dirty        bool     // a transaction was left open: RSET first
	transactions int
	used         time.Time // end of the last operation
	last         smtp.Reply
	opened       time.Time
}

// Open makes a session of a fresh connection: TLS first if Implicit, greeting,
// EHLO, STARTTLS, AUTH. The error is an Answer; the connection is closed then,
// with QUIT where the peer can hear it (CLI-35). When ctx ends, so does
// whatever is under way.
func Open(ctx context.Context, conn net.Conn, o Options) (*Client, error) {
	if o.Security == "" {
		o.Security = mail.Opportunistic
	}
	o.Timeouts = o.Timeouts.orDefaults()
	c := &Client{opt: o, conn: conn, br: bufio.NewReaderSize(conn, smtp.ReplyLineMax), opened: time.Now()}
	defer c.during(ctx)()
	if a := c.open(); a != nil {
		if a.Kind == Injected || a.Kind == Handshake || a.Kind == Untrusted {
			c.broken = true // no one knows who would hear a QUIT
		}
		c.hangUp()
		return nil, *a
	}
	return c, nil
}

func (c *Client) open() *Answer {
	if c.opt.Security == mail.Implicit {
		if a := c.handshake(mail.StageConnect); a != nil {
			return a
		}
	}
	if a := c.greet(); a != nil {
		return a
	}
	if a := c.hello(); a != nil {
		return a
	}
	if a := c.secure(); a != nil {
		return a
	}
	return c.login()
}

// Authenticate logs in over a session that was opened without a Login, so that
// of several raced sessions only the winner shows the credential. The error is
// an Answer; the session is ended then.
func (c *Client) Authenticate(ctx context.Context, l *Login) error {
	if l == nil || c.loggedIn {
		return nil
	}
	defer c.during(ctx)()
	c.opt.Login = l
	if a := c.login(); a != nil {
		c.hangUp()
		return *a
	}
	return nil
}

func (c *Client) greet() *Answer {
	r, a := c.reply(mail.StageGreeting, c.opt.Timeouts.Greeting)
	if a != nil {
		return a
	}
	if r.Code/100 != 2 {
		return said(mail.StageGreeting, r)
	}
	c.greeting = r.Text
	return nil
}

// hello says EHLO, or HELO on the same connection to a peer that does not know
// it (CLI-22). Not after 421, for then the peer is closing (TRAP-10), and not
// in LMTP, which has no HELO.
func (c *Client) hello() *Answer {
	verb := "EHLO "
	if c.opt.LMTP {
		verb = "LHLO "
	}
	c.ext, c.esmtp = smtp.Extensions{}, false
	r, a := c.command(mail.StageEhlo, c.opt.Timeouts.Ehlo, verb+c.opt.Ehlo)
	if a != nil {
		return a
	}
	if r.Code/100 == 2 {
		c.ext, c.esmtp = smtp.ParseExtensions(r), true
		return nil
	}
	if c.opt.LMTP || !knowsNoEhlo(r.Code) {
		return said(mail.StageEhlo, r)
	}
	r, a = c.command(mail.StageEhlo, c.opt.Timeouts.Ehlo, "HELO "+c.opt.Ehlo)
	if a == nil && r.Code/100 != 2 {
		a = said(mail.StageEhlo, r)
	}
	return a
}

func knowsNoEhlo(code int) bool {
	switch code {
	case 500, 501, 502, 504, 550:
		return true
	}
	return false
}

// Extensions returns what the peer offers now.
func (c *Client) Extensions() smtp.Extensions { return c.ext }

// ESMTP reports that the peer understood EHLO or LHLO.
func (c *Client) ESMTP() bool { return c.esmtp }

// TLS returns what the handshake settled; nil in clear.
func (c *Client) TLS() *mail.TLS { return c.tls }

// Greeting returns the text of the peer's 220.
func (c *Client) Greeting() string { return c.greeting }

// Transactions counts the messages begun in this session.
func (c *Client) Transactions() int { return c.transactions }

// Opened returns when the session began, Used when it was last used.
func (c *Client) Opened() time.Time { return c.opened }

// Used returns the end of the last transaction.
func (c *Client) Used() time.Time { return c.used }

// Usable reports that another transaction can be begun.
func (c *Client) Usable() bool { return !c.broken }

// during lets ctx end what is under way; the func it returns says that the
// operation is over.
func (c *Client) during(ctx context.Context) func() {
	c.ctx = ctx
	conn := c.conn // TLS may replace it meanwhile; deadlines are shared
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(longAgo()) })
	return func() {
		if !stop() {
			c.broken = true
		}
		c.ctx = nil
		c.used = time.Now()
	}
}

func longAgo() time.Time    { return time.Unix(1, 0) }
func noDeadline() time.Time { return time.Time{} }

// limitRead and limitWrite give the next read or write its own deadline. The
// second look at the context closes the gap in which its end went unseen.
func (c *Client) limitRead(d time.Duration) {
	c.conn.SetReadDeadline(time.Now().Add(d))
	c.obey()
}

func (c *Client) limitWrite(d time.Duration) {
	c.conn.SetWriteDeadline(time.Now().Add(d))
	c.obey()
}

func (c *Client) obey() {
	if c.ctx != nil && c.ctx.Err() != nil {
		c.conn.SetDeadline(longAgo())
	}
}

// command says one line and hears its reply.
func (c *Client) command(stage mail.Stage, wait time.Duration, line string) (smtp.Reply, *Answer) {
	c.say(line)
	return c.exchange(stage, wait, append([]byte(line), '\r', '\n'))
}

func (c *Client) exchange(stage mail.Stage, wait time.Duration, wire []byte) (smtp.Reply, *Answer) {
	if a := c.write(stage, wire); a != nil {
		// The peer may have said why before it closed.
		if r, err := smtp.ReadReply(c.br, smtp.ReplyLimits{}); err == nil {
			c.hear(c.discreet(r))
			c.broken = true
			return r, nil
		}
		return smtp.Reply{}, a
	}
	return c.reply(stage, wait)
}

// write sends octets within the time for one block (CLI-9).
func (c *Client) write(stage mail.Stage, b []byte) *Answer {
	c.limitWrite(c.opt.Timeouts.Block)
	if _, err := c.conn.Write(b); err != nil {
		c.broken = true
		c.limitRead(c.opt.Timeouts.Quit)
		return ours(Lost, stage, smtp.Dropped.Because(c.cause(err)))
	}
	return nil
}

// reply hears one reply. A 421 in any place means that the peer is closing
// (CLI-33).
func (c *Client) reply(stage mail.Stage, wait time.Duration) (smtp.Reply, *Answer) {
	c.limitRead(wait)
	r, err := smtp.ReadReply(c.br, smtp.ReplyLimits{})
	if err != nil {
		c.broken = true
		if errors.Is(err, smtp.ErrReplySyntax) || errors.Is(err, smtp.ErrReplyTooLong) {
			return r, ours(Garbage, stage, notSMTP(err))
		}
		return r, ours(Lost, stage, dropped(c.cause(err)))
	}
	if r.Code == 421 {
		c.broken = true
	}
	c.last = c.discreet(r)
	c.hear(c.last)
	return r, nil
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func dropped(cause error) smtp.Reply {
	if isTimeout(cause) {
		return smtp.Dropped.WithText("No answer in time").Because(cause)
	}
	return smtp.Dropped.Because(cause)
}

// cause prefers the context's reason over the timeout it looks like.
func (c *Client) cause(err error) error {
	if c.ctx != nil && c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}

func (c *Client) say(line string) {
	if c.opt.Transcript != nil {
		c.opt.Transcript(true, line)
	}
}

func (c *Client) hear(r smtp.Reply) {
	if c.opt.Transcript == nil {
		return
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(string(r.AppendWire(nil)), "\r\n"), "\r\n") {
		c.opt.Transcript(false, l)
	}
}

// Idle reports whether a session that waited in a pool is still good: no
// octet, and no end, came in the meantime (CLI-41). It may wait a millisecond.
func (c *Client) Idle() bool {
	const glance = time.Millisecond
	if c.broken || c.br.Buffered() > 0 {
		return false
	}
	if time.Since(c.used) < reuseAtOnce {
		return true // whatever is under way could not be seen yet
	}
	c.conn.SetReadDeadline(time.Now().Add(glance))
	_, err := c.br.Peek(1)
	return isTimeout(err)
}

// reuseAtOnce is how long after its last use a session is taken for granted:
// less than a round trip to most peers.
const reuseAtOnce = 50 * time.Millisecond

// Quit ends the session as it should be (CLI-35); what the peer makes of it is
// of no interest (MIS-16).
func (c *Client) Quit() {
	defer c.during(context.Background())()
	c.hangUp()
}

func (c *Client) hangUp() {
	if !c.broken {
		// A context that ended must not keep us from saying goodbye.
		c.ctx = nil
		if _, a := c.command(mail.StageConnect, c.opt.Timeouts.Quit, "QUIT"); a != nil {
			c.say("(closed)")
		}
	}
	c.broken = true
	c.conn.Close()
}

// Close ends the session at once, without a word.
func (c *Client) Close() {
	c.broken = true
	c.conn.Close()
}

// Abort breaks the connection under whatever is going on. Unlike all else it
// may be called while another goroutine uses the session.
func (c *Client) Abort() { c.conn.Close() }
