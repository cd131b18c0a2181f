package deliver

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtpclient"
)

// A race opens sessions to the endpoints of a smart host, one after the other
// with a head start, until one is ready for AUTH. It does what trying them one
// after the other would do, only without waiting for silence (SH-3):
//
//   - who is silent for headStart, or says nothing for greetTime once connected,
//     gives the next one leave to begin;
//   - who speaks is waited for by those after it, for patience;
//   - who cannot prove who it is ends the race, unless one before it is ready.
//
// So a slow first endpoint does not lose to a fast second one, and an endpoint
// that is not to be trusted is never passed over in favour of one after it.
const (
	// headStart is how long an endpoint may be silent before the next begins:
	// above most round trips (RFC 8305 §5 has 250 ms for addresses).
	headStart = 300 * time.Millisecond
	// greetTime is how long one that took the connection may wait with its first
	// word: many servers pause on purpose before they greet.
	greetTime = 2 * time.Second
	// patience is how long one that has spoken may take to be ready.
	patience = 5 * time.Second
	// loserTime is how long those that lost may take to get to where QUIT can
	// be said (CLI-35).
	loserTime = 10 * time.Second
	// lanesMax bounds the connections of one race.
	lanesMax = 16
)

// lane is one endpoint at one of its addresses.
type lane struct {
	hop   mail.Hop
	addr  netip.AddrPort
	proof proof
}

// arrival is how a lane ended.
type arrival struct {
	n      int
	client *smtpclient.Client
	conn   net.Conn
	how    manner
	fail   *smtpclient.Answer
	step   step // of a failure: otherHost if only the endpoint cannot be reached
}

// sign is a sign of life: the connection was taken, or a first word said.
type sign struct {
	n     int
	spoke bool
}

// race is one being run; its fields belong to the goroutine of run.
type race struct {
	t       *attempt
	lanes   []lane
	dialing context.Context // of those not connected yet: ends with the race
	talking context.Context // of the others: ends a little later
	results chan arrival
	signs   chan sign

	begun, back int // lanes that set out, and came back
	running     map[int]bool
	heard       map[int]bool
	ready       *arrival // the best so far
	distrust    *arrival // the best of those not to be trusted
	fails       []arrival
	lastCall    <-chan time.Time // when those that are waited for have had their time
}

// run returns who won, or who ended the race for want of trust, or neither: then
// nobody could be reached.
func (r *race) run(ctx context.Context) (won, distrusted *arrival) {
	var stopDial, stopTalk context.CancelFunc
	r.dialing, stopDial = context.WithCancel(ctx)
	r.talking, stopTalk = context.WithCancel(r.t.d.life)
	r.results, r.signs = make(chan arrival, len(r.lanes)), make(chan sign, 2*len(r.lanes))
	r.running, r.heard = map[int]bool{}, map[int]bool{}
	defer func() {
		stopDial()
		r.leave(stopTalk)
	}()
	next := time.NewTimer(headStart)
	defer next.Stop()
	r.begin(next)
	for {
		if over := r.over(); over {
			return r.ready, r.distrust
		}
		select {
		case a := <-r.results:
			r.arrived(a)
			if len(r.running) == 0 && r.mayBegin() {
				r.begin(next)
			}
		case s := <-r.signs:
			if r.heard[s.n] = r.heard[s.n] || s.spoke; s.spoke {
				next.Reset(patience)
			} else {
				next.Reset(greetTime)
			}
		case <-next.C:
			if r.mayBegin() {
				r.begin(next)
			}
		case <-r.lastCall:
			clear(r.running) // no longer waited for
		case <-ctx.Done():
			r.dismiss()
			return nil, r.distrust
		}
	}
}

// mayBegin: once somebody is ready or not to be trusted nobody new sets out.
func (r *race) mayBegin() bool {
	return r.begun < len(r.lanes) && r.ready == nil && r.distrust == nil
}

func (r *race) begin(next *time.Timer) {
	n, l := r.begun, r.lanes[r.begun]
	how := r.t.mannerOf(l)
	r.begun++
	r.running[n] = true
	next.Reset(headStart)
	alive := signs{ // there is room for one of each
		open:  sync.OnceFunc(func() { r.signs <- sign{n, false} }),
		spoke: sync.OnceFunc(func() { r.signs <- sign{n, true} }),
	}
	r.t.d.losers.Go(func() { r.results <- r.t.approach(r.dialing, r.talking, n, l, how, alive) })
}

func (r *race) arrived(a arrival) {
	r.back++
	delete(r.running, a.n)
	switch {
	case a.fail == nil && (r.ready == nil || a.n < r.ready.n):
		r.dismiss()
		r.ready = &a
	case a.fail == nil:
		r.t.d.dismiss(a.client)
	case a.step == otherHost:
		r.fails = append(r.fails, a)
	case r.distrust == nil || a.n < r.distrust.n:
		r.distrust = &a
	}
}

// dismiss sees off who was ready.
func (r *race) dismiss() {
	if r.ready != nil {
		r.t.d.dismiss(r.ready.client)
		r.ready = nil
	}
}

// over says whether the race is. Those before the best of the ready are waited
// for if they have spoken; those before one that is not to be trusted in any
// case, for nothing may be sent unless one of them is ready.
func (r *race) over() bool {
	if r.distrust != nil && r.ready != nil {
		if r.distrust.n < r.ready.n {
			r.dismiss()
		}
	}
	switch {
	case r.ready != nil && !r.waits(r.ready.n, true):
		r.distrust = nil
		return true
	case r.ready == nil && r.distrust != nil && !r.waits(r.distrust.n, false):
		return true
	case r.ready == nil && r.distrust == nil:
		return len(r.running) == 0 && r.begun == len(r.lanes)
	}
	if r.lastCall == nil {
		r.lastCall = time.After(patience)
	}
	return false
}

// waits reports that one of those before n is still on its way, and, if that is
// asked for, has spoken.
func (r *race) waits(n int, spoken bool) bool {
	for i := range n {
		if r.running[i] && (r.heard[i] || !spoken) {
			return true
		}
	}
	return false
}

// leave lets those that lost say QUIT as soon as they can.
func (r *race) leave(stopTalk context.CancelFunc) {
	left := r.begun - r.back
	if left == 0 {
		stopTalk()
		return
	}
	late := time.AfterFunc(loserTime, stopTalk)
	r.t.d.losers.Go(func() {
		for range left {
			if a := <-r.results; a.client != nil {
				r.t.d.dismiss(a.client)
			}
		}
		late.Stop()
		stopTalk()
	})
}

// dismiss says goodbye to a session that is not needed.
func (d *Deliverer) dismiss(c *smtpclient.Client) { d.pool.end(&session{client: c}) }

// signs hears of a lane's signs of life.
type signs struct{ open, spoke func() }

// approach opens a session on a lane, up to where AUTH may be said, and not
// further: only the winner shows the credential.
func (t *attempt) approach(dialing, talking context.Context, n int, l lane, how manner, alive signs) arrival {
	for {
		c, conn, err := t.approachOnce(dialing, talking, l, how, alive)
		if err == nil {
			return arrival{n: n, client: c, conn: conn, how: how}
		}
		a := asAnswer(err)
		s := judgeEndpoint(a, how, t.a.Number).step
		if s == classic && dialing.Err() == nil {
			how.classic = true
			continue
		}
		if dialing.Err() == nil {
			t.failed(l.hop, l.addr, a)
		}
		return arrival{n: n, how: how, fail: &a, step: s}
	}
}

// judgeEndpoint judges a failure before MAIL at one endpoint of several.
func judgeEndpoint(a smtpclient.Answer, how manner, number uint32) verdict {
	return judge(a, situation{security: how.security, smarthost: true, classic: how.classic, more: true, number: number,
		timely: a.Kind == smtpclient.Handshake && passing(a.Reply.Cause)})
}

func (t *attempt) approachOnce(dialing, talking context.Context, l lane, how manner, alive signs) (*smtpclient.Client, net.Conn, error) {
	if l.proof.fail != nil {
		return nil, nil, *l.proof.fail
	}
	conn, err := t.dial(dialing, l.hop, l.addr)
	if err != nil {
		return nil, nil, err
	}
	alive.open()
	o := t.options(l.hop, how)
	o.Login = nil
	c, err := smtpclient.Open(talking, &listening{Conn: conn, heard: alive.spoke}, o)
	return c, conn, err
}

// listening notices the first word of a peer.
type listening struct {
	net.Conn
	known atomic.Bool
	heard func()
}

// Read implements net.Conn.
func (l *listening) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 && !l.known.Load() {
		l.known.Store(true)
		l.heard()
	}
	return n, err
}
