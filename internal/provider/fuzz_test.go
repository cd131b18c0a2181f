package provider

import (
	"strings"
	"testing"
)

func FuzzFind(f *testing.F) {
	f.Add("ses:eu-west-1", "454 Throttling failure")
	f.Add("send grid", "550 5.7.30 Basic authentication")
	f.Add(":", "")
	f.Fuzz(func(t *testing.T, name, text string) {
		p, r, err := Find(name)
		if (err == nil) != (p != nil) || r != nil && p == nil {
			t.Fatal(p, r, err)
		}
		ByHost(name)
		ByMX(name)
		for _, p := range All() {
			p.Explain(550, text)
			p.Private(name)
			p.MessageID(nil, text)
			if err := p.CheckCredential(name, "hunter2-"+text); err != nil && len(text) > 3 && !strings.Contains(name, text) && strings.Contains(err.Error(), "hunter2-"+text) {
				t.Fatalf("%s says the password: %v", p.Name, err)
			}
		}
	})
}

// A catalogue somebody edited is read or refused, and what is read can be used.
func FuzzParse(f *testing.F) {
	f.Add("", "")
	f.Add("[[provider]]\nid=\"PROV-1\"\nname=\"x\"\ntitle=\"X\"\nhost=\"a.example\"\nstarttls=[587]\nauth={hint=\"h\",user_shape=\"^a\"}\nsource=\"s\"\nchecked=\"2026-11-23\"\nconfidence=\"verified\"\n",
		"[[network]]\nid=\"NET-1\"\nname=\"n\"\n")
	f.Fuzz(func(t *testing.T, providers, networks string) {
		c, err := Parse(providers, networks)
		if err != nil {
			return
		}
		for _, p := range c.Providers {
			if q, _, err := c.Find(p.Name); err != nil || q != p {
				t.Fatalf("%q is not found: %v", p.Name, err)
			}
			p.TryOrder()
			p.Explain(550, "text")
			_ = p.CheckCredential("user", "pass")
			if len(p.Regions) == 0 && !p.OwnHost || len(p.Ports) == 0 && !p.OwnHost {
				t.Fatalf("%q cannot be reached", p.Name)
			}
		}
		for _, n := range c.Networks {
			if len(n.Ports) < 4 {
				t.Fatalf("%q says too little", n.Name)
			}
		}
	})
}
