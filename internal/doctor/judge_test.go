package doctor

import (
	"bufio"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/mail"
	"paquebot/internal/probe"
	"paquebot/internal/provider"
	"paquebot/internal/smtp"
)

const sendgrid = "smtp.sendgrid.net"

var (
	far     = 80 * time.Millisecond // one round trip to the provider
	theirs4 = netip.MustParseAddr("203.0.113.7")
	nobodys = netip.MustParseAddr("192.0.2.1")
	epoch   = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	usual   = []uint16{587, 465, 2525, 25}
)

// scene is a set of facts to be spoiled in one way: at first a provider all of
// whose ports are in order, seen over IPv4, with every control as it should be.
type scene struct{ *Facts }

func clear(t *testing.T) *scene {
	t.Helper()
	p, r, err := provider.Find("sendgrid")
	if err != nil {
		t.Fatal(err)
	}
	f := &Facts{Target: Target{Kind: KindProvider, Name: "sendgrid", Title: sendgrid + " (Twilio SendGrid)", Provider: p, Region: r}}
	s := &scene{f}
	for _, port := range usual {
		mode := mail.Verify
		if port == 465 {
			mode = mail.Implicit
		}
		f.Target.Endpoints = append(f.Target.Endpoints, Endpoint{Host: sendgrid, Port: port, Mode: mode, Role: Submission, Known: true})
		f.Controls.Impossible = append(f.Controls.Impossible, Control{Host: nobodys.String(), Addr: nobodys, Port: port, Dial: probe.Dial{Result: probe.Timeout}})
	}
	f.Names = []Name{{Host: sendgrid, Answer: found(theirs4)}}
	f.Controls.Web = []Control{{Host: sendgrid, Addr: theirs4, Port: 443, Dial: probe.Dial{Result: probe.Open, Took: far}}}
	s.see(4)
	return s
}

func found(a ...netip.Addr) dns.Answer[netip.Addr] { return dns.Answer[netip.Addr]{Records: a} }

// see adds a clean sight of each endpoint over a family.
func (s *scene) see(family int) {
	for _, e := range s.Target.Endpoints {
		s.Sights = append(s.Sights, sound(e, family))
	}
}

// sound is an endpoint with which all is well.
func sound(e Endpoint, family int) Sight {
	o := probe.Observation{Dial: probe.Dial{Result: probe.Open, Took: far}, Took: 6 * far,
		First: []byte("220 " + e.Host + " ESMTP\r\n"), Greeting: &smtp.Reply{Code: 220, Text: e.Host + " ESMTP"}, GreetIn: far, EhloIn: far}
	secure := smtp.Reply{Code: 250, Text: e.Host + "\nAUTH PLAIN LOGIN"}
	if e.Role == Exchange {
		secure.Text = e.Host
	}
	if e.Mode == mail.Implicit {
		o.Implicit = true
	} else {
		o.Ehlo = &smtp.Reply{Code: 250, Text: e.Host + "\nSTARTTLS"}
		o.StartTLS = &smtp.Reply{Code: 220}
	}
	o.Secure, o.Ext = &secure, smtp.ParseExtensions(secure)
	o.Auth = o.Ext.Auth()
	o.TLS = &probe.TLS{Version: "TLS 1.3", SNI: e.Host, Chain: chain(e.Host, "Public CA")}
	return Sight{Endpoint: e, Family: family, Observation: o}
}

func chain(name, issuer string) []*x509.Certificate {
	return []*x509.Certificate{{DNSNames: []string{name}, Raw: []byte(name + issuer), Issuer: pkix.Name{CommonName: issuer},
		NotBefore: epoch.AddDate(0, -1, 0), NotAfter: epoch.AddDate(0, 2, 0)}}
}

// at spoils the sights of some ports, or of all.
func (s *scene) at(how func(*Sight), ports ...uint16) *scene {
	for i := range s.Sights {
		if len(ports) == 0 || slices.Contains(ports, s.Sights[i].Endpoint.Port) {
			how(&s.Sights[i])
		}
	}
	return s
}

// elsewhere adds other providers' hosts on a port, spoilt in the same way.
func (s *scene) elsewhere(how func(*Sight), ports ...uint16) *scene {
	for _, port := range ports {
		for _, host := range []string{"smtp.mailgun.org", "smtp.gmail.com"} {
			mode := mail.Verify
			if port == 465 {
				mode = mail.Implicit
			}
			ref := sound(Endpoint{Host: host, Port: port, Mode: mode, Role: Submission, Known: true}, 4)
			how(&ref)
			s.Controls.References = append(s.Controls.References, ref)
		}
	}
	return s
}

// answers lets the impossible address answer on ports.
func (s *scene) answers(first string, ports ...uint16) *scene {
	for i := range s.Controls.Impossible {
		if c := &s.Controls.Impossible[i]; slices.Contains(ports, c.Port) {
			c.Dial, c.First = probe.Dial{Result: probe.Open, Took: time.Millisecond}, []byte(first)
		}
	}
	return s
}

func (s *scene) host(e ...Endpoint) *scene {
	s.Target.Kind, s.Target.Provider, s.Target.Endpoints, s.Sights = KindHost, nil, e, nil
	s.see(4)
	return s
}

// Ways to spoil a sight.
func fine(*Sight) {}

func dial(result, errno string, took time.Duration) func(*Sight) {
	return func(s *Sight) {
		s.Observation = probe.Observation{Dial: probe.Dial{Result: result, Errno: errno, Took: took}}
	}
}

var timeout = dial(probe.Timeout, "ETIMEDOUT", 3*time.Second)

// until forgets all that comes after a stage, and how it ended.
func until(cut, by string) func(*Sight) {
	return func(s *Sight) {
		s.Cut, s.CutBy, s.Secure, s.Auth, s.Implicit = cut, by, nil, nil, false
		s.TLS = nil
		switch cut {
		case "greeting":
			s.Greeting, s.Ehlo, s.StartTLS, s.First = nil, nil, nil, nil
		case "ehlo":
			s.Ehlo, s.StartTLS = nil, nil
		case "handshake":
			s.TLS = &probe.TLS{Err: errors.New(by)}
			if s.Endpoint.Mode == mail.Implicit {
				s.Greeting, s.First = nil, nil
			}
		}
	}
}

func greet(reply smtp.Reply) func(*Sight) {
	return func(s *Sight) {
		until("greeting", "")(s)
		s.Cut = ""
		s.Greeting, s.First = &reply, []byte(reply.String()+"\r\n")
	}
}

// bare has no STARTTLS and a greeting of its own.
func bare(greeting string, offers string) func(*Sight) {
	return func(s *Sight) {
		greet(smtp.Reply{Code: 220, Text: greeting})(s)
		s.Ehlo = &smtp.Reply{Code: 250, Text: "gw\n" + offers}
	}
}

func cert(name, issuer string, trust, host error) func(*Sight) {
	return func(s *Sight) {
		until("", "")(s)
		fault := trust
		if fault == nil {
			fault = host
		}
		s.TLS = &probe.TLS{Version: "TLS 1.3", Chain: chain(name, issuer), Trust: trust, Name: host, Fault: fault, Err: fault}
		if s.Endpoint.Mode == mail.Implicit {
			s.Greeting, s.First = nil, nil
		}
	}
}

func unknown() error { return x509.UnknownAuthorityError{} }

// rowCases are the specification of the judge: the facts, what must be found in
// them and how surely, the verdict, the port recommended (0: none), the exit.
var rowCases = []struct {
	name    string
	facts   func(*testing.T) *scene
	finds   string // "DIAG-15 likely, DIAG-47"
	verdict string // "" if no pattern fits
	port    uint16
	exit    int
}{
	{"all is well", clear, "DIAG-13 proven", "DIAG-60", 587, 0},
	{"no such name", func(t *testing.T) *scene {
		s := clear(t)
		s.Sights, s.Names[0].Answer = nil, dns.Answer[netip.Addr]{Status: dns.NXDomain}
		s.Names[0].Second = &dns.Answer[netip.Addr]{Status: dns.NXDomain}
		return s
	}, "DIAG-10 proven", "", 0, 1},
	{"the resolver is dead", func(t *testing.T) *scene {
		s := clear(t)
		dead := dns.Answer[netip.Addr]{Status: dns.Temp, Cause: errors.New("timeout")}
		s.Sights, s.Names[0].Answer = nil, dead
		s.Names[0].Others = []Other{{"smtp.mailgun.org", dead}, {"smtp.gmail.com", dead}}
		return s
	}, "DIAG-11", "", 0, 2},
	{"one address for every name", func(t *testing.T) *scene {
		s := clear(t).at(bare("portal.hotel.example", "SIZE 1"))
		portal := found(netip.MustParseAddr("10.0.0.1"))
		s.Names[0].Answer = portal
		s.Names[0].Others = []Other{{"smtp.mailgun.org", portal}, {"smtp.gmail.com", portal}}
		return s
	}, "DIAG-12 proven", "", 0, 1},
	{"refused as soon as the host can", func(t *testing.T) *scene {
		return clear(t).at(dial(probe.Refused, "ECONNREFUSED", far), 587)
	}, "DIAG-14 proven", "", 465, 0},
	{"refused from near by", func(t *testing.T) *scene {
		return clear(t).at(dial(probe.Refused, "ECONNREFUSED", time.Millisecond), 587)
	}, "DIAG-14 likely", "", 465, 0},
	{"refused on every port", func(t *testing.T) *scene {
		return clear(t).at(dial(probe.Refused, "ECONNREFUSED", far))
	}, "DIAG-14", "DIAG-69", 0, 1},
	{"25 filtered here", func(t *testing.T) *scene { return clear(t).at(timeout, 25).elsewhere(timeout, 25) }, "DIAG-15 likely, DIAG-82", "DIAG-61", 587, 0},
	{"25 filtered here, proven", func(t *testing.T) *scene {
		s := clear(t).at(timeout, 25).elsewhere(timeout, 25)
		for _, port := range []uint16{25, 587} {
			result := map[uint16]string{25: probe.Timeout, 587: probe.Open}[port]
			s.Controls.Reflector = append(s.Controls.Reflector, Control{Host: "me.example", Addr: theirs4, Port: port, Dial: probe.Dial{Result: result}})
		}
		return s
	}, "DIAG-15 proven", "DIAG-61", 587, 0},
	{"25 filtered by the host", func(t *testing.T) *scene { return clear(t).at(timeout, 25).elsewhere(fine, 25) }, "DIAG-15 likely", "", 587, 0},
	{"a port silent, nothing to compare with", func(t *testing.T) *scene { return clear(t).at(timeout, 2525) }, "DIAG-15 unknown", "", 587, 0},
	{"25 and 465 filtered", func(t *testing.T) *scene { return clear(t).at(timeout, 25, 465).elsewhere(timeout, 25, 465) }, "DIAG-15 likely", "DIAG-62", 587, 0},
	{"25, 465 and 587 filtered", func(t *testing.T) *scene {
		return clear(t).at(timeout, 25, 465, 587).elsewhere(timeout, 25, 465, 587)
	}, "DIAG-15 likely, DIAG-82", "DIAG-63", 2525, 0},
	{"all filtered, the web open", func(t *testing.T) *scene { return clear(t).at(timeout).elsewhere(timeout, usual...) }, "DIAG-15 likely", "DIAG-64", 0, 1},
	{"587 filtered", func(t *testing.T) *scene { return clear(t).at(timeout, 25, 587).elsewhere(timeout, 25, 587) }, "DIAG-15 likely, DIAG-82", "", 465, 0},
	{"IPv6 is a black hole", func(t *testing.T) *scene {
		s := clear(t)
		s.see(6)
		for i := range s.Sights {
			if s.Sights[i].Family == 6 {
				timeout(&s.Sights[i])
			}
		}
		ref := sound(Endpoint{Host: "smtp.mailgun.org", Port: 587, Mode: mail.Verify}, 6)
		timeout(&ref)
		s.Controls.References = append(s.Controls.References, ref)
		return s
	}, "DIAG-16 proven, DIAG-47", "", 587, 0},
	{"no route for IPv6", func(t *testing.T) *scene {
		s := clear(t)
		s.see(6)
		for i := range s.Sights {
			if s.Sights[i].Family == 6 {
				dial(probe.NoRoute, "ENETUNREACH", time.Microsecond)(&s.Sights[i])
			}
		}
		return s
	}, "DIAG-17 proven", "DIAG-60", 587, 0},
	{"a router prohibits 587", func(t *testing.T) *scene {
		return clear(t).at(dial(probe.Prohibited, "EHOSTUNREACH", 9*time.Millisecond), 587)
	}, "DIAG-18 likely", "", 465, 0},
	{"this machine forbids 587", func(t *testing.T) *scene {
		return clear(t).at(dial(probe.Denied, "EPERM", time.Microsecond), 587)
	}, "DIAG-19 likely", "", 465, 0},
	{"reset before a byte", func(t *testing.T) *scene { return clear(t).at(until("greeting", "reset"), 587) }, "DIAG-20 likely", "", 465, 0},
	{"reset at the ClientHello", func(t *testing.T) *scene { return clear(t).at(until("handshake", "reset"), 587) }, "DIAG-21 likely", "DIAG-65", 465, 0},
	{"a small ClientHello passes", func(t *testing.T) *scene {
		return clear(t).at(func(s *Sight) {
			broken := *s
			until("handshake", "timeout")(&broken)
			s.Earlier, s.TLS.Small = []probe.Observation{broken.Observation}, true
		}, 587)
	}, "DIAG-21 proven", "DIAG-60", 587, 0},
	{"a proxy on 25 alone", func(t *testing.T) *scene {
		return clear(t).at(bare("gw.hotel.example", "SIZE 1"), 25).elsewhere(bare("gw.hotel.example", "SIZE 1"), 25).answers("220 gw.hotel.example\r\n", 25)
	}, "DIAG-22 proven, DIAG-36 proven", "DIAG-67", 587, 0},
	{"a proxy on every port", func(t *testing.T) *scene {
		return clear(t).at(bare("gw.hotel.example", "SIZE 1")).answers("220 gw.hotel.example\r\n", usual...)
	}, "DIAG-22 proven", "DIAG-68", 0, 1},
	{"587 stands next door", func(t *testing.T) *scene {
		return clear(t).at(func(s *Sight) { s.Dial.Took = time.Millisecond }, 587)
	}, "DIAG-23 likely", "DIAG-60", 587, 0},
	{"TLS first on 587", func(t *testing.T) *scene {
		return clear(t).host(Endpoint{Host: "mail.example.org", Port: 587, Mode: mail.Verify, Role: Submission}).at(func(s *Sight) {
			s.Silent, s.Implicit, s.Ehlo, s.StartTLS = true, true, nil, nil
		})
	}, "DIAG-30 proven", "DIAG-60", 587, 0},
	{"a tarpit", func(t *testing.T) *scene {
		return clear(t).at(func(s *Sight) { until("greeting", "timeout")(s); s.Silent = true }, 587)
	}, "DIAG-30 unknown", "", 465, 0},
	{"STARTTLS on 465", func(t *testing.T) *scene {
		return clear(t).at(func(s *Sight) {
			turned := sound(Endpoint{Host: sendgrid, Port: 465, Mode: mail.Verify}, 4)
			until("greeting", "")(s)
			s.TLS, s.Turned = &probe.TLS{Plain: []byte("220 hello\r\n"), Err: errors.New("plain")}, &turned.Observation
		}, 465)
	}, "DIAG-31 proven", "DIAG-60", 587, 0},
	{"Cisco's inspection", func(t *testing.T) *scene {
		return clear(t).at(bare("************************", "XXXXXXXA"), 25, 587)
	}, "DIAG-32 proven, DIAG-33 proven", "DIAG-65", 465, 0},
	{"STARTTLS stripped", func(t *testing.T) *scene { return clear(t).at(bare(sendgrid+" ESMTP", "SIZE 1"), 25, 587, 2525) }, "DIAG-34 proven", "DIAG-65", 465, 0},
	{"no STARTTLS at a host nobody knows", func(t *testing.T) *scene {
		return clear(t).host(Endpoint{Host: "mail.example.org", Port: 587, Mode: mail.Verify, Role: Submission}).at(bare("mail.example.org", "SIZE 1"))
	}, "DIAG-34 unknown", "", 0, 1},
	{"HELO only", func(t *testing.T) *scene {
		return clear(t).at(func(s *Sight) {
			bare("proxy", "")(s)
			s.Ehlo, s.Helo = &smtp.Reply{Code: 502}, &smtp.Reply{Code: 250, Text: "proxy"}
		}, 25, 587, 2525)
	}, "DIAG-35 likely", "DIAG-65", 465, 0},
	{"a web server on 587", func(t *testing.T) *scene {
		return clear(t).at(func(s *Sight) {
			until("greeting", "garbage")(s)
			s.First = []byte("HTTP/1.1 400 Bad Request\r\n")
		}, 587)
	}, "DIAG-36 likely", "DIAG-65", 465, 0},
	{"one certificate for all hosts", func(t *testing.T) *scene {
		foreign := cert("mail.hotel.example", "Hotel", nil, x509.HostnameError{Certificate: chain("mail.hotel.example", "")[0], Host: sendgrid})
		return clear(t).at(foreign, 465).elsewhere(foreign, 465)
	}, "DIAG-37", "DIAG-66", 587, 0},
	{"a virus scanner", func(t *testing.T) *scene {
		shield := cert(sendgrid, "Acme Mail Shield Root", unknown(), nil)
		return clear(t).at(shield, 25, 465, 587).elsewhere(shield, 465)
	}, "DIAG-38 proven", "", 2525, 0},
	{"expired at this host alone", func(t *testing.T) *scene {
		s := clear(t).at(cert(sendgrid, "Public CA", x509.CertificateInvalidError{Reason: x509.Expired}, nil))
		return s.elsewhere(fine, usual...)
	}, "DIAG-39 proven", "", 0, 1},
	{"another name at this host alone", func(t *testing.T) *scene {
		e := Endpoint{Host: "mail.brand.example", Port: 587, Mode: mail.Verify, Role: Submission}
		return clear(t).host(e).at(cert(sendgrid, "Public CA", nil, x509.HostnameError{Certificate: chain(sendgrid, "")[0], Host: e.Host})).elsewhere(fine, 587)
	}, "DIAG-39", "", 0, 1},
	{"TLS 1.0 only", func(t *testing.T) *scene {
		return clear(t).at(func(s *Sight) {
			until("", "")(s)
			s.TLS = &probe.TLS{Alert: "protocol_version", AlertBy: "peer", Err: errors.New("alert")}
		}, 587)
	}, "DIAG-40 proven", "", 465, 0},
	{"our address is listed", func(t *testing.T) *scene {
		return clear(t).at(greet(smtp.Reply{Code: 554, Text: "5.7.1 listed"}))
	}, "DIAG-41", "", 0, 1},
	{"too busy", func(t *testing.T) *scene { return clear(t).at(greet(smtp.Reply{Code: 421, Text: "later"})) }, "DIAG-42", "", 0, 1},
	{"no AUTH", func(t *testing.T) *scene {
		return clear(t).at(func(s *Sight) { s.Auth, s.Secure = nil, &smtp.Reply{Code: 250, Text: "hello"} })
	}, "DIAG-43 likely", "DIAG-60", 587, 0},
	{"tokens only", func(t *testing.T) *scene { return clear(t).at(func(s *Sight) { s.Auth = []string{"XOAUTH2"} }) }, "DIAG-44 proven", "DIAG-60", 587, 0},
	{"the credential is refused", func(t *testing.T) *scene {
		s := clear(t).at(func(s *Sight) { s.Observation.Login = &smtp.Reply{Code: 535, Text: "5.7.8 bad"} })
		s.Login = &Login{User: "anna", Shape: `the user name at Twilio SendGrid is always "apikey"`}
		return s
	}, "DIAG-45", "DIAG-60", 587, 1},
	{"25 open, our address has no name", func(t *testing.T) *scene {
		s := clear(t).host(Endpoint{Host: "mx1.example.net", Port: 25, Mode: mail.Opportunistic, Role: Exchange})
		s.Self = []Self{{netip.MustParseAddr("203.0.113.99"), dns.Answer[string]{Status: dns.NXDomain}}}
		return s
	}, "DIAG-46 proven", "DIAG-60", 25, 0},
	{"587 broken over IPv6 alone", func(t *testing.T) *scene {
		s := clear(t)
		s.see(6)
		for i := range s.Sights {
			if s.Sights[i].Family == 6 && s.Sights[i].Endpoint.Port == 587 {
				until("greeting", "reset")(&s.Sights[i])
			}
		}
		return s
	}, "DIAG-47", "", 587, 0},
	{"a captive portal", func(t *testing.T) *scene {
		s := clear(t).at(timeout)
		s.Controls.Portal = &Portal{URL: "http://192.0.2.1/", Status: 302, Location: "http://login.hotel.example/"}
		return s
	}, "DIAG-48", "DIAG-64", 0, 1},
	{"slow to greet", func(t *testing.T) *scene { return clear(t).at(func(s *Sight) { s.GreetIn = 5 * time.Second }, 587) }, "DIAG-49 proven", "DIAG-60", 587, 0},
	{"465 reset, 587 clean", func(t *testing.T) *scene { return clear(t).at(until("handshake", "reset"), 465) }, "DIAG-21", "DIAG-66", 587, 0},
	{"our own 25 is closed from outside", func(t *testing.T) *scene { s := clear(t).at(timeout, 25); s.Target.Own = true; return s }, "DIAG-15", "DIAG-70", 587, 0},
	{"our own 587 without TLS", func(t *testing.T) *scene {
		s := clear(t).at(bare("mail.example.org", "AUTH PLAIN"), 587)
		s.Target.Own = true
		return s
	}, "", "DIAG-71", 0, 1},
	{"our own server relays for strangers", func(t *testing.T) *scene {
		s := clear(t).at(func(s *Sight) { s.Rcpt = &smtp.Reply{Code: 250} }, 25)
		s.Target.Own = true
		return s
	}, "", "DIAG-72", 0, 1},
}

func TestEveryRowOfTheStandard(t *testing.T) {
	covered := map[string]bool{"DIAG-83": true} // by the exit codes of this table
	for _, c := range rowCases {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			r := Judge(c.facts(t).Facts)
			covered[r.Verdict.ID] = covered[r.Verdict.ID] || r.Verdict.ID == c.verdict
			for _, want := range strings.Split(c.finds, ", ") {
				id, sure, _ := strings.Cut(want, " ")
				if id == "DIAG-82" {
					covered[id] = covered[id] || slices.ContainsFunc(r.Advice, func(a string) bool { return strings.Contains(a, "RFC 5068 s4.1") })
					continue
				}
				f := r.finding(id, Confidence(sure))
				if id != "" && f == nil {
					t.Errorf("%s is missing", want)
				}
				covered[id] = covered[id] || f != nil
			}
			if r.Verdict.ID != c.verdict {
				t.Errorf("verdict %q (%s), want %q", r.Verdict.ID, r.Verdict.Text, c.verdict)
			}
			port := uint16(0)
			if r.Recommendation != nil {
				port = r.Recommendation.Port
				covered["DIAG-80"] = true
				covered["DIAG-81"] = covered["DIAG-81"] || port == 587 && strings.Contains(r.Recommendation.Reason, "465 is as secure, TLS being mandatory on both")
			}
			if port != c.port || r.Exit != c.exit {
				t.Errorf("port %d, exit %d; want %d, %d", port, r.Exit, c.port, c.exit)
			}
			if t.Failed() {
				for _, f := range r.Findings {
					t.Logf("%s %s %s %s", f.ID, f.Confidence, f.Word, f.Text)
				}
			}
		})
	}
	rows := standardRows(t)
	missing := slices.DeleteFunc(slices.Clone(rows), func(id string) bool { return covered[id] })
	t.Logf("rows covered %d / rows in the standard %d", len(rows)-len(missing), len(rows))
	if len(missing) > 0 {
		t.Errorf("no case shows %s", list(missing))
	}
}

func (r *Report) finding(id string, sure Confidence) *Finding {
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.ID == id && (sure == "" || f.Confidence == sure) })
	if i < 0 {
		return nil
	}
	return &r.Findings[i]
}

func standardRows(t *testing.T) []string {
	t.Helper()
	f, err := os.Open("testdata/rows.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "DIAG-") {
			out = append(out, lines.Text())
		}
	}
	if len(out) < 45 {
		t.Fatalf("only %d rows: the list is broken", len(out))
	}
	return out
}

// DIAG-80: preference, then what worked last, then 587, 465, 2525, extras, 25.
func TestChoiceOfPort(t *testing.T) {
	for _, c := range []struct {
		name string
		set  func(*scene)
		want uint16
	}{
		{"default", func(*scene) {}, 587},
		{"preferred", func(s *scene) { s.Prefer = []uint16{2525} }, 2525},
		{"preferred but broken", func(s *scene) { s.Prefer = []uint16{2525}; s.at(timeout, 2525) }, 587},
		{"last known good", func(s *scene) { s.LastGood = 465 }, 465},
		{"preference before last known good", func(s *scene) { s.Prefer, s.LastGood = []uint16{2525}, 465 }, 2525},
		{"strict", func(s *scene) { s.Strict = true }, 465},
		{"587 gone", func(s *scene) { s.at(timeout, 587) }, 465},
		{"587 and 465 gone", func(s *scene) { s.at(timeout, 587, 465) }, 2525},
		{"25 last", func(s *scene) { s.at(timeout, 587, 465, 2525) }, 25},
	} {
		s := clear(t)
		c.set(s)
		r := Judge(s.Facts)
		if r.Recommendation == nil || r.Recommendation.Port != c.want {
			t.Errorf("%s: %+v, want %d", c.name, r.Recommendation, c.want)
		}
	}
}

// Nothing unverified is ever recommended, whatever is wished (SH-3, TLS-7).
func TestNothingUnsafeIsRecommended(t *testing.T) {
	for name, how := range map[string]func(*Sight){
		"stripped": bare(sendgrid, "SIZE 1"), "foreign": cert(sendgrid, "Somebody", unknown(), nil),
		"expired": cert(sendgrid, "Public CA", x509.CertificateInvalidError{Reason: x509.Expired}, nil),
	} {
		s := clear(t).at(how)
		s.Prefer, s.LastGood = []uint16{587}, 587
		r := Judge(s.Facts)
		if r.Recommendation != nil || r.Exit != 1 || !r.InsecureOnly || r.Settings() != nil {
			t.Errorf("%s: %+v, exit %d, insecure only %v", name, r.Recommendation, r.Exit, r.InsecureOnly)
		}
	}
}

// A relay stops at faults that are none of reachability (SH-3): there the
// setting must name the port, elsewhere it finds the port by itself.
func TestOurOwnSettingPinsThePortWhereARelayWouldStop(t *testing.T) {
	pinned := func(s *scene) string {
		for _, x := range Judge(s.Facts).Settings() {
			if x.Name == "paquebot" {
				return strings.Join(x.Lines, "\n")
			}
		}
		return ""
	}
	if got := pinned(clear(t).at(bare(sendgrid, "SIZE 1"), 587)); !strings.Contains(got, "\nports = [465]") {
		t.Errorf("stripped: %s", got)
	}
	if got := pinned(clear(t).at(timeout, 587)); strings.Contains(got, "\nports =") {
		t.Errorf("filtered: %s", got)
	}
}

// The reference page explains every row.
func TestReferenceExplainsEveryRow(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range standardRows(t) {
		if !strings.Contains(string(page), id) {
			t.Errorf("docs/reference/doctor.md does not explain %s", id)
		}
	}
}
