package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// largest is the biggest file the project carries: a test corpus entry. More
// belongs into a generator.
const largest = 1 << 20

func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Skip("SKIPPED: not a git checkout, so there is no list of files to hold the rules against")
	}
	return strings.Fields(string(out))
}

func TestNoLargeFiles(t *testing.T) {
	for _, name := range tracked(t) {
		if info, err := os.Stat(filepath.Join(root, name)); err == nil && info.Size() > largest {
			t.Errorf("%s has %d octets; at most %d are carried", name, info.Size(), largest)
		}
	}
}

// Each row of docs/rfc.md names the tests that hold it; the names must exist.
func TestRFCTableNamesRealTests(t *testing.T) {
	table, err := os.ReadFile(filepath.Join(root, "docs", "rfc.md"))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	def := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue
		}
		for _, m := range def.FindAllSubmatch(b, -1) {
			have[string(m[1])] = true
		}
	}
	use := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	for n, line := range strings.Split(string(table), "\n") {
		if !strings.HasPrefix(line, "| RFC") && !strings.HasPrefix(line, "| PROXY") {
			continue
		}
		names := use.FindAllStringSubmatch(line, -1)
		if len(names) == 0 && !strings.Contains(line, "| no, ") {
			t.Errorf("docs/rfc.md:%d: a row that is not \"no, because\" must name a test: %s", n+1, line)
		}
		for _, m := range names {
			if !have[m[1]] {
				t.Errorf("docs/rfc.md:%d: no test is called %s", n+1, m[1])
			}
		}
	}
}

// The documentation's links to files of the project must lead somewhere.
func TestLinksLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, ".md") || strings.Contains(name, "testdata/") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			target := filepath.Join(root, filepath.Dir(name), m[1])
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
			}
		}
	}
}
