package api

import (
	"strconv"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Plain says in a few words what an outcome means; the reply itself is always
// shown beside it (ux.md §5.4: plainly, then exactly).
func Plain(o mail.Outcome) string {
	if o.Result == mail.Accepted {
		return ""
	}
	if o.Hint != "" { // what that provider means by it
		return o.Hint
	}
	words := byStage[o.Stage]
	network := o.Reply.Enhanced.Subject == 4 || o.Stage == mail.StageStartTLS
	if words != "" && (o.Stage == mail.StageAuth || o.Ours && network) {
		return words
	}
	for _, m := range meanings {
		if m.fits(o.Reply) {
			return m.words
		}
	}
	if words != "" && o.Ours {
		return words
	}
	if o.Reply.Permanent() {
		return "refused for good"
	}
	return "not now, they say"
}

// PlainText is Plain for an outcome as events and views write it.
func PlainText(reply, stage string, ours bool) string {
	words := strings.SplitN(reply, " ", 3)
	code, err := strconv.Atoi(words[0])
	if err != nil || code < 400 {
		return ""
	}
	o := mail.Outcome{Result: mail.Deferred, Stage: mail.Stage(stage), Ours: ours, Reply: smtp.Reply{Code: code}}
	rest := words[1:]
	if len(rest) > 0 {
		if e, ok := smtp.ParseEnhanced(rest[0]); ok {
			o.Reply.Enhanced, rest = e, rest[1:]
		}
	}
	o.Reply.Text = strings.Join(rest, " ")
	return Plain(o)
}

var byStage = map[mail.Stage]string{
	mail.StageConnect:  "cannot be reached",
	mail.StageGreeting: "no proper greeting",
	mail.StageStartTLS: "no TLS could be agreed on",
	mail.StageAuth:     "our credentials are refused",
	mail.StageRoute:    "its mail server cannot be found now",
}

// meaning reads a reply: code class, enhanced code without its class, a word in
// the text; the first that fits counts.
type meaning struct {
	class  int    // 4, 5 or 0 for both
	detail string // "1.1", "7." for a subject; "" for any
	word   string // in the text, lower case; "" for any
	words  string
}

func (m meaning) fits(r smtp.Reply) bool {
	detail := strings.TrimPrefix(r.Enhanced.String(), r.Enhanced.String()[:min(2, len(r.Enhanced.String()))])
	return (m.class == 0 || r.Code/100 == m.class) &&
		(m.detail == "" || detail == m.detail || strings.HasSuffix(m.detail, ".") && strings.HasPrefix(detail, m.detail)) &&
		(m.word == "" || strings.Contains(strings.ToLower(r.Text), m.word))
}

var meanings = []meaning{
	{4, "", "greylist", "greylisting"},
	{4, "", "graylist", "greylisting"},
	{4, "", "temporarily deferred", "they limit our rate"},
	{4, "", "too many", "too much at once"},
	{4, "", "busy", "busy"},
	{4, "", "rate", "they limit our rate"},
	{4, "7.650", "", "they limit our rate"},
	{0, "", "blocked using", "our address is on a block list"},
	{0, "", "blacklist", "our address is on a block list"},
	{0, "", "spamhaus", "our address is on a block list"},
	{5, "1.1", "", "no such user"},
	{5, "1.2", "", "no such domain"},
	{5, "1.10", "", "the domain takes no mail"},
	{5, "1.6", "", "the mailbox has moved"},
	{5, "2.1", "", "the mailbox is disabled"},
	{0, "2.2", "", "the mailbox is full"},
	{0, "3.4", "", "too large for them"},
	{0, "2.3", "", "too large for them"},
	{5, "4.7", "", "given up: too old"},
	{4, "3.1", "", "their storage is full"},
	{4, "3.2", "", "their system takes no mail now"},
	{0, "4.4", "", "no route to them"},
	{0, "4.6", "", "a mail loop"},
	{0, "4.1", "", "does not answer"},
	{0, "4.2", "", "the connection broke"},
	{0, "7.1", "relay", "they do not relay for us"},
	{0, "7.23", "", "SPF fails for our address"},
	{0, "7.26", "", "neither SPF nor DKIM passes"},
	{0, "7.25", "", "our address has no reverse name"},
	{0, "7.10", "", "TLS is demanded and cannot be had"},
	{5, "7.1", "", "refused by their policy"},
	{4, "7.", "", "held back by their policy"},
	{5, "6.", "", "they cannot take this content"},
	{5, "7.", "", "refused by their policy"},
	{5, "", "user unknown", "no such user"},
}
