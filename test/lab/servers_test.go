package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Servers we did not write, and our own, as hosts of the internet. Each is
// started when an experiment first asks for it.

// daemon is a server all experiments share.
type daemon struct {
	once sync.Once
	host *host
	err  error
}

func (d *daemon) start(t *testing.T, name string, start func(*host) error, ports ...uint16) *host {
	t.Helper()
	w := need(t)
	d.once.Do(func() {
		if d.host, d.err = w.newHost(name); d.err != nil {
			return
		}
		// Postfix looks for its addresses among those of the interfaces.
		if d.err = w.net.ip(fmt.Sprintf("addr add %s/32 dev lo", d.host.v4), fmt.Sprintf("addr add %s/128 dev lo nodad", d.host.v6)); d.err != nil {
			return
		}
		if d.err = start(d.host); d.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		for _, p := range ports {
			if d.err = answers(ctx, w.net, d.host.v4.String()+":"+portText(p)); d.err != nil {
				return
			}
		}
	})
	check(t, d.err)
	return d.host
}

// postfix is the exchanger of postfix.example, on port 25, and offers 587 with
// STARTTLS.
func (w *world) startPostfix(h *host) error {
	dir := filepath.Join(w.dir, "postfix")
	cert, key, err := w.ca.files(dir, h.name)
	if err != nil {
		return err
	}
	if err := write(map[string]string{
		dir + "/etc/main.cf":   fmt.Sprintf(postfixMain, dir, h.name, h.v4, h.v6, cert, key),
		dir + "/etc/master.cf": postfixMaster,
	}); err != nil {
		return err
	}
	for _, d := range []string{"/spool", "/data"} {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			return err
		}
	}
	u, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	if err := os.Chown(dir+"/data", uid, -1); err != nil {
		return err
	}
	if err := w.zone.add("postfix.example. MX 10 " + h.name + "."); err != nil {
		return err
	}
	return w.spawn("postfix", "postfix", "-c", dir+"/etc", "start-fg")
}

const postfixMain = `
compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = /dev/stdout
myhostname = %[2]s
mydestination = postfix.example
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = %[3]s, %[4]s
inet_protocols = all
mynetworks = 127.0.0.0/8
smtpd_tls_cert_file = %[5]s
smtpd_tls_key_file = %[6]s
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
`

const postfixMaster = `
smtp       inet  n - n - - smtpd
submission inet  n - n - - smtpd -o smtpd_tls_security_level=encrypt
cleanup    unix  n - n - 0 cleanup
qmgr       unix  n - n 300 1 qmgr
tlsmgr     unix  - - n 1000? 1 tlsmgr
rewrite    unix  - - n - - trivial-rewrite
bounce     unix  - - n - 0 bounce
proxymap   unix  - - n - - proxymap
smtp       unix  - - n - - smtp
anvil      unix  - - n - 1 anvil
postlog    unix-dgram n - n - 1 postlogd
`

// chasquid is a whole mail server with the account anna, password "secret".
func (w *world) startChasquid(h *host) error {
	dir := filepath.Join(w.dir, "chasquid")
	certs := dir + "/etc/certs/" + h.name
	cert, key, err := w.ca.files(dir, h.name)
	if err != nil {
		return err
	}
	if err := write(map[string]string{
		dir + "/etc/chasquid.conf": fmt.Sprintf("hostname: %q\nsmtp_address: \"%s:25\"\nsmtp_address: \"[%s]:25\"\nsubmission_address: \"%[2]s:587\"\nsubmission_address: \"[%[3]s]:587\"\nsubmission_over_tls_address: \"%[2]s:465\"\nsubmission_over_tls_address: \"[%[3]s]:465\"\ndata_dir: \"%[4]s/data\"\nmail_log_path: \"<stdout>\"\n",
			h.name, h.v4, h.v6, dir),
		dir + "/etc/domains/chasquid.example/aliases": "",
		certs + "/.keep": "",
	}); err != nil {
		return err
	}
	for from, to := range map[string]string{cert: "fullchain.pem", key: "privkey.pem"} {
		if err := os.Symlink(from, filepath.Join(certs, to)); err != nil {
			return err
		}
	}
	if out, err := exec.Command("chasquid-util", "-C="+dir+"/etc", "user-add", "anna@chasquid.example", "--password=secret").CombinedOutput(); err != nil {
		return fmt.Errorf("chasquid-util: %w: %s", err, out)
	}
	if err := w.zone.add("chasquid.example. MX 10 "+h.name+".",
		"_submissions._tcp.chasquid.example. SRV 0 1 465 "+h.name+".", "_submission._tcp.chasquid.example. SRV 0 1 587 "+h.name+"."); err != nil {
		return err
	}
	return w.spawn("chasquid", "chasquid", "-config_dir="+dir+"/etc")
}

// paquebot is our own server, the exchanger of paquebot.example, with
// submission on 465, 587 and 2525.
func (w *world) startPaquebot(h *host) error {
	dir := filepath.Join(w.dir, "paquebot.d")
	cert, key, err := w.ca.files(dir, h.name)
	if err != nil {
		return err
	}
	listen := ""
	for _, l := range []struct{ port, role string }{{"25", "mx"}, {"587", "submission"}, {"465", "submissions"}, {"2525", "submission"}} {
		for _, a := range []string{h.v4.String(), "[" + h.v6.String() + "]"} {
			listen += fmt.Sprintf("[[listener]]\naddress = %q\nrole = %q\n", a+":"+l.port, l.role)
		}
	}
	conf := filepath.Join(dir, "paquebot.toml")
	if err := write(map[string]string{conf: fmt.Sprintf(`hostname = %q
data_dir = %q
[tls]
cert = %q
key = %q
[dns]
servers = ["45.77.255.53"]
[[domain]]
name = "paquebot.example"
deliver = "maildir:%s/mail/{local}"
`, h.name, dir+"/data", cert, key, dir) + listen}); err != nil {
		return err
	}
	if err := w.zone.add("paquebot.example. MX 10 " + h.name + "."); err != nil {
		return err
	}
	return w.spawn("paquebot", w.bin, "serve", "-c", conf)
}

// TestRealServersStandInTheInternet talks to each from a client of a site.
func TestRealServersStandInTheInternet(t *testing.T) {
	w := need(t)
	for _, c := range []struct {
		host  *host
		tries []string // curl's URLs
	}{
		{w.servers.postfix.start(t, "mx.postfix.example", w.startPostfix, 25, 587), []string{"smtp://mx.postfix.example:25", "smtp://mx.postfix.example:587"}},
		{w.servers.chasquid.start(t, "mx.chasquid.example", w.startChasquid, 25, 587, 465), []string{"smtp://mx.chasquid.example:587", "smtps://mx.chasquid.example:465"}},
		{w.servers.paquebot.start(t, "mx.paquebot.example", w.startPaquebot, 25, 587, 465, 2525), []string{"smtp://mx.paquebot.example:25", "smtp://mx.paquebot.example:2525", "smtps://mx.paquebot.example:465"}},
	} {
		t.Run(c.host.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, c.host.name)
			for _, url := range c.tries {
				for _, family := range []string{"-4", "-6"} {
					out, errs, code, err := s.run(t.Context(), "curl", "-sSv", family, "--max-time", "10", "--ssl-reqd", "--cacert", w.ca.file, "-X", "NOOP", url+"/c.example")
					check(t, err)
					if code != 0 && code != 8 && code != 56 { // a server may have its own opinion of a NOOP; TLS stood by then
						t.Errorf("%s %s: exit %d\n%s%s", url, family, code, out, errs)
					}
				}
			}
		})
	}
}
