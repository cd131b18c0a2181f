package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// startDovecot starts the peer that speaks LMTP on port 24, with the mailboxes
// anna and bert and nobody else.
func startDovecot(t *testing.T) {
	w := need(t)
	w.dovecot.start(t, func(ctx context.Context) error {
		dir := filepath.Join(w.dir, "dovecot")
		if err := write(map[string]string{
			dir + "/dovecot.conf": fmt.Sprintf(dovecotConf, dir, dovecotAddr),
			dir + "/users":        "anna:{PLAIN}secret:65534:65534::" + dir + "/mail/anna::\nbert:{PLAIN}secret:65534:65534::" + dir + "/mail/bert::\n",
		}); err != nil {
			return err
		}
		if err := os.MkdirAll(dir+"/mail", 0o755); err != nil {
			return err
		}
		if err := own(dir+"/mail", "nobody"); err != nil {
			return err
		}
		if err := w.spawn("dovecot", w.there(context.Background(), "dovecot", "-F", "-c", dir+"/dovecot.conf")); err != nil {
			return err
		}
		return answers(ctx, dovecotAddr+":24")
	})
}

// dovecotBox is the maildir of a mailbox behind Dovecot.
func dovecotBox(t *testing.T, name string) string {
	return filepath.Join(need(t).dir, "dovecot", "mail", name)
}

const dovecotConf = `
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = /dev/stderr
protocols = lmtp
ssl = no
first_valid_uid = 1
first_valid_gid = 1
default_internal_user = dovecot
auth_username_format = %%n
mail_location = maildir:%[1]s/mail/%%n
postmaster_address = postmaster@dovecot.test
hostname = lmtp.dovecot.test
passdb {
  driver = passwd-file
  args = username_format=%%n %[1]s/users
}
userdb {
  driver = passwd-file
  args = username_format=%%n %[1]s/users
}
service lmtp {
  inet_listener lmtp {
    address = %[2]s
    port = 24
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
`
