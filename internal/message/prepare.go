package message

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Submission is what Prepare must know of a message beside its header.
// ID, Domain and Now are needed, all else may be left at zero.
type Submission struct {
	ID         mail.ID
	Domain     string // the submission domain: the right side of a Message-ID we make
	Now        time.Time
	AuthservID string // ours, of Authentication-Results (SUB-27); "" removes none
	Body8Bit   bool   // the body holds octets above 127
	BodyUTF8   bool   // the whole body is valid UTF-8
	Strict     bool   // refuse what is by default kept as it is: a Date nobody can read

	MailFrom    string // the reverse path, "" for the null sender
	Principal   string // an address of the account, "" if none is known
	AddSender   bool   // SUB-22: add or replace Sender when the principal is not the author
	MakeFrom    bool   // SUB-23: write Principal into a missing From instead of refusing
	QualifyWith string // SUB-31: domain for addresses that have none; "" leaves them
	Unsubscribe string // SUB-34: value of List-Unsubscribe for a bulk stream; "" adds none
	OneClick    bool   // SUB-34: with List-Unsubscribe-Post (RFC 8058)
}

// IdempotencyKey is the field by which a client names a submission, so that a
// repeat is known (SUB-42). Prepare removes it: read it before.
const IdempotencyKey = "X-Paquebot-Idempotency-Key"

// Prepare validates the header of a submission and repairs it, in the order of
// SUB-40: all refusals come before the first change, and signing comes after.
// It returns the repaired header and, for the record, what was repaired; or an
// smtp.Reply that refuses. h is not changed. The Received field of this hop is
// not made here (SUB-26): the session prepends it to the result.
func Prepare(h Header, s Submission) (Header, []string, error) {
	for _, check := range submissionChecks {
		if err := check.refuses(h, s); err != nil {
			return Header{}, nil, err
		}
	}
	var made []string
	for _, r := range submissionRepairs {
		next, what, err := r.do(h, s)
		if err != nil {
			return Header{}, nil, err
		}
		if what != "" {
			h, made = next, append(made, what)
		}
	}
	if n := h.Size(); n > HeaderMax { // folds and new fields may have grown it
		return Header{}, nil, smtp.TooBig.WithText("Header section exceeds %d octets", HeaderMax)
	}
	return h, made, nil
}

// submissionChecks are the reasons to refuse, in the order they are looked for.
var submissionChecks = []struct {
	id      string
	refuses func(Header, Submission) error
}{
	{"SUB-33", checkSize},
	{"SRV-8", checkOctets},
	{"SUB-23", checkFrom},
	{"SUB-32", checkSingletons},
	{"SUB-20", checkDate},
	{"SUB-22", checkSender},
	{"SUB-28", checkCharset},
}

// submissionRepairs are the changes, in the order they are made. An empty what
// means that nothing was to be done.
var submissionRepairs = []struct {
	id string
	do func(Header, Submission) (out Header, what string, err error)
}{
	{"mbox", repairMboxLine},
	{"SUB-25", remover("Return-Path")},
	{"SUB-24", remover("Bcc", "Resent-Bcc")},
	{"SUB-42", remover(IdempotencyKey)},
	{"SUB-27", repairAuthResults},
	{"SUB-23", repairFrom},
	{"SUB-31", repairUnqualified},
	{"SUB-22", repairSender},
	{"SUB-20", repairDate},
	{"SUB-21", repairMessageID},
	{"SUB-28", repairMIME},
	{"SUB-34", repairUnsubscribe},
	{"SUB-33", repairLongLines},
	// SUB-35, SUB-36: TLS-Required, Disposition-Notification-To and
	// Return-Receipt-To have no row: they stay, and are never added.
}

// ---- reasons to refuse ----

func checkSize(h Header, _ Submission) error {
	if h.Size() > HeaderMax {
		return smtp.TooBig.WithText("Header section exceeds %d octets", HeaderMax)
	}
	return nil
}

func checkOctets(h Header, _ Submission) error {
	for i, f := range h.Fields {
		if f.Name == "" && !(i == 0 && isMboxLine(f.Raw)) {
			return smtp.BadContent.WithText("Header line %d has no field name", i+1)
		}
		if bytes.IndexByte(f.Raw, 0) >= 0 || bareLineEnd(f.Raw) {
			return smtp.BadContent.WithText("Header field %s holds NUL, bare CR or bare LF", smtp.Printable(f.Name))
		}
	}
	return nil
}

// bareLineEnd reports a CR or LF that is no part of a CRLF (SRV-1).
func bareLineEnd(b []byte) bool {
	for i, c := range b {
		if c == '\n' && (i == 0 || b[i-1] != '\r') || c == '\r' && (i+1 == len(b) || b[i+1] != '\n') {
			return true
		}
	}
	return false
}

// checkFrom wants exactly one From that names somebody. Two let a receiver
// judge one author and show the other (RFC 9989 §11).
func checkFrom(h Header, s Submission) error {
	bad := smtp.Reply{Code: 550, Enhanced: smtp.Enhanced{Class: 5, Subject: 6}}
	switch n := h.Count("From"); {
	case n > 1:
		return bad.WithText("Message has more than one From field")
	case n == 0 && s.MakeFrom && s.Principal != "":
		return nil
	case n == 0:
		return bad.WithText("Message has no From field")
	}
	if boxes, err := Mailboxes(h.Get("From")); err != nil || len(boxes) == 0 {
		return bad.WithText("From field holds no address").Because(err)
	}
	return nil
}

// singletons may stand at most once (RFC 5322 §3.6, RFC 2045 §3). From has its
// own row. Bcc is missing on purpose: all of it is removed, however often it
// was written.
var singletons = []string{
	"Date", "Sender", "Reply-To", "To", "Cc", "Message-ID", "In-Reply-To", "References", "Subject",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding", "Content-ID", "Content-Description", "Content-Disposition",
}

func checkSingletons(h Header, _ Submission) error {
	for _, name := range singletons {
		if h.Count(name) > 1 {
			return smtp.BadContent.WithText("Message has more than one %s field", name)
		}
	}
	return nil
}

func checkDate(h Header, s Submission) error {
	if !s.Strict || !h.Has("Date") {
		return nil
	}
	if _, err := ParseDate(h.Get("Date")); err != nil {
		return smtp.BadContent.WithText("Date field is not a date").Because(err)
	}
	return nil
}

// checkSender refuses several authors when nobody is there to be Sender, which
// must then exist (RFC 5322 §3.6.2).
func checkSender(h Header, s Submission) error {
	if h.Has("Sender") || senderFor(s) != "" || len(authors(h)) < 2 {
		return nil
	}
	return smtp.BadContent.WithText("From names several authors, so a Sender field is needed")
}

func checkCharset(h Header, s Submission) error {
	if s.Body8Bit && !s.BodyUTF8 && !h.Has("Content-Type") {
		return smtp.BadContent.WithText("8-bit text without Content-Type is not UTF-8: name its charset")
	}
	return nil
}

// ---- repairs ----

// isMboxLine reports the "From " line that programs reading mailbox files send.
func isMboxLine(line []byte) bool {
	return bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))
}

func repairMboxLine(h Header, _ Submission) (Header, string, error) {
	if len(h.Fields) == 0 || h.Fields[0].Name != "" || !isMboxLine(h.Fields[0].Raw) {
		return h, "", nil
	}
	return Header{h.Fields[1:]}, "removed mbox From line", nil
}

// remover makes the repair that takes fields away.
func remover(names ...string) func(Header, Submission) (Header, string, error) {
	return func(h Header, _ Submission) (Header, string, error) {
		out, n := h.Without(func(f Field) bool { return slices.ContainsFunc(names, f.Is) })
		if n == 0 {
			return h, "", nil
		}
		return out, "removed " + names[0], nil
	}
}

func repairAuthResults(h Header, s Submission) (Header, string, error) {
	out, n := StripAuthResults(h, s.AuthservID)
	if n == 0 {
		return h, "", nil
	}
	return out, "removed Authentication-Results in our name", nil
}

// StripAuthResults removes the Authentication-Results fields that claim to be
// ours, and tells how many (RFC 8601 §5; SUB-27). It holds on every port.
func StripAuthResults(h Header, authservID string) (Header, int) {
	if authservID == "" {
		return h, 0
	}
	return h.Without(func(f Field) bool {
		if !f.Is("Authentication-Results") {
			return false
		}
		id, _, _ := strings.Cut(stripComments(f.Value()), ";")
		words := strings.Fields(id) // a version number may follow the id
		return len(words) > 0 && strings.EqualFold(strings.TrimSuffix(strings.Trim(words[0], `"`), "."), strings.TrimSuffix(authservID, "."))
	})
}

func repairFrom(h Header, s Submission) (Header, string, error) {
	if h.Has("From") {
		return h, "", nil
	}
	return h.with(NewField("From", "<"+s.Principal+">")), "added From", nil
}

// with returns the header with fields at its end.
func (h Header) with(fields ...Field) Header {
	return Header{append(slices.Clone(h.Fields), fields...)}
}

// replace returns the header with the first field of that name exchanged.
func (h Header) replace(f Field) Header {
	out := slices.Clone(h.Fields)
	for i := range out {
		if out[i].Is(f.Name) {
			out[i] = f
			break
		}
	}
	return Header{out}
}

// addressFields are those whose addresses may be qualified (SUB-31).
var addressFields = []string{"From", "Sender", "Reply-To", "To", "Cc"}

func repairUnqualified(h Header, s Submission) (Header, string, error) {
	if s.QualifyWith == "" {
		return h, "", nil
	}
	changed := false
	out := Header{slices.Clone(h.Fields)}
	for i, f := range out.Fields {
		if !slices.ContainsFunc(addressFields, f.Is) {
			continue
		}
		if raw, ok := qualify(f, s.QualifyWith); ok {
			out.Fields[i].Raw, changed = raw, true
		}
	}
	if !changed {
		return h, "", nil
	}
	return out, "qualified addresses with " + s.QualifyWith, nil
}

// qualify writes "@domain" after each local part that stands alone. All other
// octets of the field, folds and comments, stay as they are.
func qualify(f Field, domain string) ([]byte, bool) {
	colon := bytes.IndexByte(f.Raw, ':') + 1
	value := string(f.Raw[colon:])
	boxes, err := Mailboxes(value)
	if err != nil {
		return nil, false
	}
	var out strings.Builder
	from := 0
	for _, m := range boxes {
		if strings.Contains(m.Address, "@") {
			continue
		}
		out.WriteString(value[from:m.end] + "@" + domain)
		from = m.end
	}
	if from == 0 {
		return nil, false
	}
	return append(slices.Clone(f.Raw[:colon]), out.String()+value[from:]...), true
}

// authors returns the mailboxes of From.
func authors(h Header) []Mailbox {
	boxes, _ := Mailboxes(h.Get("From"))
	return boxes
}

// senderFor is who a Sender field would name: the account's address, else the
// reverse path.
func senderFor(s Submission) string {
	if s.Principal != "" {
		return s.Principal
	}
	return s.MailFrom
}

func repairSender(h Header, s Submission) (Header, string, error) {
	from := authors(h)
	sender := NewField("Sender", "<"+senderFor(s)+">")
	switch {
	case len(from) > 1 && !h.Has("Sender"):
		return h.with(sender), "added Sender", nil
	case !s.AddSender || s.Principal == "" || (len(from) == 1 && sameAddress(from[0].Address, s.Principal)):
		return h, "", nil
	case !h.Has("Sender"):
		return h.with(sender), "added Sender", nil
	}
	if was, err := Mailboxes(h.Get("Sender")); err == nil && len(was) == 1 && sameAddress(was[0].Address, s.Principal) {
		return h, "", nil
	}
	return h.replace(sender), "replaced Sender", nil
}

// sameAddress compares local parts byte-exact, domains without case (SRV-29).
func sameAddress(a, b string) bool {
	return mail.Local(a) == mail.Local(b) && mail.Domain(a) == mail.Domain(b)
}

func repairDate(h Header, s Submission) (Header, string, error) {
	if h.Has("Date") {
		return h, "", nil
	}
	return h.with(NewField("Date", FormatDate(s.Now))), "added Date", nil
}

func repairMessageID(h Header, s Submission) (Header, string, error) {
	f := NewField("Message-ID", NewMessageID(s.ID, s.Domain))
	switch {
	case !h.Has("Message-ID"):
		return h.with(f), "added Message-ID", nil
	case !ValidMessageID(stripComments(h.Get("Message-ID"))):
		return h.replace(f), "replaced Message-ID", nil
	}
	return h, "", nil
}

// repairMIME names what an 8-bit body is. checkCharset has seen that it is UTF-8
// if nobody else named it.
func repairMIME(h Header, s Submission) (Header, string, error) {
	if !s.Body8Bit || (h.Has("MIME-Version") && h.Has("Content-Type")) {
		return h, "", nil
	}
	var add []Field
	if !h.Has("MIME-Version") {
		add = append(add, NewField("MIME-Version", "1.0"))
	}
	if !h.Has("Content-Type") {
		add = append(add, NewField("Content-Type", "text/plain; charset=utf-8"))
		if !h.Has("Content-Transfer-Encoding") { // without it the body is 7-bit (RFC 2045 §6.1)
			add = append(add, NewField("Content-Transfer-Encoding", "8bit"))
		}
	}
	return h.with(add...), "added " + add[0].Name, nil
}

func repairUnsubscribe(h Header, s Submission) (Header, string, error) {
	if s.Unsubscribe == "" || h.Has("List-Unsubscribe") {
		return h, "", nil
	}
	add := []Field{NewField("List-Unsubscribe", s.Unsubscribe)}
	if s.OneClick && !h.Has("List-Unsubscribe-Post") {
		add = append(add, NewField("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")) // RFC 8058 §3.1
	}
	return h.with(add...), "added List-Unsubscribe", nil
}

func repairLongLines(h Header, _ Submission) (Header, string, error) {
	var names []string
	out := Header{slices.Clone(h.Fields)}
	for i, f := range out.Fields {
		if !hasLongLine(f.Raw) {
			continue
		}
		raw, err := refold(f.Raw)
		if err != nil {
			return Header{}, "", smtp.TooBig.WithText("Header field %s has a line of more than %d octets that cannot be folded",
				smtp.Printable(f.Name), LineMax).Because(err)
		}
		out.Fields[i].Raw = raw
		names = append(names, f.Name)
	}
	if names == nil {
		return h, "", nil
	}
	return out, fmt.Sprintf("folded %s", strings.Join(names, ", ")), nil
}

// LongLines reports whether a line of the header is longer than LineMax.
func (h Header) LongLines() bool {
	return slices.ContainsFunc(h.Fields, func(f Field) bool { return hasLongLine(f.Raw) })
}

func hasLongLine(raw []byte) bool {
	for line := range bytes.SplitSeq(raw, crlf) {
		if len(line) > LineMax {
			return true
		}
	}
	return false
}

var errNoFold = errors.New("no white space to fold at")

// foldAt is how long a line we fold may become: RFC 5322 §2.1.1 recommends 78.
const foldAt = 78

// refold breaks the lines that are too long before white space, which unfolds
// to the very same value (RFC 5322 §2.2.3). Lines short enough are not touched.
func refold(raw []byte) ([]byte, error) {
	out := make([]byte, 0, len(raw)+len(raw)/32)
	from := bytes.IndexByte(raw, ':') + 1 // white space before the colon is no place for a fold
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, crlf), crlf) {
		for len(line) > LineMax {
			cut := foldPoint(line, from)
			if cut < 0 {
				return nil, errNoFold
			}
			out = append(append(out, line[:cut]...), crlf...)
			line, from = line[cut:], 0
		}
		from = 0
		out = append(append(out, line...), crlf...)
	}
	return out, nil
}

// foldPoint finds the white space to break a line before: the last one up to
// foldAt, else the first one up to LineMax, never before from. No piece is white
// space alone: such a line ends the header in the eyes of some (RFC 5322 §3.2.2).
func foldPoint(line []byte, from int) int {
	best := -1
	last := len(bytes.TrimRight(line, " \t")) // a piece that begins here or later is blank
	blank := true                             // line[:i] is
	for i := 0; i < last && i <= LineMax; i++ {
		if line[i] != ' ' && line[i] != '\t' {
			blank = false
			continue
		}
		if blank || i < from || line[i+1] == ' ' || line[i+1] == '\t' { // the last blank of a run goes to the next line
			continue
		}
		if i > foldAt && best >= 0 {
			break
		}
		best = i
	}
	return best
}
