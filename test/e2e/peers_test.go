package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// The peers among themselves, without us: when this fails, the world is broken
// and no other test says anything about the program.
func TestPeersTalkToEachOther(t *testing.T) {
	t.Parallel()
	w := need(t)
	startPostfix(t)
	startChasquid(t)
	startDovecot(t)
	sink := smtpSink(t)

	swaks := func(args ...string) {
		t.Helper()
		args = append([]string{"--from", "bert@postfix.test", "--helo", "client.test", "--timeout", "10"}, args...)
		if out, err := exec.CommandContext(t.Context(), "swaks", args...).CombinedOutput(); err != nil {
			t.Fatalf("swaks %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	swaks("--server", postfixAddr, "--to", "anna@postfix.test", "--header", "Subject: one", "--tls")
	swaks("--server", postfixAddr, "--to", "anna@chasquid.test", "--header", "Subject: two")
	swaks("--server", postfixAddr, "--to", "anna@"+sink.domain, "--header", "Subject: three")
	swaks("--server", chasquidAddr+":465", "--tlsc", "--auth", "PLAIN", "--auth-user", "anna@chasquid.test", "--auth-password", "secret",
		"--from", "anna@chasquid.test", "--to", "anna@postfix.test", "--header", "Subject: four")
	swaks("--server", dovecotAddr, "--protocol", "LMTP", "--port", "24", "--to", "anna@dovecot.test", "--header", "Subject: five")

	arrives(t, postfixBox(t, "anna"), "Subject: one", "ESMTPS")
	arrives(t, chasquidBox(t, "anna"), "Subject: two")
	arrives(t, postfixBox(t, "anna"), "Subject: four", "mx.chasquid.test")
	arrives(t, dovecotBox(t, "anna"), "Subject: five")
	eventually(t, func() error {
		if len(dumped(t, sink, "Subject: three")) != 1 {
			return fmt.Errorf("smtp-sink has nothing:\n%s", w.log("sink-"+sink.domain))
		}
		return nil
	})
}
