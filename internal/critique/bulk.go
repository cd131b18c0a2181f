package critique

import (
	"fmt"
	"net/netip"
	"net/url"
	"sort"
	"strings"

	"golang.org/x/net/html"

	"paquebot/internal/provider"
)

// unsubscribe: what bulk mail must offer at Gmail and Yahoo (RFC 8058), and the
// syntax of what is there (RFC 2369).
func (k *look) unsubscribe() []Finding {
	if !k.header.Has("List-Unsubscribe") {
		if k.header.Has("List-Id") || strings.EqualFold(k.header.Get("Precedence"), "bulk") || strings.EqualFold(k.header.Get("Precedence"), "list") {
			return one("no-unsubscribe", Failing, "Bulk mail without List-Unsubscribe", "It calls itself a list or bulk, and offers no way out.",
				"Add List-Unsubscribe: <https://…> and List-Unsubscribe-Post: List-Unsubscribe=One-Click.", "Gmail and Yahoo, rules for bulk senders; RFC 8058")
		}
		return one("no-unsubscribe", Hint, "No List-Unsubscribe", "Mail to one person about what that person did (a receipt, a code) needs none.",
			"If it goes to many: List-Unsubscribe: <https://…> and List-Unsubscribe-Post: List-Unsubscribe=One-Click.", "Gmail and Yahoo, rules for bulk senders")
	}
	links, fault := listLinks(k.header.Get("List-Unsubscribe"))
	switch {
	case k.header.Count("List-Unsubscribe") > 1:
		return one("bad-unsubscribe", Failing, "More than one List-Unsubscribe", "", "Put all addresses into one field, separated by commas.", "RFC 2369 §2")
	case fault != "":
		return one("bad-unsubscribe", Failing, "List-Unsubscribe cannot be read", fault, "Write List-Unsubscribe: <https://…>, <mailto:…>.", "RFC 2369 §2")
	}
	return k.oneClick(links)
}

func (k *look) oneClick(links []string) []Finding {
	https := false
	for _, l := range links {
		https = https || strings.HasPrefix(strings.ToLower(l), "https://")
	}
	post := strings.EqualFold(strings.ReplaceAll(k.header.Get("List-Unsubscribe-Post"), " ", ""), "List-Unsubscribe=One-Click")
	var missing []string
	if !https {
		missing = append(missing, "an https address")
	}
	if !post {
		missing = append(missing, "List-Unsubscribe-Post: List-Unsubscribe=One-Click")
	}
	if signed := k.signedFields(); k.header.Has("DKIM-Signature") && !(signed["list-unsubscribe"] && signed["list-unsubscribe-post"]) {
		missing = append(missing, "both fields within the DKIM signature (h=)")
	}
	if len(missing) > 0 {
		return one("not-one-click", Warning, "Not ready for unsubscribing with one click", "Missing: "+strings.Join(missing, "; ")+".",
			"Add what is missing; the address must take a POST without further questions.", "RFC 8058; Gmail and Yahoo")
	}
	return one("one-click", Good, "Ready for unsubscribing with one click", strings.Join(links, "  "), "", "RFC 8058")
}

func (k *look) signedFields() map[string]bool {
	all := map[string]bool{}
	for _, f := range k.header.All("DKIM-Signature") {
		for name := range strings.SplitSeq(tag(f.Value(), "h"), ":") {
			all[strings.ToLower(strings.TrimSpace(name))] = true
		}
	}
	return all
}

// listLinks reads <uri>, <uri>; comments between them are passed over.
func listLinks(value string) (links []string, fault string) {
	for rest := strings.TrimSpace(value); rest != ""; {
		_, after, ok := strings.Cut(rest, "<")
		if !ok {
			break
		}
		link, more, ok := strings.Cut(after, ">")
		if !ok {
			return nil, "an address is not closed with >"
		}
		link = strings.Join(strings.Fields(link), "")
		u, err := url.Parse(link)
		switch {
		case err != nil:
			return nil, clip(link, 100) + " is not an address"
		case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "mailto":
			return nil, clip(link, 100) + " is neither https nor mailto"
		}
		links = append(links, link)
		rest = more
	}
	if len(links) == 0 {
		return nil, "there is no address in angle brackets"
	}
	return links, ""
}

// size: which providers would not take it. What goes over the wire counts, which
// is what is measured here.
func (k *look) size() []Finding {
	small := map[int64][]string{}
	var limits []int64
	for _, p := range provider.All() {
		if max := p.Limits.MessageBytes; max > 0 && k.Size > max {
			if small[max] == nil {
				limits = append(limits, max)
			}
			small[max] = append(small[max], p.Title)
		}
	}
	if len(limits) == 0 {
		return nil
	}
	sort.Slice(limits, func(i, j int) bool { return limits[i] < limits[j] })
	var told []string
	for _, max := range limits {
		told = append(told, fmt.Sprintf("%s (%d MiB)", strings.Join(small[max], ", "), max>>20))
	}
	return one("too-big", Failing, fmt.Sprintf("At %.1f MiB it is too big for some providers", float64(k.Size)/(1<<20)), "Too big for "+strings.Join(told, "; ")+".",
		"Send a link to the file; attachments grow by a third on the wire.", "the providers' pages")
}

func (k *look) alternatives() []Finding {
	if k.contents.HTML == nil || k.contents.Text != nil {
		return nil
	}
	return one("no-text", Hint, "HTML without a plain text beside it", "", "Add a text/plain part in multipart/alternative: for watches, screen readers and filters.", "spam filters")
}

func (k *look) structure() []Finding {
	if len(k.contents.Notes) == 0 {
		return nil
	}
	return one("structure", Warning, "The MIME structure has faults", strings.Join(k.contents.Notes, "; "), "Let a mail library build the message.", "RFC 2045, 2046")
}

const (
	linksJudged = 500 // of one message
	linksTold   = 5   // of one kind
)

// links are judged by how they are written; nobody follows them.
func (k *look) links() []Finding {
	kinds := []struct {
		id, title, fix string
		level          Level
		found          []string
	}{
		{id: "bad-link", title: "Links that cannot be read", fix: "Encode them as RFC 3986 says.", level: Failing},
		{id: "relative-link", title: "Links without a host", fix: "In mail there is no page they could be relative to: write https://… in full.", level: Failing},
		{id: "local-link", title: "Links to this machine or an internal network", fix: "Set your application's public address.", level: Failing},
		{id: "lying-link", title: "Links that show another host than they go to", fix: "Show a word instead of an address, or the true one: filters take it for phishing.", level: Warning},
		{id: "plain-link", title: "Links without TLS", fix: "Use https.", level: Hint},
	}
	for _, l := range anchors(k.html) {
		if i := kindOfLink(l); i >= 0 {
			kinds[i].found = append(kinds[i].found, clip(l.target, 120))
		}
	}
	var all []Finding
	for _, kind := range kinds {
		if n := len(kind.found); n > 0 {
			detail := strings.Join(kind.found[:min(n, linksTold)], "  ")
			if n > linksTold {
				detail += fmt.Sprintf("  and %d more", n-linksTold)
			}
			all = append(all, Finding{kind.id, kind.level, kind.title, detail, kind.fix, ""})
		}
	}
	return all
}

type anchor struct{ target, text string }

// kindOfLink returns what is wrong with a link, as a place in links' table; -1
// for nothing.
func kindOfLink(l anchor) int {
	target := strings.TrimSpace(l.target)
	u, err := url.Parse(target)
	switch {
	case target == "" || strings.HasPrefix(target, "#"):
		return -1
	case err != nil || strings.ContainsAny(target, " \t\n<>"):
		return 0
	case u.Scheme == "" && u.Host == "":
		return 1
	case u.Scheme != "http" && u.Scheme != "https":
		return -1
	case internalHost(u.Hostname()):
		return 2
	case lies(l.text, u.Hostname()):
		return 3
	case u.Scheme == "http":
		return 4
	}
	return -1
}

func internalHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".local") || strings.HasSuffix(host, ".internal")
}

// lies reports whether the text of a link is an address of another organisation.
func lies(text, host string) bool {
	shown, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(text)), "https://")
	if !ok {
		if shown, ok = strings.CutPrefix(strings.ToLower(strings.TrimSpace(text)), "http://"); !ok && !strings.HasPrefix(shown, "www.") {
			return false
		}
	}
	shown, _, _ = strings.Cut(shown, "/")
	return shown != "" && strings.Contains(shown, ".") && !strings.ContainsAny(shown, " @") && organisation(shown) != organisation(strings.ToLower(host))
}

// anchors returns the links of a document with the text they stand on.
func anchors(document string) []anchor {
	var all []anchor
	open := -1
	z := html.NewTokenizer(strings.NewReader(document))
	for kind := z.Next(); kind != html.ErrorToken && len(all) < linksJudged; kind = z.Next() {
		switch kind {
		case html.StartTagToken:
			t := z.Token()
			if t.Data != "a" {
				continue
			}
			for _, a := range t.Attr {
				if a.Key == "href" {
					all, open = append(all, anchor{target: a.Val}), len(all)
				}
			}
		case html.TextToken:
			if open >= 0 && len(all[open].text) < 300 {
				all[open].text += string(z.Text())
			}
		case html.EndTagToken:
			if name, _ := z.TagName(); string(name) == "a" {
				open = -1
			}
		}
	}
	return all
}
