package critique

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"paquebot/internal/message"
)

func letter(t testing.TB, raw string) Letter {
	t.Helper()
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	root, err := message.Parse(strings.NewReader(raw), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return Letter{Raw: []byte(raw), Size: int64(len(raw)), Root: root, From: "bounce@mail.example.com", Arrived: time.Date(2026, 11, 23, 14, 0, 0, 0, time.UTC)}
}

// good is a message nobody finds anything to say about.
const good = `DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=s1;
 h=From:To:Subject:Date:Message-ID:List-Unsubscribe:List-Unsubscribe-Post; b=x
From: Anna <anna@example.com>
To: you@example.net
Subject: hello
Date: Mon, 23 Nov 2026 14:00:00 +0000
Message-ID: <1@example.com>
List-Unsubscribe: <https://example.com/u?1>, <mailto:u@example.com>
List-Unsubscribe-Post: List-Unsubscribe=One-Click

Hello.
`

func found(all []Finding) map[string]Finding {
	by := map[string]Finding{}
	for _, f := range all {
		by[f.ID] = f
	}
	return by
}

func TestNothingToSay(t *testing.T) {
	for _, f := range Judge(letter(t, good)) {
		if f.Level != Good {
			t.Errorf("%+v", f)
		}
	}
}

// Each rule, by what is done to a good message.
func TestFindings(t *testing.T) {
	html := func(body string) func(string) string {
		return func(s string) string {
			return strings.Replace(s, "\n\nHello.\n", "\nMIME-Version: 1.0\nContent-Type: text/html\n\n"+body+"\n", 1)
		}
	}
	without := func(name string) func(string) string {
		return func(s string) string {
			at := strings.Index(s, "\n"+name+":")
			if name == "DKIM-Signature" {
				return s[strings.Index(s, "From: Anna"):]
			}
			end := at + 1 + strings.Index(s[at+1:], "\n")
			return s[:at] + s[end:]
		}
	}
	replace := func(old, new string) func(string) string {
		return func(s string) string { return strings.Replace(s, old, new, 1) }
	}
	for _, c := range []struct {
		id    string
		level Level
		do    func(string) string
		say   string
	}{
		{"unsigned", Warning, without("DKIM-Signature"), "550 5.7.26"},
		{"signed-by-other", Warning, replace("d=example.com", "d=provider.example"), "example.com"},
		{"misaligned", Hint, replace("anna@example.com", "anna@other.example"), "mail.example.com"},
		{"no-from", Failing, without("From"), "who wrote it"},
		{"bad-from", Failing, replace("Anna <anna@example.com>", "Anna"), "Anna"},
		{"no-date", Failing, without("Date"), "spam"},
		{"bad-date", Warning, replace("Mon, 23 Nov 2026 14:00:00 +0000", "yesterday"), "yesterday"},
		{"odd-date", Warning, replace("23 Nov 2026", "23 Nov 2020"), "2020"},
		{"no-message-id", Warning, without("Message-ID"), "Gmail"},
		{"twice", Failing, replace("Subject: hello", "Subject: hello\nSubject: again"), "Subject 2 times"},
		{"no-subject", Warning, without("Subject"), ""},
		{"long-subject", Hint, replace("Subject: hello", "Subject: "+strings.Repeat("x", 160)), "xxx"},
		{"long-line", Failing, replace("Hello.", strings.Repeat("x", 999)), "break such lines"},
		{"raw-header", Warning, replace("Anna", "Ännchen"), "Ännchen"},
		{"nul", Failing, replace("Hello.", "Hel\x00lo."), ""},
		{"no-unsubscribe", Hint, without("List-Unsubscribe"), "receipt"},
		{"no-unsubscribe", Failing, func(s string) string {
			return without("List-Unsubscribe")(replace("\nTo:", "\nPrecedence: bulk\nTo:")(s))
		}, "no way out"},
		{"bad-unsubscribe", Failing, replace("<https://example.com/u?1>, <mailto:u@example.com>", "https://example.com/u"), "angle brackets"},
		{"bad-unsubscribe", Failing, replace("<https://example.com/u?1>", "<ftp://example.com/u"), "neither https nor mailto"},
		{"not-one-click", Warning, without("List-Unsubscribe-Post"), "One-Click"},
		{"not-one-click", Warning, replace("<https://example.com/u?1>, ", ""), "an https address"},
		{"not-one-click", Warning, replace(":List-Unsubscribe:List-Unsubscribe-Post;", ";"), "within the DKIM signature"},
		{"no-text", Hint, html("<p>Hello</p>"), ""},
		{"bad-link", Failing, html(`<a href="http://exa mple.com/">x</a>`), "exa mple"},
		{"relative-link", Failing, html(`<a href="/reset">x</a>`), "/reset"},
		{"local-link", Failing, html(`<a href="http://localhost:3000/reset">x</a>`), "localhost:3000"},
		{"local-link", Failing, html(`<a href="https://192.168.1.5/reset">x</a>`), "192.168"},
		{"lying-link", Warning, html(`<a href="https://track.example.net/1">https://bank.example.com/login</a>`), "track.example.net"},
		{"plain-link", Hint, html(`<a href="http://example.com/">x</a>`), "http://example.com/"},
		{"html-support", Hint, html(`<style>p { color: red; position: sticky }</style><p style="display:flex">x</p>`), "%"},
		{"structure", Warning, replace("\n\nHello.\n", "\nMIME-Version: 1.0\nContent-Type: multipart/mixed\n\nHello.\n"), ""},
	} {
		f, ok := found(Judge(letter(t, c.do(good))))[c.id]
		if !ok || f.Level != c.level && c.id != "html-support" || !strings.Contains(f.Title+f.Detail, c.say) {
			t.Errorf("%s: %v %+v, want %s and %q", c.id, ok, f, c.level, c.say)
		}
		if f.Level != Good && f.Level != Hint && f.Fix == "" {
			t.Errorf("%s does not say what to do", c.id)
		}
	}
}

func TestBareLineEnd(t *testing.T) {
	l := letter(t, good)
	l.Raw = bytes.ReplaceAll(l.Raw, []byte("Hello.\r\n"), []byte("Hello.\nmore\r\n"))
	if _, ok := found(Judge(l))["bare-line-end"]; !ok {
		t.Error("not found")
	}
}

func TestRepairsAreTold(t *testing.T) {
	l := letter(t, good)
	l.Repaired = []string{"added Date"}
	if f := found(Judge(l))["repaired"]; !strings.Contains(f.Detail, "added Date") {
		t.Errorf("%+v", f)
	}
}

// PROV-52: a message too big for some is told with whom.
func TestTooBig(t *testing.T) {
	l := letter(t, good)
	l.Size = 30 << 20
	f := found(Judge(l))["too-big"]
	if f.Level != Failing || !strings.Contains(f.Detail, "Postmark") || strings.Contains(f.Detail, "SES (40") {
		t.Errorf("%+v", f)
	}
}

// What a document uses, by caniemail.com's names.
func TestScan(t *testing.T) {
	document := `<!DOCTYPE html><!-- c --><html lang=en><head><meta name="color-scheme" content="light dark">
<style>/* c */ @media (prefers-color-scheme: dark) { a:hover, .x .y > p + p::before { color: rgba(0,0,0,.5) !important; margin-top: 1em } }
@font-face { font-family: x } #id[href] { width: calc(100% - 2rem); background: linear-gradient(red, blue); --v: 1; color: var(--v) }</style></head>
<body><h2>x</h2><img src="https://example.com/a.webp?x=1"><img src="data:image/png;base64,xx"><a href="mailto:a@b">m</a><a href="#t">t</a>
<input><button type=reset>r</button><div style="display:inline-flex;-webkit-border-radius:3px;border-top:1px solid" role=x>d</div></body></html>`
	used, nodes := scan(document)
	if nodes != 13 {
		t.Errorf("%d nodes", nodes)
	}
	for slug := range strings.FieldsSeq(`html-doctype html-comments html-lang html-meta-color-scheme html-style css-comments css-at-media
css-at-media-prefers-color-scheme css-pseudo-class-hover css-pseudo-element-before css-selector-class css-selector-child
css-selector-adjacent-sibling css-selector-descendant css-selector-grouping css-rgba css-important css-margin css-unit-em css-at-font-face
css-selector-id css-selector-attribute css-width css-unit-calc css-unit-percent css-unit-rem css-linear-gradient css-background css-variables
html-h1-h6 html-img image-webp image-base64 image-png html-mailto-links html-anchor-links html-input-text html-button-reset css-display
css-display-flex css-border-radius css-border css-unit-px html-role html-div html-body`) {
		if used[slug] == 0 {
			t.Errorf("%s was not found", slug)
		}
	}
}

// Every feature can be found: a document that uses it can be written. Those that
// are not about HTML and CSS are named here.
func TestEveryFeatureIsLookedFor(t *testing.T) {
	known, err := features()
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]bool{}
	for _, slugs := range tagSlugs {
		for _, s := range slugs {
			made[s] = true
		}
	}
	for _, m := range []map[string]string{attributeSlugs, imageSlugs, propertySlugs} {
		for _, s := range m {
			made[s] = true
		}
	}
	sources := []string{"image-base64", "css-inert-attribute"}
	var mechanical int
	for _, f := range known.Data {
		switch {
		case made[f.Slug], slices.Contains(sources, f.Slug):
		case f.Category == "css" || f.Category == "html":
			mechanical++ // css-PROPERTY and html-TAG, or named in css.go
		case f.Category == "others": // AMP and BIMI: not in HTML
		default:
			t.Errorf("%s is not looked for", f.Slug)
		}
	}
	if len(known.Data) < 300 || mechanical < 150 {
		t.Errorf("%d features, %d by their name", len(known.Data), mechanical)
	}
}

// The answer has the shape clients of Mailpit know, and its figures add up.
func TestSupport(t *testing.T) {
	s, err := HTML(`<p style="display:flex">x</p><video></video>`)
	if err != nil {
		t.Fatal(err)
	}
	if sum := s.Total.Supported + s.Total.Partial + s.Total.Unsupported; sum < 99.9 || sum > 100.1 || s.Total.Nodes != 2 || s.Total.Tests < 3 {
		t.Errorf("%+v", s.Total)
	}
	i := slices.IndexFunc(s.Warnings, func(u Unsupported) bool { return u.Slug == "html-video" })
	if i < 0 {
		t.Fatalf("%+v", s.Warnings)
	}
	v := s.Warnings[i]
	if v.Score.Found != 1 || v.Score.Unsupported < 50 || len(v.Results) < 10 || v.URL == "" || len(s.Platforms) < 3 {
		t.Errorf("%+v", v)
	}
	outlook := slices.IndexFunc(v.Results, func(r Result) bool { return r.Family == "outlook" && r.Platform == "windows" })
	if outlook < 0 || v.Results[outlook].Support != "no" || !strings.HasPrefix(v.Results[outlook].Name, "Outlook Windows (") {
		t.Errorf("%+v", v.Results)
	}
	b, _ := json.Marshal(s)
	if !bytes.Contains(b, []byte(`"Total":{"Tests":`)) {
		t.Errorf("%.200s", b)
	}
	if s, err := HTML("just words"); err != nil || s.Total.Supported != 100 || s.Warnings == nil {
		t.Errorf("%+v %v", s, err)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add(good)
	f.Add("Content-Type: text/html\n\n<style>@media{a{b:c}}}}</style><a href='\x00'>http://x</a><p style='x:\"'>")
	f.Add("List-Unsubscribe: <<>\nFrom: <@>\nDKIM-Signature: d=;h=\n\n")
	f.Fuzz(func(t *testing.T, raw string) {
		for _, x := range Judge(letter(t, raw)) {
			if x.ID == "" || x.Title == "" || x.Level == "" {
				t.Errorf("%+v", x)
			}
		}
	})
}
