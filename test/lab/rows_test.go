package lab

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"
)

// experiment is one fault, and the rows of standards §24 it must bring forth.
type experiment struct {
	name string
	args []string // of the doctor; HOST stands for a host of the experiment's own
	host func(*testing.T, *host)
	set  func(*testing.T, *site)
	rows []string // "DIAG-34 proven": with at least this confidence
	not  []string // rows that would be a false alarm
	exit int
	long bool // a known patience of more than the usual bound, see TestTheLaboratory
}

// submission is what a host of an experiment runs unless it says otherwise.
func submission(t *testing.T, h *host) { on(t, h, nil, 25, 465, 587, 2525) }

// on lets a host's ports answer as a good server changed by one thing.
func on(t *testing.T, h *host, change func(*mta), ports ...uint16) {
	t.Helper()
	for _, p := range ports {
		m := h.mta(p == 465)
		if change != nil {
			change(&m)
		}
		check(t, h.serve(p, m))
	}
	check(t, h.serve(443, web{h.w.ca.config("", good())}))
}

func drop(ports string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) { s.filter(t, "tcp dport "+ports+" drop") }
}

func reject(rule string) func(*testing.T, *site) {
	return func(t *testing.T, s *site) { s.filter(t, rule) }
}

func boxed(ports string, b box) func(*testing.T, *site) {
	return func(t *testing.T, s *site) { s.box(t, "tcp dport "+ports, b) }
}

const mailPorts = "{ 25, 465, 587, 2525 }"

// experiments is the table. DIAG-70 to DIAG-72 are in host_test.go: they need
// a server of our own.
func experiments(w *world) []experiment {
	hotel := mta{name: "gw.hotel.example", noTLS: true, bareAuth: "PLAIN LOGIN"}
	return []experiment{
		// The whole pattern.
		{name: "nothing in the way", args: []string{"sendgrid"}, rows: []string{"DIAG-13 proven", "DIAG-60 proven"}},
		{name: "25 filtered", args: []string{"sendgrid"}, set: drop("25"), rows: []string{"DIAG-15 likely", "DIAG-61 likely"}},
		{name: "25 filtered, and a host elsewhere proves it", args: []string{"sendgrid", "--reflector", "reflector.example"}, set: drop("25"), rows: []string{"DIAG-15 proven", "DIAG-61 proven"}},
		{name: "25 and 465 filtered", args: []string{"sendgrid"}, set: drop("{ 25, 465 }"), rows: []string{"DIAG-15 likely", "DIAG-62 likely"}},
		{name: "25, 465 and 587 filtered", args: []string{"sendgrid"}, set: drop("{ 25, 465, 587 }"), rows: []string{"DIAG-15 likely", "DIAG-63 likely"}},
		{name: "all mail ports filtered", args: []string{"sendgrid"}, set: drop("{ 25, 465, 587, 2525, 2465, 2587 }"), rows: []string{"DIAG-64 likely"}, exit: 1},
		{name: "STARTTLS stripped, 465 clean", args: []string{"sendgrid"}, set: boxed("{ 25, 587, 2525 }", stripper()), rows: []string{"DIAG-34 proven", "DIAG-65 likely"}},
		{name: "465 intercepted, 587 clean", args: []string{"sendgrid"}, set: boxed("465", interceptor{ca: w.shield}), rows: []string{"DIAG-38 likely", "DIAG-66 likely"}},
		{name: "465 reset, 587 clean", args: []string{"sendgrid"}, set: boxed("465", instead{cut{reset: true}}), rows: []string{"DIAG-66 likely"}},
		{name: "a proxy on 25 alone", args: []string{"sendgrid"}, set: boxed("25", instead{hotel}), rows: []string{"DIAG-22 proven", "DIAG-36 likely", "DIAG-67 likely"}},
		{name: "a proxy on all ports", args: []string{"sendgrid"}, set: boxed(mailPorts, instead{hotel}), rows: []string{"DIAG-22 proven", "DIAG-68 likely"}, exit: 1},
		{name: "nothing listens at all", args: []string{"HOST"}, host: func(t *testing.T, h *host) { check(t, h.serve(443, web{h.w.ca.config("", good())})) }, rows: []string{"DIAG-14 likely", "DIAG-69 likely"}, exit: 1},

		// Names.
		{name: "a typing error", args: []string{"smtp.sendgird.net:587"}, rows: []string{"DIAG-10 proven"}, exit: 1},
		{name: "one name's servers fail", args: []string{"smtp.servfail.example:587"}, rows: []string{"DIAG-11 unknown"}, exit: 2},
		{name: "the resolver fails", args: []string{"sendgrid"}, set: func(t *testing.T, s *site) { s.liar(t, serverFailure) }, rows: []string{"DIAG-11 likely"}, exit: 2},
		{name: "a filter in the DNS", args: []string{"sendgrid"}, set: func(t *testing.T, s *site) {
			s.liar(t, w.zone.instead("smtp.sendgrid.net. A 10.66.0.1", "smtp.sendgrid.net. AAAA fd66::1"))
		}, rows: []string{"DIAG-12 likely"}, exit: 1},
		{name: "a captive portal", args: []string{"sendgrid"}, set: portal, rows: []string{"DIAG-12 proven", "DIAG-48 proven"}, exit: 1},

		// Connections.
		{name: "refused by the host", args: []string{"HOST:587"}, host: func(t *testing.T, h *host) { on(t, h, nil, 25, 465) }, rows: []string{"DIAG-14 likely"}, exit: 1},
		{name: "refused by a firewall near by", args: []string{"sendgrid"}, set: reject("tcp dport { 587, 2525 } reject with tcp reset"), rows: []string{"DIAG-14 likely"}},
		{name: "port unreachable", args: []string{"sendgrid"}, set: reject("ip protocol tcp tcp dport 587 reject with icmp port-unreachable"), rows: []string{"DIAG-14 likely"}},
		{name: "587 filtered", args: []string{"sendgrid"}, set: drop("{ 25, 587 }"), rows: []string{"DIAG-15 likely"}},
		{name: "IPv6 is a black hole", args: []string{"HOST"}, host: submission, set: reject("meta nfproto ipv6 drop"), rows: []string{"DIAG-16 likely", "DIAG-47 likely"}},
		{name: "IPv4 is a black hole", args: []string{"HOST"}, host: submission, set: func(t *testing.T, s *site) {
			s.filter(t, "ip protocol tcp drop")
		}, rows: []string{"DIAG-16 likely", "DIAG-47 likely"}},
		{name: "no route of IPv6", args: []string{"HOST"}, host: submission, set: func(t *testing.T, s *site) { check(t, s.client.ip("route del ::/0")) }, rows: []string{"DIAG-17 proven"}},
		{name: "net unreachable", args: []string{"HOST"}, host: submission, set: reject("ip protocol tcp tcp dport 587 reject with icmp net-unreachable"), rows: []string{"DIAG-18 likely"}},
		{name: "host unreachable", args: []string{"HOST"}, host: submission, set: reject("ip protocol tcp tcp dport 587 reject with icmp host-unreachable"), rows: []string{"DIAG-18 likely"}},
		{name: "net prohibited, code 9", args: []string{"HOST"}, host: submission, set: reject("ip protocol tcp tcp dport 587 reject with icmp net-prohibited"), rows: []string{"DIAG-18 likely"}},
		{name: "host prohibited, code 10", args: []string{"HOST"}, host: submission, set: reject("ip protocol tcp tcp dport 587 reject with icmp host-prohibited"), rows: []string{"DIAG-18 likely"}},
		{name: "admin prohibited, code 13", args: []string{"HOST"}, host: submission, set: reject("ip protocol tcp tcp dport 587 reject with icmp admin-prohibited"), rows: []string{"DIAG-18 likely"}},
		{name: "admin prohibited, IPv6", args: []string{"HOST"}, host: submission, set: reject("ip6 nexthdr tcp tcp dport 587 reject with icmpv6 admin-prohibited"), rows: []string{"DIAG-18 likely"}},
		{name: "the machine's own policy, EACCES", args: []string{"HOST"}, host: submission, set: func(t *testing.T, s *site) {
			check(t, s.client.ip("rule add ipproto tcp dport 587 prohibit"))
		}, rows: []string{"DIAG-19 likely"}},
		{name: "the machine's own policy, EPERM", args: []string{"HOST"}, host: submission, set: func(t *testing.T, s *site) {
			if err := s.forbid(t); err != nil {
				t.Skipf("no eBPF policy on this machine: %v", err)
			}
		}, rows: []string{"DIAG-19 likely"}},
		{name: "the address is blocked by the host", args: []string{"HOST"}, host: func(t *testing.T, h *host) {
			for _, p := range []uint16{25, 465, 587, 2525} {
				check(t, h.serve(p, cut{reset: true}))
			}
		}, rows: []string{"DIAG-20 likely"}, exit: 1},
		{name: "reset after STARTTLS", args: []string{"sendgrid"}, set: boxed("587", rewriter{cutAfter: "STARTTLS"}), rows: []string{"DIAG-21 likely"}},
		{name: "a large ClientHello stalls", args: []string{"sendgrid"}, set: boxed("{ 465, 587, 2525 }", smallHello{limit: 1000}), rows: []string{"DIAG-21 proven"}, long: true},
		{name: "a large ClientHello is reset", args: []string{"sendgrid"}, set: boxed("{ 465, 587, 2525 }", smallHello{limit: 1000, reset: true}), rows: []string{"DIAG-21 proven"}},
		{name: "large packets are lost", args: []string{"sendgrid"}, set: reject("iifname lan meta length > 1300 drop"), rows: []string{"DIAG-21 proven"}, long: true},
		{name: "the impossible address answers", args: []string{"sendgrid"}, set: boxed("587", instead{hotel}), rows: []string{"DIAG-22 proven"}},
		{name: "a proxy passes everything on", args: []string{"sendgrid"}, set: boxed("587", tunnel{}), rows: []string{"DIAG-23 likely"}},

		// SMTP and TLS.
		{name: "TLS first on 587", args: []string{"HOST:587"}, host: func(t *testing.T, h *host) { on(t, h, func(m *mta) { m.implicit = true }, 587) }, rows: []string{"DIAG-30 proven"}},
		{name: "STARTTLS on 465", args: []string{"HOST:465"}, host: func(t *testing.T, h *host) { on(t, h, func(m *mta) { m.implicit = false }, 465) }, rows: []string{"DIAG-31 proven"}},
		{name: "Cisco's inspection", args: []string{"sendgrid"}, set: boxed("{ 25, 587, 2525 }", pix()), rows: []string{"DIAG-32 proven", "DIAG-33 proven"}},
		{name: "EHLO is not understood", args: []string{"sendgrid"}, set: boxed("{ 25, 587, 2525 }", noESMTP()), rows: []string{"DIAG-35 likely"}},
		{name: "everybody greets alike", args: []string{"sendgrid"}, set: boxed("{ 25, 587 }", greeter("220 gw.hotel.example ESMTP")), rows: []string{"DIAG-36 likely"}},
		{name: "one certificate for all", args: []string{"sendgrid"}, set: boxed("{ 465, 587 }", interceptor{ca: w.ca, name: "mail.hotel.example"}), rows: []string{"DIAG-37 likely"}},
		{name: "a virus scanner reads along", args: []string{"sendgrid"}, set: boxed("{ 25, 465, 587 }", interceptor{ca: w.shield}), rows: []string{"DIAG-38 likely"}},
		{name: "expired certificate", args: []string{"HOST"}, host: func(t *testing.T, h *host) {
			on(t, h, func(m *mta) { m.tls = w.ca.config(h.name, time.Now().Add(-10*24*time.Hour)) }, 25, 465, 587, 2525)
		}, rows: []string{"DIAG-39 proven"}, exit: 1},
		{name: "an alias of a provider's host", args: []string{"mail.brand.example"}, rows: []string{"DIAG-39 likely"}, exit: 1},
		{name: "old TLS only", args: []string{"HOST"}, host: func(t *testing.T, h *host) {
			on(t, h, func(m *mta) {
				m.tls = w.ca.config(h.name, good())
				m.tls.MaxVersion = tls.VersionTLS11
			}, 25, 465, 587, 2525)
		}, rows: []string{"DIAG-40 proven"}, exit: 1},
		{name: "our address is listed", args: []string{"HOST"}, host: func(t *testing.T, h *host) {
			on(t, h, func(m *mta) {
				m.greeting = "554 5.7.1 mx.example: 45.80.0.2 is listed, see https://lists.example/45.80.0.2"
			}, 25, 465, 587, 2525)
		}, rows: []string{"DIAG-41 likely"}, exit: 1},
		{name: "too many connections", args: []string{"HOST"}, host: func(t *testing.T, h *host) {
			on(t, h, func(m *mta) { m.greeting = "421 4.7.0 too many connections from your address" }, 25, 465, 587, 2525)
		}, rows: []string{"DIAG-42 likely"}, exit: 1},
		{name: "no AUTH after TLS", args: []string{"HOST"}, host: func(t *testing.T, h *host) { on(t, h, func(m *mta) { m.auth = "" }, 25, 465, 587, 2525) }, rows: []string{"DIAG-43 likely"}},
		{name: "tokens only", args: []string{"HOST"}, host: func(t *testing.T, h *host) { on(t, h, func(m *mta) { m.auth = "XOAUTH2" }, 25, 465, 587, 2525) }, rows: []string{"DIAG-44 proven"}},
		{name: "the password is refused", args: []string{"sendgrid", "--auth", "--user", "apikey", "--password-file", "/proc/sys/kernel/ostype"}, rows: []string{"DIAG-45 likely"}, exit: 1},
		{name: "no name for our address", args: []string{"mxdomain.example"}, set: func(t *testing.T, s *site) { s.liar(t, w.zone.without(s.c4, s.c6)) }, rows: []string{"DIAG-46 proven"}},
		{name: "587 open over IPv4 alone", args: []string{"HOST"}, host: submission, set: reject("ip6 nexthdr tcp tcp dport 587 drop"), rows: []string{"DIAG-47 likely"}},
		{name: "587 open over IPv6 alone", args: []string{"HOST"}, host: submission, set: reject("ip protocol tcp tcp dport 587 drop"), rows: []string{"DIAG-47 likely"}},
		{name: "not logged in to the network", args: []string{"sendgrid"}, set: func(t *testing.T, s *site) {
			s.box(t, "tcp dport 80", instead{plainWeb("HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")})
		}, rows: []string{"DIAG-48 likely"}},
		{name: "a slow greeting", args: []string{"HOST:587"}, host: func(t *testing.T, h *host) { on(t, h, func(m *mta) { m.pause = 1500 * time.Millisecond }, 587) }, rows: []string{"DIAG-49 proven"}},
		{name: "a slow EHLO", args: []string{"HOST:587"}, host: func(t *testing.T, h *host) { on(t, h, func(m *mta) { m.thinks = 3200 * time.Millisecond }, 587) }, rows: []string{"DIAG-49 proven"}},
	}
}

// portal is a network one has to log in to: its name server knows one answer,
// and everything ends at the router.
func portal(t *testing.T, s *site) {
	s.liar(t, oneFor(s.r4))
	s.box(t, "tcp dport 80", instead{plainWeb("HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")})
	s.filter(t, "iifname lan drop")
}

// name of the host of an experiment.
func hostName(n int) string { return fmt.Sprintf("mail.e%02d.example", n) }
