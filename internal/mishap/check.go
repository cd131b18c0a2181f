package mishap

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// KeyError is a rule that cannot be: which key of it, and why.
type KeyError struct {
	Rule int    // which of those given, from 0; -1: none of them
	ID   string // its ID, "" if it has none
	Key  string // "do.reply"
	Why  string
}

// Error says which rule and key, and why.
func (e *KeyError) Error() string {
	who := "rule " + strconv.Itoa(e.Rule+1)
	if e.ID != "" {
		who += " (" + e.ID + ")"
	}
	if e.Rule < 0 {
		who = "the list of rules"
	}
	if e.Key == "" {
		return who + ": " + e.Why
	}
	return who + ": " + e.Key + ": " + e.Why
}

// check finds what a rule cannot mean. The error is a *KeyError without Rule.
func check(r *Rule, now time.Time) error {
	bad := func(key, format string, args ...any) error {
		return &KeyError{ID: r.ID, Key: key, Why: fmt.Sprintf(format, args...)}
	}
	if !validID(r.ID) {
		return bad("id", "at most %d letters, digits, \".\", \"_\" and \"-\"", idMax)
	}
	if !slices.Contains(Stages(), r.Stage) {
		return bad("stage", "%q is no stage; one of %s", r.Stage, stageNames())
	}
	for key, why := range map[string]bool{
		"skip": r.Skip < 0, "times": r.Times < 0, "every": r.Every < 0, "match.messages": r.Match.Messages < 0,
		"match.recipients": r.Match.Recipients < 0, "match.larger": r.Match.Larger < 0, "do.after": r.Do.After < 0,
	} {
		if why {
			return bad(key, "cannot be less than 0")
		}
	}
	switch {
	case !(r.Probability >= 0 && r.Probability <= 1):
		return bad("probability", "from 0 to 1, like 0.25")
	case !slices.Contains([]Per{PerRule, PerUser, PerPair, PerSession, PerClient}, r.Per):
		return bad("per", "%q is none of user, pair, session, client", r.Per)
	case !r.Expires.IsZero() && !r.Expires.After(now):
		return bad("expires", "%s has passed", r.Expires.Format(time.RFC3339))
	case !printable(r.Note):
		return bad("note", "at most %d printable octets", textMax)
	}
	if key, why := r.Match.wrong(r.Stage); why != "" {
		return bad("match."+key, "%s", why)
	}
	if key, why := r.Do.wrong(r.Stage); why != "" {
		return bad(strings.TrimSuffix("do."+key, "."), "%s", why)
	}
	return nil
}

func stageNames() string {
	var names []string
	for _, s := range Stages() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func validID(id string) bool {
	return len(id) <= idMax && !strings.ContainsFunc(id, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	})
}

func printable(s string) bool { return len(s) <= textMax && smtp.Printable(s) == s }

// wrong names the key that cannot match at a stage: a rule that never strikes
// is a test that never fails.
func (m Match) wrong(at Stage) (key, why string) {
	for _, k := range []struct {
		key, value string
		from       []Stage // where it is known
	}{
		{"user", m.User, []Stage{Auth, Mail, Rcpt, Data, Content, Dot, Quit, Delivery}},
		{"helo", m.Helo, []Stage{TLS, Ehlo, Helo, StartTLS, Auth, Mail, Rcpt, Data, Content, Dot, Quit, Delivery}},
		{"sni", m.SNI, []Stage{TLS}},
		{"sender", m.Sender, []Stage{Mail, Rcpt, Data, Content, Dot, Delivery}},
		{"recipient", m.Recipient, []Stage{Rcpt, Data, Content, Dot, Delivery}},
		{"subject", m.Subject, []Stage{Dot, Delivery}},
		{"port", m.Port, nil}, {"client", m.Client, nil},
	} {
		if k.value == "" {
			continue
		}
		if !printable(k.value) {
			return k.key, fmt.Sprintf("at most %d printable octets", textMax)
		}
		if k.from != nil && !slices.Contains(k.from, at) {
			return k.key, fmt.Sprintf("is not known at %s", at)
		}
	}
	switch {
	case len(m.Header) > 0 && at != Dot:
		return "header", fmt.Sprintf("is not known at %s", at)
	case len(m.Header) > headersMax:
		return "header", fmt.Sprintf("at most %d fields", headersMax)
	case m.Recipients > 0 && !slices.Contains([]Stage{Rcpt, Data, Content, Dot}, at):
		return "recipients", fmt.Sprintf("is not known at %s", at)
	case m.Larger > 0 && at != Dot:
		return "larger", fmt.Sprintf("is not known at %s", at)
	case m.Port != "" && !validPort(m.Port):
		return "port", fmt.Sprintf("%q is neither a port nor a role: mx, submission, submissions", m.Port)
	case m.Client != "" && !validClient(m.Client):
		return "client", fmt.Sprintf("%q is neither an address nor a network", m.Client)
	}
	for name, pattern := range m.Header {
		if name == "" || !printable(name) || !printable(pattern) {
			return "header", fmt.Sprintf("names and patterns are at most %d printable octets", textMax)
		}
	}
	return "", ""
}

func validPort(port string) bool {
	switch mail.Role(strings.ToLower(port)) {
	case mail.RoleMX, mail.RoleSubmission, mail.RoleSubmissions:
		return true
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func validClient(client string) bool {
	if _, err := netip.ParsePrefix(client); err == nil {
		return true
	}
	_, err := netip.ParseAddr(client)
	return err == nil
}

// wrong names the key that cannot be done at a stage.
func (a Action) wrong(at Stage) (key, why string) {
	endings := 0
	for _, is := range []bool{a.Reply != "", a.Stall, a.Drop, a.Reset, a.Complain, a.Certificate != "", a.TLSVersion != ""} {
		if is {
			endings++
		}
	}
	here := func(stages ...Stage) bool { return slices.Contains(stages, at) }
	switch {
	case endings == 0 && a.Delay == 0 && a.Throttle == 0 && len(a.Hide) == 0:
		return "", "says nothing that goes wrong: reply, delay, drop ..."
	case endings > 1:
		return "", "one of reply, stall, drop, reset, certificate, tls_version, complain"
	case a.Reply != "" && here(TLS, Content):
		return "reply", fmt.Sprintf("nothing can be said at %s; drop, reset, stall or delay", at)
	case a.Reply != "" && !printable(a.Reply):
		return "reply", fmt.Sprintf("at most %d printable octets", textMax)
	case a.Close && a.Reply == "":
		return "close", "needs a reply; without one it is drop"
	case a.Delay < 0 || time.Duration(a.Delay) > DelayMax:
		return "delay", fmt.Sprintf("from 0 to %s", DelayMax)
	case a.Throttle < 0 || a.Throttle > throttleMax || a.ThrottleMax != 0 && a.ThrottleMax < a.Throttle || a.ThrottleMax > throttleMax:
		return "throttle", "octets a second; throttle_max is more than throttle"
	case a.Throttle > 0 && here(TLS, Delivery, Quit):
		return "throttle", fmt.Sprintf("does nothing at %s; connect slows the whole session down", at)
	case len(a.Hide) > 0 && at != Ehlo:
		return "hide", "only at ehlo"
	case len(a.Hide) > keywordsMax || slices.ContainsFunc(a.Hide, func(k string) bool { return k == "" || len(k) > 40 || !printable(k) }):
		return "hide", fmt.Sprintf("at most %d keywords like \"STARTTLS\"", keywordsMax)
	case (a.Certificate != "" || a.TLSVersion != "") && at != TLS:
		return "certificate", "certificate and tls_version are for stage tls"
	case a.Certificate != "" && !slices.Contains(Certificates(), a.Certificate):
		return "certificate", fmt.Sprintf("%q is none of %s", a.Certificate, strings.Join(Certificates(), ", "))
	case a.TLSVersion != "" && versions(a.TLSVersion) == 0:
		return "tls_version", fmt.Sprintf("%q is none of 1.0, 1.1, 1.2, 1.3", a.TLSVersion)
	case a.After > 0 && at != Content:
		return "after", "only at content"
	case a.Keep && at != Dot:
		return "keep", "only at dot"
	case a.Complain && at != Delivery:
		return "complain", "only at delivery"
	case at == Delivery && (a.Stall || a.Drop || a.Reset || a.Delay > 0):
		return "", "at delivery there is reply (a bounce) or complain"
	}
	if a.Reply == "" {
		return "", ""
	}
	r, err := replyOf(a.Reply, at)
	switch {
	case err != nil:
		return "reply", err.Error()
	case at == Delivery && !r.Permanent():
		return "reply", "a bounce tells of a reply for good: 5xx"
	}
	return "", ""
}
