package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dev is a running `paquebot dev`, on its usual ports: they are free here.
type dev struct {
	cmd    *exec.Cmd
	tmp    string // the only folder it can write to
	output string // file with all it prints
	exited chan struct{}
}

const devPage = "http://localhost:8025"

// startDev runs `paquebot dev` as somebody without rights or a home, where the
// whole file system is read-only except its temporary folder.
func startDev(t *testing.T, args ...string) *dev {
	t.Helper()
	return startDevWith(t, nil, args...)
}

// startDevWith is startDev with variables of the environment.
func startDevWith(t *testing.T, env []string, args ...string) *dev {
	t.Helper()
	return startDevWritable(t, "", env, args...)
}

// startDevWritable lets it write to one more folder, too.
func startDevWritable(t *testing.T, also string, env []string, args ...string) *dev {
	t.Helper()
	w := need(t)
	tmp, err := os.MkdirTemp(w.dir, "dev-")
	check(t, err)
	check(t, own(tmp, "nobody"))
	d := &dev{tmp: tmp, output: tmp + ".out", exited: make(chan struct{})}
	out, err := os.Create(d.output)
	check(t, err)
	defer func() { _ = out.Close() }()
	script := `mount --bind "$TMPDIR" "$TMPDIR" && { [ -z "$ALSO" ] || mount --bind "$ALSO" "$ALSO"; } && mount -o remount,bind,ro / &&
		exec setpriv --reuid=nobody --regid=nogroup --clear-groups --bounding-set=-all -- "$@"`
	d.cmd = exec.Command("unshare", append([]string{"--mount", "--", "sh", "-c", script, "sh", w.bin, "dev"}, args...)...)
	d.cmd.Dir = "/"
	d.cmd.Env = append(append(os.Environ(), "TMPDIR="+tmp, "ALSO="+also, "HOME=/nonexistent"), env...)
	d.cmd.Stdout, d.cmd.Stderr = out, out
	check(t, d.cmd.Start())
	go func() {
		_ = d.cmd.Wait()
		close(d.exited)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.exited
		if t.Failed() {
			t.Logf("paquebot dev printed:\n%s", cut(d.printed()))
		}
	})
	eventually(t, func() error {
		if !strings.Contains(d.printed(), "ready") {
			return fmt.Errorf("it does not say ready:\n%s", d.printed())
		}
		return nil
	})
	return d
}

func (d *dev) printed() string {
	b, _ := os.ReadFile(d.output)
	return string(b)
}

// get asks the page.
func (d *dev) get(t *testing.T, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, devPage+path, nil)
	check(t, err)
	res, err := http.DefaultClient.Do(req)
	check(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	check(t, err)
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s\n%s", path, res.Status, b)
	}
	return string(b)
}

// caught are the messages the page lists.
func (d *dev) caught(t *testing.T) []map[string]any {
	t.Helper()
	var list struct{ Messages []map[string]any }
	check(t, json.Unmarshal([]byte(d.get(t, "/api/dev/messages")), &list))
	return list.Messages
}

var snippetStart = regexp.MustCompile(`(?m)^(curl |printf |python3 |node |swaks )`)

// snippets are the blocks to paste, as printed: from a command at the start of
// a line to the next empty line.
func (d *dev) snippets() []string {
	var all []string
	for _, block := range strings.Split(d.printed(), "\n\n") {
		if at := snippetStart.FindStringIndex(block); at != nil {
			all = append(all, strings.TrimSpace(block[at[0]:]))
		}
	}
	return all
}

// The first minute of a new user: every printed line works as printed, on each
// of the four ports.
func TestDev(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	snippets := d.snippets()
	all := strings.Join(snippets, "\n")
	for _, port := range []string{"1025", "1587", "1465", "2525"} {
		if !strings.Contains(all, port) {
			t.Errorf("no line to paste for port %s", port)
		}
	}

	// Somewhere a user might paste them, with nodemailer at hand.
	cwd := t.TempDir()
	modules, err := filepath.Abs("node/node_modules")
	check(t, err)
	check(t, os.Symlink(modules, cwd+"/node_modules"))
	for i, snippet := range snippets {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd := exec.CommandContext(ctx, "bash", "-c", snippet)
		cmd.Dir = cwd
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Errorf("%v\n$ %s\n%s", err, snippet, out)
			continue
		}
		eventually(t, func() error {
			if n := len(d.caught(t)); n != i+1 {
				return fmt.Errorf("%d messages caught after %d were sent", n, i+1)
			}
			return nil
		})
		newest, err := json.Marshal(d.caught(t)[0])
		check(t, err)
		port := regexp.MustCompile(`localhost:(\d+) |localhost:(\d+)$|"localhost", (\d+),|port: (\d+),`).FindStringSubmatch(snippet)
		if port == nil {
			t.Fatalf("which port is it?\n%s", snippet)
		}
		mustContain(t, "the caught message", string(newest), `"port":"`+strings.Join(port[1:], "")+`"`, "me@example.com", "you@example.com", "hello")
	}
	if t.Failed() {
		return
	}
	d.oneMessage(t)
	d.failedSession(t)
	d.twice(t)
	d.beside(t)

	// It ends when asked to, and leaves nothing behind.
	check(t, d.cmd.Process.Signal(syscall.SIGINT))
	select {
	case <-d.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
	left, err := os.ReadDir(d.tmp)
	check(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// oneMessage looks at the newest message from all sides.
func (d *dev) oneMessage(t *testing.T) {
	t.Helper()
	id := fmt.Sprint(d.caught(t)[0]["id"])
	mustContain(t, "raw", d.get(t, "/api/dev/messages/"+id+"/raw"), "Received: from ", "Subject: hello")
	eventually(t, func() error { // it is complete when the session has ended
		if s := d.get(t, "/api/dev/messages/"+id+"/dialogue"); !containsAll(s, []string{"EHLO", "MAIL FROM", "queued as " + id}) {
			return fmt.Errorf("the dialogue is not complete:\n%s", s)
		}
		return nil
	})
	mustContain(t, "page", d.get(t, "/"), "hello", "me@example.com")
	mustContain(t, "ca.pem", d.get(t, "/ca.pem"), "BEGIN CERTIFICATE")
	mustContain(t, "terminal", d.printed(), "hello")
}

// failedSession tries AUTH on port 25's twin, as many an application does.
func (d *dev) failedSession(t *testing.T) {
	t.Helper()
	k, err := dial("127.0.0.1:1025", nil)
	check(t, err)
	defer k.close()
	check(t, k.must("250", "EHLO app.test"))
	check(t, k.must("50", "AUTH PLAIN %s", plain("app", "any")))
	check(t, k.must("221", "QUIT"))
	eventually(t, func() error {
		if sessions := d.get(t, "/api/dev/sessions"); !containsAll(sessions, []string{"AUTH", "advice", "587"}) {
			return fmt.Errorf("no failed session with advice:\n%s", sessions)
		}
		return nil
	})
}

// twice starts a second one on the same ports.
func (d *dev) twice(t *testing.T) {
	t.Helper()
	r := need(t).cli(t, "", "dev")
	if r.code == 0 {
		t.Errorf("a second dev on the same ports: %s", r)
	}
	mustContain(t, "the second dev", r.stderr, "in use", "--ports random")
}

// beside runs another one, for a test suite: its ports are told as JSON.
func (d *dev) beside(t *testing.T) {
	t.Helper()
	other := startDev(t, "--ports", "random")
	var told struct {
		Console    string
		Submission int
	}
	text := other.printed()
	check(t, json.NewDecoder(strings.NewReader(text[strings.Index(text, "{"):])).Decode(&told))
	k, err := dial(fmt.Sprintf("127.0.0.1:%d", told.Submission), nil)
	check(t, err)
	defer k.close()
	check(t, k.must("250", "EHLO app.test"))
	check(t, k.starttls(&tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}))
	check(t, k.must("250", "EHLO app.test"))
	check(t, k.must("535", "AUTH PLAIN %s", plain("app", "wrong")))
	check(t, k.must("235", "AUTH PLAIN %s", plain("suite-7", "any")))
	reply, err := k.transaction("me@example.com", "From: <me@example.com>\r\nSubject: beside\r\n\r\nHello.\r\n", "you@example.com")
	check(t, err)
	_, err = queuedAs(reply)
	check(t, err)
	eventually(t, func() error {
		res, err := http.Get(told.Console + "/api/dev/messages?mailbox=suite-7")
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		b, err := io.ReadAll(res.Body)
		if err == nil && !strings.Contains(string(b), "beside") {
			err = fmt.Errorf("not in its mailbox: %s", b)
		}
		return err
	})
	for _, m := range d.caught(t) {
		if m["subject"] == "beside" {
			t.Error("one dev caught what was sent to the other")
		}
	}
}
