package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Caught mail is released through a smart host of a configuration, by Mailpit's
// interface, to the recipients named and to nobody else. The smart host is
// another catcher, which shows that it came once, with its credential, over TLS.
func TestDevReleases(t *testing.T) {
	t.Parallel()
	there := startDev(t, "--ports", "random").ports(t)
	dir, err := os.MkdirTemp(need(t).dir, "release-") // dev runs as nobody
	check(t, err)
	r, err := http.Get(there.CA)
	check(t, err)
	ca, err := io.ReadAll(r.Body)
	check(t, err)
	check(t, r.Body.Close())
	conf := filepath.Join(dir, "paquebot.toml")
	check(t, write(map[string]string{
		filepath.Join(dir, "ca.pem"): string(ca), filepath.Join(dir, "key"): "any",
		filepath.Join(dir, "m.eml"): "From: a@example.com\nTo: b@example.com\nSubject: let go\n\nx\n",
		conf: fmt.Sprintf("data_dir = %q\n[smarthost.there]\nhost = \"localhost\"\nports = [%d]\nusername = \"relay\"\npassword = { file = %q }\nca = %q\n[[route]]\nvia = \"there\"\n",
			dir, there.Submission, filepath.Join(dir, "key"), filepath.Join(dir, "ca.pem")),
	}))
	for _, f := range []string{"", "ca.pem", "key", "m.eml", "paquebot.toml"} {
		check(t, own(filepath.Join(dir, f), "nobody"))
	}
	here := startDev(t, "--ports", "random", "-c", conf).ports(t)
	here.must(t, 0, "import", "--mailbox", "app", filepath.Join(dir, "m.eml"))
	here.must(t, 0, "wait", "--mailbox", "app")
	post, err := http.Post(here.Console+"/api/v1/message/latest/release", "application/json", strings.NewReader(`{"To":["carl@example.net"]}`))
	check(t, err)
	said, err := io.ReadAll(post.Body)
	check(t, err)
	check(t, post.Body.Close())
	if post.StatusCode != http.StatusOK || string(said) != "ok" {
		t.Fatalf("%s %s", post.Status, said)
	}
	mustContain(t, "released", there.must(t, 0, "wait", "--mailbox", "relay", "--q", `subject:"let go"`, "--timeout", "30s"), "carl@example.net")
	if out := there.must(t, 0, "wait", "--none", "--q", "rcpt:b@example.com", "--timeout", "10ms"); strings.Contains(out, "b@example.com") {
		t.Error("it went to its first recipient, too: ", out)
	}
}
