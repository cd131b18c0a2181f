package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"paquebot/internal/mail"
)

// Action is what became of a recipient (RFC 3464 §2.3.3).
type Action string

const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"
	Expanded  Action = "expanded"
)

// Notice is what one report tells: about one message, to its sender, on all
// recipients of one pass (DSN-10).
type Notice struct {
	ID         mail.ID // of the report: makes its Message-ID and its boundary
	Now        time.Time
	Hostname   string // ours: Reporting-MTA and the domain of From
	Envelope   *mail.Envelope
	Recipients []Recipient // at least one
	Original   mail.Body   // the message reported on; nil: not to be had any more
}

// Recipient is one recipient of a Notice. Its Standing.Last is the reason.
type Recipient struct {
	mail.Recipient
	Action     Action
	RetryUntil time.Time // Delayed: when we give up
}

// originalMax is the largest message that is returned whole; of larger ones the
// header section is (DSN-7).
const originalMax = 256 << 10

// headerMax is how much is searched for the end of a header section, and
// returned of one that is longer.
const headerMax = 256 << 10

// DSN composes a report (DSN-3 to DSN-13). Head is the header section with its
// empty line, body the rest. UTF8 says that it needs SMTPUTF8 (RFC 6533).
func DSN(n Notice) (head, body []byte, utf8 bool, err error) {
	if len(n.Recipients) == 0 || n.Envelope.From == "" {
		return nil, nil, false, fmt.Errorf("report: nothing to tell or nobody to tell it to") // DSN-2
	}
	utf8 = needsUTF8(n)
	kind, original, err := n.original(utf8)
	if err != nil {
		return nil, nil, false, err
	}
	status := n.deliveryStatus(utf8)
	text, encoding := n.text(utf8)
	boundary := n.boundary(text, status, original)

	var b bytes.Buffer
	part := func(contentType, cte string, content []byte) {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: %s\r\n", boundary, contentType)
		if cte != "" {
			fmt.Fprintf(&b, "Content-Transfer-Encoding: %s\r\n", cte)
		}
		b.WriteString("\r\n")
		b.Write(content)
		b.WriteString("\r\n")
	}
	b.WriteString("This is a report in MIME format about the delivery of a message.\r\n\r\n")
	part("text/plain; charset=utf-8", encoding, text)
	part(statusType(utf8), cteOf(status), status)
	part(kind, cteOf(original), original)
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return n.head(boundary, cteOf(b.Bytes())), b.Bytes(), utf8, nil
}

// needsUTF8 reports whether the report is written in the forms of RFC 6533: an
// address needs it and the return path can take it (DSN-12). It can if the
// message came with SMTPUTF8, or if the path itself is not ASCII.
func needsUTF8(n Notice) bool {
	if !isASCII(n.Envelope.From) {
		return true
	}
	if !n.Envelope.Params.UTF8 {
		return false
	}
	for _, r := range n.Recipients {
		if !isASCII(r.Address) || !isASCII(r.Original) {
			return true
		}
	}
	return false
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// MessageID is the Message-ID of a report, without angle brackets.
func MessageID(id mail.ID, hostname string) string { return id.String() + ".report@" + hostname }

// dateLayout is RFC 5322 §3.3.
const dateLayout = "Mon, 2 Jan 2006 15:04:05 -0700"

func (n Notice) head(boundary, encoding string) []byte {
	var b bytes.Buffer
	field := func(name, format string, args ...any) { fmt.Fprintf(&b, name+": "+format+"\r\n", args...) }
	field("Date", "%s", n.Now.Format(dateLayout))
	field("From", "Mail Delivery System <MAILER-DAEMON@%s>", n.Hostname)
	field("To", "<%s>", printable(n.Envelope.From))
	field("Subject", "%s", n.subject())
	field("Message-ID", "<%s>", MessageID(n.ID, n.Hostname))
	if id := n.Envelope.MessageID; id != "" && isASCII(id) && !strings.ContainsAny(id, "<> \t\r\n") {
		field("References", "<%s>", printable(id))
	}
	field("Auto-Submitted", "auto-replied") // RFC 3834 §5
	field("MIME-Version", "1.0")
	field("Content-Type", "multipart/report; report-type=%s;\r\n\tboundary=\"%s\"", "delivery-status", boundary)
	field("Content-Transfer-Encoding", "%s", encoding)
	b.WriteString("\r\n")
	return b.Bytes()
}

// subject is by the gravest action.
func (n Notice) subject() string {
	for _, s := range []struct {
		action Action
		text   string
	}{
		{Failed, "Undelivered mail returned to sender"},
		{Delayed, "Delayed mail: still being tried"},
		{Delivered, "Successful mail delivery"},
		{Relayed, "Mail passed on"},
	} {
		if n.has(s.action) {
			return s.text
		}
	}
	return "Mail passed on to the members of a list"
}

func (n Notice) has(a Action) bool {
	for _, r := range n.Recipients {
		if r.Action == a {
			return true
		}
	}
	return false
}

func statusType(utf8 bool) string {
	if utf8 {
		return "message/global-delivery-status"
	}
	return "message/delivery-status"
}

func cteOf(content []byte) string {
	for _, c := range content {
		if c >= 0x80 {
			return "8bit"
		}
	}
	return "7bit"
}

// original is what the report returns of the message, and its media type.
// Success and delay reports return the header section (RFC 3461 §4.3), as do
// failures with RET=HDRS, of large messages, of BINARYMIME ones (which no
// multipart of text lines may hold), and of REQUIRETLS ones (RFC 8689 §5).
func (n Notice) original(utf8 bool) (kind string, content []byte, err error) {
	p := n.Envelope.Params
	whole := n.Original != nil && n.has(Failed) && p.Return != mail.ReturnHeaders && n.Original.Size() <= originalMax &&
		p.Body != mail.BodyBinary && !p.RequireTLS
	if n.Original != nil {
		content = make([]byte, min(n.Original.Size(), max(originalMax, headerMax)))
		if _, err := io.ReadFull(mail.Reader(n.Original), content); err != nil {
			return "", nil, fmt.Errorf("report: original: %w", err)
		}
	}
	switch {
	case whole && utf8:
		return "message/global", content, nil
	case whole:
		return "message/rfc822", content, nil
	case utf8:
		return "message/global-headers", headerOf(content), nil
	}
	return "text/rfc822-headers", headerOf(content), nil
}

// headerOf returns the header section, without the empty line.
func headerOf(content []byte) []byte {
	if i := bytes.Index(content, []byte("\r\n\r\n")); i >= 0 {
		return content[:i+2]
	}
	return content[:min(len(content), headerMax)]
}

// boundary is fresh, and in none of the parts: IDs can be foreseen by someone
// who sends to us.
func (n Notice) boundary(parts ...[]byte) string {
	boundary := "=_" + n.ID.String()
	for i := 0; ; i++ {
		candidate := fmt.Sprintf("%s.%d", boundary, i)
		clash := false
		for _, p := range parts {
			clash = clash || bytes.Contains(p, []byte(candidate))
		}
		if !clash {
			return candidate
		}
	}
}
