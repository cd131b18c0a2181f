package console

import (
	"strings"
	"testing"
)

func TestDefang(t *testing.T) {
	const top = `<base target="_blank"><meta name="referrer" content="no-referrer">`
	for in, want := range map[string]string{
		"":                              top,
		"hello":                         top + "hello",
		"<!doctype html><p>a":           "<!doctype html>" + top + "<p>a",
		" \n<!doctype html>\n<p>a":      "<!doctype html>" + top + "<p>a",
		"<SCRIPT SRC=x>a<b></SCRIPT >c": top + "c",
		"<script>a":                     top,
		"<script/>a</script>b":          top + "ab",
		"<iframe src=x><script>y</script></iframe>z":             top + "z",
		"<meta charset=utf-8><meta http-equiv=refresh>":          top + "<meta charset=utf-8>",
		"<link rel=stylesheet href=x><base href=y><embed src=z>": top,
		"<a href='x' onclick=y>t</a><!-- c -->":                  top + "<a href='x' onclick=y>t</a><!-- c -->",
		"<style>a > b{}</style>":                                 top + "<style>a > b{}</style>",
		// text to one reader of HTML, elements to another: the frame runs no script, and SVG has rules of its own
		"<noscript><link rel=preconnect href=x>a</noscript>b":                top + "<noscript>a</noscript>b",
		"<svg><style><p><link rel=preconnect></style>c":                      top + `<svg><style>\3c p>\3c link rel=preconnect></style>c`,
		"<svg><title><LINK rel=preconnect></title>c":                         top + "<svg><title>&lt;LINK rel=preconnect></title>c",
		"<title><!-- a</title><link rel=preconnect>b<xmp>1 < 2 <i></xmp><b>": top + "<title><!-- a</title>b<xmp>1 < 2 &lt;i></xmp><b>",
	} {
		if got := string(defang(in, frameOptions{})); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A mail may not be deeper than a browser can bear.
func TestDefangDepth(t *testing.T) {
	got := string(defang(strings.Repeat("<div>", 60_000)+"x"+strings.Repeat("</div>", 60_000)+"<b>y</b>", frameOptions{}))
	if open, shut := strings.Count(got, "<div>"), strings.Count(got, "</div>"); open != depthShown || shut != depthShown || !strings.HasSuffix(got, "<b>y</b>") {
		t.Errorf("%d opened, %d closed, ends with %q", open, shut, got[max(0, len(got)-20):])
	}
	if flat := strings.Repeat("<p>x<li>y<br>", 1000); !strings.HasSuffix(string(defang(flat, frameOptions{})), flat) {
		t.Error("paragraphs without an end were taken for nested ones")
	}
}

// Pictures come from this program or not at all; what the policy alone would
// have to stop is not even named.
func TestDefangPictures(t *testing.T) {
	const top = `<base target="_blank"><meta name="referrer" content="no-referrer">`
	at := frameOptions{Picture: func(a string) string { return "/r?" + a }}
	for in, want := range map[string]string{
		`<img src="http://x.example/a.png">`:                `<img src="/r?http://x.example/a.png">`,
		`<img src=//x.example/a.png>`:                       `<img src="/r?https://x.example/a.png">`,
		`<img src="cid:a">`:                                 `<img src="cid:a">`,
		`<img src="http://x.example:8080/a">`:               `<img src="http://x.example:8080/a">`, // the policy stops it
		`<img src="http://u:p@x.example/a">`:                `<img src="http://u:p@x.example/a">`,
		`<td background='https://x.example/b'>`:             `<td background="/r?https://x.example/b">`,
		`<img srcset="https://x.example/b 2x, c 3x">`:       `<img srcset="/r?https://x.example/b">`,
		`<p style="background:url('https://x.example/c')">`: `<p style="background:url(&#34;/r?https://x.example/c&#34;)">`,
		"<style>a{b:url( https://x.example/d )}</style>":    `<style>a{b:url("/r?https://x.example/d")}</style>`,
		`<style>a{b:u\72l(https://x.example/d)}</style>`:    `<style>a{b:u\72l(https://x.example/d)}</style>`,
	} {
		if got := string(defang(in, at)); got != top+want {
			t.Errorf("%s: %s, want %s", in, got[min(len(got), len(top)):], want)
		}
	}
}

// The preview has the colours that were asked for, whatever the browser likes.
func TestDefangScheme(t *testing.T) {
	const css = "<style>@media (prefers-color-scheme: dark){a{}}@media (Prefers-Color-Scheme:light){b{}}</style>"
	for scheme, want := range map[string]string{
		"light":  "@media (max-width:0){a{}}@media (min-width:0){b{}}",
		"forced": "@media (max-width:0){a{}}@media (min-width:0){b{}}",
		"dark":   "@media (min-width:0){a{}}@media (max-width:0){b{}}",
	} {
		if got := string(defang(css, frameOptions{Scheme: scheme})); !strings.HasSuffix(got, "<style>"+want+"</style>") {
			t.Errorf("%s: %s", scheme, got)
		}
	}
}

func FuzzDefang(f *testing.F) {
	f.Add("<!doctype html><script>a</script><iframe>b</iframe><meta http-equiv=x>c")
	f.Add("<script><script></script>")
	f.Fuzz(func(t *testing.T, s string) {
		got := strings.ToLower(string(defang(s, frameOptions{})))
		if !strings.Contains(got, "<base target") {
			t.Fatal(got)
		}
		_, _, _ = mayLoadRemote(s), links(s, s), codes(s)
	})
}

func TestMayLoadRemote(t *testing.T) {
	for in, want := range map[string]bool{
		"<img src=cid:x>": false, `<a href="http://x">y</a>`: false, `<img src="http://x/y.png">`: true, "<td background=\"https://x\">": true,
		"<style>a{background:url(http://x)}</style>": true, `<link rel=stylesheet href="https://x/y.css">`: true, "<IMG SRC='//x/y'>": true,
	} {
		if got := mayLoadRemote(in); got != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}
