package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// startChasquid starts the peer chasquid.test: a mail server with the account
// and mailbox anna, password "secret".
func startChasquid(t *testing.T) {
	w := need(t)
	w.chasquid.start(t, func(ctx context.Context) error {
		dir := filepath.Join(w.dir, "chasquid")
		cert, key, err := w.ca.issue("mx.chasquid.test")
		if err != nil {
			return err
		}
		deliver := dir + "/deliver"
		if err := write(map[string]string{
			dir + "/etc/chasquid.conf": fmt.Sprintf(chasquidConf, chasquidAddr, dir, deliver),
			deliver: "#!/bin/sh\nset -e\nbox=" + dir + `/mail/$1
mkdir -p "$box/tmp" "$box/new"
name=$(mktemp "$box/tmp/XXXXXXXX")
cat >"$name"
mv "$name" "$box/new/"
`,
			dir + "/etc/domains/chasquid.test/aliases": "",
		}); err != nil {
			return err
		}
		if err := os.Chmod(deliver, 0o755); err != nil {
			return err
		}
		certs := dir + "/etc/certs/mx.chasquid.test"
		if err := os.MkdirAll(certs, 0o755); err != nil {
			return err
		}
		for from, to := range map[string]string{cert: "fullchain.pem", key: "privkey.pem"} {
			if err := os.Symlink(from, filepath.Join(certs, to)); err != nil {
				return err
			}
		}
		add := w.there(ctx, "chasquid-util", "-C="+dir+"/etc", "user-add", "anna@chasquid.test", "--password=secret")
		if out, err := add.CombinedOutput(); err != nil {
			return fmt.Errorf("chasquid-util: %w: %s", err, out)
		}
		if err := w.spawn("chasquid", w.there(context.Background(), "chasquid", "-config_dir="+dir+"/etc")); err != nil {
			return err
		}
		return answers(ctx, chasquidAddr+":465")
	})
}

// chasquidBox is the maildir of a mailbox at chasquid.test.
func chasquidBox(t *testing.T, name string) string {
	return filepath.Join(need(t).dir, "chasquid", "mail", name)
}

const chasquidConf = `
hostname: "mx.chasquid.test"
smtp_address: "%[1]s:25"
submission_address: "%[1]s:587"
submission_over_tls_address: "%[1]s:465"
data_dir: "%[2]s/data"
mail_log_path: "<stdout>"
mail_delivery_agent_bin: "%[3]s"
mail_delivery_agent_args: "%%to_user%%"
`
