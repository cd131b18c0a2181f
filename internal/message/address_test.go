package message

import (
	"strings"
	"testing"
)

func TestMailboxes(t *testing.T) {
	for _, c := range []struct{ in, want string }{ // "name <address>; ..."; "!" is an error
		{"", ""},
		{"a@b", "<a@b>"},
		{"a@b, c@d", "<a@b>;<c@d>"},
		{"Anna <a@b>", "Anna <a@b>"},
		{`"Doe, John" <j@d>`, "Doe, John <j@d>"},
		{`"a \"b\"" <j@d>`, `a "b" <j@d>`},
		{"=?utf-8?q?J=C3=B6rg?= <j@d>", "Jörg <j@d>"},
		{"a@b (Anna (the boss))", "Anna (the boss) <a@b>"},
		{"a . b @ c . d", "<a.b@c.d>"},
		{`"john doe"@example.com`, `<"john doe"@example.com>`},
		{`"a@b"@c`, `<"a@b"@c>`},
		{"<@x,@y:a@b>", "<a@b>"},
		{"x@[192.0.2.1]", "<x@[192.0.2.1]>"},
		{"team: a@b, Bob <c@d>; e@f", "<a@b>;Bob <c@d>;<e@f>"},
		{"Undisclosed recipients:;", ""},
		{"a@b,,c@d,", "<a@b>;<c@d>"},
		{"root", "<root>"},
		{"Anna Smith", "!"},
		{"<>", "!"},
		{"<a@b> <c@d>", "!"},
		{"<a@b", "!"},
		{`"open`, "!"},
		{"(open", "!"},
		{"a@b\r\n\t, c@d", "<a@b>;<c@d>"},
		{"jörg@bücher.example", "<jörg@bücher.example>"},
		{"evil\u202egpj.exe <a@b>", "evilgpj.exe <a@b>"},
	} {
		got, err := Mailboxes(c.in)
		var s []string
		for _, m := range got {
			s = append(s, strings.TrimSpace(m.Name+" <"+m.Address+">"))
		}
		text := strings.Join(s, ";")
		if err != nil {
			text = "!"
		}
		if text != c.want {
			t.Errorf("%q: %q, want %q", c.in, text, c.want)
		}
	}
}

// SUB-5: no reader may find an author in a field whom Mailboxes does not name.
func TestAddressesBeside(t *testing.T) {
	for _, c := range []struct{ in, want string }{ // "address beside"; "!" is an error
		{"a@b <a@B>", "a@B "},
		{"boss@b <a@b>", "a@b boss@b"},
		{"The boss@b himself <a@b>", "a@b boss@b"},
		{"boss @ b <a@b>", "a@b boss@b"},
		{"<a@b> boss@b", "a@b boss@b"},
		{`"boss@b" <a@b>`, "a@b "},
		{"<a@b> (boss@b)", "a@b "},
		{"boss@b chief@b <a@b>", "!"},
		{"boss@b: a@b;", "!"},
		{"<boss@b>: a@b", "!"},
		{"a@b: ;", "!"},
	} {
		got := "!"
		if m, err := Mailboxes(c.in); err == nil && len(m) == 1 {
			got = m[0].Address + " " + m[0].Beside
		}
		if got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestAddressesNeedDomains(t *testing.T) {
	if got, err := Addresses("a@b, Anna <c@d>"); err != nil || len(got) != 2 || got[1] != "c@d" {
		t.Error(got, err)
	}
	for _, bad := range []string{"root", "a@", "@b"} {
		if got, err := Addresses(bad); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func FuzzMailboxes(f *testing.F) {
	f.Add(`"Doe, John" <j@d> (x), g: a@b;`)
	f.Add("a . b @ (c) d, <@r:x@y>, [")
	f.Fuzz(func(t *testing.T, s string) {
		boxes, err := Mailboxes(s)
		if err != nil {
			return
		}
		for _, m := range boxes {
			if m.Address == "" || m.end <= 0 || m.end > len(s) {
				t.Fatalf("%q: %+v", s, m)
			}
		}
		_ = stripComments(s)
	})
}

func TestValidMessageID(t *testing.T) {
	for in, want := range map[string]bool{
		"<a@b>": true, " <a.b+c@[192.0.2.1]> ": true, "<a@b@c>": true, "<jörg@b>": true,
		"": false, "a@b": false, "<a>": false, "<@b>": false, "<a@>": false, "<a b@c>": false, "<a@b> <c@d>": false, "<>": false,
		"<" + strings.Repeat("a", 1000) + "@b>": false,
	} {
		if got := ValidMessageID(in); got != want {
			t.Errorf("%.40q: %v", in, got)
		}
	}
}

func TestDecodeWords(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"=?utf-8?B?SsO2cmc=?=", "Jörg"},
		{"=?ISO-8859-1?Q?a?= b", "a b"},
		{"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
		{"=?utf-8?q?=C3?= =?utf-8?q?=B6?=", "ö"}, // cut inside a character
		{"=?utf-8*de?q?=C3=B6?=", "ö"},           // RFC 2231 §5
		{"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"},
		{"=?gb18030?B?1tDOxA==?= x", "中文 x"},
		{"=?nobody-knows?q?a=20b?= c", "=?nobody-knows?q?a=20b?= c"},
		{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
		{"=?utf-8?q?no end", "=?utf-8?q?no end"},
		{"caf\xe9", "café"},
		{"=?utf-8?b?SsO2cmc?=", "Jörg"}, // padding missing
		{"a=?utf-8?q?b?=c", "abc"},
	} {
		if got := DecodeWords(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func FuzzDecodeWords(f *testing.F) {
	f.Add("=?utf-8?q?a?= =?utf-8?b?YQ==?= x =?")
	f.Fuzz(func(t *testing.T, s string) { _ = DecodeWords(s) })
}

func TestDates(t *testing.T) {
	for in, want := range map[string]string{
		"Mon, 23 Nov 2026 09:05:07 +0100":        "2026-11-23T08:05:07Z",
		"23 Nov 2026 09:05 -0000 (some comment)": "2026-11-23T09:05:00Z",
		"Mon, 23 Nov 26 09:05:07 GMT":            "2026-11-23T09:05:07Z",
		"yesterday":                              "",
		strings.Repeat("x", 500):                 "",
	} {
		got, err := ParseDate(in)
		if (err != nil) != (want == "") || err == nil && got.UTC().Format("2006-01-02T15:04:05Z07:00") != want {
			t.Errorf("%.50q: %v %v", in, got, err)
		}
	}
}
