package compat

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Each row is a search and the messages it must find, newest first. Message 1 is
// testdata/plain.eml of yesterday, 2 is testdata/order.eml.
func TestSearch(t *testing.T) {
	a := open(t, Config{}, Needs{})
	put(t, a, 1, "", "root@server.example", sample(t, "plain.eml"), "ops+disk@example.org")
	put(t, a, 2, "shop", "bounces@example.com", sample(t, "order.eml"), "anna@example.org", "paul@example.org", "carl@example.org", "hidden@example.org")
	a.needs.Store.MarkRead(true, id(2))
	tomorrow, yesterday := time.Now().Add(36*time.Hour).Format("2006-01-02"), time.Now().Add(-36*time.Hour).Format("2006-01-02")
	for _, row := range []struct{ query, want string }{
		{"", "2 1"},
		{"order", "2"}, // anywhere
		{"ORDER anna", "2"},
		{`"thank you"`, "2"}, {`"you thank"`, ""},
		{"-order", "1"}, {"!order", "1"}, {`-"only 5"`, "2"},
		{"from:shop", "2"}, {"from:jürgen", "2"}, {"from:root", "1"}, {"-from:root", "2"},
		{"to:anna@example.org", "2"}, {`to:"Anna A."`, "2"}, {"to:carl", ""},
		{"cc:carl", "2"}, {"bcc:hidden", "2"}, {"bcc:ops", "1"}, {"reply-to:help", "2"},
		{"addressed:carl", "2"}, {"addressed:example.org", "2 1"},
		{"subject:order", "2"}, {`subject:"disk full"`, "1"}, {"subject:disk full", "1"}, {"subject:disk order", ""},
		{"message-id:order-7", "2"},
		{"tag:orders", "2"}, {"tag:ORDERS", "2"}, {"tag:order", ""}, {"-tag:orders", "1"}, {"tag:shop", "2"}, {"tag:disk", "1"},
		{"is:read", "2"}, {"is:unread", "1"}, {"-is:read", "1"}, {"is:tagged", "2 1"}, {"!is:tagged", ""},
		{"has:attachment", "2"}, {"has:attachments", "2"}, {"has:inline", "2"}, {"-has:inlines", "1"},
		{"after:" + yesterday, "2 1"}, {"after:" + tomorrow, ""}, {"before:" + tomorrow, "2 1"}, {"-before:" + tomorrow, ""},
		{"after:nonsense", "2 1"}, // a date that is none says nothing
		{"larger:1k", "2"}, {"smaller:1k", "1"}, {"larger:0.5kb", "2"}, {"-larger:1K", "1"}, {"larger:2M", ""},
		{"larger:lots", ""}, // a word to look for
		{"to:", "2 1"}, {"from:", "2 1"}, {`""`, "2 1"}, {"-", ""},
		{"invoice.pdf", "2"}, // the name of an attachment
		{"nothing:here", ""}, // no such field
		{"https://example.com/orders/7", "2"},
		{"user:shop", "2"}, {"mailbox:shop", "2"}, {"rcpt:hidden", "2"}, {"port:1587", "2 1"}, {"tls:no", ""}, // ours
	} {
		r := httptest.NewRequest("GET", "/?"+url.Values{"query": {row.query}}.Encode(), nil)
		var got []string
		for _, m := range a.matching(r, questionOf(r), 0, -1).all {
			got = append(got, strings.TrimLeft(m.ID.String(), "0"))
		}
		if strings.Join(got, " ") != row.want {
			t.Errorf("%q finds %v, want %s", row.query, got, row.want)
		}
	}
}

func TestLongTextIsSearchedToItsEnd(t *testing.T) {
	a := open(t, Config{}, Needs{})
	put(t, a, 1, "", "a@example.com", []byte("Subject: long\r\n\r\n"+strings.Repeat("word ", 10_000)+"\r\nneedle\r\n"), "b@example.com")
	for range 2 { // the second time from what is remembered
		if body := ask1(t, a, "GET", "/api/v1/search?query=needle", "").Body.String(); !strings.Contains(body, `"messages_count":1`) {
			t.Error(body)
		}
	}
}

func TestDatesInTheirZone(t *testing.T) {
	for _, row := range []struct{ text, zone, want string }{
		{"2026-11-24", "Pacific/Auckland", "2026-11-23T11:00:00Z"},
		{"2026-11-24", "", "2026-11-24T00:00:00Z"},
		{"2026-11-24T10:00", "Europe/Berlin", "2026-11-24T09:00:00Z"},
		{"2026-11-24 10:00:30", "UTC", "2026-11-24T10:00:30Z"},
		{"2026-11-24T10:00:00+02:00", "UTC", "2026-11-24T08:00:00Z"},
		{"2026/11/24", "UTC", "2026-11-24T00:00:00Z"}, {"11/24/2026", "UTC", "2026-11-24T00:00:00Z"},
		{"1795478400", "UTC", "2026-11-24T00:00:00Z"}, {"1795478400000", "UTC", "2026-11-24T00:00:00Z"},
		{"24 nov 2026", "UTC", "2026-11-24T00:00:00Z"}, {"Tue, 24 Nov 2026 10:00:00 +0100", "UTC", "2026-11-24T09:00:00Z"},
		{"2026", "UTC", "2026-01-01T00:00:00Z"},
		{"yesterday", "UTC", ""}, {"", "UTC", ""}, {"2026-13-01", "UTC", ""},
	} {
		loc, err := time.LoadLocation(row.zone)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := parseDate(row.text, loc)
		text := ""
		if ok {
			text = got.UTC().Format(time.RFC3339)
		}
		if text != row.want {
			t.Errorf("%q in %q: %s, want %s", row.text, row.zone, text, row.want)
		}
	}
}

func FuzzSearch(f *testing.F) {
	for _, q := range []string{`subject:"a b" -is:read`, `larger:9999999999999999999999m`, `-`, `!!x`, `after:2026-99-99`, `"`, "to:\xff"} {
		f.Add(q)
	}
	a := open(f, Config{}, Needs{})
	put(f, a, 1, "", "a@example.com", sample(f, "order.eml"), "b@example.com")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest("GET", "/?"+url.Values{"query": {query}}.Encode(), nil)
		all := a.matching(r, questionOf(r), 0, -1)
		if all.total > 1 || all.total != len(all.all) {
			t.Fatalf("%+v", all)
		}
	})
}
