package provider

import (
	"flag"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"paquebot/internal/mail"
)

var update = flag.Bool("update", false, "rewrite the reference pages")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || string(want) != got {
		t.Errorf("%s is not current (run with -update and review)", file)
	}
}

func TestReferencePagesAreCurrent(t *testing.T) {
	golden(t, "../../docs/reference/providers.md", Reference())
	golden(t, "../../docs/reference/networks.md", NetworksReference())
}

// PROV-1..30 and PROV-50, NET-1..18: no row of the standards' lists is missing.
func TestEveryRowOfTheStandardsHasAnEntry(t *testing.T) {
	c, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]int{}
	for _, p := range c.Providers {
		have[p.ID]++
	}
	for _, n := range c.Networks {
		have[n.ID]++
	}
	for i := 1; i <= 30; i++ {
		if have["PROV-"+strconv.Itoa(i)] == 0 {
			t.Errorf("PROV-%d is missing", i)
		}
	}
	for i := 1; i <= 18; i++ {
		if have["NET-"+strconv.Itoa(i)] != 1 {
			t.Errorf("NET-%d has %d entries", i, have["NET-"+strconv.Itoa(i)])
		}
	}
	for id, n := range map[string]int{"PROV-24": 2, "PROV-28": 2, "PROV-29": 3, "PROV-30": 7, "PROV-50": 1} {
		if have[id] != n {
			t.Errorf("%s has %d entries, want %d", id, have[id], n)
		}
	}
}

// The table of standards §25, ports and modes: what an edit must not lose.
func TestPortsAreThoseOfTheStandards(t *testing.T) {
	for name, want := range map[string]struct{ starttls, implicit string }{
		"ses":                 {"25 587 2587", "465 2465"},
		"mailgun":             {"25 587 2525", "465"},
		"sendgrid":            {"25 587 2525", "465"},
		"postmark":            {"25 587 2525", ""},
		"sparkpost":           {"587 2525", ""},
		"brevo":               {"587 2525", "465"},
		"mailjet":             {"25 80 587 588 2525", "465"},
		"resend":              {"25 587 2587", "465 2465"},
		"mandrill":            {"25 587 2525", "465"},
		"smtp2go":             {"25 80 587 2525 8025", "443 465 8465"},
		"mailersend":          {"587 2525", ""},
		"elasticemail":        {"25 587 2525", "465"},
		"mailchannels":        {"25 587 2525", "465"},
		"smtpeter":            {"25 587 2525", "465"},
		"scaleway":            {"25 587 2587", "465 2465"},
		"oci":                 {"25 587", "465"},
		"azure":               {"587", ""},
		"microsoft365":        {"25 587", ""},
		"microsoft365-hve":    {"587", ""},
		"microsoft365-direct": {"25", ""},
		"outlook":             {"587", ""},
		"gmail":               {"587", "465"},
		"google-relay":        {"25 587", "465"},
		"yahoo":               {"587", "465"},
		"aol":                 {"587", "465"},
		"icloud":              {"587", ""},
		"fastmail":            {"587", "465"},
		"zoho":                {"587", "465"},
		"zeptomail":           {"587", "465"},
		"zoho-campaigns":      {"587", "465"},
		"powermta":            {"25 587 2525", "465"},
		"generic":             {"25 587 2525", "465"},
		"gmx":                 {"587", "465"},
		"webde":               {"587", "465"},
		"ionos":               {"587", "465"},
		"ovh":                 {"587", "465"},
		"gandi":               {"587", "465"},
		"infomaniak":          {"587", "465"},
		"mailboxorg":          {"587", "465"},
	} {
		p, _, err := Find(name)
		if err != nil {
			t.Error(err)
			continue
		}
		var got [2][]int
		for _, port := range p.Ports {
			i := slices.Index([]mail.Security{mail.Verify, mail.Implicit}, port.Mode)
			if i < 0 {
				t.Fatalf("%s: port %d has mode %q", name, port.Number, port.Mode)
			}
			got[i] = append(got[i], int(port.Number))
		}
		for i, w := range []string{want.starttls, want.implicit} {
			slices.Sort(got[i])
			if s := strings.Join(itoa(got[i]), " "); s != w {
				t.Errorf("%s: %v ports are %q, want %q", name, []string{"STARTTLS", "implicit"}[i], s, w)
			}
		}
	}
}

func itoa(ns []int) (out []string) {
	for _, n := range ns {
		out = append(out, strconv.Itoa(n))
	}
	return out
}

func TestUnverifiedRowsSayWhereTheyAreFrom(t *testing.T) {
	counts := map[string]int{}
	for _, p := range All() {
		counts[p.Confidence]++
		if p.Confidence == Unconfirmed && !regexp.MustCompile("knowledge|third-party").MatchString(p.Source) {
			t.Errorf("%s is unconfirmed, yet its source is %q", p.Name, p.Source)
		}
	}
	if counts[Verified] == 0 || counts[Reported] == 0 || counts[Unconfirmed] == 0 {
		t.Errorf("%v", counts)
	}
}

func TestWhatIsWrongWithAFileIsSaid(t *testing.T) {
	good := `[[provider]]
id = "PROV-1"
name = "x"
title = "X"
host = "smtp.x.example"
starttls = [587]
auth = { hint = "a user" }
source = "here"
checked = "2026-11-23"
confidence = "verified"
`
	net := `[[network]]
id = "NET-1"
name = "n"
title = "N"
kind = "cloud"
way_out = "none"
source = "here"
checked = "2026-11-23"
confidence = "verified"
ports = [{port=25,state="open"},{port=465,state="open"},{port=587,state="open"},{port=2525,state="open"}]
`
	if _, err := Parse(good, net); err != nil {
		t.Fatal(err)
	}
	reply := good + "[[provider.reply]]\ncode = 535\nclass = \"auth\"\nmeans = \"m\"\ndo = \"d\"\nexample = \"535 x\"\n"
	if _, err := Parse(reply, net); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, file, old, new, want string }{
		{"unknown key", good, `title =`, `titel =`, "unknown key provider.titel"},
		{"unknown key in auth", good, `hint =`, `hind =`, "unknown key provider.auth.hind"},
		{"bad host", good, `smtp.x.example`, `smtp_x`, "is wrong"},
		{"no host", good, `host = "smtp.x.example"`, ``, "has no host"},
		{"host of a pattern", good, `source =`, "patterns = [\"a.{other}.example\"]\nsource =", "no host name"},
		{"no port", good, `[587]`, `[]`, "has no port"},
		{"twice the port", good, `[587]`, `[587, 587]`, "stands twice"},
		{"port zero", good, `[587]`, `[0]`, "port 0"},
		{"date", good, `2026-11-23`, `23.11.2026`, "is no date"},
		{"confidence", good, `"verified"`, `"sure"`, "confidence"},
		{"no source", good, `"here"`, `""`, "no source"},
		{"no hint", good, `"a user"`, `""`, "auth.hint"},
		{"regex", good, `hint =`, `pass_shape = "(", hint =`, "missing closing"},
		{"name twice", good, `title =`, "aliases = [\"X\"]\ntitle =", "already"},
		{"class", reply, `"auth"`, `"odd"`, "needs a class"},
		{"example of another code", reply, `"535 x"`, `"550 x"`, "none of code 535"},
		{"example not found", reply, `class =`, "text = \"nowhere\"\nclass =", "does not find its example"},
		{"fits everything", reply, `code = 535`, ``, "fits everything"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(c.file, c.old) {
				t.Fatal("the row changes nothing")
			}
			_, err := Parse(strings.Replace(c.file, c.old, c.new, 1), net)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want … %s …", err, c.want)
			}
		})
	}
	for _, c := range []struct{ old, new, want string }{
		{`kind = "cloud"`, `kind = "fog"`, "kind is"},
		{`{port=25,state="open"},`, ``, "of port 25"},
		{`{port=25,state="open"}`, `{port=25,state="ajar"}`, "of port 25"},
		{`way_out = "none"`, ``, "way_out"},
	} {
		if _, err := Parse(good, strings.Replace(net, c.old, c.new, 1)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("network with %q: %v, want … %s …", c.new, err, c.want)
		}
	}
}
