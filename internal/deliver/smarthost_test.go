package deliver_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/deliver"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/provider"
	"paquebot/internal/sim"
	"paquebot/internal/smtpclient"
	"paquebot/internal/smtpclient/peertest"
)

// endpointOf is how one port of a relay behaves.
type endpointOf struct {
	implicit bool
	fault    sim.Fault
	mute     bool          // takes connections and says nothing
	slow     time.Duration // before each reply
	greeting string        // "": 220
	noTLS    bool
	wrong    bool // another certificate
	auth     string
	dot      string // reply to the content; "cut": hangs up; "": 250
}

// relayOf is a smart host on a network in memory.
type relayOf struct {
	t       *testing.T
	network *sim.Network
	good    *tls.Config
	bad     *tls.Config
	roots   *x509.CertPool
	unheard func(net.Conn) time.Duration
	names   deliver.Resolver // nil: nobody knows any
	pinned  *x509.CertPool   // the root the operator names for it, if any
	wg      sync.WaitGroup

	mu       sync.Mutex
	ports    map[uint16]*endpointOf
	took     []uint16 // by which port each message came
	content  []string
	auths    map[uint16]int
	quits    int
	sessions int
	rcpts    []int // of each message
}

func newRelay(t *testing.T, ports map[uint16]*endpointOf) (*relayOf, func()) {
	r := &relayOf{t: t, network: sim.NewNetwork(), ports: ports, auths: map[uint16]int{}}
	r.bad, _ = peertest.Certificate("shield.example")
	var all []net.Listener
	for port, e := range ports {
		at := fmt.Sprintf("192.0.2.1:%d", port)
		r.network.SetFault(at, e.fault)
		l, err := r.network.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
		r.wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				r.wg.Go(func() { r.serve(c, port) })
			}
		})
	}
	return r, func() {
		for _, l := range all {
			_ = l.Close()
		}
		r.wg.Wait()
	}
}

func (r *relayOf) of(port uint16) endpointOf {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.ports[port]
}

func (r *relayOf) set(port uint16, change func(*endpointOf)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.ports[port])
	r.network.SetFault(fmt.Sprintf("192.0.2.1:%d", port), r.ports[port].fault)
}

func (r *relayOf) count(what func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what()
}

func (r *relayOf) serve(c net.Conn, port uint16) {
	e := r.of(port)
	defer func() { _ = c.Close() }()
	r.count(func() { r.sessions++ })
	if e.mute {
		_, _ = io.Copy(io.Discard, c)
		return
	}
	cert := r.good
	if e.wrong {
		cert = r.bad
	}
	safe := e.implicit
	if safe {
		c = tls.Server(c, cert)
	}
	in := bufio.NewReader(c)
	say := func(line string) { time.Sleep(e.slow); _, _ = io.WriteString(c, line+"\r\n") }
	if say(or(e.greeting, "220 relay.example")); e.greeting != "" {
		return
	}
	rcpts := 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb, _, _ = strings.Cut(verb, ":"); {
		case verb == "EHLO" && !safe && !e.noTLS:
			say("250-relay.example\r\n250 STARTTLS")
		case verb == "EHLO":
			say("250-relay.example\r\n250 AUTH PLAIN")
		case verb == "STARTTLS":
			say("220 go")
			c, safe = tls.Server(c, cert), true
			in = bufio.NewReader(c)
		case verb == "AUTH":
			r.count(func() { r.auths[port]++ })
			say(or(e.auth, "235 welcome"))
		case verb == "MAIL":
			rcpts = 0
			say("250 ok")
		case verb == "RCPT":
			rcpts++
			say("250 ok")
		case verb == "DATA":
			say("354 go")
			var b strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				b.WriteString(line)
			}
			r.count(func() {
				r.took, r.content, r.rcpts = append(r.took, port), append(r.content, b.String()), append(r.rcpts, rcpts)
			})
			switch e.dot {
			case "cut":
				return
			case "mute":
				_, _ = io.Copy(io.Discard, in)
				return
			}
			say(or(e.dot, "250 2.0.0 queued"))
		case verb == "QUIT":
			r.count(func() { r.quits++ })
			say("221 bye")
			return
		default:
			say("500 what")
		}
	}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// route leads to ports of the relay, in this order.
func (r *relayOf) route(ports ...uint16) mail.Route {
	out := mail.Route{Site: "relay", Transport: mail.SMTP, Security: mail.Verify, Account: "relay"}
	for _, p := range ports {
		h := mail.Hop{Name: "relay.example", Port: p, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
		if p == 465 {
			h.Security = mail.Implicit
		}
		out.Hops = append(out.Hops, h)
	}
	return out
}

// bench is a Deliverer with what it said.
type bench struct {
	*deliver.Deliverer
	mu     sync.Mutex
	events []string
}

func (b *bench) Emit(e event.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := e.(type) {
	case event.SmarthostChanged:
		b.events = append(b.events, fmt.Sprintf("changed %s → %s: %s", e.From, e.To, e.Why))
	case event.SmarthostAlarmed:
		b.events = append(b.events, fmt.Sprintf("alarm %s stopped=%v", e.Endpoint, e.Stopped))
	case event.SmarthostMended:
		b.events = append(b.events, "mended "+e.Endpoint)
	case event.ContentAdapted:
		b.events = append(b.events, fmt.Sprintf("adapted -%v +%v", e.Stripped, e.Added))
	}
}

func (b *bench) said() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.events, "; ")
}

func (r *relayOf) bench(p deliver.Profile, memory *deliver.Endpoints) *bench {
	b := &bench{}
	if r.good == nil {
		r.good, r.roots = peertest.Certificate("relay.example")
	}
	if memory == nil {
		memory = deliver.NewEndpoints(nil, b)
	}
	if r.names == nil {
		r.names = noNames{}
	}
	b.Deliverer = deliver.New(deliver.Config{Hostname: "here.example", Roots: r.roots}, deliver.Needs{
		Names: r.names, Dial: dialer(r.network), Events: b, Endpoints: memory,
		Profile: func(string) deliver.Profile { return p }, Unheard: r.unheard,
		Credential: func(string) (deliver.Credential, bool) {
			return deliver.Credential{Login: &smtpclient.Login{User: "user", Password: "pass"}, Roots: r.pinned}, true
		},
	})
	return b
}

// SH-3, SH-5, P4: which endpoint carries the mail, when, and what is said of it.
// The race does what trying in order would, without waiting for silence.
func TestRace(t *testing.T) {
	const rtt = 50 * time.Millisecond
	for _, row := range []struct {
		name   string
		ports  map[uint16]*endpointOf
		want   string // port, or what the outcome says
		within time.Duration
		said   string
	}{
		{"the first answers", map[uint16]*endpointOf{587: {}, 465: {implicit: true}, 2525: {}}, "587", 0, ""},
		{"the first is silent", map[uint16]*endpointOf{587: {fault: sim.Silent}, 465: {implicit: true}, 2525: {}}, "465", time.Second,
			"changed relay.example:587 → relay.example:465: relay.example:587 is silent"},
		{"the first refuses", map[uint16]*endpointOf{587: {fault: sim.Refused}, 465: {implicit: true}, 2525: {}}, "465", 0,
			"changed relay.example:587 → relay.example:465: relay.example:587 refuses connections"},
		{"the first takes connections and says nothing", map[uint16]*endpointOf{587: {mute: true}, 465: {implicit: true}, 2525: {}}, "465", 4 * time.Second,
			"changed relay.example:587 → relay.example:465: relay.example:587 is silent"},
		{"two are silent", map[uint16]*endpointOf{587: {fault: sim.Silent}, 465: {fault: sim.Silent}, 2525: {}}, "2525", 2 * time.Second,
			"changed relay.example:587 → relay.example:2525: relay.example:587 is silent, relay.example:465 is silent"},
		{"the first says 421", map[uint16]*endpointOf{587: {greeting: "421 4.3.2 down"}, 465: {implicit: true}, 2525: {}}, "465", time.Second,
			"changed relay.example:587 → relay.example:465: relay.example:587 says 421 4.3.2 down"},
		{"the first is no mail server", map[uint16]*endpointOf{587: {greeting: "HTTP/1.1 400 Bad Request"}, 465: {implicit: true}, 2525: {}}, "465", time.Second,
			"changed relay.example:587 → relay.example:465: relay.example:587 does not speak SMTP"},
		{"the first is slow but speaks: it is waited for", map[uint16]*endpointOf{587: {slow: 700 * time.Millisecond}, 465: {implicit: true}, 2525: {}}, "587", 10 * time.Second, ""},
		{"the first has a wrong certificate: all stops", map[uint16]*endpointOf{587: {wrong: true}, 465: {implicit: true}, 2525: {}}, "4.7.5", time.Second,
			"alarm relay.example:587 stopped=true"},
		{"the first lost its STARTTLS: all stops", map[uint16]*endpointOf{587: {noTLS: true}, 465: {implicit: true}, 2525: {}}, "4.7.5", time.Second,
			"alarm relay.example:587 stopped=true"},
		{"the first is silent, the second has a wrong certificate: all stops", map[uint16]*endpointOf{587: {fault: sim.Silent}, 465: {implicit: true, wrong: true}, 2525: {}}, "4.7.5", 10 * time.Second,
			"alarm relay.example:465 stopped=true"},
		{"the first is slow, the second has a wrong certificate: the first carries it", map[uint16]*endpointOf{587: {slow: 400 * time.Millisecond}, 465: {implicit: true, wrong: true}, 2525: {}}, "587", 10 * time.Second, ""},
		{"the credential is refused: all stops", map[uint16]*endpointOf{587: {auth: "535 5.7.8 no"}, 465: {implicit: true}, 2525: {}}, "4.7.8", time.Second,
			"alarm relay.example:587 stopped=true"},
		{"AUTH is throttled: no other port", map[uint16]*endpointOf{587: {auth: "454 4.7.0 Throttling"}, 465: {implicit: true}, 2525: {}}, "454 4.7.0", time.Second, ""},
		{"nobody is there", map[uint16]*endpointOf{587: {fault: sim.Silent}, 465: {fault: sim.Refused}, 2525: {fault: sim.Unreachable}},
			"relay.example:587 is silent, relay.example:465 refuses connections, relay.example:2525 is unreachable", 40 * time.Second, ""},
		{"all refuse us at the greeting: mail waits, however often", map[uint16]*endpointOf{587: {greeting: "554 no"}, 465: {greeting: "554 no"}, 2525: {greeting: "554 no"}}, "554", 10 * time.Second, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, stop := newRelay(t, row.ports)
				r.network.SetLatency("192.0.2.1", rtt/2)
				b := r.bench(deliver.Profile{}, nil)
				a := attemptTo(r.route(587, 465, 2525), "Subject: x\r\n\r\nhi\r\n", "b@there.example")
				a.Number = 9
				began := time.Now()
				o := b.Deliver(t.Context(), a)[0]
				took := time.Since(began)
				if limit := max(row.within, 20*rtt); took > limit {
					t.Errorf("took %v", took)
				}
				if o.Result == mail.Accepted {
					if got := fmt.Sprint(o.Addr.Port()); got != row.want {
						t.Errorf("left by %s", got)
					}
				} else if o.Result != mail.Deferred || o.Reach != mail.ThisSite || !strings.Contains(o.Reply.String(), row.want) {
					t.Errorf("%+v", o)
				}
				if b.said() != row.said {
					t.Errorf("said %q", b.said())
				}
				b.Close()
				stop()
				shown := 0
				for _, n := range r.auths {
					shown += n
				}
				if shown > 1 || o.Result == mail.Deferred && strings.Contains(row.want, "4.7.5") && shown > 0 {
					t.Errorf("the credential was shown %d times (%v)", shown, r.auths)
				}
				if n := r.network.Open(); n != 0 {
					t.Errorf("%d connections left open (TRAP-30)", n)
				}
			})
		})
	}
}

// SH-5: the endpoint that works is tried first from then on, across a restart;
// when the first is back, new connections use it, and the look that found out
// stopped before AUTH.
func TestTheWorkingEndpointIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {fault: sim.Silent}, 465: {implicit: true}})
		table := tableOf{}
		profile := deliver.Profile{Recheck: time.Minute}
		one := func(b *bench) mail.Outcome {
			return b.Deliver(t.Context(), attemptTo(r.route(587, 465), "Subject: x\r\n\r\nhi\r\n", "b@there.example"))[0]
		}
		b := r.bench(profile, deliver.NewEndpoints(table, nil))
		if o := one(b); o.Addr.Port() != 465 || !strings.Contains(o.Hint, "relay.example:587 is silent") {
			t.Fatalf("%+v", o)
		}
		b.Close()
		dials := r.network.Dials("192.0.2.1:587")
		memory := &bench{}
		b = r.bench(profile, deliver.NewEndpoints(table, memory)) // a restart
		if o := one(b); o.Addr.Port() != 465 || r.network.Dials("192.0.2.1:587") != dials {
			t.Errorf("%+v, 587 dialled %d times", o, r.network.Dials("192.0.2.1:587")-dials)
		}
		r.set(587, func(e *endpointOf) { e.fault = sim.Healthy })
		time.Sleep(2 * time.Minute)
		if memory.said() != "changed relay.example:465 → relay.example:587: relay.example:587 answers again" {
			t.Errorf("said %q", memory.said())
		}
		if r.auths[587] != 0 {
			t.Error("the look authenticated")
		}
		if o := one(b); o.Addr.Port() != 587 || o.Hint != "" || len(table) != 0 {
			t.Errorf("%+v %v", o, table)
		}
		b.Close()
		stop()
	})
}

// A remembered endpoint is forgotten after a day (SH-5), and elsewhere.
func TestEndpointsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {fault: sim.Silent}, 465: {implicit: true}})
		table := tableOf{}
		b := r.bench(deliver.Profile{Recheck: 100 * time.Hour}, deliver.NewEndpoints(table, nil))
		b.Deliver(t.Context(), attemptTo(r.route(587, 465), "\r\nhi\r\n", "b@there.example"))
		b.Close()
		stop()
		if e := deliver.NewEndpoints(table, nil); e.Remark("relay", "") == "" || e.Remark("relay", "elsewhere") != "" || e.Remark("other", "") != "" {
			t.Errorf("%q", e.Remark("relay", ""))
		}
		time.Sleep(25 * time.Hour)
		if e := deliver.NewEndpoints(table, nil); e.Remark("relay", "") != "" || len(table) != 0 {
			t.Errorf("%q %v", e.Remark("relay", ""), table)
		}
	})
}

type tableOf map[string][]byte

func (t tableOf) Each(_ []byte, yield func(key, value []byte) bool) error {
	for k, v := range t {
		if !yield([]byte(k), v) {
			return nil
		}
	}
	return nil
}
func (t tableOf) Put(k, v []byte) error { t[string(k)] = v; return nil }
func (t tableOf) Delete(k []byte) error { delete(t, string(k)); return nil }

// P4: once an endpoint shows a wrong certificate nothing leaves, and the idle
// session with the right one is not used either; mended, the alarm ends.
func TestAlarmEndsWhenMended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {}, 465: {implicit: true}})
		b := r.bench(deliver.Profile{}, nil)
		one := func() mail.Outcome {
			return b.Deliver(t.Context(), attemptTo(r.route(587, 465), "\r\nhi\r\n", "b@there.example"))[0]
		}
		if one().Result != mail.Accepted {
			t.Fatal("nothing left at first")
		}
		time.Sleep(time.Minute) // the idle session is over
		r.set(587, func(e *endpointOf) { e.wrong = true })
		for range 3 {
			if o := one(); o.Result != mail.Deferred || o.Reply.Enhanced.String() != "4.7.5" {
				t.Errorf("%+v", o)
			}
		}
		r.set(587, func(e *endpointOf) { e.wrong = false })
		if one().Result != mail.Accepted {
			t.Error("mended, and nothing leaves")
		}
		if got := b.said(); got != "alarm relay.example:587 stopped=true; mended relay.example:587" {
			t.Errorf("said %q", got)
		}
		b.Close()
		stop()
	})
}

// SH-6: who may have the message is not passed over for another endpoint.
func TestDoubtIsNotTakenElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {dot: "cut"}, 465: {implicit: true}})
		b := r.bench(deliver.Profile{}, nil)
		o := b.Deliver(t.Context(), attemptTo(r.route(587, 465), "\r\nhi\r\n", "b@there.example"))[0]
		if !o.Ambiguous || o.Result != mail.Deferred || len(r.took) != 1 {
			t.Errorf("%+v, taken by %v", o, r.took)
		}
		b.Close()
		stop()
	})
}

// SH-9, RTLS-3: REQUIRETLS goes only to a smart host that offers it.
func TestRequireTLSNeedsASmarthostThatOffersIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {}, 465: {implicit: true}})
		b := r.bench(deliver.Profile{}, nil)
		a := attemptTo(r.route(587, 465), "\r\nhi\r\n", "b@there.example")
		a.Envelope.Params.RequireTLS = true
		if o := b.Deliver(t.Context(), a)[0]; o.Result != mail.Refused || o.Reply.Enhanced.String() != "5.7.30" || len(r.took) != 0 {
			t.Errorf("%+v", o)
		}
		b.Close()
		stop()
	})
}

// CLI-41, SH-11: a session idles no longer than the provider allows.
func TestIdleAsTheProviderAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {}})
		b := r.bench(deliver.Profile{Idle: 10 * time.Second}, nil)
		for _, pause := range []time.Duration{5 * time.Second, 12 * time.Second, 0} {
			b.Deliver(t.Context(), attemptTo(r.route(587), "\r\nhi\r\n", "b@there.example"))
			time.Sleep(pause)
		}
		b.Close()
		stop()
		if r.sessions != 2 {
			t.Errorf("%d sessions for three messages, two of them near each other", r.sessions)
		}
	})
}

// SH-11: recipients of one transaction, as the provider allows.
func TestRecipientsPerMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {}})
		b := r.bench(deliver.Profile{Recipients: 2}, nil)
		for _, o := range b.Deliver(t.Context(), attemptTo(r.route(587), "\r\nhi\r\n", "a@x", "b@x", "c@x", "d@x", "e@x")) {
			if o.Result != mail.Accepted {
				t.Errorf("%+v", o)
			}
		}
		if fmt.Sprint(r.rcpts) != "[2 2 1]" {
			t.Errorf("%v", r.rcpts)
		}
		b.Close()
		stop()
	})
}

// SH-12: fields for a provider go to it alone; Resend gets its key; SES no
// signature of others; what SES calls the message is remembered (SES rewrites
// Message-ID).
func TestHeaderOnTheWay(t *testing.T) {
	const text = "From: A <a@shop.example>\r\nX-SES-CONFIGURATION-SET: mine\r\nX-Mailgun-Tag:\r\n folded\r\nX-Mailer: m\r\n" +
		"DKIM-Signature: v=1; d=list.example; s=x;\r\n b=abc\r\nDKIM-Signature: v=1; d=shop.example; b=x\r\nSubject: x\r\n\r\nX-Mailgun-Tag: body\r\n"
	for _, row := range []struct {
		provider string
		without  []string
		with     []string
		said     string
		remote   string
	}{
		{"", []string{"X-SES", "Tag:\r\n", "folded"}, []string{"X-Mailer", "list.example"}, "adapted -[X-SES-CONFIGURATION-SET X-Mailgun-Tag] +[]", ""},
		{"mailgun", []string{"X-SES"}, []string{"X-Mailgun-Tag:\r\n folded", "list.example"}, "adapted -[X-SES-CONFIGURATION-SET] +[]", ""},
		{"ses", []string{"Tag:\r\n", "list.example", "b=abc"}, []string{"X-SES-CONFIGURATION-SET: mine", "d=shop.example"}, "adapted -[X-Mailgun-Tag DKIM-Signature] +[]",
			"0102018f2c3d4e5f-1a2b3c4d-5e6f-7a8b-9c0d-1e2f3a4b5c6d-000000@eu-west-1.amazonses.com"},
		{"resend", []string{"X-SES"}, []string{"Resend-Idempotency-Key: " + mail.ID{7}.String() + "\r\n"}, "adapted -[X-SES-CONFIGURATION-SET X-Mailgun-Tag] +[Resend-Idempotency-Key]", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, stop := newRelay(t, map[uint16]*endpointOf{587: {dot: "250 Ok 0102018f2c3d4e5f-1a2b3c4d-5e6f-7a8b-9c0d-1e2f3a4b5c6d-000000"}})
			p := deliver.Profile{}
			if row.provider != "" {
				var err error
				name := row.provider
				if name == "ses" {
					name = "ses:eu-west-1"
				}
				if p.Provider, p.Region, err = provider.Find(name); err != nil {
					t.Fatal(err)
				}
			}
			b := r.bench(p, nil)
			a := attemptTo(r.route(587), text, "b@there.example")
			a.Envelope.ID = mail.ID{7}
			o := b.Deliver(t.Context(), a)[0]
			b.Close()
			stop()
			if o.Result != mail.Accepted || o.RemoteID != row.remote || len(r.content) != 1 {
				t.Fatalf("%s: %+v", row.provider, o)
			}
			for _, w := range row.without {
				if strings.Contains(r.content[0], w) {
					t.Errorf("%s: %q got through:\n%s", row.provider, w, r.content[0])
				}
			}
			for _, w := range append(row.with, "\r\n\r\nX-Mailgun-Tag: body\r\n") {
				if !strings.Contains(r.content[0], w) {
					t.Errorf("%s: %q is missing:\n%s", row.provider, w, r.content[0])
				}
			}
			if b.said() != row.said {
				t.Errorf("%s: said %q", row.provider, b.said())
			}
		})
	}
}

// Each transaction to Resend has a key of its own, the same when it is repeated:
// else the second half of the recipients would pass for a repetition of the
// first.
func TestIdempotencyKeyIsOfTheTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {}})
		p, region, err := provider.Find("resend")
		if err != nil {
			t.Fatal(err)
		}
		b := r.bench(deliver.Profile{Provider: p, Region: region, Recipients: 2}, nil)
		for range 2 {
			b.Deliver(t.Context(), attemptTo(r.route(587), "Subject: x\r\nResend-Idempotency-Key: mine\r\n\r\nhi\r\n", "a@x", "b@x", "c@x"))
		}
		b.Close()
		stop()
		var keys []string
		for _, c := range r.content {
			if strings.Contains(c, "mine") {
				t.Errorf("the sender's key is in:\n%s", c)
			}
			line, _, _ := strings.Cut(c, "\r\n")
			keys = append(keys, line)
		}
		if len(keys) != 4 || keys[0] == keys[1] || keys[0] != keys[2] || keys[1] != keys[3] || !strings.HasPrefix(keys[0], "Resend-Idempotency-Key: ") {
			t.Errorf("%q", keys)
		}
	})
}

// SH-12 holds however long the header is, and costs those without such fields
// nothing but a glance.
func TestLongHeadersAreLookedThrough(t *testing.T) {
	long := strings.Repeat("Received: from somewhere by somewhere else; with a lot of words\r\n", 1000)
	for _, row := range []struct{ text, said string }{
		{long + "X-SES-TENANT: me\r\n\r\nhi\r\n", "adapted -[X-SES-TENANT] +[]"},
		{long + "\r\nX-SES-TENANT: me\r\n", ""},
		{"Subject: x\r\n\r\nX-SES-TENANT: me\r\n", ""},
		{"X-SES-TENANT: me\r\n", "adapted -[X-SES-TENANT] +[]"},
		{"no header at all\r\nX-SES-TENANT: me\r\n", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, stop := newRelay(t, map[uint16]*endpointOf{587: {}})
			b := r.bench(deliver.Profile{}, nil)
			o := b.Deliver(t.Context(), attemptTo(r.route(587), row.text, "b@there.example"))[0]
			b.Close()
			stop()
			if o.Result != mail.Accepted || b.said() != row.said || len(r.content) != 1 {
				t.Fatalf("%.40q: %+v, said %q", row.text, o, b.said())
			}
			want := row.text
			if row.said != "" {
				want = strings.Replace(want, "X-SES-TENANT: me\r\n", "", 1)
			}
			if got := r.content[0]; got != want && got != want+"\r\n" {
				t.Errorf("%.40q: %d octets of %d", row.text, len(got), len(want))
			}
		})
	}
}

// RC-70 to RC-73: what the provider means stands beside what it said.
func TestReplyIsExplained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {dot: "454 Throttling failure: Daily message quota exceeded."}})
		p, region, err := provider.Find("ses")
		if err != nil {
			t.Fatal(err)
		}
		b := r.bench(deliver.Profile{Provider: p, Region: region}, nil)
		o := b.Deliver(t.Context(), attemptTo(r.route(587), "\r\nhi\r\n", "b@there.example"))[0]
		if o.Result != mail.Deferred || !strings.Contains(o.Hint, "24 hours") {
			t.Errorf("%+v", o)
		}
		b.Close()
		stop()
	})
}

// A path that dies in the middle of a message is noticed long before SMTP's own
// timeouts; the message, which may be there, waits (SH-6).
func TestDeadPathIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := newRelay(t, map[uint16]*endpointOf{587: {dot: "mute"}, 465: {implicit: true}})
		r.unheard = func(net.Conn) time.Duration { return time.Minute }
		b := r.bench(deliver.Profile{}, nil)
		began := time.Now()
		o := b.Deliver(t.Context(), attemptTo(r.route(587, 465), "\r\nhi\r\n", "b@there.example"))[0]
		if took := time.Since(began); took < 15*time.Second || took > 25*time.Second {
			t.Errorf("noticed after %v", took)
		}
		if !o.Ambiguous || o.Result != mail.Deferred || !strings.Contains(o.Reply.Text, "dead") || len(r.took) != 1 {
			t.Errorf("%+v, taken by %v", o, r.took)
		}
		b.Close()
		stop()
	})
}
