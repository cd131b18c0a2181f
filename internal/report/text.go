package report

import (
	"bytes"
	"fmt"
	"mime/quotedprintable"
	"strings"

	"paquebot/internal/mail"
)

// text writes the part that people read, and says how it is encoded.
func (n Notice) text(utf8 bool) (content []byte, encoding string) {
	var b strings.Builder
	fmt.Fprintf(&b, "This is the mail system at %s.\n\n", n.Hostname)
	if s := n.Envelope.Subject; s != "" {
		fmt.Fprintf(&b, "Your message \"%s\",\n", printable(s))
	} else {
		b.WriteString("Your message,\n")
	}
	fmt.Fprintf(&b, "received on %s:\n", n.Envelope.Arrived.Format(dateLayout))
	for _, section := range []struct {
		action Action
		intro  string
	}{
		{Failed, "It could not be delivered to the following recipients. It will not be tried again."},
		{Delayed, "It has not been delivered to the following recipients yet. It is still being\ntried, you need not send it again."},
		{Delivered, "It was delivered to the following recipients."},
		{Relayed, "It was passed on for the following recipients to a system that will not report\non its delivery."},
		{Expanded, "It was passed on to the members of the following lists."},
	} {
		if n.has(section.action) {
			fmt.Fprintf(&b, "\n%s\n", section.intro)
			for _, r := range n.Recipients {
				if r.Action == section.action {
					b.WriteString(story(r))
				}
			}
		}
	}
	fmt.Fprintf(&b, "\nWhat follows is for programs, and then your message or its header.\nYour message is known here as %s.\n", n.Envelope.ID)
	var lines []string
	for l := range strings.SplitSeq(b.String(), "\n") {
		lines = append(lines, broken(l, "\r\n    "))
	}
	crlf := []byte(strings.Join(lines, "\r\n"))
	switch {
	case cteOf(crlf) == "7bit":
		return crlf, "7bit"
	case utf8:
		return crlf, "8bit"
	}
	var q bytes.Buffer
	w := quotedprintable.NewWriter(&q)
	w.Write(crlf)
	w.Close()
	return q.Bytes(), "quoted-printable"
}

// story is what happened to a recipient, in a few lines.
func story(r Recipient) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  <%s>\n", printable(r.Address))
	o := r.Last
	switch {
	case r.Action == Expanded:
	case spoke(o) && o.Host != "":
		fmt.Fprintf(&b, "    %s said%s:\n%s", printable(o.Host), inAnswerTo(o.Stage), quoted(o))
	case spoke(o):
		fmt.Fprintf(&b, "    the other side said%s:\n%s", inAnswerTo(o.Stage), quoted(o))
	case o.Reply.Code != 0:
		b.WriteString(quoted(o))
	}
	if r.Action == Failed && o.Result != mail.Refused {
		b.WriteString("    This lasted too long: we gave up.\n")
	}
	if r.Action == Delayed && !r.RetryUntil.IsZero() {
		fmt.Fprintf(&b, "    It is tried until %s.\n", r.RetryUntil.Format(dateLayout))
	}
	return b.String()
}

func quoted(o mail.Outcome) string {
	var b strings.Builder
	for l := range strings.SplitSeq(o.Reply.Text, "\n") {
		head := fmt.Sprint(o.Reply.Code)
		if o.Ours {
			head = ""
		} else if !o.Reply.Enhanced.IsZero() {
			head += " " + o.Reply.Enhanced.String()
		}
		fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(head+" "+printable(l)))
	}
	return b.String()
}

func inAnswerTo(s mail.Stage) string {
	switch s {
	case mail.StageGreeting:
		return " as its greeting"
	case mail.StageEhlo:
		return " in answer to EHLO"
	case mail.StageStartTLS:
		return " in answer to STARTTLS"
	case mail.StageMail:
		return " in answer to MAIL FROM"
	case mail.StageRcpt:
		return " in answer to RCPT TO"
	case mail.StageData:
		return " in answer to DATA"
	case mail.StageContent, mail.StageDot:
		return " in answer to the message"
	}
	return ""
}
