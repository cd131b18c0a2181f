package message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func parse(t testing.TB, raw string) *Part {
	t.Helper()
	p, err := Parse(strings.NewReader(raw), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tree draws the tree on one line: type, file name and children.
func tree(p *Part) string {
	s := p.Path + ":" + p.Type
	if p.FileName != "" {
		s += "=" + p.FileName
	}
	var kids []string
	for _, c := range p.Children {
		kids = append(kids, tree(c))
	}
	if kids != nil {
		s += "(" + strings.Join(kids, " ") + ")"
	}
	return s
}

func TestParseTree(t *testing.T) {
	p := parse(t, lines(
		"From: a@b", "MIME-Version: 1.0", `Content-Type: multipart/mixed; boundary="m"`, "",
		"preamble", "--m",
		`Content-Type: multipart/alternative; boundary=a`, "",
		"--a", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable", "",
		"J=C3=B6rg=", " says hi  ", "--a", "Content-Type: text/html", "", "<p>hi</p>", "--a--", "",
		"--m", "Content-Type: image/png; name*=utf-8''%C3%B6.png", "Content-Disposition: attachment", "Content-Transfer-Encoding: base64", "",
		"iVBORw==", "--m", "Content-Type: message/rfc822", "", "Subject: inner", "", "inner text",
		"--m", "Content-Type: text/calendar; method=REQUEST", "", "BEGIN:VCALENDAR",
		"--m--", "epilogue"))
	want := ":multipart/mixed(1:multipart/alternative(1.1:text/plain 1.2:text/html) 2:image/png=ö.png 3:message/rfc822(3.0:text/plain) 4:text/calendar)"
	if got := tree(p); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	c := p.Contents()
	if c.Text.Text() != "Jörg says hi" || c.HTML.Text() != "<p>hi</p>" || len(c.Attachments) != 3 || c.Calendar == nil || len(c.Notes) != 0 {
		t.Errorf("%q %q %d %v", c.Text.Text(), c.HTML.Text(), len(c.Attachments), c.Notes)
	}
	if got := c.Attachments[0].Bytes(); string(got) != "\x89PNG" {
		t.Errorf("%q", got)
	}
	for n := range p.Walk() {
		if p.Find(n.Number) != n {
			t.Errorf("Find(%d) is another part", n.Number)
		}
	}
	if p.Find(99) != nil || c.Preview(6) != "Jörg" {
		t.Errorf("%q", c.Preview(6))
	}
}

// A mailing list's footer is part of what there is to read.
func TestSeveralTexts(t *testing.T) {
	p := parse(t, lines("Content-Type: multipart/mixed; boundary=b", "", "--b", "", "Hello.", "", "--b", "", "-- list footer",
		"--b", "Content-Disposition: attachment", "", "a file", "--b", "Content-Type: text/plain; name=x.txt", "", "another", "--b--"))
	c := p.Contents()
	if got := c.Plain(100); got != "Hello.\n\n-- list footer" || len(c.Attachments) != 2 {
		t.Errorf("%q, %d attachments", got, len(c.Attachments))
	}
	if got := c.Plain(3); got != "Hel" {
		t.Errorf("%q", got)
	}
}

// Broken input gives a partial tree with a note, never an error.
func TestParseBroken(t *testing.T) {
	for _, c := range []struct{ name, raw, want, note string }{
		{"empty", "", "1:text/plain", ""},
		{"no header", "hello\r\nworld\r\n", "1:text/plain", ""},
		{"no empty line before the body", lines("Subject: a", "hello"), "1:text/plain", ""},
		{"bare LF", "Subject: a\nTo: b@c\n\nhello\n", "1:text/plain", "LF alone"},
		{"no boundary", lines("Content-Type: multipart/mixed", "", "x"), "1:text/plain", "without boundary"},
		{"boundary never comes", lines("Content-Type: multipart/mixed; boundary=x", "", "y"), ":multipart/mixed", "does not occur"},
		{"not closed", lines("Content-Type: multipart/mixed; boundary=x", "", "--x", "", "y"), ":multipart/mixed(1:text/plain)", "no closing boundary"},
		{"a bad line in the header", lines("To: a@b", "garbage here", "Content-Type: text/html", "", "y"), "1:text/html", "no field"},
		{"an unknown encoding", lines("Content-Transfer-Encoding: x-uu", "", "y"), "1:text/plain", "unknown"},
		{"a type that is none", lines("Content-Type: ><", "", "y"), "1:application/octet-stream", "malformed"},
		{"two names", lines("Content-Type: text/html; name=a; name=b", "", "y"), "1:text/html=a", "malformed"},
		{"a path in the name", lines(`Content-Disposition: attachment; filename="../../.etc\passwd"`, "", "y"), "1:text/plain=passwd", ""},
		{"type is one word", lines("Content-Type: text", "", "y"), "1:text", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := parse(t, c.raw)
			if got := tree(p); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if notes := strings.Join(p.Contents().Notes, "; "); !strings.Contains(notes, c.note) || (c.note == "") != (notes == "") {
				t.Errorf("notes %q, want %q", notes, c.note)
			}
		})
	}
}

func TestParseKeepsWhatCameBeforeAReadError(t *testing.T) {
	r := io.MultiReader(strings.NewReader("Subject: a\r\n\r\nhello"), iotest.ErrReader(errors.New("disk")))
	p, err := Parse(r, Limits{})
	if err == nil || p == nil || p.Contents().Plain(10) != "hello" || len(p.Notes) != 1 {
		t.Errorf("%v %+v", err, p)
	}
}

// ABU-10: depth, parts and bytes are bounded, and what is left out is said.
func TestParseLimits(t *testing.T) {
	nested := func(depth int) string {
		var b strings.Builder
		for i := range depth {
			fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
		}
		return b.String() + "\r\nx"
	}
	many := "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\n", 6000)
	inner := "Subject: x\r\n\r\ny"
	for range 150 {
		inner = "Content-Type: message/rfc822\r\n\r\n" + inner
	}
	for _, c := range []struct{ name, raw, note string }{
		{"depth", nested(150), "deeper than 100"},
		{"messages in messages", inner, "deeper than 100"},
		{"parts", many, "more than 5000 parts"},
		{"header", "X: " + strings.Repeat("a", HeaderMax+10) + "\r\n\r\ny", "header is longer"},
		{"fields", strings.Repeat("a: b\r\n", FieldsMax+10) + "\r\ny", "more than 2000 fields"},
	} {
		p := parse(t, c.raw)
		parts := 0
		for range p.Walk() {
			parts++
		}
		if notes := strings.Join(p.Contents().Notes, "; "); !strings.Contains(notes, c.note) || parts > DefaultLimits.Parts {
			t.Errorf("%s: %d parts, notes %q", c.name, parts, notes)
		}
	}
	p, _ := Parse(strings.NewReader("Subject: a\r\n\r\n"+strings.Repeat("x", 1000)), Limits{Bytes: 100})
	if len(p.Body) != 100-14 || len(p.Notes) != 1 {
		t.Errorf("%d bytes, %v", len(p.Body), p.Notes)
	}
}

func TestCharsets(t *testing.T) {
	for _, c := range []struct{ ctype, body, want string }{
		{"text/plain; charset=iso-8859-1", "caf\xe9", "café"},
		{"text/plain; charset=windows-1252", "\x80 5", "€ 5"},
		{"text/plain; charset=koi8-r", "\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"},
		{"text/plain; charset=shift_jis", "\x93\xfa\x96\x7b", "日本"},
		{"text/plain; charset=utf-16le", "h\x00i\x00", "hi"},
		{"text/plain; charset=klingon", "caf\xc3\xa9", "café"},
		{"text/plain", "caf\xe9", "café"},
		{"text/plain; charset=utf-8", "caf\xe9", "café"}, // a wrong label
		{"text/html", `<meta charset="iso-8859-2"><b>` + "\xb1</b>", `<meta charset="iso-8859-2"><b>ą</b>`},
		{"text/plain; charset=utf-8", "\xef\xbb\xbfhi", "hi"},
	} {
		p := parse(t, "Content-Type: "+c.ctype+"\r\n\r\n"+c.body)
		if got := p.Text(); got != c.want {
			t.Errorf("%s: %q, want %q", c.ctype, got, c.want)
		}
	}
}

func TestLenientDecoding(t *testing.T) {
	good := base64.StdEncoding.EncodeToString([]byte("hello world"))
	for in, want := range map[string]string{
		good: "hello world", good[:8] + "\r\n" + good[8:]: "hello world", strings.TrimRight(good, "="): "hello world",
		"aGk=aGk=": "hihi", "a!G*k=": "hi", "": "", "a": "",
	} {
		if got := string(lenientBase64([]byte(in))); got != want {
			t.Errorf("base64 %q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"a=3Db": "a=b", "a=\r\nb": "ab", "a=  \r\nb": "ab", "a = b": "a = b", "x=ZZ": "x=ZZ", "a \t\r\nb": "a\r\nb", "=e4": "\xe4", "a=": "a",
	} {
		if got := string(lenientQuotedPrintable([]byte(in))); got != want {
			t.Errorf("quoted-printable %q: %q, want %q", in, got, want)
		}
	}
}

func TestTextOfHTML(t *testing.T) {
	for in, want := range map[string]string{
		"<p>Hello <b>you</b></p><p>Bye</p>":                                   "Hello you\n\nBye",
		"a<br>b<script>evil()</script><style>x{}</style><!-- c -->":           "a\nb",
		"<head><title>t</title></head><body>x</body>":                         "x",
		"<head><title>t</title><body>x":                                       "x",
		`<a href="https://x.example/">here</a>, <a href="javascript:x">y</a>`: "here <https://x.example/>, y",
		`<a href="https://x.example/">https://x.example/</a>`:                 "https://x.example/",
		"<ul><li>one<li>two</ul>":                                             "- one\n- two",
		"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>":     "a b\nc",
		"<pre>a\n  b</pre>":                                                   "a\n  b",
		`x<img alt="logo">`:                                                   "x [logo]",
		"&lt;b&gt; &amp; &nbsp;x":                                             "<b> & x",
		"<svg/>seen":                                                          "seen",
		"":                                                                    "",
	} {
		if got := TextOfHTML(in, 1000); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	if got := TextOfHTML(strings.Repeat("<p>ö", 1000), 51); len(got) > 51 {
		t.Errorf("%d bytes", len(got))
	}
}

// The messages of others' suites: no panic, every part found again, notes only
// where something is wrong with them.
func TestParseTheWorld(t *testing.T) {
	for name, raw := range corpus(t) {
		p, err := Parse(bytes.NewReader(raw), Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		c := p.Contents()
		// The RFCs' own examples are sound, but for a ";" that RFC 2046 §5.2.3 forgot.
		if strings.HasPrefix(name, "mail-parser-rfc/") && !strings.HasSuffix(name, "001.eml") && len(c.Notes) > 0 {
			t.Errorf("%s: %q", name, c.Notes)
		}
		for n := range p.Walk() {
			_ = n.Text()
		}
		_, _ = c.Preview(200), c.Plain(1<<20)
	}
}

func TestParseKnownMessages(t *testing.T) {
	for name, want := range map[string]string{
		"haraka/base64-root-part.txt":                    "1:text/html",
		"enmime/mime-mixed-related.raw":                  ":multipart/mixed(1:multipart/related(1.1:multipart/alternative(1.1.1:text/html)) 2:multipart/alternative(2.1:text/html))",
		"enmime/mime-alternative.raw":                    ":multipart/alternative(1:text/plain 2:text/plain)",
		"enmime/unknown-part-type.raw":                   ":multipart/abcdefghi(1:text/plain 2:image/gif=B05.gif)",
		"enmime/part-multimixed-no-closing-boundary.raw": ":multipart/mixed(1:text/html)",
		"cpython/msg_10.txt":                             ":multipart/mixed(1:text/plain 2:text/html 3:text/plain 4:text/plain 5:text/plain)",
		"cpython/msg_05.txt":                             ":multipart/report(1:text/plain 2:text/plain 3:message/rfc822(3.0:text/plain))",
		"mail-parser-rfc/008.eml":                        ":multipart/mixed(1:text/plain 2:message/rfc822=attached_email.eml(2.0:multipart/alternative(2.0.1:text/plain 2.0.2:text/html)))",
	} {
		raw, ok := corpus(t)[name]
		if !ok {
			t.Errorf("%s is not there", name)
			continue
		}
		p, _ := Parse(bytes.NewReader(raw), Limits{})
		if got := tree(p); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, raw := range corpus(f) {
		if len(raw) < 3000 {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := Parse(bytes.NewReader(raw), Limits{Parts: 50, Depth: 10})
		if err != nil {
			t.Fatal(err)
		}
		parts, size := 0, 0
		for n := range p.Walk() {
			if n.Number != parts || p.Find(parts) != n {
				t.Fatalf("part %d has number %d", parts, n.Number)
			}
			parts++
			size += len(n.Text())
		}
		if parts > 50 {
			t.Fatalf("%d parts", parts)
		}
		c := p.Contents()
		if len(c.Preview(100)) > 100 {
			t.Fatal("preview is too long")
		}
	})
}

func FuzzTextOfHTML(f *testing.F) {
	f.Add("<p>a<a href=http://x>b</a><pre>c</pre><script>d")
	f.Fuzz(func(t *testing.T, s string) {
		if got := TextOfHTML(s, 200); len(got) > 200 {
			t.Fatalf("%d bytes", len(got))
		}
	})
}

func BenchmarkSplitHeader(b *testing.B) {
	head := []byte(strings.Repeat("Received: from mail.example.org ([192.0.2.1])\r\n\tby mx.example.org with ESMTPS id 123;\r\n\tMon, 23 Nov 2026 09:00:00 +0000\r\n", 5) +
		lines(strings.Split(full, "|")...) + "\r\n")
	b.ReportAllocs()
	for b.Loop() {
		h, _ := SplitHeader(head)
		_, _, _ = Prepare(h, submission())
	}
}
