package console

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"paquebot/internal/message"
)

// frameMax is the largest HTML part shown, in bytes; beyond it the page offers
// the source.
const frameMax = 4 << 20

// mailFrame serves a mail's HTML for the frame of the page. The policy does the
// work: no script, no form, no frame, nothing remote unless ?remote=1. Taking
// tags out (see defang) only spares the browser the attempt and closes what no
// policy covers, as preconnect.
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
	remote := r.URL.Query().Get("remote") == "1"
	w.Header().Set("Content-Security-Policy", framePolicy(r.Host, m.ID.String(), remote))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if contents.HTML == nil {
		http.Error(w, "This message has no HTML part.", http.StatusNotFound)
		return
	}
	text := contents.HTML.Text()
	if len(text) > frameMax {
		text = text[:frameMax]
	}
	w.Write(defang(withInline(text, m.ID.String(), contents.Inline, contents.Attachments)))
}

// framePolicy is what a mail may do in a browser.
func framePolicy(host, id string, remote bool) string {
	ours := "http://" + host + "/api/dev/messages/" + id + "/parts/ https://" + host + "/api/dev/messages/" + id + "/parts/"
	img, style, font, media := ours+" data:", "'unsafe-inline'", "data:", "'none'"
	if remote {
		img, style, font, media = img+" http: https:", style+" http: https:", font+" http: https:", "http: https:"
	}
	return "default-src 'none'; img-src " + img + "; style-src " + style + "; font-src " + font + "; media-src " + media +
		"; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; " +
		"sandbox allow-popups allow-popups-to-escape-sandbox" // links open beside the page, as in any mail program
}

// withInline points cid: addresses at the parts they name (RFC 2392).
func withInline(document, id string, lists ...[]*message.Part) string {
	if !strings.Contains(document, "cid:") {
		return document
	}
	var pairs []string
	for _, parts := range lists {
		for _, p := range parts {
			if p.ContentID == "" || len(pairs) >= 2*inlineMax {
				continue
			}
			to := "/api/dev/messages/" + id + "/parts/" + itoa(p.Number)
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

// defang copies HTML without scripts, frames, plug-ins, <base>, <link> and
// <meta http-equiv>, octet for octet otherwise, and makes links open in a new
// window. A document that ends within a tag loses that tag.
func defang(document string) []byte {
	var out bytes.Buffer
	placed := false
	place := func() {
		if !placed {
			out.WriteString(`<base target="_blank"><meta name="referrer" content="no-referrer">`)
			placed = true
		}
	}
	z := html.NewTokenizer(strings.NewReader(document))
	skip := false // the text of an element that was taken out
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		raw := bytes.Clone(z.Raw())
		text := kind == html.TextToken
		switch {
		case kind == html.DoctypeToken && !placed:
			out.Write(raw) // it must stay first, or the browser changes its rules
			continue
		case text && (skip || !placed && len(bytes.TrimSpace(raw)) == 0):
			skip = false
			continue
		}
		skip = false
		place()
		if !text && kind != html.CommentToken && dropped(z) {
			skip = kind == html.StartTagToken && isRawText(raw)
			continue
		}
		out.Write(raw)
	}
	place()
	return out.Bytes()
}

// isRawText reports the tags whose content is no HTML to a tokenizer, but would
// be once they are gone.
func isRawText(tag []byte) bool {
	low := bytes.ToLower(tag)
	return bytes.HasPrefix(low, []byte("<script")) || bytes.HasPrefix(low, []byte("<iframe"))
}

// dropped decides on one tag.
func dropped(z *html.Tokenizer) bool {
	name, more := z.TagName()
	switch atom.Lookup(name) {
	case atom.Script, atom.Iframe, atom.Frame, atom.Frameset, atom.Object, atom.Embed, atom.Applet, atom.Base, atom.Link:
		return true
	case atom.Meta:
		for more {
			var key []byte
			key, _, more = z.TagAttr()
			if string(key) == "http-equiv" {
				return true
			}
		}
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
