package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

// vainMax bounds the sessions of one attempt that bring no recipient further:
// stale ones, endpoints that die in the middle, no CHUNKING.
const vainMax = 8

// toSmarthost carries a message to a smart host, by the endpoint that works
// (SH-3, SH-5). Another one is used only when one cannot be reached; who may
// have the message is not passed over for another (SH-6).
func (t *attempt) toSmarthost(ctx context.Context) []mail.Outcome {
	lanes := t.lanes(ctx)
	fresh := false
	for vain := 0; vain < vainMax && len(lanes) > 0 && len(t.pending) > 0 && !t.spent(ctx); vain++ {
		left := len(t.pending)
		e := t.endpoint(ctx, lanes, fresh)
		if e == nil {
			break
		}
		others := without(lanes, e.hop)
		p := place{hop: e.hop, addr: e.addr, more: len(others) > 0}
		next := t.transactions(ctx, p, e.session, e.how, e.reused)
		t.d.pool.put(e.session)
		switch next {
		case afresh:
			fresh = true
		case simply: // MIS-13
			fresh = true
			t.d.quirks.learn(e.addr, quirk{noChunking: true})
		case otherHost:
			lanes = others
		default:
			return t.finish(ctx)
		}
		if len(t.pending) < left {
			vain = 0
		}
	}
	return t.finish(ctx)
}

// lanes are the endpoints at their addresses, in the order to be tried: of each
// endpoint one address of each family, then, beyond all endpoints, the others.
func (t *attempt) lanes(ctx context.Context) []lane {
	hops := t.d.needs.Endpoints.order(t.a.Route.Account, t.network(), t.a.Route.Hops)
	hops = hops[:min(len(hops), hostsMax)]
	proofs := t.proofs(ctx, hops)
	found := map[string][]netip.AddrPort{}
	var first, more []lane
	for n, h := range hops {
		addrs, known := found[h.Name]
		if !known {
			var trouble *mail.Outcome
			if addrs, trouble = t.addrs(ctx, h); trouble != nil {
				t.note(*trouble)
			}
			found[h.Name] = addrs
		}
		for i, a := range addrs {
			l := lane{h, netip.AddrPortFrom(a.Addr(), h.Port), proofs[n]}
			if slices.ContainsFunc(addrs[:i], func(o netip.AddrPort) bool { return o.Addr().Is4() == a.Addr().Is4() }) {
				more = append(more, l)
			} else {
				first = append(first, l)
			}
		}
	}
	all := append(first, more...)
	return all[:min(len(all), lanesMax)]
}

// mannerOf is how a lane is first approached.
func (t *attempt) mannerOf(l lane) manner {
	return manner{security: t.security(l.hop), quirk: t.quirk(l.addr), dane: l.proof.dane}
}

func without(lanes []lane, hop mail.Hop) []lane {
	return slices.DeleteFunc(slices.Clone(lanes), func(l lane) bool { return endpointName(l.hop) == endpointName(hop) })
}

// network names where we are, for what is remembered of endpoints.
func (t *attempt) network() string {
	if t.d.needs.Network == nil {
		return ""
	}
	return t.d.needs.Network(t.source.Addr)
}

// reached is an endpoint with a session that may carry mail.
type reached struct {
	lane
	session *session
	how     manner
	reused  bool
}

// endpoint gets a session: an idle one of the first endpoint, or that of the
// winner of a race. Without one the outcome is noted, and nil returned.
func (t *attempt) endpoint(ctx context.Context, lanes []lane, fresh bool) *reached {
	if !fresh {
		for _, l := range lanes {
			if endpointName(l.hop) != endpointName(lanes[0].hop) || l.proof.fail != nil {
				break
			}
			how := t.mannerOf(l)
			if s := t.d.pool.take(t.key(l.hop, l.addr, how)); s != nil {
				return &reached{l, s, how, true}
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, t.d.conf.Budget)
	defer cancel()
	for len(lanes) > 0 && ctx.Err() == nil {
		t.tried++
		began := time.Now()
		r := &race{t: t, lanes: lanes}
		won, distrusted := r.run(ctx)
		switch {
		case distrusted != nil:
			t.stopped(lanes[distrusted.n], *distrusted.fail, distrusted.how)
			return nil
		case won == nil:
			t.unreachable(lanes, r.fails)
			return nil
		}
		l := lanes[won.n]
		err := won.client.Authenticate(ctx, t.credential().Login)
		if err == nil {
			t.arrived(lanes, r, l, won, began)
			return &reached{l, t.newSession(won, l), won.how, false}
		}
		a := asAnswer(err)
		t.failed(l.hop, l.addr, a)
		if judgeEndpoint(a, won.how, t.a.Number).step != otherHost {
			t.stopped(l, a, won.how)
			return nil
		}
		t.unreachable([]lane{l}, []arrival{{fail: &a, how: won.how}})
		lanes = without(lanes, l.hop)
	}
	return nil
}

func (t *attempt) newSession(won *arrival, l lane) *session {
	s := &session{client: won.client, conn: won.conn, idle: t.profile().Idle, key: t.key(l.hop, l.addr, won.how)}
	if limit := t.d.needs.PerConnection; limit != nil {
		s.most = limit(t.a.Route.Site)
	}
	return s
}

// arrived remembers the endpoint that was ready first, and why those before it
// were not.
func (t *attempt) arrived(lanes []lane, r *race, l lane, won *arrival, began time.Time) {
	t.opened(l.hop, l.addr, won.client, time.Since(began))
	name, first := t.a.Route.Account, t.a.Route.Hops[0]
	t.d.needs.Endpoints.trusted(name, l.hop)
	t.d.needs.Endpoints.ready(name, t.network(), first, l.hop, troubles(lanes[:won.n], r.fails, l.hop))
	if endpointName(first) != endpointName(l.hop) {
		t.d.lookUpward(t)
	}
}

// troubles says in plain words what is wrong with lanes that were passed over.
func troubles(lanes []lane, fails []arrival, won mail.Hop) string {
	said := map[string]string{}
	var order []string
	for n, l := range lanes {
		name := endpointName(l.hop)
		if name == endpointName(won) {
			continue
		}
		if _, known := said[name]; !known {
			order = append(order, name)
		}
		said[name] = "is silent"
		for _, f := range fails {
			if f.n == n {
				said[name] = troubleWords(*f.fail)
			}
		}
	}
	for i, name := range order {
		order[i] = name + " " + said[name]
	}
	return strings.Join(order, ", ")
}

// troubleWords says why an endpoint could not be used, as a predicate.
func troubleWords(a smtpclient.Answer) string {
	cause := a.Reply.Cause
	switch {
	case a.Stage == mail.StageRoute:
		return "is left alone: " + a.Reply.Text
	case a.Kind == smtpclient.Said:
		return "says " + smtp.Printable(a.Reply.String())
	case errors.Is(cause, syscall.ECONNREFUSED):
		return "refuses connections"
	case errors.Is(cause, syscall.ECONNRESET):
		return "resets connections"
	case errors.Is(cause, syscall.EHOSTUNREACH) || errors.Is(cause, syscall.ENETUNREACH):
		return "is unreachable"
	case a.Kind == smtpclient.Garbage:
		return "does not speak SMTP"
	case a.Kind == smtpclient.Handshake:
		return "fails at TLS"
	case cause != nil && passing(cause) || errors.Is(cause, context.DeadlineExceeded):
		return "is silent"
	}
	return "fails: " + a.Reply.Text
}

// unreachable notes that no endpoint can be reached. What a peer said tells more
// than silence; of several silent ones each is named.
func (t *attempt) unreachable(lanes []lane, fails []arrival) {
	slices.SortStableFunc(fails, func(a, b arrival) int { return a.n - b.n })
	at := slices.IndexFunc(fails, func(f arrival) bool { return f.fail.Kind == smtpclient.Said })
	if at < 0 {
		at = 0
	}
	a, l, how := smtpclient.Answer{Kind: smtpclient.Lost, Stage: mail.StageConnect, Reply: smtp.NoHost}, lanes[0], manner{}
	if len(fails) > 0 {
		a, how = *fails[at].fail, fails[at].how
		l = lanes[min(fails[at].n, len(lanes)-1)]
	}
	if one := endpointName(lanes[0].hop); a.Kind != smtpclient.Said && slices.ContainsFunc(lanes, func(l lane) bool { return endpointName(l.hop) != one }) {
		a.Reply = smtp.NoHost.WithText("No endpoint of %s can be reached: %s", t.a.Route.Account, troubles(lanes, fails, mail.Hop{})).Because(a.Reply.Cause)
	}
	v := judgeEndpoint(a, how, t.a.Number)
	v.result, v.reach = mail.Deferred, mail.ThisSite // never for good: it is our way out, not their mailbox
	t.note(t.outcome(place{hop: l.hop, addr: l.addr}, a, v, nil))
}

// stopped notes that nothing may leave by this smart host now (P4, SH-3): its
// idle sessions go too, and the operator is told.
func (t *attempt) stopped(l lane, a smtpclient.Answer, how manner) {
	p := place{hop: l.hop, addr: l.addr}
	v := judgeEndpoint(a, how, t.a.Number)
	v.result, v.reach = mail.Deferred, mail.ThisSite
	t.note(t.outcome(p, a, v, nil))
	if a.Kind == smtpclient.Said && a.Reply.Transient() {
		return // 454 and the like: theirs, and it passes
	}
	t.d.pool.drop(t.a.Route.Account)
	t.d.needs.Endpoints.alarm(t.a.Route.Account, p, a, true)
}

// errUnsafe ends a re-check at an endpoint that is not to be trusted.
var errUnsafe = errors.New("not to be trusted")

// errSlow: it would lose the next race, and we would go back and forth (SH-6).
var errSlow = errors.New("answers too slowly")

// lookUpward begins to look from time to time whether an endpoint before the
// one in use works again, until the first does (SH-5). One such look-out is kept
// per smart host.
func (d *Deliverer) lookUpward(t *attempt) {
	name := t.a.Route.Account
	key := networkKey(name, t.network())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watched[key] || d.open.Err() != nil {
		return
	}
	d.watched[key] = true
	watch := &attempt{d: d, a: mail.Attempt{Route: t.a.Route, Number: 1}, source: t.source}
	d.losers.Go(func() {
		defer func() {
			d.mu.Lock()
			delete(d.watched, key)
			d.mu.Unlock()
		}()
		for watch.pause() && watch.lookOnce() {
		}
	})
}

// pause waits for the time of the next look; false: there is none.
func (t *attempt) pause() bool {
	timer := time.NewTimer(t.profile().Recheck)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.d.open.Done():
		return false
	}
}

// lookOnce looks at the endpoints before the one in use, stops before AUTH, and
// reports whether to look again.
func (t *attempt) lookOnce() bool {
	name, first := t.a.Route.Account, t.a.Route.Hops[0]
	used, ok := t.d.needs.Endpoints.recall(name, t.network())
	if !ok || used.Instead != endpointName(first) {
		return false
	}
	for _, h := range t.a.Route.Hops {
		if endpointName(h) == used.Endpoint {
			return true
		}
		err := t.look(h)
		if errors.Is(err, errUnsafe) {
			return true // those after it are no better for us than the one in use
		}
		if err == nil {
			t.d.needs.Endpoints.ready(name, t.network(), first, h, endpointName(h)+" answers again")
			return endpointName(h) != endpointName(first)
		}
	}
	return false
}

// lookTime bounds the look at one endpoint: it is looked at again soon.
const lookTime = 20 * time.Second

func (t *attempt) look(h mail.Hop) error {
	ctx, cancel := context.WithTimeout(t.d.open, lookTime)
	defer cancel()
	addrs, trouble := t.addrs(ctx, h)
	if trouble != nil {
		return trouble.Reply
	}
	var err error = smtp.NoHost
	proof := t.proof(ctx, h)
	for _, addr := range addrs {
		l := lane{h, addr, proof}
		how := manner{security: t.security(h), quirk: t.d.quirks.of(addr), dane: proof.dane}
		var spoke atomic.Int64
		began := time.Now()
		a := t.approach(ctx, ctx, 0, l, how, signs{open: func() {}, spoke: func() { spoke.Store(int64(time.Since(began))) }})
		if a.fail == nil {
			t.d.dismiss(a.client)
			if time.Duration(spoke.Load()) > greetTime {
				return errSlow
			}
			return nil
		}
		if a.step != otherHost {
			t.d.needs.Endpoints.alarm(t.a.Route.Account, place{hop: h, addr: addr}, *a.fail, false)
			return fmt.Errorf("%w: %w", errUnsafe, a.fail)
		}
		err = a.fail
	}
	return err
}
