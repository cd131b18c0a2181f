package listen

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"paquebot/internal/mail"
)

var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}

// v2 builds a version 2 header: signature, version and command, family and
// protocol, length, addresses (INT-1).
func v2(command, family byte, addresses string) string {
	b, err := hex.DecodeString(addresses)
	if err != nil {
		panic(err)
	}
	return "\r\n\r\n\x00\r\nQUIT\n" + string([]byte{0x20 | command, family, byte(len(b) >> 8), byte(len(b))}) + string(b)
}

// INT-1: both versions, and what is none of them.
func TestProxyHeader(t *testing.T) {
	for _, c := range []struct{ name, in, client, local, rest string }{
		{"version 1, IPv4", "PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\nEHLO x\r\n", "192.0.2.7:4711", "192.0.2.1:25", "EHLO x\r\n"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 25\r\n", "[2001:db8::7]:4711", "[2001:db8::1]:25", ""},
		{"version 1, unknown", "PROXY UNKNOWN\r\nEHLO x\r\n", "", "", "EHLO x\r\n"},
		{"version 2, IPv4", v2(1, 0x11, "c0000207c000020112670019") + "EHLO", "192.0.2.7:4711", "192.0.2.1:25", "EHLO"},
		{"version 2, local", v2(0, 0x00, "") + "EHLO", "", "", "EHLO"},
		{"none", "EHLO x\r\n", "error", "", ""},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00", "error", "", ""},
		{"bad address", "PROXY TCP4 999.0.2.7 192.0.2.1 4711 25\r\n", "error", "", ""},
		{"bad port", "PROXY TCP4 192.0.2.7 192.0.2.1 70000 25\r\n", "error", "", ""},
		{"no end of line", "PROXY TCP4 192.0.2.7 192.0.2.1 1 25" + strings.Repeat("5", 200) + "\r\n", "error", "", ""},
		{"cut short", "PROXY TCP4 192.0", "error", "", ""},
		{"version 2, cut short", v2(1, 0x11, "c0000207c000020112670019")[:20], "error", "", ""},
		{"version 3", "\r\n\r\n\x00\r\nQUIT\n\x31\x11\x00\x00", "error", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := bufio.NewReaderSize(strings.NewReader(c.in), proxyHeaderMax)
			client, local, err := parseProxy(in)
			if c.client == "error" {
				if err == nil {
					t.Fatalf("believed: %v %v", client, local)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := func(a netip.AddrPort) string {
				if !a.IsValid() {
					return ""
				}
				return a.String()
			}
			if got(client) != c.client || got(local) != c.local {
				t.Errorf("%v %v, want %s %s", client, local, c.client, c.local)
			}
			if rest, _ := io.ReadAll(in); string(rest) != c.rest {
				t.Errorf("left over: %q, want %q", rest, c.rest)
			}
		})
	}
}

// TRAP-26: a header is believed from listed peers alone.
func TestProxyHeaderOfStrangersIsNotRead(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	o := mail.Origin{Client: netip.MustParseAddrPort("192.0.2.9:1")}
	if _, err := readProxy(ours, proxies, &o); err != errNotListed {
		t.Errorf("%v", err)
	}
	if o.Client.String() != "192.0.2.9:1" {
		t.Error("the stranger chose its address")
	}
}

// INT-1: who sends no header within three seconds is no proxy.
func TestProxyHeaderMustComeSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		began := time.Now()
		o := mail.Origin{Client: netip.MustParseAddrPort("10.0.0.9:1")}
		if _, err := readProxy(ours, proxies, &o); err == nil {
			t.Error("no header, no error")
		}
		if took := time.Since(began); took != proxyMax {
			t.Errorf("waited %v", took)
		}
	})
}

func FuzzProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 4711 25\r\nEHLO x\r\n"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(1, 0x11, "c0000207c000020112670019")))
	f.Add([]byte(v2(1, 0x21, strings.Repeat("20010db8000000000000000000000007", 2)+"12670019")))
	f.Fuzz(func(t *testing.T, b []byte) {
		client, local, err := parseProxy(bufio.NewReaderSize(bytes.NewReader(b), proxyHeaderMax))
		if err != nil && (client.IsValid() || local.IsValid()) {
			t.Errorf("an error and addresses: %v %v %v", err, client, local)
		}
		if client.IsValid() != local.IsValid() {
			t.Errorf("half: %v %v", client, local)
		}
	})
}
