package compat

import (
	"fmt"
	"net/url"
	"strings"

	"paquebot/internal/message"
)

// ListUnsubscribe is what a message says of leaving its list (RFC 2369 §3.2,
// RFC 8058), and what is wrong with it.
type ListUnsubscribe struct {
	Header     string
	Links      []string
	Errors     string
	HeaderPost string
}

func listUnsubscribe(h message.Header) ListUnsubscribe {
	u := ListUnsubscribe{Header: message.DecodeWords(h.Get("List-Unsubscribe")), Links: []string{}}
	if u.Header == "" {
		return u
	}
	u.HeaderPost = h.Get("List-Unsubscribe-Post")
	links, problems := unsubscribeLinks(u.Header)
	u.Links, u.Errors = append(u.Links, links...), strings.Join(problems, ", ")
	return u
}

// unsubscribeLinks reads "<mailto:…>, <https://…>": at most one of each kind.
func unsubscribeLinks(value string) (links, problems []string) {
	value = strings.TrimSpace(withoutComments(value))
	if !strings.HasPrefix(value, "<") || !strings.HasSuffix(value, ">") {
		return nil, []string{fmt.Sprintf("%q should be enclosed in <>", value)}
	}
	items := strings.Split(value[1:len(value)-1], ">")
	if len(items) > 2 {
		return nil, []string{fmt.Sprintf("%q should include a maximum of one email and one HTTP link", value)}
	}
	seen := map[string]bool{}
	for i, item := range items {
		if i > 0 {
			comma, link, found := strings.Cut(item, "<")
			if !found || strings.TrimSpace(comma) != "," {
				return nil, []string{fmt.Sprintf("%q <> should be split with a comma and optional spaces", value)}
			}
			item = link
		}
		kind, problem := linkKind(item)
		switch {
		case problem != "":
			problems = append(problems, problem)
		case seen[kind]:
			problems = append(problems, fmt.Sprintf("%q should only contain one %s", item, kind))
		default:
			seen[kind] = true
			links = append(links, item)
		}
	}
	return links, problems
}

func linkKind(link string) (kind, problem string) {
	u, err := url.Parse(link)
	switch {
	case strings.ContainsAny(link, " \t"):
		return "", fmt.Sprintf("%q should not contain spaces", link)
	case err != nil:
		return "", fmt.Sprintf("%q is no link", link)
	case u.Scheme == "mailto" && u.Opaque != "":
		return "mailto:", ""
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		return "HTTP link", ""
	}
	return "", fmt.Sprintf("%q should start with either http(s):// or mailto:", link)
}

// withoutComments takes out what stands in parentheses outside of links.
func withoutComments(s string) string {
	var out strings.Builder
	depth, link := 0, false
	for _, r := range s {
		switch {
		case r == '<' && depth == 0:
			link = true
		case r == '>' && depth == 0:
			link = false
		case r == '(' && !link:
			depth++
			continue
		case r == ')' && !link && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			out.WriteRune(r)
		}
	}
	return out.String()
}
