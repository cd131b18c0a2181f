package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever the text, Parse says what is wrong or gives a configuration that
// Show can write down again.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/wrong/*.toml")
	for _, name := range append(files, "testdata/full.toml") {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("a = \"\"\"x\\\"\"\"\"\n[b.'c d'.e]\n\"\\u0061\" = [[{x=1}],[2]] # z")
	f.Add("[[listener]]\n[[listener.x]]\n[smarthost.\"a.b\"]\nhost='h'\n")
	f.Fuzz(func(t *testing.T, text string) {
		positions(text)
		c, problems := Parse("fuzz.toml", text)
		out := Render(problems)
		if strings.ContainsAny(out, "\x1b\x00\r") {
			t.Errorf("control characters reach the terminal: %q", out)
		}
		if (c == nil) != Failed(problems) {
			t.Fatalf("configuration %v with %v", c, problems)
		}
		if c == nil {
			return
		}
		shown := Show(c)
		again, problems := Parse("shown.toml", shown)
		if again == nil {
			t.Fatalf("%s\n%s", Render(problems), shown)
		}
		if !strings.Contains(shown, "password_hash") && Show(again) != shown {
			t.Errorf("got\n%s\nwant\n%s", Show(again), shown)
		}
	})
}

// What is read is written so that it is read as the same again.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"5d", "1d12h", "50MiB", "10", "600/min", "1/s", "0", "-1", "9999999999999999999w", "10.0.0.0/8", "::1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil {
			if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d {
				t.Errorf("%q is %v, written %q", s, d, FormatDuration(d))
			}
		}
		if n, err := ParseSize(s); err == nil {
			if again, err := ParseSize(n.String()); err != nil || again != n {
				t.Errorf("%q is %d, written %q", s, n, n)
			}
		}
		if r, err := ParseRate(s); err == nil {
			if again, err := ParseRate(r.String()); err != nil || again != r {
				t.Errorf("%q is %v", s, r)
			}
		}
		if p, err := parsePrefix(s); err == nil {
			if again, err := parsePrefix(p.String()); err != nil || again != p {
				t.Errorf("%q is %v", s, p)
			}
		}
	})
}
