package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

var update = flag.Bool("update", false, "rewrite goldens and the reference page")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s is not current (run with -update and review)\n%s", file, got)
	}
}

func TestEmptyFileIsFourStandardPorts(t *testing.T) {
	c, problems := Parse("", "")
	if Failed(problems) {
		t.Fatal(Render(problems))
	}
	want := map[string]string{":25": "mx", ":587": "submission", ":465": "submissions", ":2525": "submission"}
	for _, l := range c.Listeners {
		if want[l.Address] != l.Role {
			t.Errorf("%s has role %q", l.Address, l.Role)
		}
		if l.MaxConnections != 5000 {
			t.Errorf("%s: defaults inside default listeners are missing", l.Address)
		}
	}
	if len(c.Listeners) != 4 || c.Queue.Expire != 5*24*time.Hour || c.Limits.MessageSize != 50<<20 {
		t.Errorf("defaults: %+v", c)
	}
}

func TestThreeLinesAreEnough(t *testing.T) {
	_, problems := Parse("x", "hostname = \"mx1.example.org\"\ntls.cert = \"a.pem\"\ntls.key = \"k.pem\"\n")
	if len(problems) != 0 {
		t.Error(Render(problems))
	}
}

func TestDesignsExampleIsUnderstood(t *testing.T) {
	text, err := os.ReadFile("testdata/full.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, problems := Parse("full.toml", string(text))
	if len(problems) != 0 {
		t.Fatal(Render(problems))
	}
	golden(t, "testdata/full.show", Show(c))
}

// What Show prints means the same when it is read again.
func TestShowIsAConfiguration(t *testing.T) {
	text, _ := os.ReadFile("testdata/full.toml")
	for _, in := range []string{"", string(text)} {
		c, _ := Parse("x", in)
		shown := Show(c)
		again, problems := Parse("x", shown)
		if Failed(problems) {
			t.Fatalf("%s\n%s", Render(problems), shown)
		}
		for i := range again.Accounts { // hashes are hidden on purpose
			again.Accounts[i].PasswordHash = c.Accounts[i].PasswordHash
		}
		if d := Diff(c, again); len(d) != 0 {
			t.Errorf("differs: %v", d)
		}
		if !reflect.DeepEqual(c, again) {
			t.Errorf("got %+v\nwant %+v", again, c)
		}
	}
}

// Each file in testdata/wrong has a mistake or more; beside it is what the
// operator reads.
func TestMistakesAreExplained(t *testing.T) {
	files, _ := filepath.Glob("testdata/wrong/*.toml")
	if len(files) < 10 {
		t.Fatal("the mistakes are gone")
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			_, problems := Parse(filepath.Base(f), string(text))
			if len(problems) == 0 {
				t.Fatal("nothing wrong was found")
			}
			golden(t, strings.TrimSuffix(f, ".toml")+".txt", Render(problems))
		})
	}
}

// The table of keys and the tree have the same keys; each has words, an example
// that parses, and a default that parses.
func TestEveryKeyIsDocumented(t *testing.T) {
	inTree := map[string]bool{}
	var walk func(t reflect.Type, path string)
	walk = func(t reflect.Type, path string) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() == reflect.Map {
			walk(t.Elem(), path+".NAME")
			return
		}
		if t.Kind() != reflect.Struct || strings.HasPrefix(t.String(), "netip.") || reflect.PointerTo(t).Implements(reflect.TypeFor[own]()) || t == reflect.TypeFor[Rate]() {
			return
		}
		for i := range t.NumField() {
			if name := t.Field(i).Tag.Get("toml"); name != "-" {
				p := join(path, name)
				inTree[p] = true
				walk(t.Field(i).Type, p)
			}
		}
	}
	walk(reflect.TypeFor[Config](), "")
	for _, k := range Keys() {
		if !inTree[k.Path] {
			t.Errorf("%s is documented and does not exist", k.Path)
		}
		delete(inTree, k.Path)
		if k.Doc == "" || k.Example == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: say what it is (in sentences) and give an example", k.Path)
		}
		if !k.isTable() && k.Default == "" && k.Auto == "" && k.optional() {
			continue
		}
		if _, ok := defaultOf(k.Path); k.Default != "" && !ok {
			t.Errorf("%s: the default does not parse: %s", k.Path, k.Default)
		}
	}
	for p := range inTree {
		t.Errorf("%s has no row in keys.go", p)
	}
}

func (k Key) optional() bool { return true }

func TestEveryExampleParses(t *testing.T) {
	for _, k := range Keys() {
		text := k.sample()
		if !k.isTable() {
			text = "v = " + k.Example
		}
		var v map[string]any
		if _, err := toml.Decode(strings.ReplaceAll(text, "NAME", "name"), &v); err != nil {
			t.Errorf("%s: %v\n%s", k.Path, err, text)
		}
	}
}

func TestReferencePageIsCurrent(t *testing.T) {
	golden(t, "../../docs/reference/config.md", Reference())
}

func TestExplain(t *testing.T) {
	var b strings.Builder
	for _, path := range []string{"listener.role", "listener", "smarthost.sendgrid.password", "queue.retry", "listener[2].greeting_delay"} {
		text, _, ok := Explain(path)
		if !ok {
			t.Errorf("%s is not explained", path)
		}
		b.WriteString("$ paquebot config explain " + path + "\n" + text + "\n")
	}
	golden(t, "testdata/explain.txt", b.String())
	for l := range strings.Lines(b.String()) {
		if len([]rune(l)) > 81 {
			t.Errorf("wider than 80: %s", l)
		}
	}
	if _, near, ok := Explain("listner.role"); ok || near != "listener.role" {
		t.Errorf("nearest is %q", near)
	}
}

func TestDiff(t *testing.T) {
	a, _ := Parse("x", "hostname = \"a.example\"\n[[domain]]\nname=\"x.example\"\ndeliver=\"catch\"\n")
	b, _ := Parse("x", "hostname = \"b.example\"\ndata_dir=\"/srv/p\"\n")
	var got []string
	for _, c := range Diff(a, b) {
		got = append(got, c.Path+" "+c.Old+" > "+c.New)
	}
	want := []string{
		`hostname "a.example" > "b.example"`,
		`data_dir "/var/lib/paquebot" > "/srv/p"`,
		`domain[0].name "x.example" > `,
		`domain[0].deliver "catch" > `,
		`domain[0].recipients "any" > `,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
	if !Diff(a, b)[1].Restart {
		t.Error("data_dir needs a restart")
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for in, want := range map[string]time.Duration{"5d": 120 * time.Hour, "1d12h": 36 * time.Hour, "2w": 336 * time.Hour, "90s": 90 * time.Second, "0s": 0, "1h30m": 90 * time.Minute} {
		got, err := ParseDuration(in)
		if err != nil || got != want {
			t.Errorf("%q: %v %v", in, got, err)
		}
		again, err := ParseDuration(FormatDuration(got))
		if err != nil || again != got {
			t.Errorf("%q is written %q", in, FormatDuration(got))
		}
	}
	for _, in := range []string{"", "d", "5", "-1d", "-5m", "1x", "99999999999d", "9999999h9999999999h"} {
		if d, err := ParseDuration(in); err == nil {
			t.Errorf("%q is %v", in, d)
		}
	}
	for in, want := range map[string]Size{"50MiB": 50 << 20, "1 KiB": 1024, "10": 10, "1MB": 1e6, "0": 0} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: %d %v", in, got, err)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "99999999999TiB", "1.5MiB"} {
		if s, err := ParseSize(in); err == nil {
			t.Errorf("%q is %d", in, s)
		}
	}
}
