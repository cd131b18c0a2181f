package deliver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/deliver"
	"paquebot/internal/dns"
	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/sim"
	"paquebot/internal/smtpclient"
	"paquebot/internal/smtpclient/peertest"
)

var update = flag.Bool("update", false, "rewrite the => lines of the transcripts")

// TestTranscripts plays every testdata/*.smtp: attempts against scripted peers
// (package peertest), one script per connection.
//
//	set: mx | smarthost PORT[/implicit].. | lmtp | number 2 | security verify |
//	     login USER PASS | budget 5m | wait 1m | sources 192.0.2.9
//	host: mx1 10 192.0.2.1 192.0.2.2    a hop, its preference and addresses
//	to: b@there.example                 as often as needed
//	params: requiretls | utf8
//	peer: 192.0.2.1:25                  the script of the next connection to it
//	fault: 192.0.2.1 silent             refused, resets, unreachable
//	send:                               another attempt, after those before
//	=> ...                              what came of each attempt
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.smtp")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".smtp"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for n, one := range strings.Split(string(text), "\n====\n") {
				s := readScene(t, one)
				s.name = fmt.Sprintf("%s scene %d", file, n+1)
				synctest.Test(t, s.play)
				out = append(out, strings.Join(append(s.lines, s.got...), "\n"))
				if !*update && strings.Join(s.want, "\n") != strings.Join(s.got, "\n") {
					t.Errorf("%s\n%s\ngot:\n%s", s.name, one, strings.Join(s.got, "\n"))
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(strings.Join(out, "\n====\n")+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type scene struct {
	name     string
	lines    []string
	want     []string
	got      []string
	route    mail.Route
	cred     deliver.Credential
	env      *mail.Envelope
	body     mail.Body
	number   uint32
	budget   time.Duration
	sends    int
	waits    time.Duration // between sends
	scripts  []script
	faults   map[string]sim.Fault
	distrust bool

	mu     sync.Mutex
	errs   []string
	events []string
}

type script struct {
	addr string
	text string
	used bool
}

func readScene(t *testing.T, text string) *scene {
	s := &scene{number: 1, sends: 1, faults: map[string]sim.Fault{}, env: &mail.Envelope{From: "a@here.example"},
		body:  mail.Bytes("Subject: x\r\n\r\nhi\r\n"),
		route: mail.Route{Site: "there.example", Transport: mail.SMTP, Security: mail.Opportunistic, ByMX: true}}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, "=> ") {
			s.want = append(s.want, line)
			continue
		}
		s.lines = append(s.lines, line)
		key, value, _ := strings.Cut(line, ":")
		f := strings.Fields(value)
		switch key {
		case "set":
			s.set(t, f)
		case "host":
			s.host(f)
		case "to":
			s.env.Recipients = append(s.env.Recipients, mail.Recipient{Address: f[0]})
		case "params":
			s.env.Params.RequireTLS = f[0] == "requiretls"
			s.env.Params.UTF8 = f[0] == "utf8"
		case "peer":
			s.scripts = append(s.scripts, script{addr: f[0]})
		case "fault":
			s.faults[f[0]] = map[string]sim.Fault{"silent": sim.Silent, "refused": sim.Refused, "resets": sim.Resets, "unreachable": sim.Unreachable}[f[1]]
		case "send":
			s.sends++
		default:
			if n := len(s.scripts); n > 0 {
				s.scripts[n-1].text += line + "\n"
			}
		}
	}
	if len(s.env.Recipients) == 0 {
		s.env.Recipients = []mail.Recipient{{Address: "b@there.example"}}
	}
	return s
}

func (s *scene) set(t *testing.T, f []string) {
	switch f[0] {
	case "mx":
	case "smarthost":
		s.route.ByMX, s.route.Security, s.route.Account = false, mail.Verify, "relay"
		for _, p := range f[1:] {
			port, implicit := strings.CutSuffix(p, "/implicit")
			hop := mail.Hop{Name: "relay.example", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
			fmt.Sscan(port, &hop.Port)
			if implicit {
				hop.Security = mail.Implicit
			}
			s.route.Hops = append(s.route.Hops, hop)
		}
	case "lmtp":
		s.route = mail.Route{Site: "store", Transport: mail.LMTP, Security: mail.Clear, Hops: []mail.Hop{{Name: "/run/lmtp"}}}
	case "number":
		fmt.Sscan(f[1], &s.number)
	case "security":
		s.route.Security = mail.Security(f[1])
	case "login":
		s.cred.Login = &smtpclient.Login{User: f[1], Password: f[2]}
	case "budget":
		s.budget, _ = time.ParseDuration(f[1])
	case "wait":
		s.waits, _ = time.ParseDuration(f[1])
	case "source":
		s.route.Sources = []mail.Source{{Addr: netip.MustParseAddr(f[1]), Ehlo: f[2]}}
	case "distrust":
		s.distrust = true
	default:
		t.Fatal("set", f)
	}
}

func (s *scene) host(f []string) {
	h := mail.Hop{Name: f[0], Port: 25}
	fmt.Sscan(f[1], &h.Preference)
	for _, a := range f[2:] {
		h.Addrs = append(h.Addrs, netip.MustParseAddr(a))
	}
	s.route.Hops = append(s.route.Hops, h)
}

// dial connects to the next script of an address, whose server begins at once.
func (s *scene) dial(network *sim.Network, cert *tls.Config, wg *sync.WaitGroup) func(context.Context, string, string, netip.Addr) (net.Conn, error) {
	return func(ctx context.Context, kind, addr string, src netip.Addr) (net.Conn, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		host, _, _ := net.SplitHostPort(addr)
		if s.faults[host] != sim.Healthy {
			network.SetFault(host, s.faults[host])
			s.mu.Unlock()
			defer s.mu.Lock()
			return network.DialFrom(ctx, src, kind, addr)
		}
		for i := range s.scripts {
			if s.scripts[i].addr != addr || s.scripts[i].used {
				continue
			}
			s.scripts[i].used = true
			text := s.scripts[i].text
			l, err := network.Listen(kind, addr)
			if err != nil {
				return nil, err
			}
			defer l.Close()
			client, err := network.DialFrom(ctx, src, kind, addr)
			if err != nil {
				return nil, err
			}
			server, err := l.Accept()
			if err != nil {
				return nil, err
			}
			wg.Go(func() {
				if err := peertest.Run(server, text, cert); err != nil {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.errs = append(s.errs, fmt.Sprintf("peer %s: %v", addr, err))
				}
			})
			return client, nil
		}
		s.events = append(s.events, "refused "+addr)
		return nil, &net.OpError{Op: "dial", Net: kind, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
}

func (s *scene) play(t *testing.T) {
	network := sim.NewNetwork()
	cert, pool := peertest.Certificate("relay.example", "mx1.there.example", "mx2.there.example")
	if s.distrust {
		pool = nil
	}
	var peers sync.WaitGroup
	d := deliver.New(deliver.Config{Hostname: "here.example", Roots: pool, Budget: s.budget}, deliver.Needs{
		Names: noNames{},
		Dial:  s.dial(network, cert, &peers),
		Credential: func(account string) (deliver.Credential, bool) {
			c := s.cred
			c.Roots = pool
			return c, true
		},
		Events: event.SinkFunc(func(event.Event) {}),
	})
	for n := range s.sends {
		if n > 0 {
			time.Sleep(s.waits)
		}
		a := mail.Attempt{Envelope: s.env, Route: s.route, Body: s.body, Number: s.number, Deadline: time.Now().Add(time.Hour)}
		for i := range s.env.Recipients {
			a.Recipients = append(a.Recipients, i)
		}
		for i, o := range d.Deliver(t.Context(), a) {
			s.env.Recipients[i].Last = o
			s.got = append(s.got, "=> "+s.env.Recipients[i].Address+": "+words(o))
		}
	}
	d.Close()
	peers.Wait()
	if len(s.errs) > 0 {
		t.Errorf("%s:\n%s", s.name, strings.Join(s.errs, "\n"))
	}
	for _, sc := range s.scripts {
		if !sc.used {
			t.Errorf("%s: nobody came to %s for:\n%s", s.name, sc.addr, sc.text)
		}
	}
	if n := network.Open(); n != 0 {
		t.Errorf("%s: %d connections were left open (TRAP-30)", s.name, n)
	}
}

// words is an outcome in one line; what is as usual is left out.
func words(o mail.Outcome) string {
	w := fmt.Sprintf("%v at %v %v: %v", o.Result, o.Host, o.Stage, o.Reply)
	if o.Result != mail.Accepted {
		w += fmt.Sprintf(" [%v]", o.Reach)
	}
	if o.Ours {
		w += " [ours]"
	}
	if o.Ambiguous {
		w += " [ambiguous]"
	}
	if o.TLS != nil {
		w += " [TLS " + o.TLS.Verified + "]"
	}
	return w
}

type noNames struct{}

func (noNames) Addrs(context.Context, string) dns.Answer[netip.Addr] {
	return dns.Answer[netip.Addr]{Status: dns.Temp, Cause: errors.New("no names here")}
}

func (noNames) TLSA(context.Context, uint16, string) dns.Answer[dns.TLSA] {
	return dns.Answer[dns.TLSA]{Status: dns.NXDomain}
}
