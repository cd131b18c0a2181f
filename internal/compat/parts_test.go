package compat

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"paquebot/internal/mail"
	"paquebot/internal/mishap"
)

func TestThumbnails(t *testing.T) {
	picture := func(w, h int) []byte {
		m := image.NewRGBA(image.Rect(0, 0, w, h))
		for i := range m.Pix {
			m.Pix[i] = 0xff
		}
		for y := range h {
			for x := range w {
				m.Set(x, y, color.RGBA{200, 0, 0, 255})
			}
		}
		var b bytes.Buffer
		png.Encode(&b, m)
		return b.Bytes()
	}
	var moving bytes.Buffer
	gif.Encode(&moving, image.NewPaletted(image.Rect(0, 0, 300, 300), color.Palette{color.RGBA{200, 0, 0, 255}}), nil)
	bomb := picture(10, 10)
	copy(bomb[16:24], []byte{0, 0, 0x7f, 0xff, 0, 0, 0x7f, 0xff}) // 32767 by 32767, it says
	for _, row := range []struct {
		name      string
		octets    []byte
		mid, edge bool // red there
	}{
		{"large", picture(600, 400), true, true},
		{"wide", picture(2000, 130), true, true},
		{"small", picture(10, 10), true, false},
		{"gif", moving.Bytes(), true, true},
		{"one pixel", picture(1, 1), false, false},
		{"bomb", bomb, false, false},
		{"no picture", []byte("hello"), false, false},
		{"cut short", picture(600, 400)[:200], false, false},
	} {
		a := open(t, Config{}, Needs{})
		put(t, a, 1, "", "a@example.com", []byte("Content-Type: image/png; name=x.png\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n"+
			base64.StdEncoding.EncodeToString(row.octets)+"\r\n"), "b@example.com")
		w := ask1(t, a, "GET", "/api/v1/message/latest/part/1/thumb", "")
		m, err := jpeg.Decode(w.Body)
		if err != nil || m.Bounds().Dx() != 180 || m.Bounds().Dy() != 120 {
			t.Errorf("%s: %d %v", row.name, w.Code, err)
			continue
		}
		red := func(x, y int) bool { _, g, _, _ := m.At(x, y).RGBA(); return g < 0x8000 }
		if red(90, 60) != row.mid || red(2, 2) != row.edge {
			t.Errorf("%s: middle %v, edge %v", row.name, m.At(90, 60), m.At(2, 2))
		}
	}
}

// What a test sends it finds again, octet for octet.
func TestSentTextComesBackExactly(t *testing.T) {
	for _, text := range []string{"one line", "two\nlines", "two\r\nlines\r\n", "a\rb", "ü = é\t.\n.\n", strings.Repeat("long ", 1000), "", " "} {
		a := open(t, Config{}, Needs{})
		body, _ := json.Marshal(SendRequest{From: Person{Email: "a@example.com"}, To: []Person{{Email: "b@example.com"}}, Subject: "x", Text: text, HTML: "<p>" + text + "</p>",
			Attachments: []NewAttachment{{Content: "data:text/plain;base64,aGVsbG8=", Filename: "größe.txt"}, {Content: "aGVsbG8=", Filename: "i.gif", ContentID: "i", ContentType: "image/gif"}}})
		if w := ask1(t, a, "POST", "/api/v1/send", string(body)); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		var m Message
		json.Unmarshal(ask1(t, a, "GET", "/api/v1/message/latest", "").Body.Bytes(), &m)
		if text != "" && m.Text != text || m.HTML != "<p>"+text+"</p>" {
			t.Errorf("%q came back as %q and %q", text, m.Text, m.HTML)
		}
		if len(m.Attachments) != 1 || m.Attachments[0].FileName != "größe.txt" || m.Attachments[0].Size != 5 || len(m.Inline) != 1 || m.Inline[0].ContentID != "i" {
			t.Errorf("%+v %+v", m.Attachments, m.Inline)
		}
		for line := range strings.SplitSeq(ask1(t, a, "GET", "/api/v1/message/latest/raw", "").Body.String(), "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n") {
				t.Errorf("%q makes a line of %d octets", text, len(line))
			}
		}
	}
}

func TestUserOfARequestIsTheMailbox(t *testing.T) {
	a := open(t, Config{}, Needs{})
	r := httptest.NewRequest("POST", "/api/v1/send", strings.NewReader(`{"From":{"Email":"a@example.com"},"To":[{"Email":"b@example.com"}]}`))
	r.SetBasicAuth("suite-7", "x")
	mux(a).ServeHTTP(httptest.NewRecorder(), r)
	if all := a.needs.Store.Newest(0, -1); len(all) != 1 || all[0].Mailbox != "suite-7" || all[0].Tags[0] != "suite-7" {
		t.Errorf("%+v", all)
	}
}

func FuzzSend(f *testing.F) {
	f.Add(`{"From":{"Email":"a@b.example","Name":"\r\nX: y"},"To":[{"Email":"c@d.example"}],"Subject":"\nBcc: x@y","Text":"x","Headers":{"X-A":"b"}}`)
	f.Add(`{"From":{"Email":"a@b.example"},"Bcc":["c@d.example"],"Attachments":[{"Content":"aGk=","Filename":"\"\r\n","ContentType":"text/html; x=\"\r\n\"","ContentID":"x"}],"HTML":"<p>"}`)
	f.Add(`{"From":{"Email":"\"a b\"@b.example"},"Cc":[{"Email":"c@d.example","Name":"\\\""}],"Tags":["\r\n"]}`)
	f.Fuzz(func(t *testing.T, body string) {
		var s SendRequest
		if json.Unmarshal([]byte(body), &s) != nil {
			return
		}
		env, err := s.envelope()
		if err != nil {
			return
		}
		env.ID = mail.ID{1}
		raw, err := s.compose(env)
		if err != nil {
			return
		}
		a := open(t, Config{}, Needs{})
		put(t, a, 1, "", "a@example.com", raw, "b@example.com")
		w := ask1(t, a, "GET", "/api/v1/message/latest/headers", "")
		var h map[string][]string
		if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil {
			t.Fatal(err, w.Body)
		}
		// The fields are those that were asked for, each once, and no others.
		want := 7 + len(s.Headers) // From Subject Date Message-Id Mime-Version Content-Type Return-Path
		for _, more := range []bool{len(s.To) > 0, len(s.Cc) > 0, len(s.ReplyTo) > 0, len(s.Tags) > 0, h["Bcc"] != nil, h["Content-Transfer-Encoding"] != nil, h["Content-Disposition"] != nil, h["Content-Id"] != nil} {
			if more {
				want++
			}
		}
		fields := 0
		for _, values := range h {
			fields += len(values)
		}
		if fields > want {
			t.Fatalf("%d fields, at most %d: %v\n%q", fields, want, h, raw)
		}
	})
}

func TestUnsubscribeLinks(t *testing.T) {
	for _, row := range []struct{ value, links, errors string }{
		{"<mailto:a@b>", "mailto:a@b", ""},
		{"<mailto:a@b>, <https://c/d>", "mailto:a@b https://c/d", ""},
		{"<https://c/d?x=(1)> (comment <x>)", "https://c/d?x=(1)", ""},
		{"mailto:a@b", "", "enclosed"},
		{"<mailto:a@b> <https://c>", "", "comma"},
		{"<mailto:a@b>,<mailto:c@d>", "mailto:a@b", "only contain one mailto:"},
		{"<https://a>,<https://b>", "https://a", "only contain one HTTP"},
		{"<https://a>,<https://b>,<mailto:c@d>", "", "maximum"},
		{"<ftp://a>", "", "should start with"},
		{"<https://a b>", "", "spaces"},
		{"<>", "", "should start with"},
	} {
		links, problems := unsubscribeLinks(row.value)
		all := strings.Join(problems, ", ")
		if strings.Join(links, " ") != row.links || (row.errors == "") != (all == "") || !strings.Contains(all, row.errors) {
			t.Errorf("%s: %v, %s", row.value, links, all)
		}
	}
}

func TestKeys(t *testing.T) {
	hash, _ := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	k, err := ParseKeys("# users\nclear:pass:word\nbcrypt:" + string(hash) + "\nsha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		user, password string
		fit            bool
	}{
		{"clear", "pass:word", true}, {"clear", "pass", false}, {"clear", "", false}, {"nobody", "", false}, {"nobody", "x", false},
		{"bcrypt", "secret", true}, {"bcrypt", "secret", true}, {"bcrypt", string(hash), false}, {"sha", "secret", true}, {"sha", "x", false},
	} {
		if k.Fit(row.user, row.password) != row.fit {
			t.Errorf("%+v", row)
		}
	}
	for _, bad := range []string{"", "user", ":x", "user:", "md5:$apr1$x$y"} {
		if _, err := ParseKeys(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := ParseKeys("a:b\nc-with-secret-in-it"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an error tells a password: %v", err)
	}
}

// Chaos and Jim are rules like others: set, read back, and gone.
func TestMishaps(t *testing.T) {
	room := mishap.New(mishap.Config{})
	o := OverMishap(room)
	want := Chaos{Sender: Trigger{450, 33}, Recipient: Trigger{552, 100}, Authentication: Trigger{535, 0}}
	if err := o.SetChaos(want); err != nil {
		t.Fatal(err)
	}
	if got := o.Chaos(); got != want || len(room.Rules()) != 2 {
		t.Errorf("%+v, %d rules", got, len(room.Rules()))
	}
	f, struck := room.At(mishap.Facts{Stage: mishap.Rcpt, Recipient: "a@example.com"})
	if !struck || f.Reply.Code != 552 {
		t.Errorf("%+v %v", f, struck)
	}
	if err := o.SetJim(&usualJim); err != nil {
		t.Fatal(err)
	}
	if j, awake := o.Jim(); !awake || j != usualJim {
		t.Errorf("%+v %v", j, awake)
	}
	room.Replace(nil)
	if _, awake := o.Jim(); awake {
		t.Error("Jim is awake though his rules are gone")
	}
	reject := Jim{AcceptChance: 1, RejectRecipientChance: 1}
	if err := o.SetJim(&reject); err != nil {
		t.Fatal(err)
	}
	if f, struck := room.At(mishap.Facts{Stage: mishap.Rcpt, Recipient: "a@example.com"}); !struck || f.Reply.Code != 550 {
		t.Errorf("%+v %v", f, struck)
	}
	o.SetJim(nil)
	if n := len(room.Rules()); n != 0 {
		t.Errorf("%d rules are left", n)
	}
}

// No part of a mail runs anything in a browser, whatever it says it is.
func TestWhatAMailBroughtIsHarmless(t *testing.T) {
	a := open(t, Config{}, Needs{})
	put(t, a, 1, "", "a@example.com", []byte("Content-Type: text/html\r\n\r\n<script>alert(1)</script><img src=http://evil.example/x>\r\n"), "b@example.com")
	for _, path := range []string{"/view/latest.html", "/api/v1/message/latest/part/1", "/api/v1/message/latest/raw", "/api/v1/messages/0000000000000001/mime/part/0/download"} {
		policy := ask1(t, a, "GET", path, "").Header().Get("Content-Security-Policy")
		if strings.Contains(path, "mime/part") {
			continue // no multipart: 404
		}
		if !strings.Contains(policy, "sandbox") || strings.Contains(policy, "allow-scripts") || !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("%s: %q", path, policy)
		}
		if strings.Contains(policy, " http: ") {
			t.Errorf("%s loads what is remote: %q", path, policy)
		}
	}
}

// A mail shown as a page of its own reaches nothing but its own parts: not the
// link check, which would visit its links, and no host that it has a browser
// connect to ahead of need, which no policy prevents.
func TestALookAtAMailFetchesNothing(t *testing.T) {
	a := open(t, Config{BasePath: "/mail"}, Needs{})
	put(t, a, 1, "", "a@example.com", []byte("Content-Type: text/html\r\n\r\n<p>hi</p><img src=/api/v1/message/latest/link-check>"+
		"<LINK rel=preconnect href=http://evil.example/><noscript><link rel=dns-prefetch href=//evil.example></noscript><iframe src=http://evil.example></iframe>\r\n"), "b@example.com")
	for _, query := range []string{"", "?embed=1"} {
		r := ask1(t, a, "GET", "/view/latest.html"+query, "")
		policy := r.Header().Get("Content-Security-Policy")
		for _, kind := range []string{"img-src", "media-src"} {
			_, list, _ := strings.Cut(policy, kind+" ")
			list, _, _ = strings.Cut(list, ";")
			for _, from := range strings.Fields(list) {
				if from != "data:" && !strings.HasSuffix(from, "/mail/api/v1/message/0000000000000001/part/") {
					t.Errorf("%s: %s may come from %s", query, kind, from)
				}
			}
		}
		if body := r.Body.String(); strings.Contains(strings.ToLower(body), "<link") || strings.Contains(body, "<iframe") || !strings.Contains(body, "<p>hi</p>") {
			t.Errorf("%s: %s", query, body)
		}
	}
}

func TestMailHogPartsAreBounded(t *testing.T) {
	nested := "x"
	for i := range 40 {
		nested = fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%s\r\n--b%d--", i, i, nested, i)
	}
	h := contentOf(nested)
	depth := 0
	for p := partsOf(&h, 0); p != nil && len(p.Parts) > 0; p = p.Parts[0].MIME {
		depth++
	}
	if depth != hogDepth {
		t.Errorf("%d deep", depth)
	}
	many := contentOf("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\nx\r\n", 5000))
	if n := len(partsOf(&many, 0).Parts); n > hogParts {
		t.Errorf("%d parts", n)
	}
}
