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
