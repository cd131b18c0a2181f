package deliver_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	gosmtp "github.com/emersion/go-smtp"

	"paquebot/internal/deliver"
	"paquebot/internal/mail"
	"paquebot/internal/smtpclient"
	"paquebot/internal/smtpclient/peertest"
)

// independent is a server by other hands: emersion/go-smtp.
type independent struct {
	mu       sync.Mutex
	messages []received
	addr     netip.AddrPort
}

type received struct {
	from string
	opts gosmtp.MailOptions
	to   []string
	data []byte
	auth string
}

func (b *independent) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &gosession{b: b}, nil }

type gosession struct {
	b *independent
	m received
}

func (s *gosession) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *gosession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		if user != "user" || pass != "pass" {
			return errors.New("no")
		}
		s.m.auth = user
		return nil
	}), nil
}
func (s *gosession) Reset()        { s.m = received{auth: s.m.auth} }
func (s *gosession) Logout() error { return nil }
func (s *gosession) Mail(from string, o *gosmtp.MailOptions) error {
	s.m.from, s.m.opts = from, *o
	return nil
}
func (s *gosession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	if strings.HasPrefix(to, "nobody@") {
		return &gosmtp.SMTPError{Code: 550, EnhancedCode: gosmtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	}
	s.m.to = append(s.m.to, to)
	return nil
}
func (s *gosession) Data(r io.Reader) (err error) {
	s.m.data, err = io.ReadAll(r)
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.b.messages = append(s.b.messages, s.m)
	return err
}

func startIndependent(t testing.TB, cert *tls.Config, binary bool) *independent {
	b := &independent{}
	s := gosmtp.NewServer(b)
	s.Domain, s.TLSConfig, s.EnableSMTPUTF8, s.EnableBINARYMIME, s.EnableDSN = "relay.example", cert, true, binary, true
	s.MaxMessageBytes = 64 << 20
	s.ErrorLog = log.New(io.Discard, "", 0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	b.addr = l.Addr().(*net.TCPAddr).AddrPort()
	return b
}

// A stranger's server gets what was sent, octet by octet: by BDAT and by DATA,
// small and large, in TLS with AUTH.
func TestIndependentPeer(t *testing.T) {
	cert, pool := peertest.Certificate("relay.example")
	b := startIndependent(t, cert, true)
	large := largeBody()
	for _, noChunking := range []bool{false, true} {
		d := deliver.New(deliver.Config{Hostname: "here.example", Roots: pool}, deliver.Needs{
			Dial: plainDial,
			Credential: func(string) (deliver.Credential, bool) {
				return deliver.Credential{Login: &smtpclient.Login{User: "user", Password: "pass"}}, true
			},
		})
		for n, body := range [][]byte{[]byte("Subject: x\r\n\r\n.\r\n..\r\nhi\r\n"), large} {
			r := mail.Route{Site: "relay", Transport: mail.SMTP, Security: mail.Verify, Account: "relay",
				Hops: []mail.Hop{{Name: "relay.example", Port: b.addr.Port(), Addrs: []netip.Addr{b.addr.Addr()}}}}
			a := attemptTo(r, string(body), "b@there.example", "nobody@there.example", "c@there.example")
			a.Envelope.Params.EnvelopeID = fmt.Sprint("id", n)
			if noChunking { // MIS-6 makes it DATA
				a.Envelope.Recipients[0].Last.Ambiguous = true
			}
			out := d.Deliver(t.Context(), a)
			if out[0].Result != mail.Accepted || out[1].Result != mail.Refused || out[2].Result != mail.Accepted {
				t.Fatalf("%+v", out)
			}
			if out[0].TLS == nil || out[0].TLS.Verified != "pkix" || out[0].TLS.Version != "TLS 1.3" {
				t.Errorf("%+v", out[0].TLS)
			}
			m := b.messages[len(b.messages)-1]
			if !bytes.Equal(m.data, body) || m.from != "a@here.example" || len(m.to) != 2 || m.auth != "user" ||
				m.opts.EnvelopeID != fmt.Sprint("id", n) || m.opts.Size != int64(len(body)) {
				t.Errorf("%v %v %v %d octets of %d", m.from, m.to, m.opts, len(m.data), len(body))
			}
		}
		d.Close()
	}
}

// largeBody is 3 MiB of 8-bit lines, some of which begin with dots.
func largeBody() []byte {
	b := []byte("Subject: x\r\n\r\n")
	line := make([]byte, 70)
	for len(b) < 3<<20 {
		rand.Read(line)
		for i, c := range line {
			if c == 0 || c == '\r' || c == '\n' {
				line[i] = '.'
			}
		}
		b = append(append(b, line[:10+line[0]%60]...), "\r\n.\r\n..x\r\n"...)
	}
	return b
}

// BenchmarkDeliver measures one 4 KiB message over a session that stays open,
// to the smallest server that can answer.
func BenchmarkDeliver(b *testing.B) {
	for _, offer := range []string{"CHUNKING", "PIPELINING only"} {
		b.Run(offer, func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			go sink(l, offer == "CHUNKING")
			addr := l.Addr().(*net.TCPAddr).AddrPort()
			d := deliver.New(deliver.Config{Hostname: "here.example", Pool: deliver.PoolLimits{Messages: 1 << 30, Age: time.Hour}}, deliver.Needs{Dial: plainDial})
			defer d.Close()
			a := attemptTo(mail.Route{Transport: mail.SMTP, ByMX: true, Hops: []mail.Hop{{Name: "mx", Port: addr.Port(), Addrs: []netip.Addr{addr.Addr()}}}},
				"Subject: x\r\n\r\n"+strings.Repeat(strings.Repeat("x", 76)+"\r\n", 53), "b@there.example")
			b.SetBytes(a.Body.Size())
			b.ReportAllocs()
			for b.Loop() {
				if out := d.Deliver(context.Background(), a); out[0].Result != mail.Accepted {
					b.Fatalf("%+v", out[0])
				}
			}
		})
	}
}

// sink answers without looking much.
func sink(l net.Listener, chunking bool) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	buf := make([]byte, 64<<10)
	io.WriteString(c, "220 sink\r\n")
	c.Read(buf)
	if chunking {
		io.WriteString(c, "250-sink\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
	} else {
		io.WriteString(c, "250-sink\r\n250 PIPELINING\r\n")
	}
	for {
		got := 0
		for want := 4<<10 + 10; got < want; { // an envelope with its content
			n, err := c.Read(buf[got:])
			if err != nil || bytes.HasPrefix(buf, []byte("QUIT")) {
				return
			}
			if got += n; !chunking && bytes.HasSuffix(buf[:got], []byte("DATA\r\n")) {
				io.WriteString(c, "250 ok\r\n250 ok\r\n354 go\r\n")
				got = 0
			}
		}
		if chunking {
			io.WriteString(c, "250 ok\r\n250 ok\r\n250 2.0.0 queued\r\n")
		} else {
			io.WriteString(c, "250 2.0.0 queued\r\n")
		}
	}
}
