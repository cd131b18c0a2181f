package deliver

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"sync"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/provider"
)

const (
	// headMax is how far a header is looked through for private fields.
	headMax = 256 << 10
	// headFirst is what is read of it at first: most headers whole.
	headFirst = 8 << 10
)

// private knows whose header fields are whose (SH-12): orders to a provider
// ("X-SES-CONFIGURATION-SET") are for it alone, and would tell others what is
// none of their business.
type private struct {
	initials [256]bool // of all names, to pass over most fields at a glance
	all      []*provider.Provider
}

func newPrivate(all []*provider.Provider) *private {
	p := &private{all: all}
	for _, one := range all {
		for _, name := range append(slices.Clone(one.Headers.Private), one.Headers.Idempotency) {
			if name != "" {
				p.initials[strings.ToLower(name)[0]], p.initials[strings.ToUpper(name)[0]] = true, true
			}
		}
	}
	return p
}

// others reports whether a field is private to providers of whom none is ours.
func (p *private) others(name []byte, ours *provider.Provider) bool {
	if len(name) == 0 || !p.initials[name[0]] {
		return false
	}
	field := string(name)
	if ours != nil && ours.Private(field) {
		return false
	}
	return slices.ContainsFunc(p.all, func(one *provider.Provider) bool { return one.Private(field) })
}

// heads are buffers for a glance at a header.
var heads = sync.Pool{New: func() any { return new([headFirst]byte) }}

// glance reports whether a header may hold a private field of others. Most do
// not, and it costs them no more than this.
func (p *private) glance(body mail.Body, ours *provider.Provider) bool {
	buf := heads.Get().(*[headFirst]byte)
	defer heads.Put(buf)
	head := buf[:min(int64(headFirst), body.Size())]
	if n, err := body.ReadAt(head, 0); n < len(head) && err != nil && err != io.EOF {
		return false // whoever sends it meets the same trouble
	}
	for at := 0; at < len(head); {
		if c := head[at]; c == '\r' || c == '\n' {
			return false // the end of the header
		} else if p.initials[c] {
			if colon := bytes.IndexByte(head[at:], ':'); colon > 0 && p.others(bytes.TrimRight(head[at:at+colon], " \t"), ours) {
				return true
			}
		}
		eol := bytes.IndexByte(head[at:], '\n')
		if eol < 0 {
			break
		}
		at += eol + 1
	}
	return int64(len(head)) < body.Size() // the header goes on
}

// field is one header field: where it stands, with its line ends.
type field struct {
	name     []byte
	from, to int
}

// fields cuts a header into its fields and returns where they end, and whether
// the header does there too.
func fields(head []byte) (all []field, end int, whole bool) {
	at := 0
	for at < len(head) {
		eol := bytes.IndexByte(head[at:], '\n')
		if eol < 0 {
			return all, at, false
		}
		line := head[at : at+eol+1]
		switch colon := bytes.IndexByte(line, ':'); {
		case len(bytes.TrimRight(line, "\r\n")) == 0:
			return all, at, true
		case line[0] == ' ' || line[0] == '\t':
			if len(all) > 0 {
				all[len(all)-1].to = at + len(line)
			}
		case colon > 0:
			all = append(all, field{bytes.TrimRight(line[:colon], " \t"), at, at + len(line)})
		default:
			return all, at, true // no header field: the body, of a message without a header
		}
		at += len(line)
	}
	return all, at, false
}

// adapted is a body of which the beginning was replaced.
type adapted struct {
	mail.Body
	head []byte
	skip int64 // octets of the stored message for which head stands
}

// ReadAt implements io.ReaderAt.
func (a adapted) ReadAt(p []byte, off int64) (n int, err error) {
	if off < int64(len(a.head)) {
		n = copy(p, a.head[off:])
		if n == len(p) {
			return n, nil
		}
		p, off = p[n:], int64(len(a.head))
	}
	more, err := a.Body.ReadAt(p, off-int64(len(a.head))+a.skip)
	return n + more, err
}

// Size implements mail.Body.
func (a adapted) Size() int64 { return a.Body.Size() - a.skip + int64(len(a.head)) }

// Close leaves the body to whoever opened it.
func (adapted) Close() error { return nil }

// body is the message as this route may carry it: without the private fields of
// other providers, and without signatures that ours refuses (SH-12). What is stored stays as it is.
func (t *attempt) body() mail.Body {
	if t.content == nil {
		t.content = t.adapt()
	}
	return t.content
}

func (t *attempt) adapt() mail.Body {
	ours := t.profile().Provider
	if plain := ours == nil || ours.Headers.ForeignDKIM && ours.Headers.Idempotency == ""; plain && !t.d.private.glance(t.a.Body, ours) {
		return t.a.Body
	}
	head, all, end := readFields(t.a.Body)
	said := event.ContentAdapted{ID: t.a.Envelope.ID, Site: t.a.Route.Site}
	var drop []field
	keyed := false
	for _, f := range all {
		switch {
		case t.d.private.others(f.name, ours):
			said.Why = "fields for another provider"
		case ours != nil && !ours.Headers.ForeignDKIM && isField(f, "DKIM-Signature") && foreign(head[f.from:f.to], author(head, all)):
			said.Why = ours.Title + " signs itself and refuses other domains' signatures"
		case ours == nil || ours.Headers.Idempotency == "" || !isField(f, ours.Headers.Idempotency):
			continue
		case len(t.a.Envelope.Recipients) == 1:
			keyed = true // the sender's own
			continue
		default:
			said.Why = "one key cannot be that of several transactions"
		}
		drop = append(drop, f)
		said.Stripped = append(said.Stripped, string(f.name))
	}
	if ours != nil && ours.Headers.Idempotency != "" && !keyed {
		t.keyField = ours.Headers.Idempotency
		said.Added = []string{t.keyField}
	}
	if len(drop) > 0 || t.keyField != "" {
		t.d.needs.Events.Emit(said)
	}
	if len(drop) == 0 {
		return t.a.Body
	}
	var b []byte
	at := 0
	for _, f := range drop {
		b = append(b, head[at:f.from]...)
		at = f.to
	}
	b = append(b, head[at:end]...)
	return adapted{t.a.Body, b, int64(end)}
}

// keyed puts before a message the field by which its provider knows a repeated
// one, which takes the sting out of a lost reply (CLI-29). Messages to several
// may go in several transactions, each of which must count: the key is of the
// message and of those it goes to.
func (t *attempt) keyed(body mail.Body, batch []int) mail.Body {
	if t.keyField == "" {
		return body
	}
	key := t.a.Envelope.ID.String()
	if len(t.a.Envelope.Recipients) > 1 {
		var to []string
		for _, i := range batch {
			to = append(to, t.recipient(i).Address)
		}
		slices.Sort(to)
		sum := sha256.Sum256([]byte(strings.Join(to, "\n")))
		key += "-" + hex.EncodeToString(sum[:6])
	}
	return adapted{body, []byte(t.keyField + ": " + key + "\r\n"), 0}
}

// readFields reads a header, most of the time with one look.
func readFields(body mail.Body) (head []byte, all []field, end int) {
	for size := int64(headFirst); ; size = headMax {
		size = min(size, body.Size())
		head = make([]byte, size)
		if n, err := body.ReadAt(head, 0); int64(n) < size && err != nil && err != io.EOF {
			return nil, nil, 0 // whoever sends it meets the same trouble
		}
		var whole bool
		all, end, whole = fields(head)
		if whole || size == body.Size() || size == headMax {
			return head, all, end
		}
	}
}

func isField(f field, name string) bool { return strings.EqualFold(string(f.name), name) }

// author is the domain of the From field; "" if it cannot be seen at a glance.
func author(head []byte, all []field) string {
	for _, f := range all {
		if !isField(f, "From") {
			continue
		}
		text := string(head[f.from:f.to])
		at := strings.LastIndexByte(text, '@')
		if at < 0 {
			return ""
		}
		domain := text[at+1:]
		if i := strings.IndexAny(domain, "> \t\r\n,;\")"); i >= 0 {
			domain = domain[:i]
		}
		return strings.ToLower(domain)
	}
	return ""
}

// foreign reports whether a signature is of another domain than the author's.
func foreign(signature []byte, author string) bool {
	_, tags, _ := strings.Cut(string(signature), ":")
	for tag := range strings.SplitSeq(tags, ";") {
		if name, value, _ := strings.Cut(tag, "="); strings.TrimSpace(name) == "d" {
			d := strings.ToLower(strings.Join(strings.Fields(value), ""))
			return d != author && !strings.HasSuffix(author, "."+d) && !strings.HasSuffix(d, "."+author)
		}
	}
	return true
}
