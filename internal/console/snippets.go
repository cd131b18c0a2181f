package console

import (
	"fmt"
	"strings"
)

// Snippet is text to paste into a shell that sends one message through a port.
type Snippet struct {
	Port uint16 // of this instance
	Like uint16 // the standard port it stands for
	What string // what the port is, in a few words
	Tool string // what must be there to run it
	Text string // lines without a final line end
}

// First is what must have been run once, in the same folder; mostly nothing.
func (s Snippet) First() string {
	if s.Tool == "nodemailer" {
		return "npm install nodemailer"
	}
	return ""
}

// Snippets returns a block to paste for each port, the recommended port first.
// caURL is where this instance serves its CA: "http://localhost:8025/ca.pem".
// The page and the terminal show the same ones. They work as they are.
func Snippets(p Ports, caURL string) []Snippet {
	all := []Snippet{
		{p.Submission, 587, "submission, STARTTLS + AUTH", "curl", curlSnippet(p.Submission, caURL)},
		{p.Submissions, 465, "submission, TLS at once + AUTH", "Python", pythonSnippet(p.Submissions, caURL)},
		{p.Alternative, 2525, "alternative to 587", "nodemailer", nodemailerSnippet(p.Alternative, caURL)},
		{p.Alternative, 2525, "alternative to 587", "swaks", fmt.Sprintf(
			"swaks --server localhost:%d --tls --auth PLAIN --auth-user app --auth-password any \\\n  --from me@example.com --to you@example.com --header 'Subject: hello'", p.Alternative)},
		{p.MX, 25, "server to server, no AUTH", "swaks", fmt.Sprintf(
			"swaks --server localhost:%d --tls-optional --from me@example.com --to you@example.com \\\n  --header 'Subject: hello'", p.MX)},
	}
	var out []Snippet
	for _, s := range all {
		if s.Port != 0 {
			out = append(out, s)
		}
	}
	return out
}

func curlSnippet(port uint16, caURL string) string {
	return strings.Join([]string{
		"curl -so ca.pem " + caURL,
		`printf 'From: me@example.com\nTo: you@example.com\nSubject: hello\n\nIt works.\n' |`,
		fmt.Sprintf(`  curl --ssl-reqd --cacert ca.pem --url smtp://localhost:%d --user app:any \`, port),
		`    --mail-from me@example.com --mail-rcpt you@example.com --crlf -T -`,
	}, "\n")
}

func pythonSnippet(port uint16, caURL string) string {
	return fmt.Sprintf(`python3 - <<'END'
import smtplib, ssl, urllib.request
ca = urllib.request.urlopen("%s").read().decode()
tls = ssl.create_default_context(cadata=ca)
with smtplib.SMTP_SSL("localhost", %d, context=tls) as s:
    s.login("app", "any")
    s.sendmail("me@example.com", ["you@example.com"],
        "From: me@example.com\nTo: you@example.com\nSubject: hello\n\nIt works.\n")
END`, caURL, port)
}

func nodemailerSnippet(port uint16, caURL string) string {
	return fmt.Sprintf(`node -e "
(async () => {
  const ca = await (await fetch('%s')).text()
  const mail = require('nodemailer').createTransport({
    host: 'localhost', port: %d, requireTLS: true, tls: { ca },
    auth: { user: 'app', pass: 'any' } })
  await mail.sendMail({ from: 'me@example.com', to: 'you@example.com',
    subject: 'hello', text: 'It works.' })
})()"`, caURL, port)
}
