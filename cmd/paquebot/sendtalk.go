package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/provider"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

const sendSchema = "paquebot.send/1"

// sendResult is what --json tells.
type sendResult struct {
	Schema      string          `json:"schema"`
	OK          bool            `json:"ok"`
	DryRun      bool            `json:"dry_run"`
	QuitAfter   string          `json:"quit_after,omitempty"`
	Target      string          `json:"target"`
	Server      string          `json:"server"`             // the endpoint used, or tried first
	Provider    string          `json:"provider,omitempty"` // whose it is
	TLS         *sentTLS        `json:"tls,omitempty"`
	Tried       []sentTry       `json:"tried,omitempty"` // endpoints that could not be used
	Recipients  []sentRecipient `json:"recipients,omitempty"`
	Stage       string          `json:"stage,omitempty"`       // where it ended
	Reply       string          `json:"reply,omitempty"`       // the server's last word
	Explanation string          `json:"explanation,omitempty"` // what the provider means by it
	Remedy      string          `json:"remedy,omitempty"`
	Error       string          `json:"error,omitempty"`
}

type sentTLS struct {
	Version  string `json:"version"`
	Cipher   string `json:"cipher"`
	Verified bool   `json:"verified"`
}

type sentTry struct {
	Server string `json:"server"`
	Error  string `json:"error"`
}

type sentRecipient struct {
	Address string `json:"address"`
	OK      bool   `json:"ok"`
	Reply   string `json:"reply"`
}

// deliver tries the endpoints as they can be reached. Only trouble in reaching
// one moves on to the next; what is refused, or cannot be trusted, stays so
// (SH-3, P4).
func (c *SendCmd) deliver(ctx context.Context, g *Globals, t *sendTarget, body mail.Bytes) error {
	out := g.Stdout // the dialogue is the answer, unless a machine asks
	if g.JSON || g.Plain {
		out = g.Stderr
	}
	d := &dialogue{w: out}
	if c.BodyShown {
		d.body = body
	}
	res := &sendResult{Schema: sendSchema, DryRun: c.DryRun, QuitAfter: c.QuitAfter, Target: t.name, Server: t.endpoints[0].String()}
	if t.provider != nil {
		res.Provider = t.provider.Name
	}
	if len(t.endpoints) > 1 {
		d.note("===", "%s: trying %s", t.name, tryList(t.endpoints))
	}
	r := newRace(ctx, t.endpoints, c.Timeout)
	defer r.end()
	var last error
	for {
		at, ok := r.next()
		if !ok {
			return c.tell(g, res, c.unreached(t, last))
		}
		if at.err != nil {
			d.note("***", "%s: %s", at.endpoint, plainCause(at.err))
			res.Tried = append(res.Tried, sentTry{at.String(), plainCause(at.err)})
			last = at.err
			continue
		}
		d.timed(fmt.Sprintf("=== connected to %s [%s]", at.endpoint, peerAddr(at.conn)), at.took)
		err := c.converse(ctx, at, d, t, body, res)
		if a, silent := unreachable(err); silent {
			why := plainWords(a)
			d.note("***", "%s: %s", at.endpoint, why)
			res.Tried = append(res.Tried, sentTry{at.String(), why})
			last = err
			if !r.done() {
				continue
			}
		}
		res.Server = at.String()
		if err != nil {
			err = c.refused(d, t, at.endpoint, err, res)
		}
		return c.tell(g, res, err)
	}
}

// done reports that no other endpoint is left.
func (r *race) done() bool { return r.flying == 0 && r.begun == len(r.list) }

func peerAddr(conn net.Conn) string {
	h, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return h
}

// tryList is "587, 465, 2525" where the host is always the same.
func tryList(list []endpoint) string {
	var names []string
	same := !slices.ContainsFunc(list, func(e endpoint) bool { return e.host != list[0].host })
	for _, e := range list {
		name := e.String()
		if same {
			name = fmt.Sprint(e.port)
		}
		names = append(names, name)
	}
	if same {
		return list[0].host + ", port " + strings.Join(names, ", then ")
	}
	return strings.Join(names, ", then ")
}

// unreachable reports trouble that another port may not have (SH-3).
func unreachable(err error) (smtpclient.Answer, bool) {
	var a smtpclient.Answer
	if !errors.As(err, &a) {
		return a, false
	}
	early := slices.Contains([]mail.Stage{mail.StageConnect, mail.StageGreeting, mail.StageEhlo, mail.StageStartTLS}, a.Stage)
	switch a.Kind {
	case smtpclient.Lost, smtpclient.Garbage, smtpclient.Handshake:
		return a, early
	case smtpclient.Said:
		return a, a.Stage == mail.StageGreeting && a.Reply.Code/100 == 4 || early && a.Reply.Code == 421
	}
	return a, false
}

// plainWords says what an answer was, without codes of our own.
func plainWords(a smtpclient.Answer) string {
	if a.Kind == smtpclient.Said {
		return "says " + a.Reply.String()
	}
	why := a.Reply.Text
	switch {
	case a.Kind == smtpclient.Untrusted && a.Reply.Cause != nil:
		return plainCause(a.Reply.Cause)
	case a.Reply.Cause != nil:
		if cause := plainCause(a.Reply.Cause); !strings.Contains(strings.ToLower(why), strings.ToLower(cause)) {
			why += " (" + cause + ")"
		}
	}
	return why
}

// converse is the session with an endpoint, as far as --quit-after goes.
func (c *SendCmd) converse(ctx context.Context, at dialed, d *dialogue, t *sendTarget, body mail.Bytes, res *sendResult) error {
	e, conn := at.endpoint, at.conn
	d.tls, d.since, d.lines = false, time.Now(), nil
	o := c.options(e, d, t)
	switch c.QuitAfter {
	case "connect":
		return conn.Close()
	case "greeting":
		return greeting(conn, d, o)
	case "ehlo":
		o.Login = nil
		if e.mode != mail.Implicit {
			o.Security = mail.Clear
		}
	case "tls":
		o.Login = nil
	}
	if t.login != nil && o.Login == nil && c.QuitAfter == "" {
		d.note("===", "no login: credentials go only where TLS is verified")
	}
	client, err := smtpclient.Open(ctx, conn, o)
	if err != nil {
		return err
	}
	defer client.Quit()
	if s := client.TLS(); s != nil {
		res.TLS = &sentTLS{s.Version, s.Cipher, s.Verified != "none"}
	}
	switch {
	case c.QuitAfter == "rcpt" || c.DryRun && c.QuitAfter == "":
		return c.check(ctx, client, d, res)
	case c.QuitAfter != "":
		d.note("===", "stopped after %s; nothing was sent", c.QuitAfter)
		return nil
	}
	return c.hand(ctx, client, d, body, res)
}

func (c *SendCmd) options(e endpoint, d *dialogue, t *sendTarget) smtpclient.Options {
	o := smtpclient.Options{Ehlo: c.ehlo(), Security: e.mode, Timeouts: c.timeouts(), Transcript: d.line}
	if e.mode == mail.Clear {
		return o
	}
	name := cmp.Or(c.TLSName, e.host)
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, RootCAs: t.roots, Certificates: t.certs}
	o.Verified, d.trust = "pkix", "verified as "+name
	if e.mode == mail.Opportunistic || e.mode == mail.Encrypt { // any certificate (RFC 7435)
		o.TLS.InsecureSkipVerify = true
		o.Verified, d.trust = "none", "certificate not verified"
		return o
	}
	o.Login = t.login
	return o
}

// greeting hears the first word and says goodbye.
func greeting(conn net.Conn, d *dialogue, o smtpclient.Options) error {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(o.Timeouts.Greeting))
	if o.Security == mail.Implicit {
		secured := tls.Client(conn, o.TLS)
		if err := secured.Handshake(); err != nil {
			return err
		}
		s := secured.ConnectionState()
		d.line(true, "(TLS: "+tls.VersionName(s.Version)+" "+tls.CipherSuiteName(s.CipherSuite)+")")
		conn = secured
	}
	r, err := smtp.ReadReply(bufio.NewReader(conn), smtp.ReplyLimits{})
	if err != nil {
		return smtpclient.Answer{Kind: smtpclient.Lost, Stage: mail.StageGreeting, Reply: smtp.Dropped.Because(err)}
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(string(r.AppendWire(nil)), "\r\n"), "\r\n") {
		d.line(false, l)
	}
	d.line(true, "QUIT")
	fmt.Fprint(conn, "QUIT\r\n")
	if r.Code/100 != 2 {
		return smtpclient.Answer{Kind: smtpclient.Said, Stage: mail.StageGreeting, Reply: r}
	}
	return nil
}

// check asks for each recipient, and sends nothing.
func (c *SendCmd) check(ctx context.Context, client *smtpclient.Client, d *dialogue, res *sendResult) error {
	var bad error
	for _, to := range c.recipients() {
		a := client.Check(ctx, c.From, to)
		res.Recipients = append(res.Recipients, sentRecipient{to, a.Good(), a.Reply.String()})
		if !a.Good() {
			bad = cmp.Or(bad, error(a))
		}
		if !client.Usable() {
			break
		}
	}
	if bad == nil {
		d.note("===", "all recipients would be taken; nothing was sent")
	}
	return bad
}

// hand sends the message.
func (c *SendCmd) hand(ctx context.Context, client *smtpclient.Client, d *dialogue, body mail.Bytes, res *sendResult) error {
	m := smtpclient.Message{From: c.From, Body: body}
	for _, to := range c.recipients() {
		m.Recipients = append(m.Recipients, mail.Recipient{Address: to})
	}
	var bad error
	taken := 0
	for i, a := range client.Send(ctx, m) {
		res.Recipients = append(res.Recipients, sentRecipient{m.Recipients[i].Address, a.Good(), a.Reply.String()})
		if !a.Good() {
			bad = a
			continue
		}
		taken++
		res.Reply = a.Reply.String()
	}
	switch {
	case bad == nil:
		d.note("===", "taken for %s", plural(int64(taken), "recipient"))
	case taken > 0:
		d.note("===", "taken for %d of %s", taken, plural(int64(len(m.Recipients)), "recipient"))
	}
	return bad
}

// stageWords say where a session ended.
func stageWords(s mail.Stage) string {
	switch s {
	case mail.StageConnect, mail.StageStartTLS:
		return "at TLS"
	case mail.StageGreeting:
		return "at the greeting"
	case mail.StageEhlo:
		return "at EHLO"
	case mail.StageAuth:
		return "at the login"
	case mail.StageMail:
		return "at the sender"
	case mail.StageRcpt:
		return "at the recipient"
	case mail.StageDot:
		return "after the final dot"
	}
	return "at the message"
}

// refused ends with exit code 1 and the peer's words; what to do comes last:
// what the provider means by it, or what mostly helps.
func (c *SendCmd) refused(d *dialogue, t *sendTarget, e endpoint, err error, res *sendResult) error {
	var a smtpclient.Answer
	if !errors.As(err, &a) {
		return problem("not sent", errors.New(plainCause(err)), "")
	}
	why := plainWords(a)
	res.Stage = string(a.Stage)
	what := "not sent"
	if slices.ContainsFunc(res.Recipients, func(r sentRecipient) bool { return r.OK }) {
		what = "not sent to all"
	}
	if a.Kind == smtpclient.Said {
		why, res.Reply = a.Reply.String(), a.Reply.String()
		nothing := ". Nothing was sent."
		if what != "not sent" {
			nothing = ""
		}
		d.note("***", "refused %s%s", stageWords(a.Stage), nothing)
	} else {
		if a.Kind == smtpclient.Untrusted || a.Kind == smtpclient.NoTLS || a.Kind == smtpclient.Injected {
			why += ". No other port is tried, for whoever interferes must not choose it"
		}
		d.note("***", "stopped %s: %s", stageWords(a.Stage), plainWords(a))
	}
	if a.Ambiguous {
		what = "may have been sent: the answer to the whole message was lost"
	}
	res.Explanation = explain(t, a)
	return problem(what, errors.New(why), cmp.Or(res.Explanation, c.remedy(t, e, a)))
}

// explain is what a provider means by its reply, and what to do (RC-70).
func explain(t *sendTarget, a smtpclient.Answer) string {
	if t.provider == nil || a.Kind != smtpclient.Said {
		return ""
	}
	var said []string
	if a.Stage == mail.StageAuth && t.login != nil && t.login.Token == nil {
		if err := t.provider.CheckCredential(t.user, t.password); err != nil {
			said = append(said, sentence(err.Error()))
		}
	}
	text := a.Reply.Text
	if a.Reply.Enhanced != (smtp.Enhanced{}) {
		text = a.Reply.Enhanced.String() + " " + text
	}
	if hint, ok := t.provider.Explain(a.Reply.Code, strings.ReplaceAll(text, "\n", " ")); ok {
		said = append(said, strings.TrimSpace(sentence(hint.Means)+" "+sentence(hint.Do)))
		if hint.Confidence == provider.Unconfirmed {
			said = append(said, "(The catalogue is not sure of this.)")
		}
	}
	return strings.Join(said, "\n")
}

// sentence makes words end as one does.
func sentence(s string) string {
	if s == "" || strings.ContainsAny(s[len(s)-1:], ".!?)") {
		return s
	}
	return s + "."
}

func (c *SendCmd) remedy(t *sendTarget, e endpoint, a smtpclient.Answer) string {
	switch {
	case a.Kind == smtpclient.Lost && a.Stage == mail.StageGreeting && e.mode != mail.Implicit:
		return "the server never spoke; if this port has TLS from the first byte, as 465 has, add --tls tls"
	case a.Kind == smtpclient.Handshake && e.mode == mail.Implicit:
		return "if this port begins in clear, as 587 does, use --tls starttls"
	case a.Kind == smtpclient.NoLogin && c.Auth != "":
		return "without --auth the strongest that both know is used"
	case a.Kind == smtpclient.NoLogin:
		return "the server offers no way to log in that is safe here; paquebot doctor " + t.name
	case a.Stage == mail.StageMail && a.Reply.Code == 550 && t.login != nil:
		return "on a Paquebot server: paquebot account senders " + t.user + " ADDRESS... says who may send as whom"
	case a.Kind == smtpclient.Untrusted && c.CA != "":
		return "the certificate is for another name, or not of this CA; if the name is the trouble: --tls-name NAME"
	case a.Kind == smtpclient.Untrusted:
		return "the certificate does not prove the host's name; give --ca FILE if it is signed by a CA of your own\npaquebot doctor " + t.name + " -v shows it"
	case a.Kind == smtpclient.NoTLS:
		return "the server offers no TLS here; port 465 has it from the first byte: --server " + e.host + ":465\nor somebody takes it away: paquebot doctor " + t.name
	case a.Reply.Code == 530 && t.login == nil:
		return "this port wants a login: --user NAME --password-file FILE"
	case a.Reply.Code == 535:
		return "check the user name and the password"
	}
	return ""
}

// unreached is a target that answers on none of its ports.
func (c *SendCmd) unreached(t *sendTarget, err error) error {
	what := "nothing could be reached at " + t.name
	var dns *net.DNSError
	why := errors.New(plainCause(err))
	if a, ok := unreachable(err); ok {
		why = errors.New(plainWords(a))
	}
	if errors.As(err, &dns) && dns.IsNotFound {
		return problem(what, why, "is the name right?")
	}
	return problem(what, why, "which port works from here, and who is in the way: paquebot doctor "+t.name)
}

// tell writes the document or the record that --json and --plain ask for.
func (c *SendCmd) tell(g *Globals, res *sendResult, err error) error {
	res.OK = err == nil
	if err != nil {
		res.Error = err.Error()
		var f *failure
		if errors.As(err, &f) {
			res.Remedy = f.remedy
		}
	}
	switch {
	case g.JSON:
		printed := g.printJSON(res)
		err = cmp.Or(err, printed)
	case g.Plain:
		g.record(res.OK, res.Server, res.Reply, res.Error)
	}
	return err
}
