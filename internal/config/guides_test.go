package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"paquebot/internal/provider"
)

var (
	tomlBlock    = regexp.MustCompile("(?s)```toml\n(.*?)```")
	namedByGuide = regexp.MustCompile(`(?m)^provider *= *"([^"]+)"`)
	quotedReply  = regexp.MustCompile("(?m)^\\| `([245][0-9][0-9]) ([^`]+)`")
)

// What a guide tells people to paste is a configuration without a problem, and
// what it quotes of a provider is explained by the catalogue.
func TestProvidersGuidesAreTrue(t *testing.T) {
	pages, err := filepath.Glob("../../docs/guides/providers/*.md")
	if err != nil || len(pages) < 7 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		name := strings.TrimSuffix(filepath.Base(page), ".md")
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			blocks := tomlBlock.FindAllStringSubmatch(string(text), -1)
			if len(blocks) == 0 {
				t.Fatal("it shows no configuration")
			}
			for _, b := range blocks {
				if _, problems := Parse(name, b[1]); len(problems) > 0 {
					t.Errorf("%s\nin\n%s", Render(problems), b[1])
				}
			}
			said := namedByGuide.FindStringSubmatch(blocks[0][1])
			if said == nil || said[1] != name {
				t.Fatalf("its first configuration is for %q", said)
			}
			p, _, err := provider.Find(name)
			if err != nil {
				t.Fatal(err)
			}
			replies := quotedReply.FindAllStringSubmatch(string(text), -1)
			if len(replies) < 2 {
				t.Errorf("it quotes %d replies", len(replies))
			}
			for _, r := range replies {
				code, err := strconv.Atoi(r[1])
				if err != nil {
					t.Fatal(err)
				}
				if h, ok := p.Explain(code, r[2]); !ok || h.Confidence == "" || h.Example == "" && code != 535 {
					t.Errorf("the catalogue does not know %q", r[0])
				}
			}
			if !strings.Contains(string(text), "../../reference/providers.md#"+name) {
				t.Error("it does not lead to the reference")
			}
		})
	}
}
