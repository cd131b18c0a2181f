package compat

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// HogMessage is a message as MailHog writes it: From and To are the envelope;
// the header and the body are as they came, still encoded.
type HogMessage struct {
	ID      string
	From    Path
	To      []Path
	Content Content
	Created time.Time
	MIME    *MIMEBody
	Raw     HogRaw
}

// Path is an address of the envelope.
type Path struct {
	Relays  []string
	Mailbox string
	Domain  string
	Params  string
}

// Content is a message or a part: header, undecoded body, parts.
type Content struct {
	Headers map[string][]string
	Body    string
	Size    int
	MIME    *MIMEBody
}

// MIMEBody is what stands between the delimiters of a multipart.
type MIMEBody struct{ Parts []Content }

// HogRaw is what SMTP said.
type HogRaw struct {
	From string
	To   []string
	Data string
	Helo string
}

// HogPage is MailHog's answer to a list and to a search. It is written item by
// item: each may be as large as a message three times over.
type HogPage struct {
	Total int          `json:"total"`
	Count int          `json:"count"`
	Start int          `json:"start"`
	Items []HogMessage `json:"items"`
}

const (
	hogHost     = "mailhog.example" // what MailHog calls itself unless told otherwise; part of its IDs
	hogListMax  = 250               // of the second version
	hogList1Max = 1000              // of the first
	hogDepth    = 10                // multiparts within each other
	hogParts    = 1000              // of one multipart
)

func hogID(id mail.ID) string { return id.String() + "@" + hogHost }

// hogOf reads a message as MailHog shows it.
func (a *API) hogOf(r *http.Request, m *catch.Message) (HogMessage, error) {
	raw, err := a.octetsOf(r, m.ID)
	if err != nil {
		return HogMessage{}, err
	}
	whole, err := a.needs.Store.Get(m.ID)
	if err != nil {
		return HogMessage{}, err
	}
	return hogMessage(&whole, raw), nil
}

// octetsOf reads a message whole, at most parsesMax at once.
func (a *API) octetsOf(r *http.Request, id mail.ID) (string, error) {
	select {
	case a.parses <- struct{}{}:
		defer func() { <-a.parses }()
	case <-r.Context().Done():
		return "", r.Context().Err()
	}
	body, err := a.needs.Store.Raw(id)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(mail.Reader(body), message.DefaultLimits.Bytes))
	return string(b), err
}

func hogMessage(m *catch.Message, raw string) HogMessage {
	raw = strings.TrimSuffix(raw, "\r\n") // MailHog takes it for a part of the final dot
	out := HogMessage{
		ID: hogID(m.ID), From: path(m.From), To: []Path{}, Content: contentOf(raw), Created: m.Caught,
		Raw: HogRaw{From: m.From, To: []string{}, Data: raw, Helo: m.Origin.Helo},
	}
	for _, r := range m.Recipients {
		out.To = append(out.To, path(r.Address))
		out.Raw.To = append(out.Raw.To, r.Address)
	}
	out.MIME = partsOf(&out.Content, 0)
	h := out.Content.Headers
	add := func(name, value string) {
		for key := range h {
			if strings.EqualFold(key, name) {
				return
			}
		}
		h[name] = []string{value}
	}
	add("Message-ID", out.ID)
	add("Received", "from "+m.Origin.Helo+" by "+hogHost+" (MailHog)\r\n          id "+out.ID+"; "+m.Caught.Format(time.RFC1123Z))
	add("Return-Path", "<"+m.From+">")
	return out
}

func path(address string) Path {
	local, domain := address, ""
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		local, domain = address[:at], address[at+1:]
	}
	return Path{Mailbox: local, Domain: domain}
}

// contentOf cuts header and body apart, and nothing more.
func contentOf(data string) Content {
	c := Content{Headers: map[string][]string{}, Size: len(data)}
	head, body, found := strings.Cut(data, "\r\n\r\n")
	if !found {
		c.Body = data
		return c
	}
	c.Body = body
	last := ""
	for line := range strings.SplitSeq(head, "\r\n") {
		if last != "" && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
			values := c.Headers[last]
			values[len(values)-1] += line
			continue
		}
		if name, value, colon := strings.Cut(line, ":"); colon {
			last = strings.TrimRight(name, " \t")
			c.Headers[last] = append(c.Headers[last], strings.TrimPrefix(value, " "))
		}
	}
	return c
}

// partsOf cuts a multipart at its delimiters the way MailHog does, which is by
// the text alone: what stands before the first is a part, if there is anything,
// and the closing "--" is one. Suites count parts; nil if it is no multipart.
func partsOf(c *Content, depth int) *MIMEBody {
	kind := ""
	for name, values := range c.Headers {
		if strings.EqualFold(name, "Content-Type") {
			kind = values[0]
		}
	}
	if !strings.HasPrefix(kind, "multipart/") || depth >= hogDepth {
		return nil
	}
	m := &MIMEBody{Parts: []Content{}}
	_, params, err := mime.ParseMediaType(kind)
	if err != nil || params["boundary"] == "" {
		return m
	}
	for _, piece := range strings.SplitN(c.Body, "--"+params["boundary"], hogParts) {
		if piece == "" {
			continue
		}
		part := contentOf(strings.Trim(piece, "\r\n"))
		part.MIME = partsOf(&part, depth+1)
		m.Parts = append(m.Parts, part)
	}
	return m
}

func (a *API) hogList(w http.ResponseWriter, r *http.Request) {
	a.hogPage(w, r, question{mailbox: r.URL.Query().Get("mailbox")}, "text/json")
}

// hogSearch looks in the envelope and in the header's field of that name, or in
// the undecoded body and all of the header.
func (a *API) hogSearch(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	kind, text := v.Get("kind"), strings.ToLower(cutText(v.Get("query"), queryMax))
	if text == "" || !slices.Contains([]string{"from", "to", "containing"}, kind) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	q := question{mailbox: v.Get("mailbox"), terms: []term{{test: func(c *candidate) bool { return a.hogMatch(r, c, kind, text) }}}}
	a.hogPage(w, r, q, "application/json")
}

func (a *API) hogMatch(r *http.Request, c *candidate, kind, text string) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	switch kind {
	case "from":
		if has(c.From) || has(c.HeaderFrom) {
			return true
		}
	case "to":
		if slices.ContainsFunc(c.Recipients, func(r catch.Recipient) bool { return has(r.Address) }) || has(c.HeaderTo) {
			return true
		}
	}
	h, err := a.hogOf(r, c.Message)
	if err != nil {
		return false
	}
	for name, values := range h.Content.Headers {
		if (kind == "containing" || strings.EqualFold(name, kind)) && slices.ContainsFunc(values, has) {
			return true
		}
	}
	if kind == "to" {
		return slices.ContainsFunc(h.Raw.To, has)
	}
	return kind == "containing" && has(h.Content.Body)
}

func (a *API) hogPage(w http.ResponseWriter, r *http.Request, q question, kind string) {
	start, limit := number(r, "start", 0, 0), min(number(r, "limit", 50, 1), hogListMax)
	f := a.matching(r, q, start, limit)
	w.Header().Set("Content-Type", kind)
	io.WriteString(w, `{"total":`+strconv.Itoa(f.total)+`,"count":`+strconv.Itoa(len(f.page))+`,"start":`+strconv.Itoa(start)+`,"items":`)
	a.hogItems(w, r, f.page)
	io.WriteString(w, "}")
}

// hogItems writes an array, one message after another. One deleted meanwhile is
// shown by its envelope, for the count was told already.
func (a *API) hogItems(w http.ResponseWriter, r *http.Request, page []catch.Message) {
	io.WriteString(w, "[")
	for i := range page {
		if i > 0 {
			io.WriteString(w, ",")
		}
		h, err := a.hogOf(r, &page[i])
		if err != nil {
			h = hogMessage(&page[i], "")
		}
		b, err := json.Marshal(h)
		if err != nil || r.Context().Err() != nil {
			return
		}
		w.Write(b)
	}
	io.WriteString(w, "]")
}

// hogList1 is the one route on which MailHog and Mailpit differ.
func (a *API) hogList1(w http.ResponseWriter, r *http.Request) {
	f := a.matching(r, question{mailbox: r.URL.Query().Get("mailbox")}, 0, hogList1Max)
	w.Header().Set("Content-Type", "text/json")
	a.hogItems(w, r, f.page)
}

// hogFind opens the message a path names, or answers 404.
func (a *API) hogFind(w http.ResponseWriter, r *http.Request) (HogMessage, bool) {
	id, err := parseID(r.PathValue("id"))
	if err == nil {
		var m catch.Message
		if m, err = a.needs.Store.Get(id); err == nil {
			var h HogMessage
			if h, err = a.hogOf(r, &m); err == nil {
				return h, true
			}
		}
	}
	w.WriteHeader(http.StatusNotFound)
	return HogMessage{}, false
}

func (a *API) hogMessage(w http.ResponseWriter, r *http.Request) {
	h, found := a.hogFind(w, r)
	if !found {
		return
	}
	w.Header().Set("Content-Type", "text/json")
	if b, err := json.Marshal(h); err == nil {
		w.Write(b)
	}
}

func (a *API) hogDelete(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/json")
	id, err := parseID(r.PathValue("id"))
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	switch n, err := a.needs.Store.Delete(id); {
	case err != nil:
		w.WriteHeader(http.StatusInternalServerError)
	case n == 0:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (a *API) hogDownload(w http.ResponseWriter, r *http.Request) {
	id, err := parseID(r.PathValue("id"))
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	a.octets(w, id, "message/rfc822", hogID(id)+".eml")
}

// hogPart serves a part, counted as in MIME.Parts.
func (a *API) hogPart(w http.ResponseWriter, r *http.Request) {
	h, found := a.hogFind(w, r)
	if !found {
		return
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil || n < 0 || h.MIME == nil || n >= len(h.MIME.Parts) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	p := h.MIME.Parts[n]
	head := w.Header()
	head.Set("Content-Security-Policy", sandboxed)
	head.Set("Content-Disposition", `attachment; filename="`+h.ID+"-part-"+strconv.Itoa(n)+`"`)
	body := []byte(p.Body)
	for name, values := range p.Headers {
		switch strings.ToLower(name) {
		case "content-type":
			head.Set("Content-Type", oneLine(values[0]))
		case "content-disposition":
			if strings.HasPrefix(strings.ToLower(values[0]), "attachment") { // nothing else: a browser is not to show it
				head.Set("Content-Disposition", oneLine(values[0]))
			}
		case "content-transfer-encoding":
			if strings.EqualFold(strings.TrimSpace(values[0]), "base64") {
				body = lenientBase64(p.Body)
			}
		}
	}
	w.Write(body)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// lenientBase64 decodes as far as it goes.
func lenientBase64(s string) []byte {
	b, _ := io.ReadAll(base64.NewDecoder(base64.StdEncoding, strings.NewReader(s)))
	return b
}
