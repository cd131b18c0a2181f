package compat

import (
	"bytes"
	"context"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// Address is a mailbox as Mailpit writes it.
type Address struct {
	Name    string
	Address string
}

// letter is a message, read.
type letter struct {
	catch.Message
	root     *message.Part
	contents message.Contents
	// As Mailpit sorts them: to be saved, and to be shown within.
	attachments, inline []*message.Part
}

// open reads a message, at most parsesMax at once.
func (a *API) open(ctx context.Context, m catch.Message) (*letter, error) {
	select {
	case a.parses <- struct{}{}:
		defer func() { <-a.parses }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	body, err := a.needs.Store.Raw(m.ID)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	root, _ := message.Parse(mail.Reader(body), message.Limits{}) // what cannot be read is noted in the tree
	l := &letter{Message: m, root: root, contents: root.Contents()}
	l.sort()
	return l, nil
}

// sort makes Mailpit's two lists: what says it is an attachment or is plain
// octets is one; what has a name or a Content-ID is shown within.
func (l *letter) sort() {
	for _, p := range l.contents.Attachments {
		switch {
		case p.Disposition == "attachment", p.Disposition == "" && p.Type == "application/octet-stream":
			l.attachments = append(l.attachments, p)
		default:
			l.inline = append(l.inline, p)
		}
	}
	l.inline = append(l.inline, l.contents.Inline...)
}

// text is the plain body, line ends as they came; made of the HTML where there
// is none.
func (l *letter) text() string {
	if l.contents.Text == nil || len(l.contents.More) > 0 {
		return l.contents.Plain(textMax)
	}
	return bodyText(l.contents.Text)
}

func (l *letter) html() string {
	if l.contents.HTML == nil {
		return ""
	}
	return bodyText(l.contents.HTML)
}

// bodyText gives back the line ends that message.Part.Text makes one of.
func bodyText(p *message.Part) string {
	text := p.Text()
	if bytes.Contains(p.Bytes(), []byte("\r\n")) {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return cutText(text, textMax)
}

// addresses reads a field as Mailpit does: what is no address list is none.
func addresses(h message.Header, name string) []Address {
	out := []Address{}
	for _, f := range h.All(name) {
		boxes, err := message.Mailboxes(f.Value())
		bare := slices.ContainsFunc(boxes, func(b message.Mailbox) bool { return !strings.Contains(b.Address, "@") })
		if err != nil || bare {
			continue
		}
		for _, b := range boxes {
			out = append(out, Address{b.Name, b.Address})
		}
	}
	return out
}

// author is From; one that is no address is kept as a name.
func author(h message.Header) Address {
	if list := addresses(h, "From"); len(list) > 0 {
		return list[0]
	}
	return Address{Name: message.DecodeWords(h.Get("From"))}
}

// hidden are the recipients of the envelope that no field names: Mailpit's
// users look for them in Bcc.
func hidden(recipients []catch.Recipient, named ...[]Address) []Address {
	known := map[string]bool{}
	for _, list := range named {
		for _, a := range list {
			known[strings.ToLower(a.Address)] = true
		}
	}
	var out []Address
	for _, r := range recipients {
		if key := strings.ToLower(r.Address); !known[key] {
			known[key] = true
			out = append(out, Address{Address: r.Address})
		}
	}
	return out
}

// headerMap is the header with canonical names, unfolded, encoded words as
// written, and with what Mailpit adds on the way in: the recipients it names
// nowhere, and the envelope's sender.
func (l *letter) headerMap() map[string][]string {
	out := map[string][]string{}
	for _, f := range l.root.Header.Fields {
		if f.Name == "" {
			continue
		}
		key := textproto.CanonicalMIMEHeaderKey(f.Name)
		out[key] = append(out[key], unfolded(f))
	}
	h := l.root.Header
	if more := hidden(l.Recipients, addresses(h, "To"), addresses(h, "Cc"), addresses(h, "Bcc")); len(more) > 0 {
		var list []string
		for _, a := range more {
			list = append(list, a.Address)
		}
		out["Bcc"] = append(out["Bcc"], strings.Join(list, ", "))
	}
	if out["Return-Path"] == nil {
		out["Return-Path"] = []string{"<" + l.From + ">"}
	}
	return out
}

// unfolded is a field's value on one line, as net/mail reads it.
func unfolded(f message.Field) string {
	_, value, _ := strings.Cut(string(f.Raw), ":")
	lines := strings.Split(value, "\n")
	for i := range lines {
		lines[i] = strings.Trim(lines[i], " \t\r")
	}
	return strings.Trim(strings.ToValidUTF8(strings.Join(lines, " "), "\uFFFD"), " ")
}

// digest is what lists and searches need of a message's octets.
type digest struct {
	seq         uint64
	from        Address
	to, cc, bcc []Address
	replyTo     []Address
	subject     string
	messageID   string
	attachments int
	inlines     int
	snippet     string
	words       string // what a search looks through; "" if it is long
	long        bool
}

// digests are kept so that a list is not parsed each time it is polled for.
type digests struct {
	mu    sync.Mutex
	kept  map[mail.ID]*digest
	bytes int
}

const (
	digestsBytes = 32 << 20 // memory for digests; others are made anew
	wordsKept    = 2 << 10  // octets of words kept with one
	snippetMax   = 200      // as Mailpit's
	subjectMax   = 10_000   // octets
)

func (d *digest) size() int {
	n := 500 + len(d.subject) + len(d.messageID) + len(d.snippet) + len(d.words)
	for _, list := range [][]Address{{d.from}, d.to, d.cc, d.bcc, d.replyTo} {
		for _, a := range list {
			n += 32 + len(a.Name) + len(a.Address)
		}
	}
	return n
}

func (c *digests) get(m *catch.Message) *digest {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.kept[m.ID]
	if d == nil || d.seq != m.Seq { // caught again, it has more recipients
		return nil
	}
	return d
}

func (c *digests) put(id mail.ID, d *digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.kept[id]; old != nil {
		c.bytes -= old.size()
	}
	c.kept[id] = d
	c.bytes += d.size()
	for other, o := range c.kept { // any: what is asked for again comes again
		if c.bytes <= digestsBytes {
			return
		}
		delete(c.kept, other)
		c.bytes -= o.size()
	}
}

// digest returns the digest of a message; of one that is gone an empty one.
func (a *API) digest(ctx context.Context, m *catch.Message) *digest {
	if d := a.digests.get(m); d != nil {
		return d
	}
	whole, err := a.needs.Store.Get(m.ID)
	if err != nil {
		return &digest{}
	}
	l, err := a.open(ctx, whole)
	if err != nil {
		return &digest{}
	}
	d := l.digest()
	a.digests.put(m.ID, d)
	return d
}

func (l *letter) digest() *digest {
	h := l.root.Header
	d := &digest{
		seq: l.Seq, from: author(h),
		to: addresses(h, "To"), cc: addresses(h, "Cc"), bcc: addresses(h, "Bcc"), replyTo: addresses(h, "Reply-To"),
		subject: h.Subject(subjectMax), messageID: h.MessageID(),
		attachments: len(l.attachments), inlines: len(l.inline), snippet: l.snippet(),
	}
	d.bcc = append(d.bcc, hidden(l.Recipients, d.to, d.cc, d.bcc)...)
	if d.words = l.words(d); len(d.words) > wordsKept {
		d.words, d.long = "", true
	}
	return d
}

func (l *letter) snippet() string {
	text := l.text()
	if document := l.html(); strings.TrimSpace(document) != "" {
		text = htmlWords(document, 16*snippetMax)
	}
	text = strings.Join(strings.Fields(strings.ReplaceAll(cutText(text, 16*snippetMax), "\uFEFF", " ")), " ")
	if len(text) <= snippetMax {
		return text
	}
	return cutText(text, snippetMax) + "..."
}

// htmlWords is the words of a document without the addresses of its links, at
// most max bytes.
func htmlWords(document string, max int) string {
	var out strings.Builder
	z := html.NewTokenizer(strings.NewReader(document))
	hidden := ""
	for out.Len() < max {
		kind := z.Next()
		name := ""
		if kind == html.StartTagToken || kind == html.EndTagToken {
			tag, _ := z.TagName()
			name = string(tag)
		}
		switch {
		case kind == html.ErrorToken:
			return out.String()
		case kind == html.EndTagToken && name == hidden:
			hidden = ""
		case kind == html.StartTagToken && hidden == "" && (name == "script" || name == "style" || name == "title"):
			hidden = name
		case kind == html.StartTagToken && inWord(name), kind == html.EndTagToken && inWord(name):
		case kind == html.TextToken && hidden == "":
			out.Write(z.Text())
		default:
			out.WriteByte(' ')
		}
	}
	return out.String()
}

// inWord reports the tags that may stand within a word.
func inWord(tag string) bool {
	switch tag {
	case "a", "b", "i", "u", "s", "em", "strong", "span", "font", "small", "big", "sub", "sup", "mark", "code", "wbr":
		return true
	}
	return false
}

// words is what Mailpit searches in: the addresses, the subject, the text and
// the names of attachments, in lower case.
func (l *letter) words(d *digest) string {
	var out []string
	for _, list := range [][]Address{{d.from}, d.to, d.cc, d.bcc, d.replyTo} {
		for _, a := range list {
			out = append(out, a.Name, a.Address)
		}
	}
	out = append(out, d.subject, l.From)
	if document := l.html(); document != "" {
		out = append(out, message.TextOfHTML(document, textMax)) // with the addresses of links
	} else {
		out = append(out, l.text())
	}
	for _, p := range l.attachments {
		out = append(out, p.FileName)
	}
	return cleanWords(strings.Join(out, " "))
}

// cleanWords makes one line of words of a text, as Mailpit does on both sides of
// a search.
func cleanWords(s string) string {
	s = strings.Map(func(r rune) rune {
		switch r {
		case '\uFEFF', '>', '<', '"', ',', ';', '(', ')':
			return ' '
		}
		return r
	}, s)
	return strings.ToLower(strings.Join(strings.Fields(s), " "))
}

// cutText shortens s to at most max bytes between characters.
func cutText(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// Summary is a message in Mailpit's lists, in its events and its webhook.
type Summary struct {
	ID          string
	MessageID   string
	Read        bool
	From        Address
	To          []Address
	Cc          []Address
	Bcc         []Address
	ReplyTo     []Address
	Subject     string
	Created     time.Time
	Username    string
	Tags        []string
	Size        int64
	Attachments int
	Snippet     string
}

// Summary returns a message as Mailpit's webhook sends it.
func (a *API) Summary(m catch.Message) any { return a.summary(context.Background(), &m) }

func (a *API) summary(ctx context.Context, m *catch.Message) Summary {
	d := a.digest(ctx, m)
	return Summary{
		ID: m.ID.String(), MessageID: d.messageID, Read: m.Read, From: d.from,
		To: list(d.to), Cc: list(d.cc), Bcc: list(d.bcc), ReplyTo: list(d.replyTo),
		Subject: d.subject, Created: m.Caught, Username: m.Origin.Account, Tags: list(m.Tags),
		Size: m.Size, Attachments: d.attachments, Snippet: d.snippet,
	}
}

// list is never null in JSON.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
