package e2e

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/smtp"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// envSuite makes of this program one test suite of somebody else: its value is
// the JSON that paquebot dev printed and the mailbox of its own.
const envSuite = "PAQUEBOT_E2E_SUITE"

type suite struct {
	Ports   devPorts
	Mailbox string
	CA      []byte
	Mails   int
}

// suiteMain sends, waits for each mail by what is in it, and sees no other.
func suiteMain(text string) int {
	var s suite
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.run()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", s.Mailbox, err)
		return 1
	}
	return 0
}

func (s suite) run() error {
	if err := s.none(); err != nil {
		return err
	}
	for i := range s.Mails {
		if err := s.send(fmt.Sprintf("code %d of %s", i, s.Mailbox)); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		found, err := s.ask("wait", "q", fmt.Sprintf(`"code %d of %s"`, i, s.Mailbox), "timeout", "60s", "explain", "1")
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return fmt.Errorf("%d messages instead of one", len(found))
		}
	}
	all, err := s.ask("messages")
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.Mailbox != s.Mailbox || !strings.HasSuffix(m.Subject, "of "+s.Mailbox) {
			return fmt.Errorf("saw another's mail: %+v", m)
		}
	}
	if len(all) != s.Mails {
		return fmt.Errorf("%d messages, sent %d", len(all), s.Mails)
	}
	return nil
}

// none proves that the mailbox begins empty.
func (s suite) none() error {
	r, err := http.Get(s.Ports.Console + "/api/dev/wait?none=1&timeout=0s&mailbox=" + s.Mailbox)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the mailbox is not empty: %s", r.Status)
	}
	return nil
}

func (s suite) send(subject string) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA)
	c, err := smtp.Dial(net.JoinHostPort("localhost", strconv.Itoa(s.Ports.Submission)))
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if err := c.StartTLS(&tls.Config{ServerName: "localhost", RootCAs: roots}); err != nil {
		return err
	}
	if err := c.Auth(smtp.PlainAuth("", s.Mailbox, "any", "localhost")); err != nil {
		return err
	}
	if err := c.Mail("app@example.com"); err != nil {
		return err
	}
	if err := c.Rcpt("user@example.com"); err != nil { // the same for every suite
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "From: app@example.com\r\nTo: user@example.com\r\nSubject: %s\r\n\r\nx\r\n", subject)
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

type brief struct{ ID, Mailbox, Subject string }

func (s suite) ask(what string, pairs ...string) ([]brief, error) {
	q := url.Values{"mailbox": {s.Mailbox}}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	r, err := http.Get(s.Ports.Console + "/api/dev/" + what + "?" + q.Encode())
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s %v %.400s", what, r.Status, err, b)
	}
	var found struct{ Messages []brief }
	return found.Messages, json.Unmarshal(b, &found)
}

// Two hundred test suites share one catcher, each a process with a mailbox of
// its own, none of which was made before: each sees exactly its own mail,
// without polling. RUNS says how often (the promise was held to 20).
func TestSuitesSideBySide(t *testing.T) {
	t.Parallel()
	runs, _ := strconv.Atoi(os.Getenv("RUNS"))
	runs = max(1, runs)
	const suites, mails = 200, 3
	d := startDev(t, "--ports", "random")
	p := d.ports(t)
	r, err := http.Get(p.CA)
	check(t, err)
	ca, err := io.ReadAll(r.Body)
	check(t, err)
	check(t, r.Body.Close())
	self, err := os.Executable()
	check(t, err)
	began := time.Now()
	for n := range runs {
		var all sync.WaitGroup
		for i := range suites {
			all.Go(func() {
				text, _ := json.Marshal(suite{p, fmt.Sprintf("suite-%d-%d", n, i), ca, mails})
				cmd := exec.CommandContext(t.Context(), self)
				cmd.Env = append(os.Environ(), envSuite+"="+string(text), "GOMAXPROCS=1")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("run %d: %v\n%s", n+1, err, out)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
	}
	t.Logf("%d runs of %d suites with %d mails each: each saw exactly its own, in %.1f s", runs, suites, mails, time.Since(began).Seconds())
}

// A flood: everything that got a 250 is caught, memory stays bounded, and the
// oldest went when the bound was passed. The rate is printed.
func TestDevFlood(t *testing.T) {
	t.Parallel()
	d := startDev(t, "--ports", "random")
	p := d.ports(t)
	const conns, each = 20, 900
	began := time.Now()
	var all sync.WaitGroup
	for n := range conns {
		all.Go(func() {
			for range each / pourMax {
				if err := pour(p.MX, n, pourMax); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	accepted := time.Since(began)
	var info struct {
		Store struct {
			Messages, Max_messages int
			Last_seq               int
		}
	}
	eventually(t, func() error {
		r, err := http.Get(p.Console + "/api/dev/info")
		if err != nil {
			return err
		}
		defer func() { _ = r.Body.Close() }()
		if err := json.NewDecoder(r.Body).Decode(&info); err != nil {
			return err
		}
		if info.Store.Last_seq != conns*each {
			return fmt.Errorf("%d caught of %d", info.Store.Last_seq, conns*each)
		}
		return nil
	})
	if info.Store.Messages != info.Store.Max_messages {
		t.Errorf("%+v", info.Store)
	}
	peak := d.peakMiB(t)
	t.Logf("%d messages of 1 KiB: accepted in %.2f s (%.0f/s), all caught in %.2f s (%.0f/s), peak memory %d MiB",
		conns*each, accepted.Seconds(), conns*each/accepted.Seconds(), time.Since(began).Seconds(), conns*each/time.Since(began).Seconds(), peak)
	if peak > 400 {
		t.Errorf("%d MiB of memory at the peak", peak)
	}
}

// pourMax is how many messages a session of port 25 takes (LIMITS MAILMAX).
const pourMax = 100

// pour sends messages as fast as the server takes them, a transaction a flight.
func pour(port, n, count int) error {
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(conn)
	expect := func(code string) error {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return err
			}
			if len(line) > 3 && line[3] == '-' {
				continue
			}
			if !strings.HasPrefix(line, code) {
				return fmt.Errorf("%q instead of %s", line, code)
			}
			return nil
		}
	}
	say := func(text string, codes ...string) error {
		if _, err := io.WriteString(conn, text); err != nil {
			return err
		}
		for _, c := range codes {
			if err := expect(c); err != nil {
				return err
			}
		}
		return nil
	}
	if err := say("", "220"); err != nil {
		return err
	}
	if err := say("EHLO flood.example\r\n", "250"); err != nil {
		return err
	}
	body := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 13)
	for i := range count {
		m := fmt.Sprintf("From: a@example.com\r\nTo: b@example.com\r\nSubject: %d of %d\r\n\r\n%s", i, n, body)
		text := fmt.Sprintf("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT %d LAST\r\n%s", len(m), m)
		if err := say(text, "250", "250", "250"); err != nil {
			return err
		}
	}
	return say("QUIT\r\n", "221")
}

// peakMiB is the most memory the catcher had.
func (d *dev) peakMiB(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	check(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmHWM:" {
			n, err := strconv.Atoi(f[1])
			check(t, err)
			return n >> 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}
