package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"io"
)

// java is where Debian keeps the libraries of the Java examples.
const java = "/usr/share/java/javax.mail.jar:/usr/share/java/spring3-context.support.jar:/usr/share/java/spring3-core.jar:" +
	"/usr/share/java/spring3-beans.jar:/usr/share/java/spring3-context.jar:/usr/share/java/commons-logging.jar"

// frameworks are the programs of examples/frameworks: how each is run, and a
// file that is there when its library is installed.
var frameworks = []struct {
	file, library string
	run           []string
}{
	{"python-smtplib.py", "/usr/bin/python3", []string{"/usr/bin/python3", "FILE"}},
	{"python-aiosmtplib.py", "/usr/lib/python3/dist-packages/aiosmtplib/__init__.py", []string{"/usr/bin/python3", "FILE"}},
	{"python-django.py", "/usr/lib/python3/dist-packages/django/__init__.py", []string{"/usr/bin/python3", "FILE"}},
	{"python-flask.py", "/usr/lib/python3/dist-packages/flask_mail.py", []string{"/usr/bin/python3", "FILE"}},
	{"node-nodemailer.js", "node/node_modules/nodemailer/package.json", []string{"node", "FILE"}},
	{"php-phpmailer.php", "/usr/share/php/libphp-phpmailer/autoload.php", []string{"php", "FILE"}},
	{"php-symfony.php", "/usr/share/php/Symfony/Component/Mailer/autoload.php", []string{"php", "-d", "openssl.cafile=CA", "FILE"}},
	{"php-laravel.php", "/usr/share/php/Illuminate/autoload.php", []string{"php", "-d", "openssl.cafile=CA", "FILE"}},
	{"ruby-mail.rb", "/usr/bin/ruby", []string{"ruby", "FILE"}},
	{"ruby-rails.rb", "/usr/bin/ruby", []string{"ruby", "FILE"}},
	{"perl-email-sender.pl", "/usr/share/perl5/Email/Sender.pm", []string{"perl", "FILE"}},
	{"go-net-smtp", "", []string{"go", "run", "./FILE"}},
	{"JavaMail.java", "/usr/share/java/javax.mail.jar", []string{"java", "-Djavax.net.ssl.trustStore=STORE", "-Djavax.net.ssl.trustStorePassword=changeit", "-cp", java, "FILE"}},
	{"JavaSpring.java", "/usr/share/java/spring3-context.support.jar", []string{"java", "-Djavax.net.ssl.trustStore=STORE", "-Djavax.net.ssl.trustStorePassword=changeit", "-cp", java, "FILE"}},
}

const examples = "../../examples/frameworks"

// Every example is in the table, so that none is shown that was not run.
func TestEveryExampleIsRun(t *testing.T) {
	entries, err := os.ReadDir(examples)
	check(t, err)
	known := map[string]bool{"README.md": true}
	for _, f := range frameworks {
		known[f.file] = true
	}
	for _, e := range entries {
		if !known[e.Name()] {
			t.Errorf("%s is run by no test", e.Name())
		}
	}
}

// Each framework sends on each of the four ports, with the settings that its
// example shows, and what it sent is caught in its own mailbox.
func TestFrameworks(t *testing.T) {
	t.Parallel()
	d := startDev(t, "--ports", "random")
	p := d.ports(t)
	ca, store := trustFiles(t, p)
	for _, f := range frameworks {
		t.Run(f.file, func(t *testing.T) {
			if _, err := os.Stat(f.library); f.library != "" && err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal("its library is missing: ", err)
				}
				t.Skip("its library is not installed; test/setup.sh installs it: ", err)
			}
			t.Parallel()
			box := "box-" + f.file
			for _, port := range []struct {
				port int
				mode string
			}{{p.Submission, "starttls"}, {p.Submissions, "tls"}, {p.Alternative, "starttls"}, {p.MX, "none"}} {
				subject := fmt.Sprintf("%s on %d", f.file, port.port)
				args := strings.Split(strings.NewReplacer("FILE", f.file, "CA", ca, "STORE", store).Replace(strings.Join(f.run, "\x00")), "\x00")
				cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
				cmd.Dir = examples
				modules, err := filepath.Abs("node/node_modules")
				check(t, err)
				cmd.Env = append(os.Environ(), "MAIL_HOST=localhost", "MAIL_PORT="+strconv.Itoa(port.port), "MAIL_TLS="+port.mode, "MAIL_USER="+box,
					"MAIL_PASSWORD=any", "MAIL_CA="+ca, "MAIL_SUBJECT="+subject, "SSL_CERT_FILE="+ca, "NODE_PATH="+modules)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("on %d (%s): %v\n%s", port.port, port.mode, err, cut(string(out)))
				}
				mailbox := box
				if port.mode == "none" {
					mailbox = "user@example.com"
				}
				p.must(t, 0, "wait", "--mailbox", mailbox, "--q", `subject:"`+subject+`"`)
			}
		})
	}
}

// trustFiles are the catcher's CA, for OpenSSL and for Java.
func trustFiles(t *testing.T, p devPorts) (pem, store string) {
	t.Helper()
	r, err := http.Get(p.CA)
	check(t, err)
	defer func() { _ = r.Body.Close() }()
	b, err := io.ReadAll(r.Body)
	check(t, err)
	dir := t.TempDir()
	pem, store = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "trust.p12")
	check(t, os.WriteFile(pem, b, 0o644))
	if _, err := exec.LookPath("keytool"); err == nil {
		out, err := exec.Command("keytool", "-importcert", "-noprompt", "-alias", "dev", "-file", pem, "-keystore", store, "-storepass", "changeit").CombinedOutput()
		if err != nil {
			t.Fatalf("keytool: %v\n%s", err, out)
		}
	}
	return pem, store
}
