package smtp

import (
	"encoding/xml"
	"errors"
	"os"
	"strings"
	"testing"
)

// SRV-28, SRV-29: what a path may be.
func TestCutPath(t *testing.T) {
	long := strings.Repeat("a", 64)
	rows := []struct {
		in, want, rest string
		err            error
	}{
		{"<a@b.example>", "a@b.example", "", nil},
		{" <a@b.example> SIZE=1", "a@b.example", " SIZE=1", nil},
		{"<>", "", "", nil},
		{"<> BODY=8BITMIME", "", " BODY=8BITMIME", nil},
		{"<Postmaster>", "Postmaster", "", nil}, // P25-3
		{"<pOSTMASTER> X", "pOSTMASTER", " X", nil},
		{"<" + long + "@b.example>", long + "@b.example", "", nil},
		{`<"a b"@c.example>`, `"a b"@c.example`, "", nil},
		{`<"a>b@\"c"@d.example>`, `"a>b@\"c"@d.example`, "", nil},
		{"<@x.example:a@b.example>", "a@b.example", "", nil},
		{"<@x.example,@[192.0.2.1]:a@b.example>", "a@b.example", "", nil},
		{"<a@[192.0.2.1]>", "a@[192.0.2.1]", "", nil},
		{"<a@[IPv6:2001:db8::1]>", "a@[IPv6:2001:db8::1]", "", nil},
		{"<a%b@c.example>", "a%b@c.example", "", nil}, // REL-2
		{"<a!b@c.example>", "a!b@c.example", "", nil},
		{"<Grü@exämple.example>", "Grü@exämple.example", "", nil},
		{"<a_b@under_score.example>", "a_b@under_score.example", "", nil},
		{"a@b.example", "", "", ErrNoBrackets},
		{"", "", "", ErrNoBrackets},
		{"<a@b.example", "", "", ErrAddressSyntax},
		{"<a@b.example.>", "", "", ErrAddressSyntax},
		{"<a@b..example>", "", "", ErrAddressSyntax},
		{"<a@-b.example>", "", "", ErrAddressSyntax},
		{"<a@b@c.example>", "", "", ErrAddressSyntax},
		{"<.a@b.example>", "", "", ErrAddressSyntax},
		{"<a.@b.example>", "", "", ErrAddressSyntax},
		{"<a..b@c.example>", "", "", ErrAddressSyntax},
		{"<a b@c.example>", "", "", ErrAddressSyntax},
		{"<a@b c>", "", "", ErrAddressSyntax},
		{"<a\x00@b.example>", "", "", ErrAddressSyntax},
		{"<a\r@b.example>", "", "", ErrAddressSyntax},
		{"<\"a\x01\"@b.example>", "", "", ErrAddressSyntax},
		{"<a@[300.1.1.1]>", "", "", ErrAddressSyntax},
		{"<a@[IPv6:192.0.2.1]>", "", "", ErrAddressSyntax},
		{"<a@[2001:db8::1]>", "", "", ErrAddressSyntax},
		{"<a@[IPv6:fe80::1%eth0]>", "", "", ErrAddressSyntax},
		{"<a\xff@b.example>", "", "", ErrAddressSyntax}, // TRAP-11: not Latin-1
		{"<a@b\xff.example>", "", "", ErrAddressSyntax},
		{"<a\u0085@b.example>", "", "", ErrAddressSyntax},
		{"<user>", "", "", ErrNoDomain},
		{"<@b.example>", "", "", ErrAddressSyntax},
		{"<@x.example:postmaster>", "", "", ErrNoDomain},
		{"<" + strings.Repeat("a", LocalPartMax+1) + "@b.example>", "", "", ErrAddressLength},
		{"<a@" + strings.Repeat("b.", 128) + "c>", "", "", ErrAddressLength},
		{"<@" + strings.Repeat("b.", 120) + "c,@" + strings.Repeat("b.", 120) + "c,@" + strings.Repeat("b.", 120) + "c,@" + strings.Repeat("b.", 120) + "c,@" + strings.Repeat("b.", 120) + "c:a@b>", "", "", ErrAddressLength},
	}
	for _, r := range rows {
		a, rest, err := CutPath(r.in, true)
		if !errors.Is(err, r.err) || (err == nil && (a.String() != r.want || rest != r.rest)) {
			t.Errorf("%.60q: %q, rest %q, %v", r.in, a, rest, err)
		}
	}
}

func TestAddress(t *testing.T) {
	a, err := ParseAddress(`"Post\master"@Ex.example`, false)
	if err != nil || a.Unquoted() != "Postmaster" || !a.IsPostmaster() || a.Domain != "Ex.example" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := ParseAddress("é@b.example", false); !errors.Is(err, ErrNotASCII) {
		t.Errorf("local part: %v", err)
	}
	if _, err := ParseAddress("e@é.example", false); !errors.Is(err, ErrNotASCII) {
		t.Errorf("domain: %v", err)
	}
	u, _ := ParseAddress("e@é.example", true)
	if u.NeedsUTF8() || u.IsASCII() { // EXT-8
		t.Error("only the domain needs A-labels")
	}
	a.Domain = "eX.example"
	if a.String() != `"Post\master"@eX.example` {
		t.Errorf("a changed part is not seen: %s", a)
	}
	if !(Address{}).IsNull() || (Address{Local: "postmaster"}).IsNull() {
		t.Error("null path")
	}
}

func TestASCIIDomain(t *testing.T) {
	for in, want := range map[string]string{"Exämple.EXAMPLE": "xn--exmple-cua.example", "A.Example": "a.example", "[192.0.2.1]": "[192.0.2.1]"} {
		if got, err := ASCIIDomain(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	if _, err := ASCIIDomain("a\xff"); err == nil {
		t.Error("broken UTF-8")
	}
}

func TestValidHello(t *testing.T) { // SRV-22
	for s, want := range map[string]bool{
		"mx.example": true, "localhost": true, "my_pc": true, "[192.0.2.1]": true, "[IPv6:::1]": true,
		"": false, "a b": false, "-a": false, "[1.2.3]": false, "a.": false, "a\x07": false, "<script>": false,
	} {
		if ValidHello(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}

// The suite of isemail, read as RFC 5321 does: what its diagnosis says is
// valid in SMTP is taken, everything else is refused.
func TestIsemail(t *testing.T) {
	raw, err := os.ReadFile("testdata/isemail/isemail-tests.xml")
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		Tests []struct {
			ID        string `xml:"id,attr"`
			Address   string `xml:"address"`
			Category  string `xml:"category"`
			Diagnosis string `xml:"diagnosis"`
		} `xml:"test"`
	}
	if err := xml.Unmarshal(raw, &suite); err != nil {
		t.Fatal(err)
	}
	// Where we differ on purpose.
	deviate := map[string]string{
		"ISEMAIL_RFC5322_LOCAL_TOOLONG":  "LocalPartMax is larger than 64",
		"ISEMAIL_RFC5322_TOOLONG":        "PathMax is larger than 256",
		"ISEMAIL_RFC5321_IPV6DEPRECATED": "\"::\" for one group is discouraged, not wrong (RFC 5952 §4.2.2)",
	}
	for _, row := range suite.Tests {
		want := row.Category == "ISEMAIL_VALID_CATEGORY" || row.Category == "ISEMAIL_DNSWARN" || row.Category == "ISEMAIL_RFC5321"
		if deviate[row.Diagnosis] != "" {
			continue
		}
		addr := controlPictures(row.Address)
		if _, err := ParseAddress(addr, false); (err == nil) != want {
			t.Errorf("#%s %q (%s): %v", row.ID, addr, row.Diagnosis, err)
		}
	}
	if len(suite.Tests) != 164 {
		t.Errorf("%d rows", len(suite.Tests))
	}
}

// controlPictures puts back the control characters XML cannot hold.
func controlPictures(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x2400 && r < 0x2420 {
			return r - 0x2400
		}
		return r
	}, s)
}

func FuzzCutPath(f *testing.F) {
	for _, s := range []string{"<a@b>", "<>", `<"a\"b"@c>`, "<@a,@b:c@d>", "<postmaster> X=1", "<a@[IPv6:::1]>", "<é@é.example>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, rest, err := CutPath(s, true)
		if err != nil {
			return
		}
		if strings.ContainsAny(a.String(), "\r\n\x00") || !strings.HasSuffix(s, rest) {
			t.Fatalf("%q gave %q, %q", s, a, rest)
		}
		again, _, err := CutPath("<"+a.String()+">", true)
		if err != nil || again != a {
			t.Fatalf("%q does not read back: %v", a, err)
		}
	})
}
