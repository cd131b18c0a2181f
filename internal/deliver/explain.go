package deliver

import (
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/provider"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

// explain adds to an outcome what is known beside the reply itself: what a
// provider means by it (RC-70 to RC-73), under which ID it has the message, why
// the message took another endpoint than the first. Nothing is decided by it
// (CLI-32).
func (t *attempt) explain(o *mail.Outcome, a smtpclient.Answer) {
	p := t.profile()
	if a.Good() {
		if p.Provider != nil {
			id, _ := p.Provider.MessageID(p.Region, replyText(a.Reply))
			o.RemoteID = strings.Trim(id, "<>")
		}
		if t.a.Route.Account != "" && o.Addr.IsValid() {
			o.Hint = t.d.needs.Endpoints.byway(t.a.Route.Account, t.network(), o.Host, o.Addr.Port())
		}
		return
	}
	if a.Kind != smtpclient.Said {
		return
	}
	known := p.Provider
	if known == nil {
		known = whose(o.Host)
	}
	if known == nil {
		return
	}
	if hint, ok := known.Explain(a.Reply.Code, replyText(a.Reply)); ok {
		o.Hint = strings.TrimSpace(hint.Means + " " + hint.Do)
	}
}

// whose finds the provider behind a host, by its own name or as an exchanger.
func whose(host string) *provider.Provider {
	if p, _, ok := provider.ByHost(host); ok {
		return p
	}
	p, _ := provider.ByMX(host)
	return p
}

// replyText is a reply without its code.
func replyText(r smtp.Reply) string {
	_, text, _ := strings.Cut(r.String(), " ")
	return text
}
