package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// startPostfix starts the peer postfix.test: a mail server with mailboxes anna
// and jörg, and a relay for everybody in the tests' network.
func startPostfix(t *testing.T) {
	w := need(t)
	w.postfix.start(t, func(ctx context.Context) error {
		dir := filepath.Join(w.dir, "postfix")
		cert, key, err := w.ca.issue("mx.postfix.test")
		if err != nil {
			return err
		}
		if err := write(map[string]string{
			dir + "/etc/main.cf":   fmt.Sprintf(postfixMain, dir, cert, key, nobody, postfixAddr),
			dir + "/etc/master.cf": postfixMaster,
			dir + "/users":         "anna@postfix.test anna/\nbulk@postfix.test bulk/\njörg@postfix.test joerg/\n",
		}); err != nil {
			return err
		}
		for _, d := range []string{"/spool", "/data", "/mail"} {
			if err := os.MkdirAll(dir+d, 0o755); err != nil {
				return err
			}
		}
		if err := own(dir+"/data", "postfix"); err != nil {
			return err
		}
		if err := own(dir+"/mail", "nobody"); err != nil {
			return err
		}
		if err := w.spawn("postfix", w.there(context.Background(), "postfix", "-c", dir+"/etc", "start-fg")); err != nil {
			return err
		}
		return answers(ctx, postfixAddr+":25")
	})
}

// postfixBox is the maildir of a mailbox at postfix.test.
func postfixBox(t *testing.T, name string) string {
	return filepath.Join(need(t).dir, "postfix", "mail", name)
}

const nobody = 65534

// own gives a path to a user, by name.
func own(path, name string) error {
	uid, gid, err := ids(name)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, gid)
}

const postfixMain = `
compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = /dev/stdout
myhostname = mx.postfix.test
mydestination =
alias_maps =
alias_database =
virtual_mailbox_domains = postfix.test
virtual_mailbox_base = %[1]s/mail
virtual_mailbox_maps = texthash:%[1]s/users
virtual_minimum_uid = 1
virtual_uid_maps = static:%[4]d
virtual_gid_maps = static:%[4]d
inet_interfaces = %[5]s
inet_protocols = ipv4
mynetworks = 45.77.0.0/16
smtpd_tls_cert_file = %[2]s
smtpd_tls_key_file = %[3]s
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtp_tls_security_level = may
smtputf8_enable = yes
message_size_limit = 52428800
virtual_mailbox_limit = 0
minimal_backoff_time = 5s
queue_run_delay = 5s
`

const postfixMaster = `
smtp      inet  n - n - - smtpd
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
`
