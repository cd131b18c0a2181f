package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// settings is what a test wants in its server's configuration beside the usual.
type settings struct {
	queue  string // keys of [queue]
	domain string // keys of the server's own [[domain]]; default: a maildir
	limits string // keys of [limits]
	mx     string // keys of the listener on 25
	more   string // tables for the end of the file
}

// server is one paquebot serve with an address, a name and a domain of its own:
// s07.paquebot.test is all of them. Its mailboxes are maildirs, box(name).
type server struct {
	w    *world
	name string
	addr string
	dir  string
	conf string

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
	exit   error         // then: how it went
}

// password is everybody's.
const password = "correct horse"

// newServer writes a configuration; nothing runs yet.
func newServer(t *testing.T, s settings) *server {
	t.Helper()
	w := need(t)
	n := int(w.servers.Add(1))
	if n > maxServers {
		t.Fatal("no server left: raise maxServers")
	}
	srv := &server{w: w, name: serverName(n), addr: serverAddr(n), dir: filepath.Join(w.dir, fmt.Sprintf("s%02d", n))}
	srv.conf = filepath.Join(srv.dir, "paquebot.toml")
	srv.configure(t, s)
	t.Cleanup(func() {
		srv.kill()
		if t.Failed() {
			t.Logf("log of %s:\n%s", srv.name, cut(srv.log()))
		}
	})
	return srv
}

func (s *server) configure(t *testing.T, with settings) {
	t.Helper()
	cert, key, err := s.w.ca.issue(s.name, "mail."+s.name)
	check(t, err)
	if with.domain == "" {
		with.domain = fmt.Sprintf("deliver = %q\nrecipients = [\"anna\", \"bert\", \"postmaster\"]", "maildir:"+s.dir+"/mail/{local}")
	}
	if with.queue == "" {
		with.queue = "retry = [\"1h\"]"
	}
	check(t, write(map[string]string{s.conf: fmt.Sprintf(`
hostname = %[1]q
data_dir = "%[2]s/data"
[tls]
cert = %[3]q
key = %[4]q
[[listener]]
address = "%[5]s:25"
role = "mx"
%[9]s
[[listener]]
address = "%[5]s:587"
role = "submission"
[[listener]]
address = "%[5]s:465"
role = "submissions"
[[listener]]
address = "%[5]s:2525"
role = "submission"
[[domain]]
name = %[1]q
%[6]s
[queue]
%[7]s
[limits]
connection_rate = "100000/min"
handshake_rate = "100000/min"
connections_per_ip = 1000
auth_failures_per_hour = 1000
%[8]s
[metrics]
address = "%[5]s:9125"
%[10]s
`, s.name, s.dir, cert, key, s.addr, with.domain, with.queue, with.limits, with.mx, with.more)}))
}

// startServer runs a server with the accounts anna and bert until the test ends.
func startServer(t *testing.T, with settings) *server {
	t.Helper()
	s := newServer(t, with)
	s.start(t)
	for _, name := range []string{"anna", "bert"} {
		s.account(t, name)
	}
	return s
}

// start starts the process and waits until it says that it is ready.
func (s *server) start(t *testing.T, env ...string) {
	t.Helper()
	check(t, s.launch(env...))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.ready(ctx); err != nil {
		t.Fatalf("%s does not become ready: %v\n%s", s.name, err, cut(s.log()))
	}
}

func (s *server) launch(env ...string) error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	s.cmd = exec.Command(s.w.bin, "serve", "-c", s.conf)
	s.cmd.Env = append(os.Environ(), env...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		s.exit = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	return nil
}

// ready waits for /readyz.
func (s *server) ready(ctx context.Context) error {
	return until(ctx, func() error {
		select {
		case <-s.exited:
			return fmt.Errorf("the process ended: %v", s.exit)
		default:
		}
		status, body, err := s.get(ctx, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz: %d %s", status, body)
		}
		return err
	})
}

// get asks the metrics address.
func (s *server) get(ctx context.Context, path string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+":9125"+path, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	return res.StatusCode, b.String(), err
}

func (s *server) logFile() string { return filepath.Join(s.dir, "log") }

func (s *server) log() string {
	b, _ := os.ReadFile(s.logFile())
	return string(b)
}

// logged waits for a line in the log that holds all the words.
func logged(t *testing.T, s *server, words ...string) {
	t.Helper()
	eventually(t, func() error {
		for line := range strings.Lines(s.log()) {
			if containsAll(line, words) {
				return nil
			}
		}
		return fmt.Errorf("no line in the log with %q", words)
	})
}

// signal sends a signal to the process.
func (s *server) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	check(t, s.cmd.Process.Signal(sig))
}

// kill ends the process at once, as a power cut would, and waits until it is gone.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGKILL)
	<-s.exited
}

// ends waits for the process to end by itself.
func (s *server) ends(t *testing.T, within time.Duration) error {
	t.Helper()
	select {
	case <-s.exited:
		return s.exit
	case <-time.After(within):
		t.Fatalf("%s still runs after %v\n%s", s.name, within, cut(s.log()))
		return nil
	}
}

// box is the maildir of a mailbox in the server's own domain.
func (s *server) box(name string) string { return filepath.Join(s.dir, "mail", name) }

// at makes an address in the server's own domain.
func (s *server) at(name string) string { return name + "@" + s.name }

// result is how a command ended.
type result struct {
	stdout, stderr string
	code           int
}

func (r result) String() string {
	return fmt.Sprintf("exit code %d\nstdout: %s\nstderr: %s", r.code, r.stdout, r.stderr)
}

// cli runs a command of the binary with this server's configuration.
func (s *server) cli(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return s.w.cli(t, stdin, append(args, "-c", s.conf)...)
}

func (w *world) cli(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, w.bin, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("paquebot %s: %v", strings.Join(args, " "), err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// must is cli for commands that have to work.
func (s *server) must(t *testing.T, args ...string) string {
	t.Helper()
	r := s.cli(t, "", args...)
	if r.code != 0 {
		t.Fatalf("paquebot %s: %s", strings.Join(args, " "), r)
	}
	return r.stdout
}

// account adds an account that may send as NAME@ the server's domain.
func (s *server) account(t *testing.T, name string) {
	t.Helper()
	r := s.cli(t, password+"\n", "account", "add", name, "--password-file", "-", "--sender", s.at(name))
	if r.code != 0 {
		t.Fatalf("account add: %s", r)
	}
}

// session opens a session on 587 that is ready for MAIL, as the account.
func (s *server) session(account string) (*talk, error) { return s.sessionOn("587", account) }

// sessionOn does it on 587 or 2525.
func (s *server) sessionOn(port, account string) (*talk, error) {
	k, err := dial(s.addr+":"+port, nil)
	if err != nil {
		return nil, err
	}
	steps := []func() error{
		func() error { return k.must("250", "EHLO client.test") },
		func() error { return k.starttls(s.w.ca.client(s.name)) },
		func() error { return k.must("250", "EHLO client.test") },
		func() error { return k.must("235", "AUTH PLAIN %s", plain(account, password)) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			k.close()
			return nil, err
		}
	}
	return k, nil
}

// submit sends a message as an account of ours and returns its ID. MAIL
// parameters may follow from, RCPT parameters each recipient.
func (s *server) submit(t *testing.T, account, params, message string, to ...string) string {
	t.Helper()
	k, err := s.session(account)
	check(t, err)
	defer k.close()
	reply, err := k.transaction("<"+s.at(account)+">"+params, message, to...)
	check(t, err)
	id, err := queuedAs(reply)
	check(t, err)
	_, _ = k.ask("QUIT")
	return id
}

// note is a small message with its subject.
func (s *server) note(from, subject string) string {
	return fmt.Sprintf("From: <%s>\r\nTo: Somebody <somebody@example.org>\r\nSubject: %s\r\n\r\nHello.\r\n", s.at(from), subject)
}

// traced is `trace ID --json`.
type traced struct {
	raw    string
	Events []map[string]any `json:"events"`
}

func (s *server) trace(t *testing.T, id string) (traced, error) {
	t.Helper()
	r := s.cli(t, "", "trace", id, "--json")
	if r.code > 1 || r.stdout == "" { // 1: it failed for somebody
		return traced{}, fmt.Errorf("trace %s: %s", id, r)
	}
	tr := traced{raw: r.stdout}
	return tr, json.Unmarshal([]byte(r.stdout), &tr)
}

// happens waits until the trace of a message has an event of that type whose
// JSON holds all the words, and returns that JSON.
func (s *server) happens(t *testing.T, id, kind string, words ...string) string {
	t.Helper()
	var found string
	eventually(t, func() error {
		tr, err := s.trace(t, id)
		if err != nil {
			return err
		}
		for _, e := range tr.Events {
			b, err := json.Marshal(e)
			if err != nil {
				return err
			}
			if e["type"] == kind && containsAll(string(b), words) {
				found = string(b)
				return nil
			}
		}
		return fmt.Errorf("no event %s with %q in the trace of %s:\n%s", kind, words, id, cut(tr.raw))
	})
	return found
}
