package compat

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/catch"
)

// question chooses messages, in Mailpit's search language.
type question struct {
	mailbox string // only this one; Mailpit has none, ours are by user name
	before  time.Time
	terms   []term
}

// term is one word of a search; all must hold.
type term struct {
	not  bool
	test func(*candidate) bool
}

// candidate is a message under test; what must be read of it is read once.
type candidate struct {
	*catch.Message
	api *API
	ctx context.Context
	d   *digest
	all string
}

const (
	queryMax = 2000 // octets of a search
	termsMax = 50
)

// questionOf reads ?query=, ?tz=, ?before= and ?mailbox=.
func questionOf(r *http.Request) question {
	v := r.URL.Query()
	q := ask(v.Get("query"), v.Get("tz"))
	q.mailbox = v.Get("mailbox")
	if t, ok := parseDate(v.Get("before"), time.Local); ok {
		q.before = t
	}
	return q
}

// ask reads a search. What is not understood is a word to look for, or, if it
// is a date that is none, left out: a search never fails.
func ask(text, zone string) question {
	loc := time.Local
	if l, err := time.LoadLocation(zone); err == nil && zone != "" {
		loc = l
	}
	var q question
	for _, word := range searchWords(cutText(text, queryMax)) {
		not := false
		if len(word) > 1 && (word[0] == '-' || word[0] == '!') {
			not, word = true, word[1:]
		}
		if test := readTerm(word, loc); test != nil && len(q.terms) < termsMax {
			q.terms = append(q.terms, term{not, test})
		}
	}
	return q
}

// searchWords splits at spaces outside quotes, and takes the quotes away.
func searchWords(s string) []string {
	var out []string
	var word strings.Builder
	quoted := false
	add := func() {
		if w := strings.TrimSpace(word.String()); w != "" {
			out = append(out, w)
		}
		word.Reset()
	}
	for _, r := range s {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			add()
		default:
			word.WriteRune(r)
		}
	}
	add()
	return out
}

// readTerm reads one word. nil: it says nothing.
func readTerm(word string, loc *time.Location) func(*candidate) bool {
	lower := strings.ToLower(word)
	switch lower {
	case "is:read":
		return func(c *candidate) bool { return c.Read }
	case "is:unread":
		return func(c *candidate) bool { return !c.Read }
	case "is:tagged":
		return func(c *candidate) bool { return len(c.Tags) > 0 }
	case "has:attachment", "has:attachments":
		return func(c *candidate) bool { return c.digest().attachments > 0 }
	case "has:inline", "has:inlines":
		return func(c *candidate) bool { return c.digest().inlines > 0 }
	}
	field, rest, found := strings.Cut(word, ":")
	if found {
		if test, known := fieldTerm(strings.ToLower(field), rest, loc); known {
			return test
		}
	}
	if lower = cleanWords(word); lower == "" {
		return nil
	}
	return func(c *candidate) bool { return strings.Contains(c.words(), lower) }
}

// fieldTerm is "field:value". known tells whether there is such a field; a nil
// test says nothing, as Mailpit's does without a value.
func fieldTerm(field, value string, loc *time.Location) (test func(*candidate) bool, known bool) {
	clean := cleanWords(value)
	people := func(lists func(*digest) [][]Address) func(*candidate) bool {
		return func(c *candidate) bool { return names(clean, lists(c.digest())) }
	}
	switch field {
	case "from":
		test = people(func(d *digest) [][]Address { return [][]Address{{d.from}} })
	case "to":
		test = people(func(d *digest) [][]Address { return [][]Address{d.to} })
	case "cc":
		test = people(func(d *digest) [][]Address { return [][]Address{d.cc} })
	case "bcc":
		test = people(func(d *digest) [][]Address { return [][]Address{d.bcc} })
	case "reply-to":
		test = people(func(d *digest) [][]Address { return [][]Address{d.replyTo} })
	case "addressed":
		test = people(func(d *digest) [][]Address { return [][]Address{{d.from}, d.to, d.cc, d.bcc, d.replyTo} })
	case "subject":
		clean = strings.ToLower(value)
		test = func(c *candidate) bool { return strings.Contains(strings.ToLower(c.digest().subject), clean) }
	case "message-id":
		test = func(c *candidate) bool { return strings.Contains(strings.ToLower(c.digest().messageID), clean) }
	case "tag":
		test = func(c *candidate) bool {
			return slices.ContainsFunc(c.Tags, func(t string) bool { return strings.EqualFold(t, clean) })
		}
	case "after", "before":
		return dateTerm(field, value, loc), true
	case "larger", "smaller":
		return sizeTerm(field, clean)
	default:
		return ownTerm(field, clean)
	}
	if clean == "" {
		return nil, true
	}
	return test, true
}

// ownTerm are the fields that are ours, not Mailpit's.
func ownTerm(field, clean string) (test func(*candidate) bool, known bool) {
	switch field {
	case "user", "mailbox":
		test = func(c *candidate) bool { return strings.EqualFold(c.Mailbox, clean) }
	case "rcpt":
		test = func(c *candidate) bool {
			return slices.ContainsFunc(c.Recipients, func(r catch.Recipient) bool { return strings.Contains(strings.ToLower(r.Address), clean) })
		}
	case "port":
		test = func(c *candidate) bool { return strconv.Itoa(int(c.Origin.Local.Port())) == clean }
	case "tls":
		test = func(c *candidate) bool { return (c.Origin.TLS != nil) == (clean != "no") }
	default:
		return nil, false
	}
	if clean == "" {
		return nil, true
	}
	return test, true
}

func names(part string, lists [][]Address) bool {
	for _, list := range lists {
		for _, a := range list {
			if strings.Contains(strings.ToLower(a.Address), part) || strings.Contains(strings.ToLower(a.Name), part) {
				return true
			}
		}
	}
	return false
}

func dateTerm(field, value string, loc *time.Location) func(*candidate) bool {
	t, ok := parseDate(value, loc)
	if !ok {
		return nil
	}
	if field == "after" {
		return func(c *candidate) bool { return !c.Caught.Before(t) }
	}
	return func(c *candidate) bool { return !c.Caught.After(t) }
}

// parseDate reads a date the ways people write it; without a zone it is in loc.
func parseDate(text string, loc *time.Location) (time.Time, bool) {
	text = strings.TrimSpace(strings.ToUpper(text))
	if text == "" {
		return time.Time{}, false
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch len(text) {
		case 10:
			return time.Unix(n, 0), true
		case 13:
			return time.UnixMilli(n), true
		}
	}
	for _, layout := range []string{
		"2006-01-02", "2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
		"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04:05 MST",
		"2006/01/02", "2006/01/02 15:04:05", "2006/01/02 15:04", "01/02/2006", "1/2/2006", "01/02/2006 15:04:05", "01/02/2006 15:04",
		"2 Jan 2006", "02 Jan 2006 15:04:05", "2 Jan 2006 15:04", "Jan 2, 2006", "January 2, 2006", "2 January 2006", "20060102", "2006-01", "2006",
		time.RFC1123, time.RFC1123Z, time.RFC850, time.ANSIC, time.RubyDate, time.UnixDate,
	} {
		if t, err := time.ParseInLocation(layout, text, loc); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// sizeTerm reads a size: "larger:2M", "smaller:100kb". One that is none is a
// word to look for.
func sizeTerm(field, clean string) (test func(*candidate) bool, known bool) {
	digits := strings.TrimRight(clean, "kmb ")
	f, err := strconv.ParseFloat(digits, 64)
	unit := map[string]float64{"": 1, "k": 1 << 10, "kb": 1 << 10, "m": 1 << 20, "mb": 1 << 20}[strings.TrimSpace(clean[len(digits):])]
	if err != nil || f*unit < 1 {
		return nil, false
	}
	size := int64(f * unit)
	if field == "larger" {
		return func(c *candidate) bool { return c.Size > size }, true
	}
	return func(c *candidate) bool { return c.Size < size }, true
}

func (c *candidate) digest() *digest {
	if c.d == nil {
		c.d = c.api.digest(c.ctx, c.Message)
	}
	return c.d
}

func (c *candidate) words() string {
	d := c.digest()
	if !d.long {
		return d.words
	}
	if c.all == "" {
		if l, err := c.api.open(c.ctx, *c.Message); err == nil {
			c.all = l.words(d)
		}
	}
	return c.all
}

func (q question) match(c *candidate) bool {
	if q.mailbox != "" && c.Mailbox != q.mailbox || !q.before.IsZero() && !c.Caught.Before(q.before) {
		return false
	}
	for _, t := range q.terms {
		if t.test(c) == t.not {
			return false
		}
	}
	return true
}

// plain reports that a question chooses everything.
func (q question) plain() bool { return q.mailbox == "" && q.before.IsZero() && len(q.terms) == 0 }

// found is what a question chose.
type found struct {
	page   []catch.Message // the part asked for
	all    []catch.Message
	total  int
	unread int
}

// matching returns the messages that match, newest first: all, and of them
// limit (negative: all) after the first start.
func (a *API) matching(r *http.Request, q question, start, limit int) found {
	if q.plain() && limit >= 0 { // the list that is polled for
		page := a.needs.Store.Newest(start, limit)
		return found{page: page, total: a.needs.Store.Stat().Messages, unread: a.needs.Store.Unread()}
	}
	var f found
	all := a.needs.Store.Newest(0, -1)
	for i := range all {
		if r.Context().Err() != nil {
			break
		}
		c := &candidate{Message: &all[i], api: a, ctx: r.Context()}
		if !q.match(c) {
			continue
		}
		f.all = append(f.all, all[i])
		if !all[i].Read {
			f.unread++
		}
	}
	f.total = len(f.all)
	if f.page = f.all[min(start, len(f.all)):]; limit >= 0 && len(f.page) > limit {
		f.page = f.page[:limit]
	}
	return f
}
