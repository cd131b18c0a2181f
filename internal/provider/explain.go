package provider

import (
	"strconv"
	"strings"
)

// textMax bounds what is searched in a reply; RFC 5321 §4.5.3.1.5 allows 512
// octets a line, and the words that matter come first.
const textMax = 2048

// Explain finds what a reply of the provider means (RC-70..73). Text is what
// follows the code, enhanced code included, lines joined by a blank. A refused
// sign-in that no rule knows is explained by what credentials look like here.
func (p *Provider) Explain(code int, text string) (ReplyHint, bool) {
	if len(text) > textMax {
		text = text[:textMax]
	}
	for _, r := range p.Replies {
		if r.Code != 0 && r.Code != code {
			continue
		}
		if re := compiled(r.Text); r.Text == "" || re != nil && re.MatchString(text) {
			return r, true
		}
	}
	if code == 535 || code == 534 {
		return ReplyHint{
			Code: code, Class: "auth", Confidence: p.Confidence,
			Means: p.Title + " refuses the user name or the password.", Do: p.Auth.Hint,
		}, true
	}
	return ReplyHint{}, false
}

// splitReply divides "535 5.7.8 words" into code and the rest.
func splitReply(reply string) (code int, rest string) {
	head, rest, _ := strings.Cut(reply, " ")
	code, err := strconv.Atoi(head)
	if err != nil {
		return 0, reply
	}
	return code, rest
}
