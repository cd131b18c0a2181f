package console

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"paquebot/internal/catch"
	"paquebot/internal/message"
)

// frameMax is the largest HTML part shown, in bytes; beyond it the page offers
// the source.
const frameMax = 4 << 20

// mailFrame serves a mail's HTML for the frame of the page. The policy does the
// work: no script, no form, no frame, nothing remote; ?remote=1 lets pictures
// come through this program (remote.go). Taking tags out (see defang) only
// spares the browser the attempt and closes what no policy covers, as
// preconnect.
func (c *console) mailFrame(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	root, err := c.parse(r, m.ID)
	if err != nil {
		fail(w, err)
		return
	}
	contents := root.Contents()
	remote := r.URL.Query().Get("remote") == "1" && c.needs.Dial != nil
	w.Header().Set("Content-Security-Policy", framePolicy(r.Host, c.config.BasePath, m.ID.String(), remote))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if contents.HTML == nil {
		http.Error(w, "This message has no HTML part.", http.StatusNotFound)
		return
	}
	text := withInline(cut(contents.HTML.Text(), frameMax), c.at("/api/dev/messages/"+m.ID.String()+"/parts/"), contents.Inline, contents.Attachments)
	o := frameOptions{Scheme: scheme(r.URL.Query().Get("scheme")), Picture: func(string) string { return blank }}
	if remote {
		o.Picture = func(address string) string {
			return c.at("/m/"+m.ID.String()+"/remote?u=") + url.QueryEscape(address)
		}
	}
	if r.URL.Query().Get("print") == "1" {
		o.Head = printHead(m)
	}
	_, _ = w.Write(defang(text, o)) // who is gone needs no mail
}

// blank stands where a remote picture is not loaded: the policy would stop it
// anyway, but with a complaint in the console and a broken picture on the page.
const blank = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="

// framePolicy is what a mail may do in a browser: show its own pictures. With
// remote, also those that this program fetches for it; still nothing comes from
// anywhere but here.
func framePolicy(host, base, id string, remote bool) string {
	ours := func(path string) string { return "http://" + host + base + path + " https://" + host + base + path }
	img := ours("/api/dev/messages/"+id+"/parts/") + " data:"
	if remote {
		img += " " + ours("/m/"+id+"/remote")
	}
	return "default-src 'none'; img-src " + img + "; style-src 'unsafe-inline'; font-src data:; media-src 'none'" +
		"; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; " +
		"sandbox allow-popups allow-popups-to-escape-sandbox" // links open beside the page, as in any mail program
}

// withInline points cid: addresses at the parts they name (RFC 2392).
func withInline(document, base string, lists ...[]*message.Part) string {
	if !strings.Contains(document, "cid:") {
		return document
	}
	var pairs []string
	for _, parts := range lists {
		for _, p := range parts {
			if p.ContentID == "" || len(pairs) >= 2*inlineMax {
				continue
			}
			to := base + itoa(p.Number)
			pairs = append(pairs, "cid:"+p.ContentID, to)
			if escaped := url.PathEscape(p.ContentID); escaped != p.ContentID {
				pairs = append(pairs, "cid:"+escaped, to)
			}
		}
	}
	return strings.NewReplacer(pairs...).Replace(document)
}

// inlineMax bounds the inline images of one mail.
const inlineMax = 500

// frameOptions are how a mail's HTML is to be shown.
type frameOptions struct {
	Scheme string // "light", "dark" as the mail itself would be dark, "forced" as some programs darken any mail
	// Picture gives the address to load a remote picture by; nil: leave it, the
	// policy stops it.
	Picture func(address string) string
	Head    string // HTML of ours that goes above
}

// printHead is what stands above a mail that is to be printed.
func printHead(m catch.Message) string {
	line := func(name, value string) string {
		return "<div><b>" + name + "</b> " + html.EscapeString(value) + "</div>"
	}
	return `<div style="all:initial;display:block;font:13px/1.5 sans-serif;color:#000;background:#fff;border-bottom:1px solid #999;padding:8px;margin-bottom:12px">` +
		line("From", m.HeaderFrom) + line("To", m.HeaderTo) + line("Subject", m.Subject) + line("Date", m.Caught.Format(time.RFC1123Z)) + "</div>"
}

func scheme(asked string) string {
	switch asked {
	case "dark", "forced":
		return asked
	}
	return "light"
}

// defang copies HTML without scripts, frames, plug-ins, <base>, <link> and
// <meta http-equiv>, octet for octet otherwise but for what the options ask, and
// makes links open in a new window. A document that ends within a tag loses that
// tag.
func defang(document string, o frameOptions) []byte {
	d := defanger{frameOptions: o, z: html.NewTokenizer(strings.NewReader(document))}
	for d.next() {
	}
	d.place()
	return d.out.Bytes()
}

type defanger struct {
	frameOptions
	z      *html.Tokenizer
	out    bytes.Buffer
	placed bool // our own head was written
	skip   bool // the text that comes belongs to an element that was taken out
	style  bool // the text that comes is CSS
	inert  bool // the text that comes is no HTML, unless the browser is within SVG
	depth  int  // elements that are open and that nothing closes but their end
}

// depthShown is how deep elements may lie in each other; a browser needs
// seconds to lay out a mail of sixty thousand, and is the page's own as well.
// Tables in tables of real mails stay below fifty.
const depthShown = 300

// tooDeep counts elements, and reports those to be left out. What closes by
// itself, and what is empty, does not nest.
func (d *defanger) tooDeep(t html.Token) bool {
	switch t.DataAtom {
	case atom.P, atom.Li, atom.Td, atom.Th, atom.Tr, atom.Tbody, atom.Thead, atom.Tfoot, atom.Dd, atom.Dt, atom.Option,
		atom.Br, atom.Img, atom.Hr, atom.Input, atom.Meta, atom.Col, atom.Area, atom.Wbr, atom.Source, atom.Track, atom.Html, atom.Head, atom.Body:
		return false
	}
	switch t.Type {
	case html.StartTagToken:
		d.depth++
		return d.depth > depthShown
	case html.EndTagToken:
		d.depth = max(0, d.depth-1)
		return d.depth >= depthShown
	}
	return false
}

// place writes our own head. Until then only a doctype may have come: after
// anything else a browser would not take it for the first.
func (d *defanger) place() {
	if !d.placed {
		d.out.WriteString(`<base target="_blank"><meta name="referrer" content="no-referrer">` + schemeStyle[d.Scheme] + d.Head)
		d.placed = true
	}
}

// schemeStyle makes the preview the same whatever the browser prefers.
var schemeStyle = map[string]string{
	"dark": "<style>:root{color-scheme:dark light}</style>",
	"forced": "<style>html{background:#fff;filter:invert(1) hue-rotate(180deg)}" +
		"img,picture,video,[background]{filter:invert(1) hue-rotate(180deg)}</style>",
}

func (d *defanger) next() bool {
	kind := d.z.Next()
	if kind == html.ErrorToken {
		return false
	}
	raw := bytes.Clone(d.z.Raw())
	isText := kind == html.TextToken
	switch {
	case kind == html.DoctypeToken && !d.placed:
		d.out.Write(raw) // it must stay first, or the browser changes its rules
		return true
	case isText && (d.skip || !d.placed && len(bytes.TrimSpace(raw)) == 0):
		d.skip = false
		return true
	}
	d.skip = false
	d.place()
	switch {
	case isText && d.style:
		// Within SVG a browser takes it for elements. CSS reads the escape as "<".
		d.out.WriteString(tagStart.ReplaceAllString(d.css(string(raw)), `\3c $1`))
	case isText && d.inert:
		d.out.Write(tagStart.ReplaceAll(raw, []byte("&lt;$1")))
	case isText || kind == html.CommentToken || kind == html.DoctypeToken:
		d.out.Write(raw)
	default:
		d.tag(kind, raw)
		return true
	}
	d.style, d.inert = false, false
	return true
}

// tagStart is what would begin a tag.
var tagStart = regexp.MustCompile(`<([A-Za-z])`)

func (d *defanger) tag(kind html.TokenType, raw []byte) {
	name, attrs := d.z.TagName()
	t := html.Token{Type: kind, Data: string(name), DataAtom: atom.Lookup(name)}
	for attrs {
		var key, value []byte
		key, value, attrs = d.z.TagAttr()
		t.Attr = append(t.Attr, html.Attribute{Key: string(key), Val: string(value)})
	}
	if dropped(t) {
		d.skip = kind == html.StartTagToken && isRawText(raw)
		return
	}
	if t.DataAtom != atom.Style && d.tooDeep(t) {
		return
	}
	opens := kind == html.StartTagToken
	d.style, d.inert = opens && t.DataAtom == atom.Style, false
	switch t.DataAtom {
	case atom.Noscript: // there is no script in the frame: a browser reads on
		d.z.NextIsNotRawText()
	case atom.Title, atom.Textarea, atom.Xmp, atom.Noembed, atom.Noframes, atom.Plaintext:
		d.inert = opens
	}
	if d.rewrite(&t) {
		d.out.WriteString(t.String())
		return
	}
	d.out.Write(raw)
}

// rewrite points pictures where they may come from. It reports whether the tag
// changed.
func (d *defanger) rewrite(t *html.Token) bool {
	changed := false
	for i := range t.Attr {
		a := &t.Attr[i]
		was := a.Val
		switch a.Key {
		case "src", "background", "poster":
			a.Val = d.picture(a.Val)
		case "srcset":
			a.Val = d.srcset(a.Val)
		case "style":
			a.Val = d.css(a.Val)
		}
		changed = changed || a.Val != was
	}
	return changed
}

// picture returns the address to load a picture by.
func (d *defanger) picture(address string) string {
	if dataBomb(address) {
		return ""
	}
	if remote := absolute(address); d.Picture != nil && remote != "" {
		return d.Picture(remote)
	}
	return address
}

// absolute returns an address of the web as this program would ask for it, ""
// for any other.
func absolute(address string) string {
	address = strings.TrimSpace(address)
	if strings.HasPrefix(address, "//") {
		address = "https:" + address
	}
	u, err := url.Parse(address)
	if err != nil || fetchable(u) != nil || u.Host == "" {
		return ""
	}
	return u.String()
}

// srcset is a list of addresses with widths (HTML §2.6.6); only the first
// counts here.
func (d *defanger) srcset(list string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(list), " ")
	if remote := absolute(strings.TrimSuffix(first, ",")); d.Picture != nil && remote != "" {
		return d.Picture(remote)
	}
	return list
}

// css makes the colour scheme the one that is previewed, and points pictures
// where they may come from. An address hidden by CSS escapes is not found here,
// and so not loaded.
func (d *defanger) css(text string) string {
	text = preferScheme.ReplaceAllStringFunc(text, func(query string) string {
		if strings.Contains(strings.ToLower(query), "dark") == (d.Scheme == "dark") {
			return "min-width:0" // always so
		}
		return "max-width:0" // never so
	})
	if d.Picture == nil {
		return text
	}
	return cssURL.ReplaceAllStringFunc(text, func(match string) string {
		m := cssURL.FindStringSubmatch(match)
		if remote := absolute(m[1] + m[2] + m[3]); remote != "" {
			return `url("` + d.Picture(remote) + `")`
		}
		return match
	})
}

var (
	preferScheme = regexp.MustCompile(`(?i)prefers-color-scheme\s*:\s*(?:dark|light)`)
	cssURL       = regexp.MustCompile(`(?i)url\(\s*(?:"([^"\\]*)"|'([^'\\]*)'|([^'"()\s\\]*))\s*\)`)
)

// remotePictures are the addresses that a mail would load pictures from, each
// once.
func remotePictures(document string) []string {
	var found []string
	defang(document, frameOptions{Picture: func(address string) string {
		if len(found) < picturesOfMail && !slices.Contains(found, address) {
			found = append(found, address)
		}
		return ""
	}})
	return found
}

// picturesOfMail bounds the remote pictures of one mail.
const picturesOfMail = 300

// dataBomb reports a picture written into the mail itself that would take more
// memory to show than a browser should be asked for.
func dataBomb(address string) bool {
	rest, isData := strings.CutPrefix(strings.TrimSpace(address), "data:image/")
	_, encoded, is64 := strings.Cut(rest, ";base64,")
	if !isData || !is64 {
		return false
	}
	head := strings.TrimRight(cut(encoded, 64<<10), "=")
	b, _ := base64.RawStdEncoding.DecodeString(head[:len(head)/4*4])
	return tooManyPoints(b)
}

// isRawText reports the tags whose content is no HTML to a tokenizer, but would
// be once they are gone.
func isRawText(tag []byte) bool {
	low := bytes.ToLower(tag)
	return bytes.HasPrefix(low, []byte("<script")) || bytes.HasPrefix(low, []byte("<iframe"))
}

// dropped decides on one tag.
func dropped(t html.Token) bool {
	switch t.DataAtom {
	case atom.Script, atom.Iframe, atom.Frame, atom.Frameset, atom.Object, atom.Embed, atom.Applet, atom.Base, atom.Link:
		return true
	case atom.Meta:
		return slices.ContainsFunc(t.Attr, func(a html.Attribute) bool { return a.Key == "http-equiv" })
	}
	return false
}

// mayLoadRemote guesses whether a mail wants something from the network, to
// offer a person to allow it.
func mayLoadRemote(document string) bool {
	low := strings.ToLower(document)
	for _, sign := range []string{`src="http`, `src='http`, "src=http", `src="//`, `src='//`, "url(http", `url("http`, "url('http", `background="http`, "srcset=", `href="http`} {
		if sign == `href="http` {
			if strings.Contains(low, "<link") && strings.Contains(low, sign) {
				return true
			}
			continue
		}
		if strings.Contains(low, sign) {
			return true
		}
	}
	return false
}
