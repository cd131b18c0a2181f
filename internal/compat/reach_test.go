package compat

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

func TestInternalAddresses(t *testing.T) {
	for _, row := range []struct {
		internal bool
		list     string
	}{
		{false, "8.8.8.8 1.1.1.1 93.184.216.34 2606:4700::1111 2a00:1450:4001::8a 64:ff9b::8.8.8.8 2002:808:808::1 ::ffff:8.8.8.8"},
		{true, "127.0.0.1 127.9.9.9 ::1 0.0.0.0 0.1.2.3 :: 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254"},
		{true, "100.64.0.1 100.127.255.255 192.0.0.8 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 240.0.0.1 255.255.255.255 224.0.0.1"},
		{true, "fe80::1 fc00::1 fd12:3456::1 ff02::1 fec0::1 2001:db8::1 2001::1 100::1 5f00::1 3fff::1"},
		{true, "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1::1 2002:a00:1::"},
		{true, "2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:127.0.0.1"}, // ISATAP
	} {
		for text := range strings.FieldsSeq(row.list) {
			if got := internal(netip.MustParseAddr(text)); got != row.internal {
				t.Errorf("%s internal: %v", text, got)
			}
		}
	}
}

// outside serves as the internet: names resolve as the table says, and every
// address that may be dialled is this server.
func outside(t *testing.T, names map[string][]string, h http.Handler) (Needs, *atomic.Int64) {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	var dials atomic.Int64
	return Needs{
		Resolve: func(_ context.Context, host string) ([]net.IPAddr, error) {
			var out []net.IPAddr
			for _, a := range names[host] {
				out = append(out, net.IPAddr{IP: net.ParseIP(a)})
			}
			if out == nil {
				return nil, &net.DNSError{Err: "no such host", Name: host}
			}
			return out, nil
		},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			dials.Add(1)
			if ap, err := netip.ParseAddrPort(address); err != nil || internal(ap.Addr()) {
				return nil, errors.New("dialled " + address)
			}
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}, &dials
}

func checkLinks(t *testing.T, a *API, follow bool, links ...string) LinkCheck {
	t.Helper()
	body := "Subject: links\r\nContent-Type: text/html\r\n\r\n"
	for _, l := range links {
		body += `<a href="` + l + `">x</a>`
	}
	put(t, a, 1, "", "a@example.com", []byte(body+"\r\n"), "b@example.com")
	path := "/api/v1/message/latest/link-check"
	if follow {
		path += "?follow=true"
	}
	var out LinkCheck
	if err := json.Unmarshal(ask1(t, a, "GET", path, "").Body.Bytes(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLinkCheckAsksLinksAndStaysOutside(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("HEAD /good", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("HEAD /moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/good", http.StatusFound) })
	mux.HandleFunc("HEAD /inside", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
	})
	mux.HandleFunc("HEAD /file", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	mux.HandleFunc("HEAD /round", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/round", http.StatusFound) })
	needs, dials := outside(t, map[string][]string{
		"good.example": {"93.184.216.34"}, "inside.example": {"10.0.0.1"}, "mixed.example": {"93.184.216.34", "127.0.0.1"},
		"mapped.example": {"::ffff:127.0.0.1"}, "cloud.example": {"169.254.169.254"},
	}, mux)
	for _, row := range []struct {
		link   string
		follow bool
		code   int
		status string
		dialed int64
	}{
		{"http://good.example/good", false, 200, "OK", 1},
		{"http://good.example/none", false, 404, "Not Found", 1},
		{"http://good.example/moved", false, 302, "Found", 1},
		{"http://good.example/moved", true, 200, "OK", 2},
		{"http://good.example/inside", false, 302, "Found", 1},
		{"http://good.example/inside", true, 451, "Blocked private/reserved address", 1},
		{"http://good.example/file", true, 0, "not a web address", 1},
		{"http://good.example/round", true, 0, "too many redirects", 3},
		{"http://inside.example/", false, 451, "Blocked private/reserved address", 0},
		{"http://mixed.example/", false, 451, "Blocked private/reserved address", 0}, // one is enough
		{"http://mapped.example/", false, 451, "Blocked private/reserved address", 0},
		{"http://cloud.example/", false, 451, "Blocked private/reserved address", 0},
		{"http://127.0.0.1:8025/api/v1/messages", false, 451, "Blocked private/reserved address", 0},
		{"http://[::1]/", false, 451, "Blocked private/reserved address", 0},
		{"http://[fe80::1%25eth0]/", false, 451, "Blocked private/reserved address", 0},
		{"http://user:pw@good.example/good", false, 0, "the address holds a user name", 0},
		{"http://nowhere.example/", false, 0, "no such host", 0},
		{"http://2130706433/", false, 0, "no such host", 0}, // 127.0.0.1 for those who are lenient
	} {
		a := open(t, Config{}, needs)
		before := dials.Load()
		out := checkLinks(t, a, row.follow, row.link)
		if len(out.Links) != 1 {
			t.Errorf("%s: %+v", row.link, out)
			continue
		}
		if l := out.Links[0]; l.StatusCode != row.code || l.Status != row.status || l.URL != row.link {
			t.Errorf("%s follow=%v: %+v, want %d %s", row.link, row.follow, l, row.code, row.status)
		}
		if n := dials.Load() - before; n != row.dialed {
			t.Errorf("%s: %d connections, want %d", row.link, n, row.dialed)
		}
		wrong := row.code == 0 || row.code >= 400
		if (out.Errors == 1) != wrong {
			t.Errorf("%s: %d errors", row.link, out.Errors)
		}
	}
}

func TestLinksOfAMessage(t *testing.T) {
	got := linksOf("see https://a.example/1, (http://b.example/2) mailto:x@y ftp://z", `<A HREF="https://a.example/1">x</a><img src='http://c.example/i.png'>
		<link rel=stylesheet href=https://d.example/s.css><script src="https://e.example/s.js"></script><a href="#top">t</a><a href="cid:x">c</a>`)
	want := "https://a.example/1 http://c.example/i.png https://d.example/s.css http://b.example/2"
	if strings.Join(got, " ") != want {
		t.Errorf("%v", got)
	}
	var many strings.Builder
	for range 3 * linksMax {
		many.WriteString("<a href=http://x.example/" + strings.Repeat("y", many.Len()%97) + ">")
	}
	if n := len(linksOf("", many.String())); n > linksMax {
		t.Errorf("%d links", n)
	}
}
