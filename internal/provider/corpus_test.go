package provider

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"paquebot/internal/mail"
)

// disagreements are where our catalogue and a list of others' differ, and why
// ours stands.
var disagreements = map[string]string{}

// Whatever nodemailer and Thunderbird say of a host of ours is so here as well:
// the port exists and has that mode.
func TestCatalogueAgreesWithOthers(t *testing.T) {
	compared, used := 0, map[string]bool{}
	for _, claim := range append(nodemailer(t), ispdb(t)...) {
		p, _, ok := ByHost(claim.host)
		if !ok {
			continue
		}
		compared++
		port, ok := p.Port(claim.port)
		if ok && port.Mode == claim.mode {
			continue
		}
		key := fmt.Sprintf("%s:%d %s", claim.host, claim.port, claim.mode)
		if disagreements[key] == "" {
			t.Errorf("%s says %s; %s has port %v here", claim.source, key, p.Name, port)
		}
		used[key] = true
	}
	for key := range disagreements {
		if !used[key] {
			t.Errorf("nobody disagrees about %s any more", key)
		}
	}
	if compared < 60 {
		t.Errorf("only %d claims are about hosts of ours: the comparison is broken", compared)
	}
}

type claim struct {
	source, host string
	port         uint16
	mode         mail.Security
}

func nodemailer(t *testing.T) (out []claim) {
	text, err := os.ReadFile("testdata/corpus/nodemailer-services.json")
	if err != nil {
		t.Fatal(err)
	}
	var services map[string]struct {
		Host   string
		Port   any // one entry writes it as a text
		Secure bool
	}
	if err := json.Unmarshal(text, &services); err != nil {
		t.Fatal(err)
	}
	for name, s := range services {
		n, ok := s.Port.(float64)
		if !ok {
			continue
		}
		c := claim{source: "nodemailer, " + name, host: s.Host, port: uint16(n), mode: mail.Verify}
		if s.Secure {
			c.mode = mail.Implicit
		}
		out = append(out, c)
	}
	return out
}

func ispdb(t *testing.T) (out []claim) {
	files, err := filepath.Glob("testdata/corpus/ispdb/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Servers []struct {
				Host   string `xml:"hostname"`
				Port   uint16 `xml:"port"`
				Socket string `xml:"socketType"`
			} `xml:"emailProvider>outgoingServer"`
		}
		if err := xml.Unmarshal(text, &config); err != nil {
			t.Fatal(file, err)
		}
		modes := map[string]mail.Security{"SSL": mail.Implicit, "STARTTLS": mail.Verify, "plain": mail.Clear}
		for _, s := range config.Servers {
			out = append(out, claim{source: filepath.Base(file), host: s.Host, port: s.Port, mode: modes[s.Socket]})
		}
	}
	return out
}
