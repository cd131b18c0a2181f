package console

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

// ux finding 4: each convenience that fetches is an SSRF. The forms are those by
// which other catchers were passed.
func TestPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1:248:1893:25c8:1946": true, "1.1.1.1": true,
		"127.0.0.1": false, "127.8.8.8": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false, "192.0.0.8": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.7": false,
		"203.0.113.9": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false, "fc00::1": false, "fd12::1": false,
		"64:ff9b::7f00:1": false, "64:ff9b:1::1": false, "2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false, "ff02::1": false, "fec0::1": false, "100::1": false,
	} {
		if got := public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

// internet is one server that has whatever public address it is called by.
type internet struct {
	server *httptest.Server
	names  map[string]string
	dialed []string
}

func (n *internet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.dialed = append(n.dialed, address)
	var d net.Dialer
	return d.DialContext(ctx, network, n.server.Listener.Addr().String())
}

func (n *internet) lookup(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	var out []netip.Addr
	for text := range strings.FieldsSeq(n.names[host]) {
		out = append(out, netip.MustParseAddr(text))
	}
	if out == nil {
		return nil, errors.New("no such host")
	}
	return out, nil
}

func picture(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Black})); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFetchPicture(t *testing.T) {
	ok := picture(t, 4, 4)
	n := &internet{names: map[string]string{
		"pictures.example": "93.184.216.34", "inside.example": "127.0.0.1", "both.example": "10.0.0.1 93.184.216.34", "metadata.example": "169.254.169.254",
	}}
	n.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Cookie") != "" || r.Header.Get("Referer") != "" || !strings.HasPrefix(r.UserAgent(), "paquebot") {
			t.Errorf("it tells too much: %v", r.Header)
		}
		switch r.URL.Path {
		case "/a.png":
			w.Header().Set("Content-Type", "text/html") // the bytes count
			_, _ = w.Write(ok)
		case "/page":
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, "<html><script>x</script>")
		case "/svg":
			w.Header().Set("Content-Type", "image/svg+xml")
			_, _ = io.WriteString(w, "<svg xmlns='http://www.w3.org/2000/svg'/>")
		case "/large":
			_, _ = w.Write(append(bytes.Clone(ok), make([]byte, pictureMax)...))
		case "/bomb":
			_, _ = w.Write(bombPNG)
		case "/to-inside":
			http.Redirect(w, r, "http://inside.example/a.png", http.StatusFound)
		case "/to-number":
			http.Redirect(w, r, "http://127.0.0.1/a.png", http.StatusFound)
		case "/to-port":
			http.Redirect(w, r, "http://pictures.example:6379/a.png", http.StatusFound)
		case "/to-file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/on":
			http.Redirect(w, r, "http://both.example/a.png", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer n.server.Close()
	p := picturesBy(n.dial, n.lookup)
	for _, c := range []struct{ address, fault string }{
		{"http://pictures.example/a.png", ""}, {"http://pictures.example:80/a.png", ""}, {"http://both.example/a.png", ""}, {"http://pictures.example/on", ""},
		{"http://pictures.example/page", "not a picture"}, {"http://pictures.example/svg", "not a picture"}, {"http://pictures.example/large", "more than 10"},
		{"http://pictures.example/bomb", "too large to show"}, {"http://pictures.example/none", "404"},
		{"http://inside.example/a.png", "not on the public internet"}, {"http://metadata.example/latest/", "not on the public internet"}, {"http://127.0.0.1/a.png", "not on the public internet"},
		{"http://[::1]/a.png", "not on the public internet"}, {"http://[::ffff:127.0.0.1]/a.png", "not on the public internet"}, {"http://0/a.png", "no such host"}, {"http://2130706433/a.png", "no such host"},
		{"http://pictures.example/to-inside", "not on the public internet"}, {"http://pictures.example/to-number", "not on the public internet"},
		{"http://pictures.example/to-port", "only ports 80 and 443"}, {"http://pictures.example/to-file", "not an address of the web"}, {"http://pictures.example/round", "too many redirects"},
		{"http://pictures.example:25/a.png", "only ports 80 and 443"}, {"ftp://pictures.example/a.png", "not an address of the web"}, {"http://user:x@pictures.example/a.png", "user name"},
	} {
		kind, body, err := p.fetch(t.Context(), c.address)
		switch {
		case c.fault == "" && (err != nil || kind != "image/png" || !bytes.Equal(body, ok)):
			t.Errorf("%s: %s %v", c.address, kind, err)
		case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
			t.Errorf("%s: %v, want %s", c.address, err, c.fault)
		}
	}
	for _, address := range n.dialed {
		if address != "93.184.216.34:80" {
			t.Errorf("it dialled %s", address)
		}
	}
}

// bombPNG says that it has 40,000 by 40,000 points.
var bombPNG = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x9c\x40\x00\x00\x9c\x40\x08\x02\x00\x00\x00\x13\x62\xd2\x08")

func TestTooManyPoints(t *testing.T) {
	webp := func(chunk string, rest ...byte) []byte {
		return append([]byte("RIFF\x00\x00\x00\x00WEBP"+chunk+"\x00\x00\x00\x00"), append(rest, make([]byte, 20)...)...)
	}
	for name, c := range map[string]struct {
		body []byte
		want bool
	}{
		"small":        {picture(t, 10, 10), false},
		"png":          {bombPNG, true},
		"gif":          {[]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"), true},
		"small gif":    {[]byte("GIF89a\x01\x00\x01\x00\x00\x00\x00"), false},
		"bmp":          {append([]byte("BM"), append(make([]byte, 16), 0, 0, 1, 0, 0, 0, 1, 0)...), true},
		"bmp downward": {append([]byte("BM"), append(make([]byte, 16), 0, 0, 1, 0, 0, 0, 0xff, 0xff)...), true},
		"webp":         {webp("VP8X", 0, 0, 0, 0, 0xff, 0xff, 0, 0xff, 0xff, 0), true},
		"webp small":   {webp("VP8X", 0, 0, 0, 0, 9, 0, 0, 9, 0, 0), false},
		"webp short":   {[]byte("RIFF\x00\x00\x00\x00WEBPVP8X"), false},
		"nothing":      {nil, false},
		"text":         {[]byte("hello"), false},
	} {
		if got := tooManyPoints(c.body); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzExtent(f *testing.F) {
	f.Add(bombPNG)
	f.Add([]byte("RIFF\x00\x00\x00\x00WEBPVP8L\x00\x00\x00\x00\x2f\xff\xff\xff\xff\x00\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03"))
	f.Fuzz(func(t *testing.T, b []byte) { tooManyPoints(b) })
}

func FuzzCalendar(f *testing.F) {
	f.Add("BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nSUMMARY;X=\"a:b\":one\\, two\r\n three\r\nDTSTART;TZID=Europe/Paris:20261126T090000\r\nBEGIN:VALARM\r\nSUMMARY:no\r\nEND:VALARM\r\nATTENDEE;CN=\"B, C\";PARTSTAT=NEEDS-ACTION:mailto:b@example.com\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	f.Add("END:VEVENT\nBEGIN:\nBEGIN:VTODO\nDUE:20261126")
	f.Fuzz(func(t *testing.T, s string) {
		v := readCalendar(s)
		if len(v.Events) > eventsMax {
			t.Fatal(len(v.Events))
		}
		_ = highlight(s)
	})
}

func TestCalendar(t *testing.T) {
	v := readCalendar("BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY;LANGUAGE=en:Planning\\, wee\r\n k 48\r\nDTSTART;TZID=\"Europe/Paris\":20261126T090000\r\nDTEND:20261126T100000Z\r\nRRULE:FREQ=WEEKLY;COUNT=4\r\nBEGIN:VALARM\r\nDESCRIPTION:not this\r\nEND:VALARM\r\nDESCRIPTION:Bring\\nthe numbers\r\nORGANIZER;CN=\"Schmidt; Anna\":mailto:anna@example.com\r\nATTENDEE;PARTSTAT=NEEDS-ACTION:MAILTO:ben@example.com\r\nEND:VEVENT\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261224\r\nDURATION:PT45M\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	if v.Says() != "Invitation" || len(v.Events) != 2 {
		t.Fatalf("%+v", v)
	}
	e := v.Events[0]
	for got, want := range map[string]string{
		e.Summary: "Planning, week 48", e.Start: "Thu 26 Nov 2026 09:00 Europe/Paris", e.End: "Thu 26 Nov 2026 10:00 UTC", e.Repeats: "freq=weekly, count=4",
		e.Description: "Bring\nthe numbers", e.Organizer: "Schmidt; Anna <anna@example.com>", strings.Join(e.Attendees, "|"): "ben@example.com (needs action)",
		v.Events[1].Start: "Thu 24 Dec 2026", v.Events[1].End: "for 45m",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What is shown of a mail's source is the source, and nothing in it is markup.
func TestHighlight(t *testing.T) {
	for in, want := range map[string]string{
		`<p>a &amp; b</p>`:         `<span class="h-tag">&lt;p&gt;</span>a &amp;amp; b<span class="h-tag">&lt;/p&gt;</span>`,
		`<a href="x" b='y'>`:       `<span class="h-tag">&lt;a</span><span class="h-name"> href=</span><span class="h-value">&#34;x&#34;</span><span class="h-name"> b=</span><span class="h-value">&#39;y&#39;</span><span class="h-tag">&gt;</span>`,
		`<!-- <b> --><a`:           `<span class="h-note">&lt;!-- &lt;b&gt; --&gt;</span>&lt;a`,
		`<script>x<b></script>`:    `<span class="h-tag">&lt;script&gt;</span>x&lt;b&gt;<span class="h-tag">&lt;/script&gt;</span>`,
		"\xff<x":                   "\uFFFD&lt;x",
		strings.Repeat("x", 9<<10): strings.Repeat("x", lineShown) + " […1,024 bytes more in this line]\n",
	} {
		if got := string(highlight(in)); got != want {
			t.Errorf("%.40q:\n%.300s\nwant\n%.300s", in, got, want)
		}
	}
	if got := string(highlight(strings.Repeat("<b>x\n", 20_000))); strings.Count(got, "<span") > marksMax || strings.Count(got, "&lt;b&gt;") != 20_000 {
		t.Error("it marks without end, or loses the rest")
	}
}
