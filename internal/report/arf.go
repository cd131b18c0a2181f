package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// Complaint is what a feedback report tells: that a recipient called a message
// unwanted (RFC 5965).
type Complaint struct {
	ID        mail.ID // of the report
	Now       time.Time
	Hostname  string // ours: Reporting-MTA and the domain of From
	Envelope  *mail.Envelope
	Recipient string
	Type      string    // Feedback-Type; "" is "abuse" (FBL-2)
	Original  mail.Body // the message complained about
}

// ARF composes a feedback report (FBL-1) and says to whom it goes: to the
// address that the message names for it (CFBL-Address, RFC 9477), else to its
// sender. Head is the header section with its empty line, body the rest.
func ARF(c Complaint) (head, body []byte, to string, err error) {
	if c.Envelope.From == "" || c.Original == nil {
		return nil, nil, "", fmt.Errorf("report: nobody to complain to, or nothing to complain about")
	}
	original := make([]byte, min(c.Original.Size(), originalMax))
	if _, err := io.ReadFull(mail.Reader(c.Original), original); err != nil {
		return nil, nil, "", fmt.Errorf("report: original: %w", err)
	}
	kind := "message/rfc822"
	if c.Original.Size() > originalMax || c.Envelope.Params.Body == mail.BodyBinary {
		kind, original = "text/rfc822-headers", headerOf(original)
	}
	to = c.addressee(original)
	feedback := c.feedback(original)
	text := []byte(broken(fmt.Sprintf("This is a complaint: <%s> says that your message\r\nof %s is unwanted. It is attached.\r\n",
		printable(c.Recipient), c.Envelope.Arrived.Format(dateLayout)), "\r\n"))
	n := Notice{ID: c.ID}
	boundary := n.boundary(text, feedback, original)

	var b bytes.Buffer
	part := func(contentType string, content []byte) {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n", boundary, contentType, cteOf(content))
		b.Write(content)
		b.WriteString("\r\n")
	}
	b.WriteString("This is a complaint in MIME format about a message (RFC 5965).\r\n\r\n")
	part("text/plain; charset=utf-8", text)
	part("message/feedback-report", feedback)
	part(kind, original)
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	return c.head(boundary, to, cteOf(b.Bytes())), b.Bytes(), to, nil
}

// addressee reads CFBL-Address (RFC 9477 §5.1): an address, and report=xarf
// asks for a format that this is not.
func (c Complaint) addressee(original []byte) string {
	h, err := message.SplitHeader(append(headerOf(original), "\r\n"...))
	if err != nil {
		return c.Envelope.From
	}
	value, parameter, _ := strings.Cut(h.Get("CFBL-Address"), ";")
	list, err := message.Addresses(strings.TrimSpace(value))
	if err != nil || len(list) != 1 || strings.Contains(strings.ToLower(parameter), "xarf") {
		return c.Envelope.From
	}
	return list[0]
}

// feedback is the part that programs read (RFC 5965 §3.1, §3.2).
func (c Complaint) feedback(original []byte) []byte {
	var b bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, printable(value))
		}
	}
	kind := c.Type
	if kind == "" {
		kind = "abuse"
	}
	o := c.Envelope.Origin
	field("Feedback-Type", kind)
	field("User-Agent", "Paquebot/1.0")
	field("Version", "1")
	field("Original-Envelope-Id", c.Envelope.Params.EnvelopeID)
	field("Original-Mail-From", "<"+c.Envelope.From+">")
	field("Original-Rcpt-To", "<"+c.Recipient+">")
	field("Arrival-Date", c.Envelope.Arrived.Format(dateLayout))
	field("Reporting-MTA", "dns; "+c.Hostname)
	if o.Client.IsValid() {
		field("Source-IP", o.Client.Addr().Unmap().WithZone("").String())
	}
	field("Reported-Domain", reportedDomain(original, c.Envelope.From))
	return b.Bytes()
}

// reportedDomain is the author's, else the sender's.
func reportedDomain(original []byte, from string) string {
	if h, err := message.SplitHeader(append(headerOf(original), "\r\n"...)); err == nil {
		if list, err := message.Addresses(h.Get("From")); err == nil && len(list) > 0 {
			return mail.Domain(list[0])
		}
	}
	return mail.Domain(from)
}

func (c Complaint) head(boundary, to, encoding string) []byte {
	var b bytes.Buffer
	field := func(name, format string, args ...any) { fmt.Fprintf(&b, name+": "+format+"\r\n", args...) }
	field("Date", "%s", c.Now.Format(dateLayout))
	field("From", "Feedback loop <complaints@%s>", c.Hostname)
	field("To", "<%s>", printable(to))
	field("Subject", "%s", "Complaint about your mail")
	field("Message-ID", "<%s>", MessageID(c.ID, c.Hostname))
	field("Auto-Submitted", "auto-generated")
	field("MIME-Version", "1.0")
	field("Content-Type", "multipart/report; report-type=feedback-report;\r\n\tboundary=\"%s\"", boundary)
	field("Content-Transfer-Encoding", "%s", encoding)
	b.WriteString("\r\n")
	return b.Bytes()
}
