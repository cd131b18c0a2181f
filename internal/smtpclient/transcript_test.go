package smtpclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/sim"
	"paquebot/internal/smtpclient"
	"paquebot/internal/smtpclient/peertest"
)

var update = flag.Bool("update", false, "rewrite the => lines of the transcripts")

// TestTranscripts plays every testdata/*.smtp: what the peer says and must hear
// (package peertest), settings before it, and what came of it after it.
//
//	set: security verify | lmtp | login user pass | token t [renewed] | certificate | nopipelining | nochunking
//	from: a@here.example            (default)
//	to: b@there.example [notify=..] (one line each; default one)
//	params: utf8 8bit binary envid=.. ret=.. requiretls by=..
//	body: "Subject: x\r\n\r\nhi\r\n"
//	wide: 1000 "Subject: x\r\n\r\n"  that, and a line of so many octets
//	again:                          send the message a second time on the session
//	=> b@there.example: said dot 250 2.0.0 queued
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
			var out strings.Builder
			for n, scene := range strings.SplitAfter(string(text), "\n====\n") {
				body, fence := strings.CutSuffix(scene, "====\n")
				s := readScene(t, body)
				s.name = fmt.Sprintf("%s scene %d", file, n+1)
				synctest.Test(t, s.play)
				for _, l := range s.lines {
					out.WriteString(l + "\n")
				}
				for _, l := range s.got {
					out.WriteString(l + "\n")
				}
				if fence {
					out.WriteString("\n====\n")
				} else if *update {
					continue
				}
				if !*update && strings.Join(s.want, "\n") != strings.Join(s.got, "\n") {
					t.Errorf("%s\n%s\ngot:\n%s", s.name, body, strings.Join(s.got, "\n"))
				}
			}
			if *update {
				if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

type scene struct {
	certificate bool // of ours is shown
	name        string
	lines       []string // all but results, as read
	script      string
	want        []string
	got         []string
	opt         smtpclient.Options
	trust       bool   // the peer's certificate
	server      string // its name
	msg         smtpclient.Message
	times       int
}

func readScene(t *testing.T, text string) *scene {
	s := &scene{opt: smtpclient.Options{Ehlo: "here.example"}, times: 1, trust: true, server: "there.example"}
	s.msg = smtpclient.Message{From: "a@here.example", Body: mail.Bytes("Subject: x\r\n\r\nhi\r\n")}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if strings.HasPrefix(line, "=> ") {
			s.want = append(s.want, line)
			continue
		}
		s.lines = append(s.lines, line)
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "set":
			s.set(t, strings.Fields(value))
		case "from":
			s.msg.From = value
		case "to":
			s.to(t, strings.Fields(value))
		case "params":
			s.params(t, strings.Fields(value))
		case "body":
			var b string
			if _, err := fmt.Sscanf(value, "%q", &b); err != nil {
				t.Fatal(line, err)
			}
			s.msg.Body = mail.Bytes(b)
		case "fill":
			var n int
			fmt.Sscan(value, &n)
			s.msg.Body = mail.Bytes("\r\n" + strings.Repeat("0123456789\r\n", n))
		case "wide":
			var head string
			var n int
			if _, err := fmt.Sscanf(value, "%d %q", &n, &head); err != nil {
				t.Fatal(line, err)
			}
			s.msg.Body = mail.Bytes(head + strings.Repeat("word ", n/5) + "\r\n")
		case "again":
			s.times++
		default:
			s.script += line
		}
		s.script += "\n"
	}
	if len(s.msg.Recipients) == 0 {
		s.msg.Recipients = []mail.Recipient{{Address: "b@there.example"}}
	}
	return s
}

func (s *scene) set(t *testing.T, f []string) {
	switch f[0] {
	case "security":
		s.opt.Security = mail.Security(f[1])
	case "lmtp":
		s.opt.LMTP = true
	case "login":
		s.opt.Login = &smtpclient.Login{User: f[1], Password: f[2]}
		s.opt.Login.Only = f[3:]
	case "token":
		s.opt.Login = &smtpclient.Login{User: "user", Token: func(context.Context) (string, error) { return f[1], nil }}
		if len(f) > 2 { // what it is renewed to
			s.opt.Login.Renew = func(_ context.Context, refused string) (string, error) {
				if refused != f[1] {
					t.Errorf("asked to renew %q", refused)
				}
				return f[2], nil
			}
		}
	case "certificate":
		s.opt.Login = &smtpclient.Login{Certificate: true, Optional: true}
		s.certificate = true
	case "nopipelining":
		s.opt.NoPipelining = true
	case "nochunking":
		s.opt.NoChunking = true
	case "distrust":
		s.trust = false
	case "name":
		s.server = f[1]
	default:
		t.Fatal("set", f)
	}
}

func (s *scene) to(t *testing.T, f []string) {
	r := mail.Recipient{Address: f[0]}
	for _, p := range f[1:] {
		k, v, _ := strings.Cut(p, "=")
		switch {
		case k == "notify" && v == "never":
			r.Notify = mail.NotifyNever
		case k == "notify" && v == "failure":
			r.Notify = mail.NotifyFailure
		case k == "orcpt":
			r.Original = v
		default:
			t.Fatal("to", f)
		}
	}
	s.msg.Recipients = append(s.msg.Recipients, r)
}

func (s *scene) params(t *testing.T, f []string) {
	p := &s.msg.Params
	for _, word := range f {
		k, v, _ := strings.Cut(word, "=")
		switch k {
		case "utf8":
			p.UTF8 = true
		case "8bit":
			p.Body = mail.Body8Bit
		case "binary":
			p.Body = mail.BodyBinary
		case "envid":
			p.EnvelopeID = v
		case "ret":
			p.Return = mail.ReturnWhat(v)
		case "requiretls":
			p.RequireTLS = true
		case "priority":
			fmt.Sscan(v, &p.Priority)
		case "by":
			d, mode, _ := strings.Cut(v, ";")
			left, err := time.ParseDuration(d)
			if err != nil {
				t.Fatal(err)
			}
			p.By = &mail.DeliverBy{Deadline: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(left), Return: mode == "R"}
		default:
			t.Fatal("params", f)
		}
	}
}

func (s *scene) play(t *testing.T) {
	network := sim.NewNetwork()
	l, err := network.Listen("tcp", "192.0.2.1:25")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server, pool := peertest.Certificate("there.example")
	s.opt.TLS = &tls.Config{ServerName: s.server, RootCAs: pool}
	if s.certificate {
		s.opt.TLS.Certificates = server.Certificates
	}
	if !s.trust {
		s.opt.TLS.RootCAs = x509.NewCertPool()
	}
	if s.opt.Security == mail.Opportunistic || s.opt.Security == "" {
		s.opt.TLS.InsecureSkipVerify = true
	}
	played := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = peertest.Run(c, s.script, server)
		}
		played <- err
	}()
	conn, err := network.Dial(t.Context(), "tcp", "192.0.2.1:25")
	if err != nil {
		t.Fatal(err)
	}
	var dialogue []string
	s.opt.Transcript = func(client bool, line string) {
		who := "S"
		if client {
			who = "C"
		}
		dialogue = append(dialogue, who+": "+line)
	}
	s.got = s.converse(t, conn)
	if err := <-played; err != nil {
		t.Errorf("%s: the peer: %v\ndialogue:\n%s", s.name, err, strings.Join(dialogue, "\n"))
	}
	if network.Open() != 0 {
		t.Errorf("%s: a connection was left open", s.name)
	}
}

func (s *scene) converse(t *testing.T, conn net.Conn) (got []string) {
	start := time.Now()
	c, err := smtpclient.Open(t.Context(), conn, s.opt)
	if err != nil {
		var a smtpclient.Answer
		if !errors.As(err, &a) {
			t.Fatalf("not an Answer: %v", err)
		}
		return []string{"=> open: " + words(a) + after(start)}
	}
	for range s.times {
		if !c.Usable() {
			break
		}
		start = time.Now()
		answers := c.Send(t.Context(), s.msg)
		for i, a := range answers {
			got = append(got, "=> "+s.msg.Recipients[i].Address+": "+words(a)+after(start))
		}
	}
	c.Quit()
	return got
}

// after says how long it took, if it took long.
func after(start time.Time) string {
	if took := time.Since(start); took >= time.Second {
		return " after " + took.String()
	}
	return ""
}

func words(a smtpclient.Answer) string {
	w := fmt.Sprintf("%v %v %v", a.Kind, a.Stage, a.Reply)
	for _, f := range []struct {
		is   bool
		name string
	}{{a.Ambiguous, "ambiguous"}, {a.Virgin, "virgin"}, {a.NoDSN, "nodsn"}} {
		if f.is {
			w += " (" + f.name + ")"
		}
	}
	return w
}
