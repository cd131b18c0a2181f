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
