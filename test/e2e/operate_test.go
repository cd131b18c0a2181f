package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestConfigurationIsChecked(t *testing.T) {
	t.Parallel()
	s := newServer(t, settings{})
	good, err := os.ReadFile(s.conf)
	check(t, err)
	for _, c := range []struct {
		name     string
		old, new string // replaced in a good file
		words    []string
	}{
		{name: "good"},
		{name: "unknown key", old: "hostname =", new: "hostnam =", words: []string{"paquebot.toml", "line 2", `"hostnam"`, "hostname"}},
		{name: "unknown key in a table", old: "role = \"mx\"", new: "rolle = \"mx\"", words: []string{"rolle", "role"}},
		{name: "unknown table", old: "[metrics]", new: "[metrix]", words: []string{"metrix", "metrics"}},
		{name: "no certificate", old: "/certs/", new: "/no-such-place/", words: []string{"no-such-place", s.name + ".pem"}},
		{name: "bad address", old: s.addr + ":587", new: s.addr + ":587000", words: []string{"587000"}},
		{name: "bad role", old: "\"submissions\"", new: "\"smtps\"", words: []string{"smtps", "submissions"}},
		{name: "bad duration", old: "[\"1h\"]", new: "[\"1 hour\"]", words: []string{"1 hour"}},
		{name: "not TOML", old: "[tls]", new: "[tls", words: []string{"line"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "paquebot.toml")
			text := strings.Replace(string(good), c.old, c.new, 1)
			if c.name != "good" && text == string(good) {
				t.Fatalf("%q is not in the file", c.old)
			}
			check(t, write(map[string]string{file: text}))
			r := s.w.cli(t, "", "config", "check", "-c", file)
			if (r.code == 0) != (c.name == "good") {
				t.Errorf("config check: %s", r)
			}
			mustContain(t, "config check", r.stdout+r.stderr, c.words...)
			if c.name == "good" {
				return
			}
			r = s.w.cli(t, "", "serve", "-c", file)
			if r.code == 0 {
				t.Errorf("serve: %s", r)
			}
			mustContain(t, "serve", r.stderr, c.words...)
		})
	}
	t.Run("no such file", func(t *testing.T) {
		t.Parallel()
		r := s.w.cli(t, "", "serve", "-c", "/no/such.toml")
		if r.code == 0 {
			t.Error(r)
		}
		mustContain(t, "serve", r.stderr, "/no/such.toml")
	})
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	first := startServer(t, settings{})
	text, err := os.ReadFile(first.conf)
	check(t, err)
	dir := t.TempDir()
	second := filepath.Join(dir, "paquebot.toml")
	check(t, write(map[string]string{second: strings.Replace(string(text), first.dir+"/data", dir+"/data", 1)}))
	r := first.w.cli(t, "", "serve", "-c", second)
	if r.code == 0 {
		t.Error(r)
	}
	mustContain(t, "serve", r.stderr, first.addr+":25", "in use")
	// Nor may two servers share a data_dir.
	check(t, write(map[string]string{second: strings.ReplaceAll(string(text), first.addr+":", "45.77.1.222:")}))
	r = first.w.cli(t, "", "serve", "-c", second)
	if r.code == 0 {
		t.Error(r)
	}
	mustContain(t, "serve", r.stderr, first.dir+"/data")
}

func TestNoPermissionForPort25(t *testing.T) {
	t.Parallel()
	s := newServer(t, settings{})
	check(t, os.MkdirAll(s.dir+"/data", 0o700))
	check(t, own(s.dir+"/data", "nobody"))
	check(t, own(filepath.Join(s.w.ca.dir, s.name+".key"), "nobody"))
	cmd := exec.CommandContext(t.Context(), "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--bounding-set=-all", "--",
		s.w.bin, "serve", "-c", s.conf)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Errorf("it runs:\n%s", out)
	}
	mustContain(t, "serve", string(out), s.addr+":25", "no permission", "setcap") // the remedy
}

func TestReloadKeepsSessions(t *testing.T) {
	t.Parallel()
	s := startServer(t, settings{})
	k, err := s.session("anna")
	check(t, err)
	defer k.close()
	check(t, k.must("250", "MAIL FROM:<%s>", s.at("anna")))
	check(t, k.must("250", "RCPT TO:<%s>", s.at("bert")))
	old, err := dial(s.addr+":25", nil)
	check(t, err)
	defer old.close()
	check(t, old.must("250", "EHLO client.test"))

	reload := func(text, logged string) {
		t.Helper()
		check(t, os.WriteFile(s.conf, []byte(text), 0o644))
		before := strings.Count(s.log(), logged)
		s.signal(t, syscall.SIGHUP)
		eventually(t, func() error {
			if strings.Count(s.log(), logged) == before {
				return fmt.Errorf("the log does not say %s", logged)
			}
			return nil
		})
	}
	good, err := os.ReadFile(s.conf)
	check(t, err)
	reload(string(good)+fmt.Sprintf("\n[[domain]]\nname = \"new.test\"\ndeliver = \"maildir:%s/mail/new-{local}\"\n", s.dir), "server.reloaded")

	// The transaction goes on where it was.
	check(t, k.must("354", "DATA"))
	reply, err := k.ask("%s.", s.note("anna", "over a reload"))
	check(t, expected(reply, err, "250 2.0.0 Ok: queued as "))
	check(t, k.must("221", "QUIT"))
	arrives(t, s.box("bert"), "Subject: over a reload")

	// The new settings are in force: for new sessions at the least.
	fresh, err := dial(s.addr+":25", nil)
	check(t, err)
	defer fresh.close()
	check(t, fresh.must("250", "EHLO client.test"))
	reply, err = fresh.transaction("stranger@postfix.test", s.note("anna", "to the new domain"), "anna@new.test")
	check(t, expected(reply, err, "250 2.0.0"))
	arrives(t, s.box("new-anna"), "Subject: to the new domain")
	check(t, old.must("250", "NOOP"))

	// A bad file changes nothing, loudly.
	reload(string(good)+"\nhostnam = 1\n", "hostnam")
	check(t, fresh.must("250", "MAIL FROM:<>"))
	check(t, fresh.must("250", "RCPT TO:<anna@new.test>"))
	if err := s.ready(t.Context()); err != nil {
		t.Error(err)
	}
}

// SIGTERM: what was begun may be finished, the rest is told 421, within 30 s.
func TestStop(t *testing.T) {
	t.Parallel()
	s := startServer(t, settings{})
	idle, err := dial(s.addr+":25", nil)
	check(t, err)
	defer idle.close()
	check(t, idle.must("250", "EHLO client.test"))
	busy, err := s.session("anna")
	check(t, err)
	defer busy.close()
	check(t, busy.must("250", "MAIL FROM:<%s>", s.at("anna")))
	check(t, busy.must("250", "RCPT TO:<%s>", s.at("bert")))
	check(t, busy.must("354", "DATA"))
	check(t, busy.send("Subject: to the end\r\n"))

	s.signal(t, syscall.SIGTERM)
	check(t, idle.expect("421 4.3.2")) // RC-5, TRAP-29
	reply, err := busy.ask("From: <%s>\r\n\r\nDone.\r\n.", s.at("anna"))
	switch {
	case err == nil && strings.HasPrefix(reply, "421 4.3.2"): // refused as a whole
	case err == nil && strings.HasPrefix(reply, "250 2.0.0"):
		check(t, busy.expect("421 4.3.2")) // taken, then closed
	default:
		t.Errorf("in the middle of DATA: %q %v", reply, err)
	}
	if err := s.ends(t, 30*time.Second); err != nil {
		t.Errorf("the process ends with %v", err)
	}
	mustContain(t, "log", s.log(), "server.stopped")

	if strings.HasPrefix(reply, "250") { // promised: it is there after the start
		s.start(t)
		arrives(t, s.box("bert"), "Subject: to the end")
	}
}

// waiting is a server with mail that cannot leave, and the IDs.
func waiting(t *testing.T, n int) (*server, []string) {
	t.Helper()
	s := startServer(t, settings{})
	var ids []string
	for i := range n {
		id := s.submit(t, "anna", "", s.note("anna", fmt.Sprintf("waits %d", i)), "anna@dead-mx.test")
		ids = append(ids, id)
	}
	// The first has been tried; then the site is left alone, and the others with it.
	s.happens(t, ids[0], "recipient.settled", "waiting")
	return s, ids
}

type summary struct {
	Total, Ready, Waiting, Held int
	InAttempt                   int `json:"in_attempt"`
	Sites                       []map[string]any
}

func (s *server) summary(t *testing.T) summary {
	t.Helper()
	var sum summary
	check(t, json.Unmarshal([]byte(s.must(t, "queue", "summary", "--json")), &sum))
	return sum
}

// counts waits for a summary.
func (s *server) counts(t *testing.T, total, held int) {
	t.Helper()
	eventually(t, func() error {
		sum := s.summary(t)
		if sum.Total != total || sum.Held != held || sum.Ready+sum.Waiting+sum.Held+sum.InAttempt != sum.Total {
			return fmt.Errorf("want %d messages, %d held, in %+v", total, held, sum)
		}
		return nil
	})
}

func TestQueueCommands(t *testing.T) {
	t.Parallel()
	s, ids := waiting(t, 4)
	s.counts(t, 4, 0)
	if sum := s.summary(t); len(sum.Sites) == 0 {
		t.Errorf("no sites in %+v", sum)
	}
	list := s.must(t, "queue", "list", "--json")
	mustContain(t, "queue list", list, append(ids, "anna@dead-mx.test", s.at("anna"))...)
	mustContain(t, "queue list", s.must(t, "queue", "list"), append(ids, "dead-mx.test")...)
	mustContain(t, "queue show", s.must(t, "queue", "show", ids[0]), "anna@dead-mx.test", "4.4.1")
	mustContain(t, "queue summary", s.must(t, "queue", "summary"), "dead.test", "4.4.1") // says why

	s.must(t, "queue", "hold", ids[0])
	s.counts(t, 4, 1)
	s.must(t, "queue", "release", ids[0])
	s.counts(t, 4, 0)

	tries := func(id string) int {
		tr, err := s.trace(t, id)
		check(t, err)
		n := 0
		for _, e := range tr.Events {
			if e["type"] == "delivery.tried" {
				n++
			}
		}
		return n
	}
	before := tries(ids[1])
	eventually(t, func() error { // what is being tried at that moment is left alone
		r := s.cli(t, "", "queue", "retry", ids[1])
		if n := tries(ids[1]); n <= before {
			return fmt.Errorf("%d tries, as before the retry: %s", n, r)
		}
		return nil
	})

	s.must(t, "queue", "bounce", ids[2], "--yes")
	bounced(t, s, "anna", "Subject: waits 2")
	s.counts(t, 3, 0)

	s.must(t, "queue", "delete", ids[3], "--yes")
	s.counts(t, 2, 0)
	if found, _ := maildir(s.box("anna"), "Subject: waits 3"); len(found) > 0 {
		t.Errorf("deleted, and its sender told:\n%s", found[0])
	}
	s.happens(t, ids[3], "queue.acted", "delete")

	// All at once, by domain; what is held survives a restart.
	s.must(t, "queue", "hold", "--domain", "dead-mx.test", "--yes")
	s.counts(t, 2, 2)
	s.kill()
	s.start(t)
	s.counts(t, 2, 2)

	if r := s.cli(t, "", "queue", "show", "nosuchid"); r.code == 0 {
		t.Errorf("queue show nosuchid: %s", r)
	}
}

func TestTraceTellsTheWholeLife(t *testing.T) {
	t.Parallel()
	sink := smtpSink(t)
	s := startServer(t, settings{})
	id := s.submit(t, "anna", "", s.note("anna", "a life"), "carol@"+sink.domain)
	s.happens(t, id, "message.finished")
	text := s.must(t, "trace", id)
	mustContain(t, "trace", text, s.at("anna"), "carol@"+sink.domain, "TLS 1.3", "PLAIN", s.addr, "mx."+sink.domain, "250 2.0.0 Ok")
	if strings.Contains(text, password) {
		t.Errorf("the password is in the trace:\n%s", text)
	}
	tr, err := s.trace(t, id)
	check(t, err)
	for _, e := range tr.Events {
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(e["time"])); err != nil {
			t.Errorf("time of an event: %v", err)
		}
	}
	mustContain(t, "trace --json", tr.raw, `"envelope"`, `"events"`)
	if r := s.cli(t, "", "trace", "nosuchid"); r.code != 1 && r.code != 2 {
		t.Errorf("trace of nothing: %s", r)
	}
}

func TestAccountCommands(t *testing.T) {
	t.Parallel()
	s := startServer(t, settings{})
	login := func(user, password string) string {
		t.Helper()
		k, err := dial(s.addr+":465", s.w.ca.client(s.name))
		check(t, err)
		defer k.close()
		check(t, k.must("250", "EHLO client.test"))
		reply, err := k.ask("AUTH PLAIN %s", plain(user, password))
		check(t, err)
		return reply
	}
	is := func(user, password, want string) {
		t.Helper()
		if got := login(user, password); !strings.HasPrefix(got, want) {
			t.Errorf("login of %s: %q, want %s", user, got, want)
		}
	}
	is("anna", password, "235")
	mustContain(t, "account list", s.must(t, "account", "list"), "anna", s.at("anna"), "bert")

	// A password is made and shown once when none is given.
	made := regexp.MustCompile(`\S{12,}`).FindAllString(s.must(t, "account", "add", "app", "--sender", "*@"+s.name), -1)
	ok := false
	for _, word := range made {
		ok = ok || strings.HasPrefix(login("app", word), "235")
	}
	if !ok {
		t.Errorf("none of the words printed is the password: %q", made)
	}
	if r := s.cli(t, "x\n", "account", "add", "anna", "--password-file", "-"); r.code == 0 {
		t.Errorf("anna was added twice: %s", r)
	}

	r := s.cli(t, "another one\n", "account", "passwd", "anna", "--password-file", "-")
	if r.code != 0 {
		t.Errorf("account passwd: %s", r)
	}
	is("anna", password, "535 5.7.8") // not even from the cache of those verified
	is("anna", "another one", "235")

	s.must(t, "account", "disable", "anna")
	is("anna", "another one", "535")

	token := s.must(t, "account", "token", "add", "bert", "--name", "ci")
	ok = false
	for _, word := range regexp.MustCompile(`\S{12,}`).FindAllString(token, -1) {
		ok = ok || strings.HasPrefix(login("bert", word), "235")
	}
	if !ok {
		t.Errorf("none of the words printed is the token: %q", token)
	}
	is("bert", password, "235")

	s.must(t, "account", "remove", "bert")
	is("bert", password, "535 5.7.8")
}

func TestSpoolTools(t *testing.T) {
	t.Parallel()
	s, ids := waiting(t, 2)
	s.kill() // no clean end
	mustContain(t, "spool check", s.must(t, "spool", "check"), "2")
	out := t.TempDir()
	s.must(t, "spool", "export", out)
	files, err := filepath.Glob(out + "/*.eml")
	check(t, err)
	if len(files) != 2 {
		t.Errorf("%d .eml files, want 2", len(files))
	}
	all := ""
	for _, pattern := range []string{"/*.eml", "/*"} {
		files, err := filepath.Glob(out + pattern)
		check(t, err)
		for _, f := range files {
			b, err := os.ReadFile(f)
			check(t, err)
			all += f + "\n" + string(b)
		}
	}
	mustContain(t, "what was exported", all, ids[0], ids[1], "Subject: waits 0", "Subject: waits 1", "anna@dead-mx.test", s.at("anna"))

	s.must(t, "spool", "reindex")
	s.start(t)
	s.counts(t, 2, 0)
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	s := startServer(t, settings{})
	s.submit(t, "anna", "", s.note("anna", "counted"), s.at("bert"))
	arrives(t, s.box("bert"), "Subject: counted")
	for _, path := range []string{"/livez", "/readyz"} {
		if status, body, err := s.get(t.Context(), path); err != nil || status != 200 {
			t.Errorf("%s: %d %s %v", path, status, body, err)
		}
	}
	status, body, err := s.get(t.Context(), "/metrics")
	check(t, err)
	if status != 200 {
		t.Errorf("/metrics: %d", status)
	}
	mustContain(t, "/metrics", body, "paquebot_build_info", "\npaquebot_recipients_without_next_event 0\n") // P2
	mustContain(t, "log", s.log(), "ready")
}

// INT-8: systemd is told when the server is ready, and when it stops.
func TestServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	s := newServer(t, settings{})
	socket := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	check(t, err)
	defer func() { _ = l.Close() }()
	told := func(what string) {
		t.Helper()
		b := make([]byte, 4096)
		var all []string
		for {
			check(t, l.SetReadDeadline(time.Now().Add(20*time.Second)))
			n, err := l.Read(b)
			if err != nil {
				t.Fatalf("systemd was not told %s but %q: %v", what, all, err)
			}
			all = append(all, string(b[:n]))
			if strings.Contains(string(b[:n]), what) {
				return
			}
		}
	}
	check(t, s.launch("NOTIFY_SOCKET="+socket))
	told("READY=1")
	if err := answers(t.Context(), s.addr+":25"); err != nil {
		t.Errorf("ready, but: %v", err)
	}
	s.signal(t, syscall.SIGHUP)
	told("RELOADING=1")
	told("READY=1")
	s.signal(t, syscall.SIGTERM)
	told("STOPPING=1")
	if err := s.ends(t, 30*time.Second); err != nil {
		t.Error(err)
	}
}
