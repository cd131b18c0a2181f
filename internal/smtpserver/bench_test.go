package smtpserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// scripted is a connection whose client is a list of flights, so that a
// benchmark measures the session and nothing else.
type scripted struct {
	first, flights []string // first once, then flights for each message
	left           int      // messages
	at             int
	greeted        bool
	rest           string
}

func (c *scripted) Read(p []byte) (int, error) {
	if c.rest == "" && !c.next() {
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *scripted) next() bool {
	if !c.greeted {
		c.greeted, c.rest = true, strings.Join(c.first, "")
		return true
	}
	if c.at == len(c.flights) {
		c.at = 0
		c.left--
	}
	if c.left <= 0 {
		return false
	}
	c.rest = c.flights[c.at]
	c.at++
	return true
}

func (c *scripted) Write(p []byte) (int, error)      { return len(p), nil }
func (c *scripted) Close() error                     { return nil }
func (c *scripted) LocalAddr() net.Addr              { return nil }
func (c *scripted) RemoteAddr() net.Addr             { return nil }
func (c *scripted) SetDeadline(time.Time) error      { return nil }
func (c *scripted) SetReadDeadline(time.Time) error  { return nil }
func (c *scripted) SetWriteDeadline(time.Time) error { return nil }

// yes is a Policy, yesDraft a Draft, that cost next to nothing.
type yes struct{ recipients [1]mail.Recipient }

func (*yes) Connect(context.Context, mail.Origin) error                          { return nil }
func (*yes) Mail(context.Context, mail.Origin, string, mail.Params) error        { return nil }
func (*yes) Content(context.Context, *mail.Envelope, message.Header) (v Verdict) { return v }
func (y *yes) Rcpt(_ context.Context, _ mail.Origin, _, to string) ([]mail.Recipient, error) {
	y.recipients[0] = mail.Recipient{Address: to}
	return y.recipients[:], nil
}

type yesStore struct{ d yesDraft }
type yesDraft struct{ n int64 }

func (s *yesStore) NewDraft() Draft { s.d.n = 0; return &s.d }

func (d *yesDraft) Write(p []byte) (int, error)                          { d.n += int64(len(p)); return len(p), nil }
func (d *yesDraft) Size() int64                                          { return d.n }
func (d *yesDraft) Discard()                                             {}
func (d *yesDraft) Commit(context.Context, *mail.Envelope, []byte) error { return nil }

// typicalHeader has what a message that has travelled has.
const typicalHeader = "Received: from a.example ([192.0.2.9])\r\n\tby b.example with ESMTPS\r\n\tid 12345; Sat, 01 Jan 2000 00:00:00 +0000\r\n" +
	"From: Ann <a@a.example>\r\nTo: Bob <b@here.example>\r\nSubject: Hello\r\nDate: Sat, 01 Jan 2000 00:00:00 +0000\r\n" +
	"Message-ID: <1@a.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"

func benchContent(size int) string {
	line := strings.Repeat("x", 76) + "\r\n"
	return typicalHeader + strings.Repeat(line, (size-len(typicalHeader))/len(line))
}

func bench(b *testing.B, flights ...string) {
	cfg := Defaults(mail.RoleMX)
	cfg.Hostname = "mx.example"
	cfg.Limits.Messages = 1 << 30
	srv := New(cfg, Needs{Policy: &yes{}, Store: &yesStore{}, IDs: newIDs(b), Events: event.Discard})
	o := mail.Origin{Client: netip.MustParseAddrPort("192.0.2.7:1"), Local: netip.MustParseAddrPort("192.0.2.1:25")}
	conn := &scripted{first: []string{"EHLO a.example\r\n"}, flights: flights, left: b.N}
	b.ReportAllocs()
	b.ResetTimer()
	srv.Serve(b.Context(), conn, o, nil)
}

func BenchmarkDATA(b *testing.B) {
	c := benchContent(4096)
	b.SetBytes(int64(len(c)))
	bench(b, "MAIL FROM:<a@a.example> SIZE=4096\r\nRCPT TO:<b@here.example>\r\nDATA\r\n", c+".\r\n")
}

func BenchmarkBDAT(b *testing.B) {
	c := benchContent(4096)
	b.SetBytes(int64(len(c)))
	bench(b, fmt.Sprintf("MAIL FROM:<a@a.example> SIZE=4096\r\nRCPT TO:<b@here.example>\r\nBDAT %d LAST\r\n%s", len(c), c))
}

func BenchmarkDATA100K(b *testing.B) {
	c := benchContent(100 << 10)
	b.SetBytes(int64(len(c)))
	bench(b, "MAIL FROM:<a@a.example>\r\nRCPT TO:<b@here.example>\r\nDATA\r\n", c+".\r\n")
}
