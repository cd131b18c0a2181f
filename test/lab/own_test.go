package lab

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// own is a machine of ours at a site: its configuration, and what listens.
type own struct {
	*site
	conf string
}

// newOwn gives the client of a site a name, a certificate and a configuration;
// listeners are lines of [[listener]] tables.
func newOwn(t *testing.T, name, listeners string) own {
	t.Helper()
	s := newSite(t, name)
	host := s.hostname()
	dir := filepath.Join(s.w.dir, "own", fmt.Sprint(s.c4))
	cert, key, err := s.w.ca.files(dir, host)
	check(t, err)
	conf := filepath.Join(dir, "paquebot.toml")
	check(t, write(map[string]string{conf: fmt.Sprintf(`hostname = %q
data_dir = %q
[tls]
cert = %q
key = %q
[[domain]]
name = "own%s"
deliver = "maildir:%s/mail/{local}"
[[route]]
via = "sendgrid"
[smarthost.sendgrid]
provider = "sendgrid"
password = { env = "LAB_KEY" }
`, host, dir+"/data", cert, key, strings.TrimPrefix(host, "c"), dir) + listeners}))
	check(t, s.w.zone.add("own"+strings.TrimPrefix(host, "c")+". MX 10 "+host+"."))
	return own{s, conf}
}

// hostname is the client's name in the DNS, forward and back.
func (s *site) hostname() string { return fmt.Sprintf("c%d.access.example", s.c4.As4()[2]) }

func listener(addr, role, more string) string {
	return fmt.Sprintf("[[listener]]\naddress = %q\nrole = %q\n%s\n", addr, role, more)
}

// serve runs our own server at the client until the test ends.
func (o own) serve(t *testing.T, at string) {
	t.Helper()
	cmd := o.command(t, o.w.bin, "serve", "-c", o.conf)
	check(t, o.client.do(cmd.Start))
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	check(t, answersSoon(o.client, at))
}

// ownServers are the rows that concern a server of one's own: DIAG-70 to 72.
func ownServers(t *testing.T) {
	w := need(t)
	for _, e := range []struct { // exit codes: 0 where what is asked works all the same
		name string
		run  func(t *testing.T) diagnosis
		rows []string
		exit int
	}{
		{"inbound 25 is closed by the network", func(t *testing.T) diagnosis {
			// Seen from another machine, as it must be: the server's network
			// lets nobody in on 25.
			server := w.servers.paquebot.start(t, "mx.paquebot.example", w.startPaquebot, 25, 587, 465, 2525)
			s := newSite(t, "outside")
			s.filter(t, "ip daddr "+server.v4.String()+" tcp dport 25 drop", "ip6 daddr "+server.v6.String()+" tcp dport 25 drop")
			return s.doctor(t, server.name, "--own")
		}, []string{"DIAG-70 likely"}, 0},
		{"AUTH before TLS", func(t *testing.T) diagnosis {
			o := newOwn(t, "auth in clear", listener("127.0.0.1:587", "submission", "insecure_auth = true"))
			o.serve(t, "127.0.0.1:587")
			return o.doctor(t, "-c", o.conf)
		}, []string{"DIAG-71 proven"}, 1},
		{"no TLS on 587", func(t *testing.T) diagnosis {
			o := newOwn(t, "no tls", listener(":587", "submission", ""))
			o.listens(t, 587, mta{name: o.hostname(), noTLS: true, bareAuth: "PLAIN LOGIN"})
			return o.doctor(t, "-c", o.conf)
		}, []string{"DIAG-71 proven"}, 1},
		{"relays for strangers", func(t *testing.T) diagnosis {
			o := newOwn(t, "open relay", listener(":25", "mx", ""))
			o.listens(t, 25, mta{name: o.hostname(), tls: w.ca.config(o.hostname(), good()), relays: true})
			return o.doctor(t, "-c", o.conf)
		}, []string{"DIAG-72 proven"}, 1},
	} {
		t.Run(e.name, func(t *testing.T) {
			t.Parallel()
			d := e.run(t)
			if wrong := d.wants(e.rows...); len(wrong) > 0 || d.code != e.exit {
				t.Errorf("%s; exit %d, want %d; named %v\n%s%s", strings.Join(wrong, "; "), d.code, e.exit, d.rows(), d.stdout, d.stderr)
				return
			}
			seen.note(e.name, d.took, e.rows)
		})
	}
}

// listens lets a server of the test's answer at the client, on both families.
func (o own) listens(t *testing.T, port uint16, s server) {
	t.Helper()
	for _, a := range []string{"0.0.0.0", "[::]"} {
		l, err := o.client.listen(a + ":" + portText(port))
		check(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go accept(l, s.serve)
	}
}

// TestThisHost runs the doctor without a target, on a machine where all is well
// and on ones where something is not.
func TestThisHost(t *testing.T) {
	w := need(t)
	t.Run("well", func(t *testing.T) {
		t.Parallel()
		all := listener(":25", "mx", "") + listener(":587", "submission", "") + listener(":465", "submissions", "") + listener(":2525", "submission", "")
		o := newOwn(t, "own server", all)
		o.serve(t, o.c4.String()+":465")
		d := o.doctor(t, "-c", o.conf)
		if d.code != 0 {
			t.Errorf("exit %d\n%s%s", d.code, d.stdout, d.stderr)
		}
		for _, id := range []string{"DIAG-71", "DIAG-72"} {
			if _, ok := d.rows()[id]; ok {
				t.Errorf("%s is a false alarm\n%s", id, d.stdout)
			}
		}
		for _, name := range []string{"hostname", "PTR", "EHLO", "certificate", "MX"} {
			if word := d.check(name); word != "ok" {
				t.Errorf("check %s is %q, want ok\n%s", name, word, d.stdout)
			}
		}
		if d.check("from outside") != "?" {
			t.Errorf("it claims to know what is seen from outside\n%s", d.stdout)
		}
	})
	t.Run("nothing configured, 25 filtered, no PTR", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, "bare machine")
		s.filter(t, "tcp dport 25 drop")
		s.liar(t, w.zone.without(s.c4, s.c6))
		d := s.doctor(t)
		if wrong := d.wants("DIAG-61 likely"); len(wrong) > 0 || d.code != 0 || d.check("PTR") != "FAIL" {
			t.Errorf("%v, exit %d, PTR %q\n%s%s", wrong, d.code, d.check("PTR"), d.stdout, d.stderr)
		}
	})
	t.Run("nothing listens", func(t *testing.T) {
		t.Parallel()
		o := newOwn(t, "stopped server", listener(":25", "mx", "")+listener(":587", "submission", ""))
		if d := o.doctor(t, "-c", o.conf); d.code != 1 || len(d.wants("DIAG-14 likely")) > 0 {
			t.Errorf("exit %d, named %v\n%s%s", d.code, d.rows(), d.stdout, d.stderr)
		}
	})
}

// TestDiscovery asks about mail domains of real servers (DISC-7).
func TestDiscovery(t *testing.T) {
	w := need(t)
	w.servers.chasquid.start(t, "mx.chasquid.example", w.startChasquid, 25, 587, 465)
	w.servers.postfix.start(t, "mx.postfix.example", w.startPostfix, 25, 587)
	t.Run("by SRV", func(t *testing.T) {
		t.Parallel()
		d := newSite(t, "discover by SRV").doctor(t, "anna@chasquid.example")
		if d.code != 0 || d.check("MX") != "ok" || d.check("_submissions") != "ok" || d.check("_submission") != "ok" {
			t.Errorf("exit %d\n%s%s", d.code, d.stdout, d.stderr)
		}
		want := []string{"mx.chasquid.example:25", "mx.chasquid.example:465", "mx.chasquid.example:587"}
		if got := d.endpoints(); !slices.Equal(got, want) {
			t.Errorf("looked at %v, want %v", got, want)
		}
	})
	t.Run("an exchanger alone", func(t *testing.T) {
		t.Parallel()
		d := newSite(t, "discover MX").doctor(t, "postfix.example")
		if got := d.endpoints(); !slices.Contains(got, "mx.postfix.example:25") || d.check("MX") != "ok" {
			t.Errorf("looked at %v\n%s%s", got, d.stdout, d.stderr)
		}
	})
	t.Run("by autoconfig", func(t *testing.T) {
		t.Parallel()
		h, err := w.newHost("mail.auto.example")
		check(t, err)
		on(t, h, nil, 25, 465, 587)
		site, err := w.newHost("autoconfig.auto.example")
		check(t, err)
		check(t, site.serve(443, page{w.ca.config(site.name, good()), `<clientConfig version="1.1"><emailProvider id="auto.example">
<outgoingServer type="smtp"><hostname>mail.auto.example</hostname><port>465</port><socketType>SSL</socketType></outgoingServer>
</emailProvider></clientConfig>`}))
		check(t, w.zone.add("auto.example. MX 10 mail.auto.example."))
		d := newSite(t, "discover autoconfig").doctor(t, "anna@auto.example")
		want := []string{"mail.auto.example:25", "mail.auto.example:465"}
		if got := d.endpoints(); !slices.Equal(got, want) || d.code != 0 || d.check("autoconfig") != "ok" {
			t.Errorf("looked at %v, want %v; exit %d\n%s%s", got, want, d.code, d.stdout, d.stderr)
		}
	})
}

// TestInTime holds the two limits. It runs before the others, so that
// the machine is its own.
func TestInTime(t *testing.T) {
	need(t)
	for _, c := range []struct {
		name  string
		set   func(*testing.T, *site)
		limit time.Duration
	}{
		{"a healthy provider", nil, 3 * time.Second},
		{"every port filtered", drop(mailPorts), 12 * time.Second},
	} {
		best := time.Hour
		for range 3 { // a busy machine is no fault of the doctor's
			s := newSite(t, c.name)
			if c.set != nil {
				c.set(t, s)
			}
			d := s.doctor(t, "sendgrid")
			t.Logf("%s: %.2f s (limit %s), exit %d", c.name, d.took.Seconds(), c.limit, d.code)
			if best = min(best, d.took); best <= c.limit {
				break
			}
		}
		if best > c.limit {
			t.Errorf("%s: %.2f s at best, want at most %s", c.name, best.Seconds(), c.limit)
		}
	}
}
