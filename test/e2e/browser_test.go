package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A real browser walks the page: list, search, mailboxes, every view of a
// message, keys, rules, reply, delete, in both themes and three widths. Then it
// is shown mail that means harm, which must neither run, nor break the page, nor
// get out. node/browser.js is the walk, node/hostile.js the mail.
//
// Screenshots are left in SCREENSHOTS, if that names a folder.
func TestBrowser(t *testing.T) {
	t.Parallel()
	w := need(t)
	chromium := browserOrSkip(t)
	p := startDev(t, "--ports", "random").ports(t)
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.TempDir()
	}
	check(t, os.MkdirAll(shots, 0o755))
	home, err := os.MkdirTemp(w.dir, "browser-")
	check(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute) // half a minute alone; ten times that beside all other tests
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "node/browser.js", p.Console, strconv.Itoa(p.MX), strconv.Itoa(p.Submission), shots, "../../internal/message/testdata/mime")
	cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+home, "CHROMIUM="+chromium)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out) // with the time until mail is seen
	if err != nil {
		t.Errorf("the walk failed: %v", err)
	}
	for _, view := range []string{"list", "html", "rules", "reply"} {
		for _, width := range []string{"desktop", "tablet", "phone"} {
			for _, theme := range []string{"light", "dark"} {
				if _, err := os.Stat(filepath.Join(shots, fmt.Sprintf("%s-%s-%s.png", view, width, theme))); err != nil {
					t.Errorf("no picture: %v", err)
				}
			}
		}
	}
}

// browserOrSkip finds the browser and what drives it; without them it skips
// loudly, or fails where all must be run.
func browserOrSkip(t *testing.T) string {
	t.Helper()
	var missing []string
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		missing = append(missing, "chromium (apt-get install -y chromium)")
	}
	if _, err := os.Stat("node/node_modules/playwright-core"); err != nil {
		missing = append(missing, "playwright-core (cd test/e2e/node && npm ci)")
	}
	if len(missing) == 0 {
		return chromium
	}
	what := "*** the page was NOT walked by a browser: missing " + strings.Join(missing, ", ")
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
	return ""
}
