package deliver

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

const (
	hostsMax = 20 // MX-16
	addrsMax = 4  // of one host, MX-16

	// rcptsMax bounds the recipients of one transaction: what every server must
	// take (RFC 5321 §4.5.3.1.8). LIMITS may say less.
	rcptsMax = 100

	// sameHostMax bounds what is tried at one address in one attempt: a stale
	// session, a smaller ClientHello, no CHUNKING, no TLS.
	sameHostMax = 6
)

// attempt is one Deliver by SMTP or LMTP.
type attempt struct {
	d        *Deliverer
	a        mail.Attempt
	start    time.Time
	source   mail.Source
	out      []mail.Outcome
	pending  []int     // indexes in out that nobody has answered for
	refused  bool      // every host so far said 5xx before MAIL
	closed   bool      // and the 5xx was 521
	tried    int       // addresses
	keyField string    // to be added, with a key of the transaction; "" for none
	content  mail.Body // as this route may carry it; nil: not looked at yet
}

// bySMTP tries the hops in order until each recipient has an answer.
func (d *Deliverer) bySMTP(ctx context.Context, a mail.Attempt) []mail.Outcome {
	t := &attempt{d: d, a: a, start: time.Now(), out: make([]mail.Outcome, len(a.Recipients)), refused: true, closed: true}
	if len(a.Route.Sources) > 0 {
		t.source = a.Route.Sources[0]
	}
	t.pending = make([]int, len(a.Recipients))
	for i := range t.pending {
		t.pending[i] = i
	}
	if a.Route.Account != "" {
		return t.toSmarthost(ctx)
	}
	hops := d.pool.prefer(a.Route.Hops[:min(len(a.Route.Hops), hostsMax)], t)
	for h, hop := range hops {
		addrs, trouble := t.addrs(ctx, hop)
		if trouble != nil {
			t.refused = false
			if t.tried == 0 { // what a peer said tells more
				t.note(*trouble)
			}
		}
		for n, addr := range addrs {
			more := n+1 < len(addrs) || h+1 < len(hops)
			if t.spent(ctx) || !t.at(ctx, hop, addr, more) {
				return t.finish(ctx)
			}
		}
	}
	return t.finish(ctx)
}

// spent reports that no other host may be tried: the time for finding one that
// answers is over (MX-16). One is always tried.
func (t *attempt) spent(ctx context.Context) bool {
	return ctx.Err() != nil || t.tried > 0 && time.Since(t.start) > t.d.conf.Budget
}

// note keeps an outcome for those pending, until a better one comes.
func (t *attempt) note(o mail.Outcome) {
	for _, i := range t.pending {
		t.out[i] = o
	}
}

// finish gives those that nobody answered for what is known.
func (t *attempt) finish(ctx context.Context) []mail.Outcome {
	for _, i := range t.pending {
		o := &t.out[i]
		switch {
		case toldToStop(ctx) && !o.Ambiguous: // that says nothing of the hosts
			*o = mail.Outcome{Result: mail.Untried, Reply: smtp.NoHost.WithText("Attempt broken off").Because(context.Cause(ctx)), Ours: true, Stage: o.Stage}
		case o.Reply.Code == 0 && t.tried > 0: // its turn did not come
			*o = mail.Outcome{Result: mail.Untried, Reply: smtp.NoHost.WithText("Attempt ended before this recipient's turn"), Ours: true, Stage: mail.StageRcpt}
		case o.Reply.Code == 0:
			*o = mail.Outcome{Result: mail.Deferred, Reply: smtp.NoHost, Ours: true, Stage: mail.StageRoute, Reach: mail.ThisSite}
		case o.Reach == mail.ThisHost && t.tried != 0:
			o.Reach = mail.ThisSite // there was no other
		}
	}
	return t.out
}

// toldToStop reports that we end the attempt, not its time.
func toldToStop(ctx context.Context) bool {
	return ctx.Err() != nil && context.Cause(ctx) != errDeadline
}

// addrs returns what to connect to. A hop without addresses is looked up; no
// answer is trouble of this hop, and another may do.
func (t *attempt) addrs(ctx context.Context, hop mail.Hop) ([]netip.AddrPort, *mail.Outcome) {
	if hop.Port == 0 {
		return []netip.AddrPort{{}}, nil // a unix socket
	}
	addrs := hop.Addrs
	if len(addrs) == 0 {
		a := t.d.needs.Names.Addrs(ctx, hop.Name)
		if a.Status != dns.OK {
			o := noAddress(hop, a)
			return nil, &o
		}
		addrs = inTurns(a.Records)
	}
	var out []netip.AddrPort
	for _, a := range addrs {
		if t.source.Addr.IsValid() && t.source.Addr.Is4() != a.Is4() {
			continue // MX-12: this source cannot reach it
		}
		if len(out) < addrsMax {
			out = append(out, netip.AddrPortFrom(a, hop.Port))
		}
	}
	if len(out) == 0 {
		return nil, &mail.Outcome{Result: mail.Deferred, Ours: true, Host: hop.Name, Stage: mail.StageRoute, Reach: mail.ThisSite,
			Reply: smtp.NoHost.WithText("Our address %s cannot reach host", t.source.Addr)}
	}
	return out, nil
}

// inTurns alternates the families, IPv4 first, so that a broken one costs one
// try (MX-11, MX-12).
func inTurns(addrs []netip.Addr) []netip.Addr {
	var v4, v6, out []netip.Addr
	for _, a := range addrs {
		if a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	for i := range max(len(v4), len(v6)) {
		if i < len(v4) {
			out = append(out, v4[i])
		}
		if i < len(v6) {
			out = append(out, v6[i])
		}
	}
	return out
}

func noAddress(hop mail.Hop, a dns.Answer[netip.Addr]) mail.Outcome {
	o := mail.Outcome{Result: mail.Deferred, Ours: true, Host: hop.Name, Stage: mail.StageRoute, Reach: mail.ThisSite}
	if a.Status == dns.Temp {
		o.Reply = smtp.DNSTrouble.Because(a.Cause)
		return o
	}
	// The name is configured, so its absence is more likely a slip of ours than
	// the end of the road: mail waits.
	o.Reply = smtp.NoHost.WithText("Host %s has no address", hop.Name).Because(fmt.Errorf("%s: %s", hop.Name, a.Status))
	return o
}

// at tries one address, in as many ways as the answers suggest. It reports
// whether another host may be tried for those pending.
func (t *attempt) at(ctx context.Context, hop mail.Hop, addr netip.AddrPort, more bool) bool {
	t.tried++
	p := place{hop: hop, addr: addr, more: more}
	how := manner{security: t.security(hop), quirk: t.quirk(addr)}
	for vain := 0; vain < sameHostMax; vain++ {
		next := stop
		left := len(t.pending)
		s, reused, fail := t.session(ctx, hop, addr, how)
		if fail != nil {
			next = t.judgeAll(p, *fail, how)
		} else {
			next = t.transactions(ctx, p, s, how, reused)
			t.d.pool.put(s)
			t.refused = t.refused && next == afresh // it let us in: not every host refused us (CLI-21)
		}
		if len(t.pending) == 0 || !t.changes(&how, addr, next) {
			return len(t.pending) > 0 && next == otherHost
		}
		if len(t.pending) < left {
			vain = 0
		}
	}
	return false
}

// quirk is how carefully a peer is talked to. A message of which it is not
// known whether it was taken goes the plainest way the next time (MIS-6): what
// swallowed the verdict may have choked on our haste.
func (t *attempt) quirk(addr netip.AddrPort) quirk {
	for _, i := range t.pending {
		if t.recipient(i).Last.Ambiguous {
			return quirk{noPipelining: true, noChunking: true}
		}
	}
	return t.d.quirks.of(addr)
}

// place is where something was tried.
type place struct {
	hop  mail.Hop
	addr netip.AddrPort
	more bool // another address or host is left
}

// changes prepares another try at the same address.
func (t *attempt) changes(how *manner, addr netip.AddrPort, s step) bool {
	switch s {
	case afresh:
		how.fresh = true
	case simply:
		how.fresh, how.quirk.noChunking = true, true
		t.d.quirks.learn(addr, quirk{noChunking: true}) // MIS-13
	case classic:
		how.classic = true
	case clearly:
		how.security = mail.Clear
	default:
		return false
	}
	return true
}

// transactions carries the message over one session, in as many transactions
// as the peer's limits ask for. It returns what to try for those left.
func (t *attempt) transactions(ctx context.Context, p place, s *session, how manner, reused bool) step {
	for {
		batch := t.batch(s.client.Extensions().Limits())
		over := t.d.watch(s.client, s.conn)
		answers := s.client.Send(ctx, t.message(batch))
		over(answers)
		next, again := t.settle(p, answers, batch, how, s.client.TLS(), reused, toldToStop(ctx))
		switch {
		case len(t.pending) == 0 || next != stop || !again:
			return next
		case !s.mayCarry(t.d.conf.Pool):
			return afresh // MAILMAX and the like: the rest goes over another session
		}
		reused = true
	}
}

// batch takes the recipients of the next transaction (EXT-12).
func (t *attempt) batch(l smtp.SessionLimits) []int {
	most := rcptsMax
	if n := t.profile().Recipients; n > 0 {
		most = n // SH-11
	}
	if l.RcptMax > 0 {
		most = min(most, l.RcptMax)
	}
	if l.RcptDomainMax == 0 {
		return t.pending[:min(most, len(t.pending))]
	}
	var out []int
	domains := map[string]bool{}
	for _, i := range t.pending {
		d := mail.Domain(t.recipient(i).Address)
		if len(out) == most || !domains[d] && len(domains) == l.RcptDomainMax {
			continue
		}
		domains[d] = true
		out = append(out, i)
	}
	return out
}

func (t *attempt) recipient(i int) *mail.Recipient {
	return &t.a.Envelope.Recipients[t.a.Recipients[i]]
}

func (t *attempt) message(batch []int) smtpclient.Message {
	m := smtpclient.Message{From: t.a.Envelope.From, Params: t.a.Envelope.Params, Body: t.keyed(t.body(), batch),
		Recipients: make([]mail.Recipient, len(batch))}
	for n, i := range batch {
		m.Recipients[n] = *t.recipient(i)
	}
	return m
}

// settle judges the answers of one transaction. Those it leaves pending may be
// tried elsewhere, or again over this session: because they were not said yet,
// or were too many for this transaction while others went through. If we were
// told to stop, what broke off stays pending, for finish: the host is not to
// blame.
func (t *attempt) settle(p place, answers []smtpclient.Answer, batch []int, how manner, tls *mail.TLS, reused, told bool) (next step, again bool) {
	taken := slices.ContainsFunc(answers, smtpclient.Answer.Good)
	settled := make([]bool, len(t.out))
	var rest *mail.Outcome // what holds for those not said as well
	broken := false
	for n, i := range batch {
		a := answers[n]
		cut := told && a.Kind == smtpclient.Lost && !a.Ambiguous
		if !cut {
			t.learn(p.addr, a)
		}
		v := judge(a, t.situation(p, how, reused, a))
		t.out[i] = t.outcome(p, a, v, tls)
		switch {
		case cut:
			broken = true
		case v.step != stop:
			next = v.step
		case tooMany(a) && taken:
			again = true
		default:
			settled[i] = true
			if v.result != mail.Accepted && v.reach != mail.ThisRecipient {
				rest = &t.out[i]
			}
		}
	}
	again = again || len(batch) < len(t.pending)
	left := t.pending[:0:0]
	for _, i := range t.pending {
		switch {
		case settled[i]:
		case rest != nil && next == stop && t.out[i].Reply.Code == 0:
			t.out[i] = *rest
			t.out[i].Ambiguous = false // it was not sent for this one
		default:
			left = append(left, i)
		}
	}
	t.pending = left
	if broken {
		return stop, false
	}
	return next, again && rest == nil
}

// learn remembers what a peer cannot do (MIS-5).
func (t *attempt) learn(addr netip.AddrPort, a smtpclient.Answer) {
	if a.Kind == smtpclient.Confused || a.Kind == smtpclient.Lost && a.Pipelined {
		t.d.quirks.learn(addr, quirk{noPipelining: true})
	}
}

// tooMany: RCPT was refused for the number of recipients, not for this one.
func tooMany(a smtpclient.Answer) bool {
	return a.Kind == smtpclient.Said && a.Stage == mail.StageRcpt &&
		(a.Reply.Code == 452 || a.Reply.Code == 552) &&
		(a.Reply.Enhanced.IsZero() || a.Reply.Enhanced.Subject == 5 && a.Reply.Enhanced.Detail == 3)
}

// judgeAll judges an answer that is about all who are pending.
func (t *attempt) judgeAll(p place, a smtpclient.Answer, how manner) step {
	t.refused = t.refused && a.Kind == smtpclient.Said && a.Reply.Permanent()
	t.closed = t.closed && t.refused && a.Reply.Code == 521
	v := judge(a, t.situation(p, how, false, a))
	t.note(t.outcome(p, a, v, nil))
	return v.step
}

func (t *attempt) situation(p place, how manner, reused bool, a smtpclient.Answer) situation {
	return situation{
		security:  how.security,
		smarthost: !t.a.Route.ByMX,
		reused:    reused,
		classic:   how.classic,
		timely:    a.Kind == smtpclient.Handshake && passing(a.Reply.Cause),
		lmtp:      t.a.Route.Transport == mail.LMTP,
		more:      p.more,
		unanimous: t.refused,
		closed:    t.closed && t.refused,
		number:    t.a.Number,
		silent:    a.Kind == smtpclient.Lost && silence(a.Reply.Cause),
	}
}

func (t *attempt) outcome(p place, a smtpclient.Answer, v verdict, tls *mail.TLS) mail.Outcome {
	o := mail.Outcome{
		Result: v.result, Reply: v.reply, Ours: v.ours, Reach: v.reach,
		Host: p.hop.Name, Addr: p.addr, Source: t.source.Addr, Stage: a.Stage, TLS: tls,
		Ambiguous: a.Ambiguous, NoDSN: a.NoDSN,
	}
	t.explain(&o, a)
	return o
}

// security is what a hop must have.
func (t *attempt) security(hop mail.Hop) mail.Security {
	switch {
	case hop.Security != "":
		return hop.Security
	case t.a.Route.Security != "":
		return t.a.Route.Security
	}
	return mail.Opportunistic
}

// ehlo is our name towards this peer.
func (t *attempt) ehlo() string {
	for _, name := range []string{t.source.Ehlo, t.a.Route.Ehlo, t.d.conf.Hostname} {
		if name != "" {
			return name
		}
	}
	return "localhost"
}

// opened and failed tell of connections.
func (t *attempt) opened(hop mail.Hop, addr netip.AddrPort, c *smtpclient.Client, took time.Duration) {
	t.d.needs.Events.Emit(event.ConnectionOpened{Site: t.a.Route.Site, Host: strings.ToLower(hop.Name), Addr: addr, TLS: c.TLS(), TookSeconds: took.Seconds()})
}

func (t *attempt) failed(hop mail.Hop, addr netip.AddrPort, a smtpclient.Answer) {
	t.d.needs.Events.Emit(event.ConnectionFailed{Site: t.a.Route.Site, Host: strings.ToLower(hop.Name), Addr: addr, Stage: a.Stage, Reply: a.Reply})
}
