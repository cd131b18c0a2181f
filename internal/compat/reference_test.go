package compat

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The reference pages are made of the table of routes; -update writes them.
func TestReferenceIsCurrent(t *testing.T) {
	for _, page := range []struct{ file, of, intro, notes string }{
		{"../../docs/reference/compat-mailpit.md", mailpit, mailpitIntro, mailpitNotes},
		{"../../docs/reference/compat-mailhog.md", mailhog, mailhogIntro, mailhogNotes},
	} {
		var out strings.Builder
		out.WriteString(page.intro + "\n| method, path | what it does | parameters |\n|---|---|---|\n")
		for _, a := range []*API{New(Config{}, Needs{}), New(Config{MailHog: true}, Needs{})} {
			for _, r := range a.routes() {
				both := r.pattern == "GET /api/v1/messages"
				if r.of != page.of || !both && a.config.MailHog {
					continue
				}
				var names []string
				for name := range strings.FieldsSeq(r.query) {
					names = append(names, "`"+name+"`")
				}
				what := r.summary
				if both && a.config.MailHog {
					what += " (with `--compat mailhog`)"
				}
				fmt.Fprintf(&out, "| `%s` | %s | %s |\n", r.pattern, what, strings.Join(names, " "))
			}
		}
		out.WriteString(page.notes)
		if *update {
			if err := os.WriteFile(page.file, []byte(out.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		have, err := os.ReadFile(page.file)
		if err != nil || string(have) != out.String() {
			t.Errorf("%s is not what the routes are (%v); go test ./internal/compat -update", page.file, err)
		}
	}
}

const mailpitIntro = `# Mailpit's interface

` + "`paquebot dev`" + ` answers Mailpit's API v1 on the same port as its page. Nothing has
to be switched on. How to move over: [from Mailpit](../migrate/from-mailpit.md).
The description for programs is at ` + "`/api/v1/swagger.json`" + `.

Keys are CamelCase but for the list's. Errors are a sentence, as ` + "`text/plain`" + `: 400
when the request cannot be done, 404 when the message is not there;
` + "`/api/v1/send`" + ` answers errors as JSON. An ` + "`{id}`" + ` may be ` + "`latest`" + `.
`

const mailpitNotes = `
## Searching

Words must all be found; ` + "`\"phrases\"`" + ` as they stand; ` + "`-`" + ` or ` + "`!`" + ` before a term turns it round.

| term | finds |
|---|---|
| ` + "`from:` `to:` `cc:` `bcc:` `reply-to:` `addressed:`" + ` | part of a name or address; the last one in any of them |
| ` + "`subject:` `message-id:`" + ` | part of it |
| ` + "`tag:`" + ` | a whole tag |
| ` + "`is:read` `is:unread` `is:tagged` `has:attachment` `has:inline`" + ` | |
| ` + "`after:` `before:`" + ` | caught since, until: 2026-11-24, with a time, or a Unix time; in the zone ` + "`tz=`" + ` names |
| ` + "`larger:` `smaller:`" + ` | 500, 20k, 2M |
| ` + "`user:` `rcpt:` `port:` `tls:no`" + ` | ours: the SMTP user name, the envelope, how it came |

## What is different

- ` + "`?mailbox=NAME`" + ` keeps to the mail of one SMTP user name wherever there is a list, a
  search, a deletion or ` + "`latest`" + `. The user name is a tag as well.
- Recipients that no field names stand in ` + "`Bcc`" + `, as with Mailpit, and in the header of
  ` + "`/headers`" + `; the stored message, and ` + "`/raw`" + `, are untouched.
- ` + "`/view/ID.html`" + ` runs no script and loads nothing from elsewhere; the page of
  the catcher does, for a person who asks, and never from internal addresses.
- ` + "`link-check`" + ` never visits an internal address, and follows no redirect to one: 451.
- Releasing goes through routes that are configured, and nowhere else.
- ` + "`sa-check`" + ` is always refused, and ` + "`LatestVersion`" + ` is ` + "`disabled`" + `: nobody is asked.
- Chaos becomes rules of failure, shown with all others; chance comes from a fixed seed,
  so the same run fails alike each time.
- A WebSocket opens to pages of the same host only.
`

const mailhogIntro = `# MailHog's interface

` + "`paquebot dev`" + ` answers MailHog's API v1 and v2 on the same port as its page. They
share one path with Mailpit, ` + "`GET /api/v1/messages`" + `: it is MailHog's with
` + "`--compat mailhog`" + `. How to move over: [from MailHog](../migrate/from-mailhog.md).

` + "`From` and `To`" + ` of a message are the envelope. ` + "`Content.Headers`" + ` are as written, encoded words
and all, each a list; ` + "`Content.Body`" + ` is not decoded. An ID is given with or without what
follows its ` + "`@`" + `.
`

const mailhogNotes = `
## What is different

- A message that is not there is 404, not 500.
- ` + "`?mailbox=NAME`" + ` keeps lists and searches to the mail of one SMTP user name.
- Several fields of one name are all in the list of their values, not the last alone.
- ` + "`download`" + ` is the message as it came, not one put together from its header.
- ` + "`outgoing-smtp`" + ` lists the routes that are configured, passwords left empty; ` + "`release`" + ` goes
  through those alone, named or told by their host, or back to 1025 of this very catcher.
  Other servers are refused, with the reason as JSON.
- Jim becomes rules of failure, shown with all others; chance comes from a fixed seed, so
  the same run fails alike each time. He hangs up at EHLO, MAIL, RCPT and DATA.
- At most 250 messages an answer, 1000 in version 1, as with MailHog.
`
