package critique

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// Level says how much a finding matters.
type Level string

const (
	Good    Level = "good"    // as it should be
	Hint    Level = "hint"    // could be better
	Warning Level = "warning" // some will mind
	Failing Level = "failing" // some will refuse it, or put it with the junk
)

// Finding is one thing that production would have said.
type Finding struct {
	ID     string `json:"id"` // "unsigned"
	Level  Level  `json:"level"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"` // the evidence
	Fix    string `json:"fix,omitempty"`
	Who    string `json:"who,omitempty"` // who says so
}

// Letter is a message to be judged.
type Letter struct {
	Raw  []byte        // as it was caught; may be cut at RawMax
	Size int64         // octets of the whole message
	Root *message.Part // of Raw
	From string        // of the envelope
	// Repaired is what submission changed before the message was stored, in its
	// own words: what a server that repairs nothing would have let pass.
	Repaired []string
	Arrived  time.Time
}

// RawMax is how much of a message is judged, in octets; more says nothing new.
const RawMax = 2 << 20

// rules is all that is judged, in the order it is told.
var rules = []func(*look) []Finding{
	(*look).signature, (*look).alignment, (*look).needed, (*look).twice, (*look).date, (*look).repaired,
	(*look).subject, (*look).lines, (*look).octets, (*look).unsubscribe, (*look).size, (*look).alternatives,
	(*look).structure, (*look).links, (*look).support,
}

// Judge says what production would say. What is as it should be is said too,
// where people look for it.
func Judge(l Letter) []Finding {
	k := &look{Letter: l, header: l.Root.Header, contents: l.Root.Contents()}
	if k.contents.HTML != nil {
		k.html = k.contents.HTML.Text()
	}
	if boxes, err := message.Mailboxes(k.header.Get("From")); err == nil && len(boxes) > 0 {
		k.author = strings.ToLower(mail.Domain(boxes[0].Address))
	}
	var all []Finding
	for _, rule := range rules {
		all = append(all, rule(k)...)
	}
	return all
}

// look is a letter with what several rules want to know of it.
type look struct {
	Letter
	header   message.Header
	contents message.Contents
	html     string
	author   string // domain of From
}

func one(id string, level Level, title, detail, fix, who string) []Finding {
	return []Finding{{id, level, title, detail, fix, who}}
}

// signature: Gmail and Yahoo want every bulk message signed, and reject what
// fails both SPF and DKIM.
func (k *look) signature() []Finding {
	if !k.header.Has("DKIM-Signature") {
		return one("unsigned", Warning, "Nobody signed this message",
			"There is no DKIM-Signature field. Unless your relay or provider signs for "+orThis(k.author)+", Gmail answers 550 5.7.26 to bulk mail, and a forwarder breaks SPF.",
			"Let the server that sends it sign with DKIM for "+orThis(k.author)+".", "Gmail and Yahoo, rules for senders")
	}
	for _, f := range k.header.All("DKIM-Signature") {
		if d := tag(f.Value(), "d"); aligned(d, k.author) {
			return one("signed", Good, "Signed with DKIM for "+d, "Whether the signature holds is seen when it is checked against DNS.", "", "")
		}
	}
	return one("signed-by-other", Warning, "The signature is not of the author's domain",
		"No DKIM-Signature has d= of "+orThis(k.author)+", so it does not count for DMARC.",
		"Sign with a key of "+orThis(k.author)+" too.", "DMARC")
}

// alignment: DMARC wants SPF or DKIM to pass for the domain people see.
func (k *look) alignment() []Finding {
	bounce := strings.ToLower(mail.Domain(k.From))
	if k.author == "" || bounce == "" || aligned(bounce, k.author) {
		return nil
	}
	return one("misaligned", Hint, "Sender and author are of different domains",
		fmt.Sprintf("MAIL FROM is of %s, From of %s: SPF cannot pass DMARC for it, only DKIM can.", bounce, k.author),
		"Send with a bounce address below "+organisation(k.author)+", or be sure of DKIM.", "DMARC")
}

func orThis(domain string) string {
	if domain == "" {
		return "the author's domain"
	}
	return domain
}

// aligned is DMARC's relaxed alignment.
func aligned(a, b string) bool {
	return a != "" && b != "" && organisation(strings.ToLower(a)) == organisation(strings.ToLower(b))
}

func organisation(domain string) string {
	if org, err := publicsuffix.EffectiveTLDPlusOne(strings.TrimSuffix(domain, ".")); err == nil {
		return org
	}
	return domain
}

// tag finds a tag of a DKIM-Signature.
func tag(value, name string) string {
	for part := range strings.SplitSeq(value, ";") {
		if k, v, ok := strings.Cut(part, "="); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// needed: From and Date must be there, Message-ID should (RFC 5322 §3.6).
func (k *look) needed() []Finding {
	var all []Finding
	for _, f := range []struct{ name, level, why string }{
		{"From", string(Failing), "A message must say who wrote it."},
		{"Date", string(Failing), "Many filters take mail without a date for spam."},
		{"Message-ID", string(Warning), "Gmail answers 550 5.7.1 to mail without one, and replies cannot be threaded."},
	} {
		if k.header.Has(f.name) {
			continue
		}
		all = append(all, Finding{"no-" + strings.ToLower(f.name), Level(f.level), "There is no " + f.name, f.why,
			"Let your mail library add " + f.name + "; a submission port adds Date and Message-ID, port 25 adds nothing.", "RFC 5322 §3.6"})
	}
	if k.header.Has("From") && k.author == "" {
		all = append(all, Finding{"bad-from", Failing, "From cannot be read", clip(k.header.Get("From"), 200), "Write From: Name <user@example.org>.", "RFC 5322 §3.6.2"})
	}
	return all
}

// twice: some fields may stand once only; Gmail refuses a second From with
// 550 5.7.1.
func (k *look) twice() []Finding {
	var many []string
	for _, name := range []string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject", "Date", "MIME-Version", "Content-Type"} {
		if n := k.header.Count(name); n > 1 {
			many = append(many, fmt.Sprintf("%s %d times", name, n))
		}
	}
	if len(many) == 0 {
		return nil
	}
	return one("twice", Failing, "A field that may stand once stands more often", strings.Join(many, ", "), "Set it instead of adding it.", "RFC 5322 §3.6; Gmail answers 550 5.7.1")
}

// dateSlack is how far a date may be from now.
const dateSlack = 24 * time.Hour

func (k *look) date() []Finding {
	text := k.header.Get("Date")
	if text == "" {
		return nil
	}
	at, err := message.ParseDate(text)
	switch {
	case err != nil:
		return one("bad-date", Warning, "The date cannot be read", clip(text, 100), "Write it as Mon, 23 Nov 2026 14:02:11 +0000.", "RFC 5322 §3.3")
	case k.Arrived.IsZero():
	case at.Sub(k.Arrived) > dateSlack || k.Arrived.Sub(at) > dateSlack:
		return one("odd-date", Warning, "The date is far from now", clip(text, 100), "Set Date when the message is sent.", "spam filters")
	}
	return nil
}

// repaired is what submission mended: production may go another way.
func (k *look) repaired() []Finding {
	if len(k.Repaired) == 0 {
		return nil
	}
	return one("repaired", Hint, "The submission port had to mend the header", strings.Join(k.Repaired, "; "),
		"Other servers may refuse what this one mends, or mend it otherwise: let the program that writes it do it right.", "RFC 6409 §8")
}

// subjectMax is what mail programs show of a subject at most.
const subjectMax = 150

func (k *look) subject() []Finding {
	s := k.header.Subject(2 * subjectMax)
	switch {
	case strings.TrimSpace(s) == "":
		return one("no-subject", Warning, "There is no subject", "", "Give it one.", "spam filters")
	case len([]rune(s)) > subjectMax:
		return one("long-subject", Hint, fmt.Sprintf("The subject is longer than %d characters", subjectMax), clip(s, 200), "Say it shorter: a phone shows some 40.", "mail programs")
	}
	return nil
}

// Limits of a line, without its end (RFC 5322 §2.1.1).
const (
	lineMax    = 998
	lineWanted = 78
)

func (k *look) lines() []Finding {
	longest, at, n := 0, 0, 0
	for line := range bytes.Lines(k.Raw) {
		n++
		if size := len(bytes.TrimRight(line, "\r\n")); size > longest {
			longest, at = size, n
		}
	}
	if longest > lineMax {
		return one("long-line", Failing, fmt.Sprintf("Line %d has %d octets; %d are allowed", at, longest, lineMax),
			"Servers break such lines, and with them signatures, or answer 500 5.5.2.", "Send the text as quoted-printable or base64.", "RFC 5321 §4.5.3.1.6")
	}
	return nil
}

// octets: what stands in the message against its own declaration.
func (k *look) octets() []Finding {
	var all []Finding
	if bytes.IndexByte(k.Raw, 0) >= 0 {
		all = append(all, Finding{"nul", Failing, "There is a NUL octet in it", "", "Encode binary content as base64.", "RFC 5322 §4"})
	}
	if bare(k.Raw) {
		all = append(all, Finding{"bare-line-end", Failing, "A CR or LF stands alone", "Port 25 here, as Gmail and others, answers 550 5.5.2 to it: it is how messages are smuggled.",
			"End every line with CR LF.", "RFC 5321 §2.3.8"})
	}
	head, _, _ := bytes.Cut(k.Raw, []byte("\r\n\r\n"))
	if i := bytes.IndexFunc(head, func(r rune) bool { return r > 0x7e }); i >= 0 {
		all = append(all, Finding{"raw-header", Warning, "The header has octets beyond ASCII", clip(lineAt(head, i), 120),
			"Write them as encoded words (RFC 2047); raw UTF-8 needs SMTPUTF8 all the way.", "RFC 5322 §2.2"})
	}
	return all
}

func bare(raw []byte) bool {
	for i, c := range raw {
		if c == '\n' && (i == 0 || raw[i-1] != '\r') || c == '\r' && i+1 < len(raw) && raw[i+1] != '\n' {
			return true
		}
	}
	return false
}

func lineAt(b []byte, i int) string {
	from := bytes.LastIndexByte(b[:i], '\n') + 1
	to := len(b)
	if n := bytes.IndexByte(b[i:], '\n'); n >= 0 {
		to = i + n
	}
	return strings.ToValidUTF8(strings.TrimRight(string(b[from:to]), "\r\n"), "?")
}

func clip(s string, max int) string {
	if len(s) > max {
		return strings.ToValidUTF8(s[:max], "") + "…"
	}
	return s
}
