package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/doctor"
	"paquebot/internal/provider"
	"paquebot/internal/sim"
)

// The doctor's world: one provider and two others to compare with, on a network
// in memory that each case breaks in its own way.
const (
	theProvider = "smtp.sendgrid.net"
	hers4       = "203.0.113.7"
	hers6       = "2001:db8:77::7"
	nobody4     = "192.0.2.1"
)

var others = map[string]string{"smtp.mailgun.org": "203.0.113.20", "smtp.gmail.com": "203.0.113.30"}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) authority {
	t.Helper()
	a := authority{}
	a.cert, a.key = a.make(t, name, nil, time.Now().AddDate(1, 0, 0))
	return a
}

// make signs a certificate, or makes the authority itself if it has none.
func (a authority) make(t *testing.T, cn string, names []string, until time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: cn}, DNSNames: names,
		NotBefore: time.Now().AddDate(0, -1, 0), NotAfter: until, BasicConstraintsValid: true, IsCA: a.cert == nil,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return leaf, key
}

func (a authority) server(t *testing.T, until time.Time, names ...string) *tls.Config {
	leaf, key := a.make(t, names[0], names, until)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}}
}

// mta is a server as far as the doctor goes: greeting, EHLO, STARTTLS, QUIT.
type mta struct {
	name     string
	greeting string // "": the name
	offers   []string
	cert     *tls.Config // nil: no STARTTLS
	implicit bool
}

func (m mta) serve(conn net.Conn) {
	defer func() { conn.Close() }()
	under := m.implicit
	if under {
		t := tls.Server(conn, m.cert)
		if t.Handshake() != nil {
			return
		}
		conn = t
	}
	greeting := m.greeting
	if greeting == "" {
		greeting = m.name + " ESMTP"
	}
	fmt.Fprintf(conn, "220 %s\r\n", greeting)
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch verb, _, _ := strings.Cut(lines.Text(), " "); verb {
		case "EHLO":
			fmt.Fprintf(conn, "250-%s\r\n", m.name)
			for _, o := range m.offers {
				fmt.Fprintf(conn, "250-%s\r\n", o)
			}
			switch {
			case under:
				fmt.Fprint(conn, "250-SIZE 31457280\r\n250 AUTH PLAIN LOGIN\r\n")
			case m.cert != nil:
				fmt.Fprint(conn, "250 STARTTLS\r\n")
			default:
				fmt.Fprint(conn, "250 8BITMIME\r\n")
			}
		case "STARTTLS":
			fmt.Fprint(conn, "220 2.0.0 go ahead\r\n")
			t := tls.Server(conn, m.cert)
			if t.Handshake() != nil {
				return
			}
			conn, under = t, true
			lines = bufio.NewScanner(conn)
		case "QUIT":
			fmt.Fprint(conn, "221 2.0.0 bye\r\n")
			return
		}
	}
}

type doctorWorld struct {
	t         *testing.T
	net       *sim.Network
	ca        authority
	names     zone
	second    zone
	conf      doctor.Config
	listeners []net.Listener
}

// zone is a resolver with a fixed answer for each name.
type zone map[string][]netip.Addr

func (z zone) Addrs(_ context.Context, host string) dns.Answer[netip.Addr] {
	if all := z["*"]; all != nil {
		return dns.Answer[netip.Addr]{Records: all}
	}
	if len(z[host]) == 0 {
		return dns.Answer[netip.Addr]{Status: dns.NXDomain}
	}
	return dns.Answer[netip.Addr]{Records: z[host]}
}

func (z zone) Confirmed(context.Context, netip.Addr) dns.Answer[string] {
	return dns.Answer[string]{Status: dns.NXDomain}
}

func newDoctorWorld(t *testing.T) *doctorWorld {
	w := &doctorWorld{t: t, net: sim.NewNetwork(), ca: newAuthority(t, "Public Root"), names: zone{}}
	pool := x509.NewCertPool()
	pool.AddCert(w.ca.cert)
	w.conf = doctor.Config{Ehlo: "here.example", Resolver: w.names, Dial: w.net.Dial, Roots: pool, References: []doctor.Reference{}}
	w.site(theProvider, hers4)
	for _, host := range []string{"smtp.mailgun.org", "smtp.gmail.com"} {
		w.site(host, others[host])
		for _, port := range []uint16{587, 465, 2525, 25} {
			w.conf.References = append(w.conf.References, doctor.Reference{Host: host, Port: port, Mode: doctor.ModeOf(port)})
		}
	}
	for _, a := range []string{nobody4, "2001:db8::1"} {
		w.net.SetFault(a, sim.Silent)
	}
	w.second = maps.Clone(w.names)
	w.conf.Second = w.second
	return w
}

// site is a provider's host with all its ports, 20 ms away.
func (w *doctorWorld) site(name, addr string) {
	w.names[name] = append(w.names[name], netip.MustParseAddr(addr))
	w.net.SetLatency(addr, 20*time.Millisecond)
	cert := w.ca.server(w.t, time.Now().AddDate(0, 3, 0), name)
	for _, port := range []int{25, 465, 587, 2525} {
		w.serve(addr, port, mta{name: name, cert: cert, implicit: port == 465}.serve)
	}
	w.serve(addr, 443, func(c net.Conn) { c.Close() })
}

// serve listens; whoever comes later to an address and port takes its place.
func (w *doctorWorld) serve(addr string, port int, how func(net.Conn)) {
	at := net.JoinHostPort(addr, fmt.Sprint(port))
	for _, l := range w.listeners {
		if l.Addr().String() == at {
			l.Close()
		}
	}
	l, err := w.net.Listen("tcp", at)
	if err != nil {
		w.t.Fatal(err)
	}
	w.listeners = append(w.listeners, l)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go how(c)
		}
	}()
}

// between puts a device before some ports of all hosts.
func (w *doctorWorld) between(make func(host string, port int) func(net.Conn), ports ...int) {
	for host, addr := range map[string]string{theProvider: hers4, "smtp.mailgun.org": others["smtp.mailgun.org"], "smtp.gmail.com": others["smtp.gmail.com"]} {
		for _, port := range ports {
			w.serve(addr, port, make(host, port))
		}
	}
}

func (w *doctorWorld) drop(addrs []string, ports ...int) {
	for _, a := range addrs {
		for _, p := range ports {
			w.net.SetFault(net.JoinHostPort(a, fmt.Sprint(p)), sim.Silent)
		}
	}
}

var everybody = []string{hers4, "203.0.113.20", "203.0.113.30"}

// doctorCases are the screens.
var doctorCases = []struct {
	name   string
	broken func(*doctorWorld)
	target string
	use    uint16
	exit   int
	within time.Duration
}{
	{"good", func(*doctorWorld) {}, "sendgrid", 587, 0, 3 * time.Second},
	{"587-filtered", func(w *doctorWorld) { w.drop(everybody, 25, 587) }, "sendgrid", 465, 0, 12 * time.Second},
	{"all-filtered", func(w *doctorWorld) { w.drop(everybody, 25, 465, 587, 2525) }, "sendgrid", 0, 1, 12 * time.Second},
	{"intercepted", func(w *doctorWorld) {
		shield := newAuthority(w.t, "Acme Mail Shield Root")
		w.between(func(host string, port int) func(net.Conn) {
			return mta{name: host, cert: shield.server(w.t, time.Now().AddDate(0, 1, 0), host), implicit: port == 465}.serve
		}, 25, 465, 587)
	}, "sendgrid", 2525, 0, 12 * time.Second},
	{"stripped", func(w *doctorWorld) {
		w.between(func(host string, _ int) func(net.Conn) { return mta{name: host}.serve }, 25, 587, 2525)
	}, "sendgrid", 465, 0, 12 * time.Second},
	{"pix", func(w *doctorWorld) {
		w.between(func(host string, _ int) func(net.Conn) {
			return mta{name: host, greeting: strings.Repeat("*", 40), offers: []string{"XXXXXXXA"}}.serve
		}, 25, 587, 2525)
	}, "sendgrid", 465, 0, 12 * time.Second},
	{"portal", func(w *doctorWorld) {
		w.names["*"] = []netip.Addr{netip.MustParseAddr("10.0.0.1")}
		gate := mta{name: "gate.hotel.example"}
		for _, port := range []int{25, 465, 587, 2525} {
			w.serve("10.0.0.1", port, gate.serve)
			w.serve("192.0.2.1", port, gate.serve)
			w.net.SetFault(net.JoinHostPort(nobody4, fmt.Sprint(port)), sim.Healthy)
		}
		w.serve("192.0.2.1", 80, func(c net.Conn) {
			bufio.NewReader(c).ReadString('\n')
			fmt.Fprint(c, "HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\nContent-Length: 0\r\n\r\n")
			c.Close()
		})
		w.net.SetFault("192.0.2.1:80", sim.Healthy)
		w.conf.Portal = "http://192.0.2.1/"
	}, "sendgrid", 0, 1, 30 * time.Second},
	{"wrong-host", func(w *doctorWorld) {
		w.names["web.example.org"] = []netip.Addr{netip.MustParseAddr("203.0.113.80")}
		w.second["web.example.org"] = w.names["web.example.org"]
		w.net.SetLatency("203.0.113.80", 20*time.Millisecond)
		w.serve("203.0.113.80", 443, func(c net.Conn) { c.Close() })
	}, "web.example.org", 0, 1, 3 * time.Second},
	{"certificate", func(w *doctorWorld) {
		expired := w.ca.server(w.t, time.Now().AddDate(0, 0, -3), theProvider)
		for _, port := range []int{25, 465, 587, 2525} {
			w.serve(hers4, port, mta{name: theProvider, cert: expired, implicit: port == 465}.serve)
		}
	}, "sendgrid", 0, 1, 12 * time.Second},
	{"ipv6-broken", func(w *doctorWorld) {
		w.names[theProvider] = append(w.names[theProvider], netip.MustParseAddr(hers6))
		w.second[theProvider] = w.names[theProvider]
		w.net.SetFault(hers6, sim.Silent)
	}, "sendgrid", 587, 0, 12 * time.Second},
}

// Each screen in its three renderings, from a network that shows it, within
// the time the issue allows: 3 s for a healthy one, 12 s with all filtered.
func TestDoctorScreens(t *testing.T) {
	for _, c := range doctorCases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newDoctorWorld(t)
				c.broken(w)
				defer func() {
					for _, l := range w.listeners {
						l.Close()
					}
				}()
				r := doctor.New(w.conf).Examine(t.Context(), w.target(c.target))
				use := uint16(0)
				if r.Recommendation != nil {
					use = r.Recommendation.Port
				}
				if use != c.use || r.Exit != c.exit || r.Took > c.within {
					t.Errorf("use %d, exit %d after %s; want %d, %d within %s", use, r.Exit, r.Took, c.use, c.exit, c.within)
				}
				renderings(t, c.name, r)
				time.Sleep(time.Minute) // let every peer notice the end
				if n := w.net.Open(); n != 0 {
					t.Errorf("%d connections left open", n)
				}
			})
		})
	}
}

func (w *doctorWorld) target(name string) doctor.Target {
	if p, region, err := provider.Find(name); err == nil {
		return doctor.ForProvider(name, p, region)
	}
	return doctor.ForHost(name, nil, false)
}

var unsteady = regexp.MustCompile(`"(suite|not_before|expires)": "[^"]*"`)

func renderings(t *testing.T, name string, r *doctor.Report) {
	t.Helper()
	var plain, document bytes.Buffer
	cmd := &DoctorCmd{}
	p := testPage()
	cmd.report(p, r)
	golden(t, "testdata/doctor/"+name+".txt", p.String())
	if err := cmd.show(&Globals{Plain: true, Stdout: &plain}, []*doctor.Report{r}, nil); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/doctor/"+name+".plain", plain.String())
	if err := cmd.show(&Globals{JSON: true, Stdout: &document}, []*doctor.Report{r}, nil); err != nil {
		t.Fatal(err)
	}
	steady(t, "testdata/doctor/"+name+".json", unsteady.ReplaceAllString(document.String(), `"$1": "..."`))
	for l := range strings.Lines(p.String()) {
		if strings.Contains(l, "\x1b") {
			t.Errorf("colour where nobody sees it: %q", l)
		}
	}
	if dir := os.Getenv("DOCTOR_SCREENS"); dir != "" { // coloured, to be looked at
		p := testPage()
		p.colour = true
		cmd.report(p, r)
		if err := os.WriteFile(filepath.Join(dir, name+".ansi"), []byte(p.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// steady is golden for what is no page.
func steady(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != got {
		t.Errorf("%s is not current (run with -update and review)", file)
	}
}
