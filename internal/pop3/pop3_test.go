package pop3

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"paquebot/internal/mail"
)

// box is mail in memory; its own mailbox is "app".
type box struct {
	mu   sync.Mutex
	list []Message
	text map[mail.ID]string
}

func (b *box) Messages(name string) []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name != "" && name != "app" {
		return nil
	}
	return slices.Clone(b.list)
}

func (b *box) Open(id mail.ID) (mail.Body, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t, ok := b.text[id]; ok {
		return mail.Bytes(t), nil
	}
	return nil, errors.New("gone")
}

func (b *box) Delete(ids ...mail.ID) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, id := range ids {
		delete(b.text, id)
		b.list = slices.DeleteFunc(b.list, func(m Message) bool { return m.ID == id })
	}
	return nil
}

func mailOf(texts ...string) *box {
	b := &box{text: map[mail.ID]string{}}
	for i, t := range texts {
		id := mail.ID{9: byte(i + 1)}
		b.text[id] = t
		b.list = append(b.list, Message{id, int64(len(t))})
	}
	return b
}

const (
	first  = "Subject: one\r\n\r\n.a dot\r\nsecond line\r\n..\r\n"
	second = "Subject: two\r\n\r\nno line end"
)

func start(t *testing.T, b *box, conf *tls.Config) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- New(Needs{Mail: b, TLS: conf}).Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr()
}

// talk plays a dialogue: lines of "C: " are said, lines of "S: " must come; an
// "S: " line that ends in "…" is a beginning.
func talk(t *testing.T, conn net.Conn, script string) {
	t.Helper()
	conn.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(conn)
	for line := range strings.Lines(strings.TrimSpace(script) + "\n") {
		line = strings.TrimSpace(line)
		said, isClient := strings.CutPrefix(line, "C: ")
		if isClient {
			if _, err := conn.Write([]byte(said + "\r\n")); err != nil {
				t.Fatal(line, err)
			}
			continue
		}
		want := strings.TrimPrefix(strings.TrimPrefix(line, "S:"), " ")
		got, err := r.ReadString('\n')
		if want == "<closed>" {
			if err == nil {
				t.Fatalf("got %q, want the end", got)
			}
			return
		}
		start, partly := strings.CutSuffix(want, "…")
		if got = strings.TrimRight(got, "\r\n"); err != nil || got != want && !(partly && strings.HasPrefix(got, start)) {
			t.Fatalf("got %q (%v), want %q", got, err, want)
		}
	}
}

func dial(t *testing.T, a net.Addr) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// RFC 1939: a session from greeting to QUIT, dots stuffed, TOP, deletion at
// QUIT and not before.
func TestSession(t *testing.T) {
	b := mailOf(first, second)
	a := start(t, b, nil)
	talk(t, dial(t, a), `
S: +OK Paquebot…
C: STAT
S: -ERR log in first…
C: PASS x
S: -ERR USER first
C: USER app
S: +OK any password will do
C: PASS secret
S: +OK 2 messages, 68 octets
C: STAT
S: +OK 2 68
C: LIST
S: +OK 2 messages
S: 1 41
S: 2 27
S: .
C: LIST 2
S: +OK 2 27
C: LIST 3
S: -ERR no such message
C: UIDL 1
S: +OK 1 0000000000000001
C: RETR 1
S: +OK 41 octets
S: Subject: one
S:
S: ..a dot
S: second line
S: ...
S: .
C: TOP 1 1
S: +OK 41 octets
S: Subject: one
S:
S: ..a dot
S: .
C: TOP 1 0
S: +OK 41 octets
S: Subject: one
S:
S: .
C: TOP 1
S: -ERR TOP needs a message and a number of lines
C: RETR 2
S: +OK 27 octets
S: Subject: two
S:
S: no line end
S: .
C: DELE 1
S: +OK message 1 goes at QUIT
C: RETR 1
S: -ERR no such message
C: STAT
S: +OK 1 27
C: RSET
S: +OK nothing is marked as deleted
C: STAT
S: +OK 2 68
C: DELE 2
S: +OK message 2 goes at QUIT
C: NOOP
S: +OK still here
C: FROB
S: -ERR no such command
C: QUIT
S: +OK goodbye
S: <closed>`)
	if left := b.Messages(""); len(left) != 1 || left[0].Size != 41 {
		t.Errorf("left: %v", left)
	}
	talk(t, dial(t, a), "S: +OK Paquebot…\nC: USER other\nS: +OK any…\nC: PASS x\nS: +OK 0 messages, 0 octets\nC: QUIT\nS: +OK goodbye")
	talk(t, dial(t, a), "S: +OK Paquebot…\nC: USER all\nS: +OK any…\nC: PASS wrong\nS: -ERR [AUTH]…\nC: PASS x\nS: +OK 1 messages, 41 octets")
}

// A session that is cut off deletes nothing, however far it came (RFC 1939 §6).
func TestNothingGoesWithoutQuit(t *testing.T) {
	b := mailOf(first)
	conn := dial(t, start(t, b, nil))
	talk(t, conn, "S: +OK Paquebot…\nC: USER app\nS: +OK any…\nC: PASS x\nS: +OK 1…\nC: DELE 1\nS: +OK message 1…")
	conn.Close()
	if len(b.Messages("")) != 1 {
		t.Error("the message is gone")
	}
}

// RFC 2449 §4: a line has a bound; what follows a longer one is not obeyed.
func TestLongLine(t *testing.T) {
	talk(t, dial(t, start(t, mailOf(first), nil)), "S: +OK Paquebot…\nC: USER "+strings.Repeat("x", 300)+"\nS: -ERR line too long\nS: <closed>")
}

// RFC 6856 §2: what CAPA tells of is there, before the login alone.
func TestUTF8(t *testing.T) {
	talk(t, dial(t, start(t, mailOf(first), nil)), "S: +OK Paquebot…\nC: UTF8\nS: +OK UTF8\nC: USER app\nS: +OK any…\nC: PASS x\nS: +OK 1…\nC: UTF8\nS: -ERR no such command")
}

func TestTooManyFaults(t *testing.T) {
	script := "S: +OK Paquebot…\n" + strings.Repeat("C: FROB\nS: -ERR log in first…\n", faultsMax+1) + "S: <closed>"
	talk(t, dial(t, start(t, mailOf(first), nil)), script)
}

// RFC 2595: TLS begins on the same connection, CAPA tells of it, and what came
// before is forgotten.
func TestSTLS(t *testing.T) {
	conf, roots := certificate(t)
	conn := dial(t, start(t, mailOf(first), conf))
	talk(t, conn, `
S: +OK Paquebot…
C: CAPA
S: +OK what there is
S: TOP
S: UIDL
S: PIPELINING
S: RESP-CODES
S: EXPIRE NEVER
S: UTF8
S: IMPLEMENTATION Paquebot
S: USER
S: STLS
S: .
C: USER app
S: +OK any…
C: STLS
S: +OK begin TLS`)
	secure := tls.Client(conn, &tls.Config{ServerName: "localhost", RootCAs: roots})
	talk(t, secure, "C: PASS x\nS: -ERR USER first\nC: STLS\nS: -ERR TLS cannot be begun here\nC: USER app\nS: +OK any…\nC: PASS x\nS: +OK 1 messages, 41 octets\nC: QUIT\nS: +OK goodbye")
}

// What was sent along with STLS in clear is not taken for what TLS protects.
func TestNothingIsInjectedBeforeTLS(t *testing.T) {
	conf, _ := certificate(t)
	conn := dial(t, start(t, mailOf(first), conf))
	if _, err := conn.Write([]byte("STLS\r\nUSER app\r\n")); err != nil {
		t.Fatal(err)
	}
	talk(t, conn, "S: +OK Paquebot…\nS: -ERR nothing may follow STLS before its answer\nS: <closed>")
}

func certificate(t *testing.T) (*tls.Config, *x509.CertPool) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}, roots
}

// Whatever a client says, the session ends without a panic and within what it
// was sent.
func FuzzSession(f *testing.F) {
	f.Add("USER app\r\nPASS x\r\nRETR 1\r\nTOP 1 1\r\nQUIT\r\n")
	f.Add("CAPA\r\nSTLS\r\n")
	f.Add("USER all\r\nPASS x\r\nLIST 99999999999999999999\r\nTOP 1 -1\r\nDELE 0\r\n")
	f.Fuzz(func(t *testing.T, said string) {
		here, there := net.Pipe()
		go func() {
			here.Write([]byte(said))
			here.Close()
		}()
		go func() {
			b := make([]byte, 4096)
			for {
				if _, err := here.Read(b); err != nil {
					return
				}
			}
		}()
		s := newSession(Needs{Mail: mailOf(first, second)}, there)
		s.inside, s.list = strings.HasPrefix(said, "RETR"), s.needs.Mail.Messages("")
		s.run()
		there.Close()
	})
}
