package e2e

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// ports is what `paquebot dev --ports random` prints.
type devPorts struct {
	Schema                                               string
	Console, CA                                          string
	MX, Submission, Submissions, Alternative, HTTP, POP3 int
}

func (d *dev) ports(t *testing.T) devPorts {
	t.Helper()
	text := d.printed()
	from, to := strings.Index(text, "{"), strings.LastIndex(text, "}")
	if from < 0 || to < from {
		t.Fatalf("no JSON in\n%s", text)
	}
	var p devPorts
	check(t, json.Unmarshal([]byte(text[from:to+1]), &p))
	if p.Schema != "paquebot.dev/1" || p.HTTP == 0 || p.MX == 0 || p.Submissions == 0 {
		t.Fatalf("%+v", p)
	}
	return p
}

// shell runs a subcommand of dev against a catcher.
func (p devPorts) shell(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need(t).bin, append([]string{"dev"}, args...)...)
	cmd.Env = append(os.Environ(), "PAQUEBOT_DEV_URL="+p.Console)
	b, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

func (p devPorts) must(t *testing.T, want int, args ...string) string {
	t.Helper()
	out, code := p.shell(t, args...)
	if code != want {
		t.Fatalf("paquebot dev %s: exit %d, want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	return out
}

// A test suite's shell: import, wait, prove that nothing came, export, clear;
// beside it a mail program reads by POP3 and an application is told of each
// message.
func TestDevFromTheShell(t *testing.T) {
	t.Parallel()
	told := make(chan string, 10)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Paquebot-Attempt") == "1" && strings.Contains(string(b), "welcome") {
			w.WriteHeader(http.StatusServiceUnavailable) // it is told again
			return
		}
		told <- r.Header.Get("X-Paquebot-Attempt") + string(b)
	}))
	defer app.Close()
	d := startDev(t, "--ports", "random", "--pop3", "1110", "--webhook", app.URL)
	p := d.ports(t)

	dir := t.TempDir()
	check(t, write(map[string]string{
		filepath.Join(dir, "one.eml"):  "From: app@example.com\nTo: anna@example.com\nSubject: welcome\n\nYour code is 482913\n",
		filepath.Join(dir, "old.mbox"): "From a@b Mon Nov 23 10:00:00 2026\nFrom: x@example.com\nTo: y@example.com\nSubject: two\n\n>From the beginning\n\nFrom a@b Mon Nov 23 10:00:00 2026\nFrom: x@example.com\nTo: y@example.com\nSubject: three\n\nx\n",
	}))
	mustContain(t, "import", p.must(t, 0, "import", "--mailbox", "app", filepath.Join(dir, "one.eml")), "1 sent, 0 refused")
	mustContain(t, "import", p.must(t, 0, "import", filepath.Join(dir, "old.mbox")), "2 sent, 0 refused")
	mustContain(t, "wait", p.must(t, 0, "wait", "--mailbox", "app", "--q", "subject:welcome"), "code 482913", "app@example.com > anna@example.com")
	mustContain(t, "wait", p.must(t, 0, "wait", "--mailbox", "y@example.com", "--count", "2"), "two", "three")
	mustContain(t, "wait in vain", p.must(t, 1, "wait", "--mailbox", "nobody", "--timeout", "10ms"), "it did not come", "arrived", "welcome")
	p.must(t, 0, "wait", "--none", "--mailbox", "nobody", "--timeout", "10ms")
	mustContain(t, "none", p.must(t, 1, "wait", "--none", "--mailbox", "app"), "should not have come", "welcome")

	p.must(t, 0, "export", "--out", filepath.Join(dir, "out"))
	for _, suffix := range []string{"eml", "json", "dialogue.txt"} {
		if found, _ := filepath.Glob(filepath.Join(dir, "out", "*."+suffix)); len(found) != 3 {
			t.Errorf("%s: %d files", suffix, len(found))
		}
	}
	mbox := p.must(t, 0, "export", "--mbox", "-")
	mustContain(t, "mbox", mbox, "\n>From the beginning\n", "Subject: three")

	mustContain(t, "announcements", <-told+<-told+<-told, `2{"id"`, "welcome", "three")
	pop3 := exec.CommandContext(t.Context(), "curl", "-sS", "--user", "app:x", "pop3://localhost:"+strconv.Itoa(p.POP3)+"/1")
	out, err := pop3.CombinedOutput()
	check(t, err)
	mustContain(t, "POP3", string(out), "Subject: welcome\r\n", "Your code is 482913\r\n")

	mustContain(t, "clear", p.must(t, 0, "clear", "--mailbox", "app"), "1 deleted")
	p.must(t, 1, "wait", "--mailbox", "app", "--timeout", "10ms")
	p.must(t, 0, "wait", "--mailbox", "y@example.com")

	p.must(t, 0, "--wait", "--http", strconv.Itoa(p.HTTP))
	taken := p.must(t, 1, "--http", strconv.Itoa(p.HTTP))
	mustContain(t, "a taken port", taken, "in use by", "is free:", "paquebot dev --http ")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	check(t, free.Close())
	began := time.Now()
	nobody := p.must(t, 1, "--wait", "--within", "300ms", "--http", strconv.Itoa(free.Addr().(*net.TCPAddr).Port))
	mustContain(t, "nobody there", nobody, "no catcher is ready", "paquebot dev")
	if time.Since(began) > 10*time.Second {
		t.Error("it waited", time.Since(began))
	}
}

// The script for a CI without containers: ports by JSON, mail asserted from the
// shell, artefacts when the tests fail, and nobody left behind.
func TestCIScript(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.Symlink(need(t).bin, filepath.Join(dir, "paquebot")))
	check(t, write(map[string]string{filepath.Join(dir, "m.eml"): "From: a@example.com\nTo: b@example.com\nSubject: hi\n\nx\n"}))
	run := func(script string) (string, int) {
		cmd := exec.CommandContext(t.Context(), "sh", "../../examples/ci/binary.sh", "sh", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TMPDIR="+dir, "ARTEFACTS="+filepath.Join(dir, "art"), "DIR="+dir)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	const test = `test "$MAIL_PORT" -gt 0 && paquebot dev import --mailbox app "$DIR/m.eml" && paquebot dev wait --mailbox app --q subject:hi`
	if out, code := run(test); code != 0 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if out, code := run(test + " && exit 7"); code != 7 {
		t.Fatalf("exit %d\n%s", code, out)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "art", "*.dialogue.txt")); len(found) != 1 {
		t.Errorf("artefacts: %q", found)
	}
}
