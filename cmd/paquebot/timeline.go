package main

import (
	"fmt"
	"strings"
	"time"

	"paquebot/internal/api"
)

// rowWidth is where the text of a row of the timeline begins.
const rowWidth = 25

// row writes one row: time, word, text; continuation lines stand below the text.
func (p *page) row(at, word, text string, more ...string) {
	indent := strings.Repeat(" ", rowWidth)
	first := cell(at, 12) + "  " + p.paint(wordStyle[word], cell(word, 10)) + " "
	p.text(first, indent, text)
	for _, m := range more {
		if m != "" {
			p.text(indent, indent, m)
		}
	}
}

var wordStyle = map[string]string{"delivered": green, "failed": red, "refused": red, "deferred": yellow, "held": yellow}

// timeline writes the events, with the date where it changes.
func (p *page) timeline(t api.Trace, facts []fact, dialogue bool) {
	if len(facts) == 0 {
		p.line("Its history is not kept, or forgotten.")
		return
	}
	day := p.now.In(p.zone).Format(time.DateOnly)
	several := t.Envelope != nil && len(t.Envelope.Recipients) > 1
	last := ""
	for _, f := range grouped(facts) {
		local := f.at.In(p.zone)
		if d := local.Format(time.DateOnly); d != day {
			p.line("%s", local.Format("Monday, 2 January 2006"))
			day = d
		}
		at := local.Format("15:04:05.000")
		if f.kind == "recipient.settled" && last == "delivery.tried" {
			at = "" // stands under the try it follows from
		}
		if f.kind != "message.finished" {
			p.event(at, f, t, several)
			last = f.kind
		}
		if dialogue && f.Dialogue != "" {
			for l := range strings.Lines(f.Dialogue) {
				p.line("%s%s", strings.Repeat(" ", rowWidth), oneLine(strings.TrimRight(l, "\n")))
			}
		}
	}
}

func (p *page) event(at string, f fact, t api.Trace, several bool) {
	who := ""
	if several && len(f.whom) > 0 {
		who = whom(f.whom) + ": "
	}
	switch f.kind {
	case "message.accepted":
		p.row(at, "accepted", f.arrival(), "on disk after "+span(seconds(f.Took))+", then: 250 2.0.0 Ok: queued",
			listed("repaired: ", f.Repaired), listed("noted: ", f.Verdict))
	case "message.refused":
		p.row(at, "refused", f.Reply, prefixed("rule: ", f.Rule), plainText(f.Cause))
	case "message.routed":
		p.row(at, "routed", f.way())
	case "delivery.tried":
		p.row(at, fmt.Sprintf("try %d", max(f.Number, 1)), who+f.peer(), f.said(), plainText(f.Hint), prefixed("its ID there: ", f.RemoteID))
	case "delivery.adapted":
		p.row(at, "adapted", "header for "+f.Site, listed("without ", f.Stripped), listed("with ", f.Added), f.Why)
	case "recipient.settled":
		p.settled(at, who, f)
	case "report.sent":
		if f.Dropped != "" {
			p.row(at, "no report", f.Dropped)
		} else {
			p.row(at, "told", fmt.Sprintf("%s to %s (%s)", reportNoun(f.Action), f.To, f.Report))
		}
	case "queue.acted":
		p.row(at, f.Action, "by "+f.By+quoted(f.Reason))
	case "message.caught":
		p.row(at, "caught", "mailbox "+f.Mailbox)
	default:
		p.row(at, f.kind, "")
	}
}

// whom names up to two recipients.
func whom(list []string) string {
	switch len(list) {
	case 1:
		return list[0]
	case 2:
		return list[0] + ", " + list[1]
	}
	return fmt.Sprintf("%s and %d more", list[0], len(list)-1)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func listed(prefix string, list []string) string { return prefixed(prefix, strings.Join(list, ", ")) }

// arrival says how a message came in: "587, TLS 1.3, AUTH SCRAM-SHA-256".
func (f fact) arrival() string {
	words := []string{}
	if port := portName(f.Listener); port != "" {
		words = append(words, port)
	} else if f.Role == "local" {
		words = append(words, "made here")
	}
	if f.TLS != "" {
		words = append(words, f.TLS)
	} else if f.Role != "local" {
		words = append(words, "no TLS")
	}
	if f.Method != "" {
		words = append(words, "AUTH "+f.Method)
	}
	return strings.Join(words, ", ")
}

func (f fact) way() string {
	how := f.Transport
	if how == "" || how == "smtp" {
		how = "to " + f.Site
	}
	if len(f.Hops) == 0 {
		return how
	}
	return how + ": " + strings.Join(f.Hops, ", ")
}

// peer says whom a try was made with.
func (f fact) peer() string {
	s := f.Host
	if s == "" {
		s = f.Site
	}
	if f.Addr != "" {
		s += " [" + host(f.Addr) + "]"
	}
	switch {
	case f.TLS != "" && strings.HasPrefix(f.Verified, "dane"):
		s += " " + f.TLS + ", DANE ok"
	case f.TLS != "" && f.Verified == "pkix":
		s += " " + f.TLS + ", certificate verified"
	case f.TLS != "":
		s += " " + f.TLS
	}
	if f.Source != "" {
		s += ", from " + f.Source
	}
	return s
}

// said quotes what was said, with where in the conversation.
func (f fact) said() string {
	s := f.Reply
	if f.Stage != "" && s != "" && !(f.Ours && f.Result == "accepted") {
		where := strings.ToUpper(f.Stage)
		if f.Ours {
			where = f.Stage + ", our words"
		}
		s = where + ": " + s
	}
	if f.Cause != "" && f.Ours {
		s += " (" + plainText(f.Cause) + ")"
	}
	if f.Ambiguous {
		s += " (after the final dot: it may have arrived)"
	}
	return s
}

func (p *page) settled(at, who string, f fact) {
	switch f.State {
	case "waiting":
		if strings.HasPrefix(f.Why, "retry: ") || strings.HasPrefix(f.Why, "release: ") {
			return // the operator's own row says it
		}
		p.row(at, "deferred", who+nextWords(p, f))
	case "failed":
		p.row(at, "failed", who+orWords(f.Why, "for good"))
	case "delivered":
		words := "they took responsibility for it"
		if f.Ours {
			words = "kept here"
		}
		p.row(at, "delivered", who+orWords(strings.TrimPrefix(f.Why, "delivered"), words))
	case "held":
		until := "until it is released"
		if !f.Due.IsZero() {
			until = "until " + p.clock(f.Due)
		}
		p.row(at, "held", who+strings.TrimPrefix(orWords(f.Why, ""), "held: ")+", "+until)
	default:
		p.row(at, f.State, who+f.Why)
	}
}

func nextWords(p *page, f fact) string {
	s := f.Why
	if s != "" {
		s = strings.TrimSuffix(s, ".") + ". "
	}
	if f.Due.IsZero() {
		return s + "Tried as soon as possible"
	}
	return s + "Next try " + p.clock(f.Due)
}

func orWords(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// meanings say what to do about an end nobody wanted, by the words in why.
var meanings = []struct{ word, text string }{
	{"no such user", "The address does not exist there. Correct it in the list it came from."},
	{"no such domain", "The domain does not exist, or takes no mail. Look for a misspelling."},
	{"takes no mail", "The domain says that it takes no mail at all."},
	{"mailbox is full", "The recipient's mailbox is full. Reach them another way."},
	{"block list", "Their system finds our address on a block list. Look for the list's name in the reply and ask to be removed once the cause is mended."},
	{"SPF", "Publish SPF for the sender's domain that names our address, and sign with DKIM."},
	{"reverse name", "Our address needs a reverse name that resolves back to it. Ask the network's owner."},
	{"too large", "Send it smaller, or as a link."},
	{"do not relay", "Their server does not serve this domain; the route or the MX record leads to the wrong host."},
	{"credentials", "The smart host refuses our user name or password. Mail waits until it takes them."},
	{"cannot be reached", "Nothing answers there. The host may be down, or a network on the way filters the port. See for yourself: paquebot send --server HOST:PORT --from A --to B --dry-run"},
	{"does not answer", "Nothing answers there. The host may be down, or a network on the way filters the port. See for yourself: paquebot send --server HOST:PORT --from A --to B --dry-run"},
	{"too old", "It was tried for as long as [queue] expire says."},
}

func (p *page) meaning(t api.Trace, facts []fact) {
	if t.Envelope == nil {
		return
	}
	newest := map[string]string{} // by recipient: why it stands as it does
	for _, f := range facts {
		if f.kind == "recipient.settled" {
			newest[f.Recipient] = f.Why
		}
	}
	why := ""
	for _, r := range t.Envelope.Recipients {
		if r.State == "failed" || r.State == "waiting" {
			why += r.Why + " " + newest[r.Address] + " "
		}
	}
	for _, m := range meanings {
		if why != "" && strings.Contains(why, m.word) {
			p.line("")
			p.text("what it means  ", "               ", m.text)
			return
		}
	}
}
