package critique

import (
	"net/url"
	"path"
	"strings"

	"golang.org/x/net/html"
)

// usage counts the features of caniemail.com, by slug, that a document uses.
type usage map[string]int

func (u usage) count(slug string) int { return u[slug] }

func (u usage) add(slug string) { u[slug]++ }

// nodesMax bounds what is looked at of a document.
const nodesMax = 100_000

// tags that caniemail.com names otherwise than html-TAG.
var tagSlugs = map[string][]string{
	"h1": {"html-h1-h6"}, "h2": {"html-h1-h6"}, "h3": {"html-h1-h6"}, "h4": {"html-h1-h6"}, "h5": {"html-h1-h6"}, "h6": {"html-h1-h6"},
	"ul": {"html-lists"}, "ol": {"html-lists"}, "dl": {"html-lists"},
	"article": {"html-semantics"}, "aside": {"html-semantics"}, "details": {"html-semantics"}, "figcaption": {"html-semantics"},
	"figure": {"html-semantics"}, "footer": {"html-semantics"}, "header": {"html-semantics"}, "main": {"html-semantics"},
	"mark": {"html-semantics"}, "nav": {"html-semantics"}, "section": {"html-semantics"}, "summary": {"html-semantics"}, "time": {"html-semantics"},
	"map": {"html-image-maps"}, "area": {"html-image-maps"},
	"b": {"html-strong"}, "s": {"html-strike"},
}

// attributes that are features of their own, as html-NAME unless said otherwise.
var attributeSlugs = map[string]string{
	"align": "html-align", "aria-describedby": "html-aria-describedby", "aria-hidden": "html-aria-hidden", "aria-label": "html-aria-label",
	"aria-labelledby": "html-aria-labelledby", "aria-live": "html-aria-live", "background": "html-background", "cellpadding": "html-cellpadding",
	"cellspacing": "html-cellspacing", "dir": "html-dir", "height": "html-height", "hidden": "html-hidden", "inert": "css-inert-attribute",
	"lang": "html-lang", "loading": "html-loading-attribute", "popover": "html-popover", "required": "html-required", "role": "html-role",
	"srcset": "html-srcset", "target": "html-target", "usemap": "html-image-maps", "valign": "html-valign", "width": "html-width",
}

var imageSlugs = map[string]string{
	"apng": "image-apng", "avif": "image-avif", "bmp": "image-bmp", "gif": "image-gif", "hdr": "image-hdr", "heic": "image-heif", "heif": "image-heif",
	"ico": "image-ico", "jpg": "image-jpg", "jpeg": "image-jpg", "mp4": "image-mp4", "png": "image-png", "svg": "image-svg", "svg+xml": "image-svg",
	"tif": "image-tiff", "tiff": "image-tiff", "webp": "image-webp",
}

// scan finds the features that a document uses, and counts its elements.
func scan(document string) (used usage, nodes int) {
	used = usage{}
	z := html.NewTokenizer(strings.NewReader(document))
	inStyle := false
	for nodes < nodesMax {
		switch z.Next() {
		case html.ErrorToken:
			return used, nodes
		case html.DoctypeToken:
			used.add("html-doctype")
		case html.CommentToken:
			used.add("html-comments")
		case html.TextToken:
			if inStyle {
				used.sheet(string(z.Text()))
			}
		case html.EndTagToken:
			inStyle = false
		case html.StartTagToken, html.SelfClosingTagToken:
			nodes++
			t := z.Token()
			inStyle = t.Data == "style" && t.Type == html.StartTagToken
			used.element(t)
		}
	}
	return used, nodes
}

func (u usage) element(t html.Token) {
	if slugs, special := tagSlugs[t.Data]; special {
		for _, s := range slugs {
			u.add(s)
		}
	} else {
		u.add("html-" + t.Data)
	}
	attr := map[string]string{}
	for _, a := range t.Attr {
		key := strings.ToLower(a.Key)
		attr[key] = a.Val
		if slug, ok := attributeSlugs[key]; ok {
			u.add(slug)
		}
	}
	if style := attr["style"]; style != "" {
		u.inline(style)
	}
	u.particular(t.Data, attr)
}

// particular are features of one element with one attribute.
func (u usage) particular(tag string, attr map[string]string) {
	kind := strings.ToLower(attr["type"])
	switch tag {
	case "a":
		switch href := strings.ToLower(strings.TrimSpace(attr["href"])); {
		case strings.HasPrefix(href, "#") && len(href) > 1:
			u.add("html-anchor-links")
		case strings.HasPrefix(href, "mailto:"):
			u.add("html-mailto-links")
		}
	case "button":
		switch kind {
		case "reset":
			u.add("html-button-reset")
		case "submit", "":
			u.add("html-button-submit")
		}
	case "input":
		if kind == "" {
			kind = "text"
		}
		u.add("html-input-" + kind)
	case "meta":
		if strings.EqualFold(attr["name"], "color-scheme") {
			u.add("html-meta-color-scheme")
		}
	case "img", "source":
		u.image(attr["src"])
	}
}

func (u usage) image(src string) {
	if media, ok := strings.CutPrefix(strings.ToLower(clip(src, 100)), "data:image/"); ok {
		kind, _, _ := strings.Cut(media, ";")
		u.add("image-base64")
		if slug := imageSlugs[kind]; slug != "" {
			u.add(slug)
		}
		return
	}
	if at, err := url.Parse(src); err == nil {
		if slug := imageSlugs[strings.ToLower(strings.TrimPrefix(path.Ext(at.Path), "."))]; slug != "" {
			u.add(slug)
		}
	}
}
