package deliver

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtpclient"
)

// key is what must be the same for a session to be used again (CLI-40,
// CLI-43).
type key struct {
	addr     netip.AddrPort
	source   netip.Addr
	ehlo     string
	name     string // verified name; "" if none was
	security mail.Security
	account  string
	lmtp     bool
	plain    quirk
	dane     bool // verified by TLSA records
}

// session is one that can carry another message.
type session struct {
	client *smtpclient.Client
	key    key
	conn   net.Conn      // under TLS; nil unless it is watched
	idle   time.Duration // it may be unused for; 0: as the pool says
	most   int           // messages its site lets it carry; 0: any number
	timer  *time.Timer   // ends it when idle too long
}

// mayCarry reports that the session can take another transaction (CLI-41).
func (s *session) mayCarry(l PoolLimits) bool {
	c := s.client
	most := l.Messages
	if s.most > 0 {
		most = min(most, s.most)
	}
	if n := c.Extensions().Limits().MailMax; n > 0 {
		most = min(most, n)
	}
	return c.Usable() && c.Transactions() < most && time.Since(c.Opened()) < l.Age
}

// pool keeps idle sessions, the last used first.
type pool struct {
	limits PoolLimits
	mu     sync.Mutex
	idle   map[key][]*session
	count  int
	closed bool
	ending map[*session]bool // those that say QUIT
	ended  sync.WaitGroup    // of them
}

func newPool(l PoolLimits) *pool {
	return &pool{limits: l, idle: make(map[key][]*session), ending: make(map[*session]bool)}
}

// take returns an idle session that is still good, or nil.
func (p *pool) take(k key) *session {
	for {
		p.mu.Lock()
		list := p.idle[k]
		if len(list) == 0 {
			p.mu.Unlock()
			return nil
		}
		s := list[len(list)-1]
		p.remove(s)
		p.mu.Unlock()
		s.timer.Stop()
		if s.mayCarry(p.limits) && s.client.Idle() {
			return s
		}
		p.end(s)
	}
}

// remove takes s off the list; the lock is held. It reports whether it was on.
func (p *pool) remove(s *session) bool {
	list := p.idle[s.key]
	i := slices.Index(list, s)
	if i < 0 {
		return false
	}
	list = slices.Delete(list, i, i+1)
	p.count--
	if len(list) == 0 {
		delete(p.idle, s.key)
	} else {
		p.idle[s.key] = list
	}
	return true
}

// put gives a session back: to be kept, or to be ended.
func (p *pool) put(s *session) {
	if !s.mayCarry(p.limits) {
		p.end(s)
		return
	}
	p.mu.Lock()
	if p.closed || p.count >= p.limits.Total || len(p.idle[s.key]) >= p.limits.PerHost {
		p.mu.Unlock()
		p.end(s)
		return
	}
	p.idle[s.key] = append(p.idle[s.key], s)
	p.count++
	idle := p.limits.Idle
	if s.idle > 0 {
		idle = min(idle, s.idle)
	}
	if s.timer == nil {
		s.timer = time.AfterFunc(idle, func() { p.expire(s) })
	} else {
		s.timer.Reset(idle)
	}
	p.mu.Unlock()
}

// drop ends the idle sessions of a smart host.
func (p *pool) drop(account string) {
	p.mu.Lock()
	var all []*session
	for k, list := range p.idle {
		if k.account == account {
			all = append(all, list...)
			p.count -= len(list)
			delete(p.idle, k)
		}
	}
	p.mu.Unlock()
	for _, s := range all {
		s.timer.Stop()
		p.end(s)
	}
}

func (p *pool) expire(s *session) {
	p.mu.Lock()
	had := p.remove(s)
	p.mu.Unlock()
	if had {
		p.end(s)
	}
}

// end says QUIT without keeping anybody waiting for the answer (CLI-35).
func (p *pool) end(s *session) {
	if !s.client.Usable() {
		s.client.Close()
		return
	}
	p.mu.Lock()
	p.ending[s] = true
	p.ended.Add(1)
	p.mu.Unlock()
	go func() {
		defer p.ended.Done()
		s.client.Quit()
		p.mu.Lock()
		delete(p.ending, s)
		p.mu.Unlock()
	}()
}

// closeMax is how long peers have to answer QUIT when we stop.
const closeMax = 5 * time.Second

// close ends all idle sessions and waits until they are.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	var all []*session
	for _, list := range p.idle {
		all = append(all, list...)
	}
	p.idle, p.count = make(map[key][]*session), 0
	p.mu.Unlock()
	for _, s := range all {
		s.timer.Stop()
		p.end(s)
	}
	defer time.AfterFunc(closeMax, p.abort).Stop()
	p.ended.Wait()
}

// abort breaks the sessions whose peers do not answer QUIT.
func (p *pool) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := range p.ending {
		s.client.Abort()
	}
}

// prefer moves, among the hops of the best preference, one with an idle
// session to the front: equal ones are tried in any order (MX-4), and a session
// saves three round trips.
func (p *pool) prefer(hops []mail.Hop, t *attempt) []mail.Hop {
	if !t.a.Route.ByMX || len(hops) < 2 {
		return hops
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count == 0 {
		return hops
	}
	for i, h := range hops {
		if h.Preference != hops[0].Preference {
			break
		}
		if i > 0 && p.hasIdle(h, t) {
			out := slices.Clone(hops)
			copy(out[1:], hops[:i])
			out[0] = h
			return out
		}
		if i == 0 && p.hasIdle(h, t) {
			break
		}
	}
	return hops
}

func (p *pool) hasIdle(h mail.Hop, t *attempt) bool {
	how := manner{security: t.security(h)}
	for _, a := range h.Addrs {
		addr := netip.AddrPortFrom(a, h.Port)
		how.quirk = t.d.quirks.of(addr)
		if len(p.idle[t.key(h, addr, how)]) > 0 {
			return true
		}
	}
	return false
}
