package main

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"paquebot/internal/mail"
)

// endpoint is one port to try, with the job that ports of this number have.
type endpoint struct {
	host  string
	port  uint16
	mode  mail.Security
	addrs []netip.Addr // of the host; nil: to be looked up
}

func (e endpoint) String() string { return net.JoinHostPort(e.host, strconv.Itoa(int(e.port))) }

// dialed is what became of connecting to an endpoint.
type dialed struct {
	endpoint
	conn net.Conn
	took time.Duration
	err  error
}

// headStart is what an endpoint has before the next one is tried beside it: a
// filtered port stays silent for ever, and nobody waits for that.
const headStart = 300 * time.Millisecond

// race connects to endpoints in their order (SH-5), each with a head start. It
// yields them as they answer, and only who can be reached is spoken to.
type race struct {
	list    []endpoint
	timeout time.Duration
	begun   int
	flying  int
	results chan dialed
	stop    context.CancelFunc
	ctx     context.Context
}

func newRace(ctx context.Context, list []endpoint, timeout time.Duration) *race {
	ctx, stop := context.WithCancel(ctx)
	return &race{list: list, timeout: timeout, results: make(chan dialed, len(list)), ctx: ctx, stop: stop}
}

// next returns the next endpoint that answered, or that cannot be reached; ok is
// false when there is none left.
func (r *race) next() (d dialed, ok bool) {
	for {
		if r.flying == 0 {
			if r.begun == len(r.list) {
				return dialed{}, false
			}
			r.begin()
		}
		var late <-chan time.Time
		if r.begun < len(r.list) {
			late = time.After(headStart)
		}
		select {
		case d := <-r.results:
			r.flying--
			return d, true
		case <-late:
			r.begin()
		}
	}
}

func (r *race) begin() {
	e := r.list[r.begun]
	r.begun++
	r.flying++
	go func() {
		began := time.Now()
		conn, err := e.dial(r.ctx, r.timeout)
		r.results <- dialed{e, conn, time.Since(began), err}
	}()
}

// end closes what was connected to in vain.
func (r *race) end() {
	r.stop()
	for ; r.flying > 0; r.flying-- {
		if d := <-r.results; d.conn != nil {
			d.conn.Close()
		}
	}
}

// dial connects to one address of the endpoint after the other.
func (e endpoint) dial(ctx context.Context, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	names := []string{e.host}
	if len(e.addrs) > 0 {
		names = names[:0]
		for _, a := range e.addrs[:min(len(e.addrs), addrsTried)] {
			names = append(names, a.String())
		}
	}
	var conn net.Conn
	var err error
	for _, name := range names {
		var one net.Dialer
		one.Timeout = timeout / time.Duration(len(names))
		if conn, err = one.DialContext(ctx, "tcp", net.JoinHostPort(name, strconv.Itoa(int(e.port)))); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// addrsTried bounds the addresses of one host.
const addrsTried = 4
