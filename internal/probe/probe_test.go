package probe

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/sim"
	"paquebot/internal/smtpclient"
	"paquebot/internal/smtpclient/peertest"
)

var update = flag.Bool("update", false, "rewrite goldens")

// A transcript is what the peer does (peertest's lines); its head says what is
// asked, its end what must be seen:
//
//	mode: verify            the endpoint's
//	cert: other.example     the certificate's name, "untrusted" after it
//	ask: small, login, envelope
//	--
//	S: 220 ...
//	--
//	greeting: 220 ...
type transcript struct {
	head   map[string]string
	script string
	want   string
}

func readTranscript(t *testing.T, file string) transcript {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.SplitN(string(b), "--\n", 3)
	if len(parts) != 3 {
		t.Fatalf("%s: want head, script and observation, parted by --", file)
	}
	head := map[string]string{}
	for l := range strings.Lines(parts[0]) {
		if k, v, ok := strings.Cut(strings.TrimSpace(l), ":"); ok {
			head[k] = strings.TrimSpace(v)
		}
	}
	return transcript{head, parts[1], parts[2]}
}

// The transcripts are the specification of a look: what the peer does, to the
// letter of what it must hear, and what is seen of it.
func TestLook(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.smtp")
	if len(files) < 20 {
		t.Fatalf("only %d transcripts", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".smtp"), func(t *testing.T) {
			x := readTranscript(t, file)
			got := ""
			synctest.Test(t, func(t *testing.T) { got = play(t, x) })
			if got == x.want {
				return
			}
			if *update {
				b, _ := os.ReadFile(file)
				head := strings.SplitN(string(b), "--\n", 3)
				if err := os.WriteFile(file, []byte(head[0]+"--\n"+head[1]+"--\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("seen:\n%s\nwant:\n%s", got, x.want)
		})
	}
}

const host = "mail.example.org"

func play(t *testing.T, x transcript) string {
	n := sim.NewNetwork()
	n.SetLatency("192.0.2.1", 20*time.Millisecond)
	name, _, distrust := strings.Cut(x.head["cert"], " ")
	if name == "" {
		name = host
	}
	cert, pool := peertest.Certificate(name)
	if distrust {
		_, pool = peertest.Certificate(name)
	}
	if x.head["tls"] == "old" {
		cert.MinVersion, cert.MaxVersion = 0x0301, 0x0302
	}
	l, err := n.Listen("tcp", "192.0.2.1:587")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = peertest.Run(c, x.script, cert)
		}
		done <- err
	}()
	o := Options{Dial: n.Dial, Ehlo: "here.example", TLS: tlsConfig(pool)}
	for _, ask := range strings.Split(x.head["ask"], ", ") {
		switch ask {
		case "small":
			o.Small = true
		case "login":
			o.Login = &smtpclient.Login{User: "anna", Password: "hunter22"}
		case "envelope":
			o.Envelope = &Envelope{From: "a@example.org", To: "b@example.net"}
		}
	}
	e := Endpoint{Host: host, Addr: netip.MustParseAddr("192.0.2.1"), Port: 587, Mode: mail.Security(x.head["mode"])}
	seen := Look(t.Context(), e, o)
	if err := <-done; err != nil {
		t.Errorf("the peer: %v", err)
	}
	l.Close()
	if n.Open() != 0 {
		t.Errorf("%d connections left open", n.Open())
	}
	return describe(seen)
}

var changing = regexp.MustCompile(`after 2\d{3}-\S+|current time \S+`)

// describe writes what was seen, each field that is not zero on its line.
func describe(o Observation) string {
	var b strings.Builder
	add := func(name string, value any) {
		if s := fmt.Sprint(value); s != "" && s != "<nil>" && s != "false" && s != "0" && s != "0s" && s != "[]" && s != "invalid IP" {
			fmt.Fprintf(&b, "%s: %s\n", name, changing.ReplaceAllString(s, "..."))
		}
	}
	add("dial", strings.TrimSpace(o.Dial.Result+" "+o.Dial.Errno))
	add("dial took", o.Dial.Took)
	add("local", o.Local)
	add("silent", o.Silent)
	add("first", len(o.First) > 0)
	if o.Greeting != nil {
		add("greeting", o.Greeting)
		add("greeted in", o.GreetIn)
	}
	if o.Ehlo != nil {
		add("ehlo", o.Ehlo)
	}
	if o.Helo != nil {
		add("helo", o.Helo)
	}
	if o.StartTLS != nil {
		add("starttls", o.StartTLS)
	}
	add("injected", o.Injected)
	if o.TLS != nil {
		add("tls", strings.TrimSpace(o.TLS.Version+" "+o.TLS.Group))
		add("chain", len(o.TLS.Chain))
		add("trust", o.TLS.Trust)
		add("name", o.TLS.Name)
		add("alert", strings.TrimSpace(o.TLS.Alert+" "+o.TLS.AlertBy))
		add("plain", string(bytes.TrimSpace(o.TLS.Plain)))
		add("small", o.TLS.Small)
	}
	add("implicit", o.Implicit)
	add("verified", o.Verified())
	if o.Secure != nil {
		add("secure", o.Secure)
	}
	add("auth", o.Auth)
	if o.Login != nil {
		add("login", o.Login)
	}
	add("login error", o.LoginErr)
	if o.Mail != nil {
		add("mail", o.Mail)
	}
	if o.Rcpt != nil {
		add("rcpt", o.Rcpt)
	}
	add("size", o.Ext.Size())
	add("quit", o.Quit)
	add("cut", strings.TrimSpace(o.Cut+" "+o.CutBy))
	add("took", o.Took)
	for _, l := range o.Dialogue {
		sign := map[[2]bool]string{{true, false}: " -> ", {true, true}: " ~> ", {false, false}: "<-  ", {false, true}: "<~  "}[[2]bool{l.Client, l.Secure}]
		if l.Note {
			sign = "=== "
		}
		add("  "+sign, l.Text)
	}
	return b.String()
}

func TestDialIsClassified(t *testing.T) {
	for _, c := range []struct {
		fault sim.Fault
		want  string
	}{
		{sim.Refused, "refused ECONNREFUSED"},
		{sim.Silent, "timeout ETIMEDOUT"},
		{sim.Unreachable, "prohibited EHOSTUNREACH"},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := sim.NewNetwork()
			n.SetFault("192.0.2.1", c.fault)
			n.SetLatency("192.0.2.1", 20*time.Millisecond)
			o := Look(t.Context(), Endpoint{Host: host, Addr: netip.MustParseAddr("192.0.2.1"), Port: 25, Mode: mail.Opportunistic}, Options{Dial: n.Dial})
			if got := o.Dial.Result + " " + o.Dial.Errno; got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// A look ends with its context, in whatever step.
func TestLookEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sim.NewNetwork()
		l, _ := n.Listen("tcp", "192.0.2.1:25")
		go func() {
			c, _ := l.Accept()
			io.WriteString(c, "220 hello\r\n")
			io.Copy(io.Discard, c)
			c.Close()
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		from := time.Now()
		o := Look(ctx, Endpoint{Host: host, Addr: netip.MustParseAddr("192.0.2.1"), Port: 25, Mode: mail.Verify}, Options{Dial: n.Dial, Ehlo: "here.example"})
		if took := time.Since(from); took > time.Second+100*time.Millisecond || o.Greeting == nil || o.Cut != "ehlo" {
			t.Errorf("took %s, cut %q by %q", took, o.Cut, o.CutBy)
		}
		l.Close()
	})
}

// FuzzLook: whatever a peer says, a look ends, keeps within its bounds, and
// never tells a credential to who did not prove his name.
func FuzzLook(f *testing.F) {
	for _, s := range []string{
		"220 hi\r\n250-hi\r\n250 STARTTLS\r\n220 go\r\n", "220-\r\n220-", "\x16\x03\x01\x00\x05hello", "", "HTTP/1.1 400 Bad Request\r\n\r\n",
		"220 hi\r\n500 what\r\n250 hi\r\n221 bye\r\n", "220 hi\r\n250-hi\r\n250 AUTH PLAIN LOGIN\r\n235 in\r\n", "554 no\r\n", "\r\n\r\n\r\n",
		"220 hi\r\n250-hi\r\n250 STARTTLS\r\n220 go\r\n250 injected\r\n", "\x15\x03\x01\x00\x02\x02\x46",
	} {
		for _, mode := range []byte{0, 1, 2} {
			f.Add([]byte(s), mode)
		}
	}
	modes := []mail.Security{mail.Verify, mail.Implicit, mail.Opportunistic}
	f.Fuzz(func(t *testing.T, says []byte, mode byte) {
		here, there := net.Pipe()
		var heard bytes.Buffer
		done := make(chan struct{})
		go func() {
			defer close(done)
			io.Copy(&heard, there)
		}()
		go func() {
			there.Write(says)
			there.Close()
		}()
		dial := func(context.Context, string, string) (net.Conn, error) { return here, nil }
		o := Look(t.Context(), Endpoint{Host: host, Addr: netip.MustParseAddr("192.0.2.1"), Port: 587, Mode: modes[int(mode)%3]},
			Options{Dial: dial, Ehlo: "here.example", Login: &smtpclient.Login{User: "anna", Password: "hunter22"}, Limits: Limits{
				Greeting: 50 * time.Millisecond, Reply: 50 * time.Millisecond, Handshake: 50 * time.Millisecond, Quit: 50 * time.Millisecond}})
		<-done
		if len(o.First) > firstMax || len(o.Dialogue) > dialogueMax {
			t.Errorf("%d first octets, %d lines", len(o.First), len(o.Dialogue))
		}
		if strings.Contains(heard.String(), "AUTH") || strings.Contains(heard.String(), "MAIL") {
			t.Errorf("said %q", heard.String())
		}
		if len(o.First) > 0 && !bytes.HasPrefix(says, o.First) {
			t.Errorf("%q are not the first octets of %q", o.First, says)
		}
	})
}
