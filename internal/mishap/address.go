package mishap

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/mail"
)

// Address is a row of the table of what an address means. The words stand in
// the local part after a "+", in any case: "anna+data-554@example.com"; several
// of them may follow each other: "anna+slow-2s+550@example.com".
type Address struct {
	Form    string `json:"form"`    // "+data-554"
	Means   string `json:"means"`   // in a sentence
	Example string `json:"example"` // a whole address, or a user name
	Where   string `json:"where"`   // "recipient", "sender" or "user name"

	words *regexp.Regexp
	rules func(arg []string) []Rule // of the submatches
}

// Addresses returns the table. It is the specification; its test speaks every
// row on every port.
func Addresses() []Address {
	return []Address{
		{Form: "550@ or +550", Means: "That reply to RCPT: any code from 400 to 599, with the enhanced code that belongs to it. 421 hangs up.",
			Example: "anna+452@example.com", Where: "recipient", words: form(`[45]\d\d`),
			rules: func(a []string) []Rule { return one(Rcpt, Action{Reply: a[0]}) }},
		{Form: "+data-554", Means: "Accepted at RCPT; that reply after the final dot or the last BDAT.",
			Example: "anna+data-554@example.com", Where: "recipient", words: form(`data-([45]\d\d)`),
			rules: func(a []string) []Rule { return one(Dot, Action{Reply: a[1]}) }},
		{Form: "+bdat-552", Means: "That reply to the first BDAT. A message that comes by DATA passes.",
			Example: "anna+bdat-552@example.com", Where: "recipient", words: form(`bdat-([45]\d\d)`),
			rules: func(a []string) []Rule { return one(Data, Action{Reply: a[1]}) }},
		{Form: "+defer-2", Means: "451 twice for this user, sender and recipient, then 250. From 1 to 99.",
			Example: "anna+defer-2@example.com", Where: "recipient", words: form(`defer-([1-9]\d?)`), rules: deferred},
		{Form: "+greylist", Means: "451 4.7.1 once for this user, sender and recipient, then 250.",
			Example: "anna+greylist@example.com", Where: "recipient", words: form(`greylist`),
			rules: func([]string) []Rule {
				return []Rule{{Stage: Rcpt, Per: PerPair, Times: 1, Do: Action{Reply: "451 4.7.1 Greylisted, try again later"}}}
			}},
		{Form: "+quota", Means: "452 4.2.2, the mailbox is full for now; +quota-552 for good, 552 5.2.2.",
			Example: "anna+quota@example.com", Where: "recipient", words: form(`quota(?:-(452|552))?`), rules: quota},
		{Form: "+slow-5s", Means: "RCPT is answered after that time; ms, s or m, ten minutes at most.",
			Example: "anna+slow-5s@example.com", Where: "recipient", words: form(`slow-([1-9]\d{0,5}(?:ms|s|m))`),
			rules: func(a []string) []Rule { return one(Rcpt, Action{Delay: lengthOf(a[1])}) }},
		{Form: "+data-slow-5s", Means: "The final dot is answered after that time.",
			Example: "anna+data-slow-5s@example.com", Where: "recipient", words: form(`data-slow-([1-9]\d{0,5}(?:ms|s|m))`),
			rules: func(a []string) []Rule { return one(Dot, Action{Delay: lengthOf(a[1])}) }},
		{Form: "+stall", Means: "RCPT is never answered, until the client gives up; ten minutes at most.",
			Example: "anna+stall@example.com", Where: "recipient", words: form(`stall`),
			rules: func([]string) []Rule { return one(Rcpt, Action{Stall: true}) }},
		{Form: "+data-stall", Means: "The final dot is never answered.",
			Example: "anna+data-stall@example.com", Where: "recipient", words: form(`data-stall`),
			rules: func([]string) []Rule { return one(Dot, Action{Stall: true}) }},
		{Form: "+drop", Means: "The connection is closed at RCPT.",
			Example: "anna+drop@example.com", Where: "recipient", words: form(`drop`),
			rules: func([]string) []Rule { return one(Rcpt, Action{Drop: true}) }},
		{Form: "+drop-data", Means: "The connection is closed in the middle of the content.",
			Example: "anna+drop-data@example.com", Where: "recipient", words: form(`drop-data`),
			rules: func([]string) []Rule { return one(Content, Action{Drop: true}) }},
		{Form: "+drop-dot", Means: "The message is kept, and the connection closed before the 250: was it sent or not (RFC 1047)?",
			Example: "anna+drop-dot@example.com", Where: "recipient", words: form(`drop-dot`),
			rules: func([]string) []Rule { return one(Dot, Action{Drop: true, Keep: true}) }},
		{Form: "+reset", Means: "The connection is reset at RCPT (TCP RST).",
			Example: "anna+reset@example.com", Where: "recipient", words: form(`reset`),
			rules: func([]string) []Rule { return one(Rcpt, Action{Reset: true}) }},
		{Form: "+bounce", Means: "Accepted; a second later a bounce (DSN) is in the sender's mailbox. +bounce-552 says which reply it tells of.",
			Example: "anna+bounce@example.com", Where: "recipient", words: form(`bounce(?:-(5\d\d))?`),
			rules: func(a []string) []Rule { return one(Delivery, Action{Reply: orElse(a[1], "550")}) }},
		{Form: "+complain", Means: "Accepted and caught; a second later a complaint (ARF) is in the sender's mailbox.",
			Example: "anna+complain@example.com", Where: "recipient", words: form(`complain`),
			rules: func([]string) []Rule { return one(Delivery, Action{Complain: true}) }},
		{Form: "+mail-550", Means: "That reply to MAIL.",
			Example: "app+mail-550@example.com", Where: "sender", words: form(`mail-([45]\d\d)`),
			rules: func(a []string) []Rule { return one(Mail, Action{Reply: a[1]}) }},
		{Form: "+454", Means: "That reply to AUTH, for a user name that ends so.",
			Example: "inbox-7+454", Where: userName, words: form(`[45]\d\d`),
			rules: func(a []string) []Rule { return one(Auth, Action{Reply: a[0]}) }},
		{Form: "wrong", Means: "535 5.7.8 to AUTH, as user name or as password.", Example: "wrong", Where: userName},
		{Form: "temp", Means: "454 4.7.0 to AUTH: try again later.", Example: "temp", Where: userName, words: form(`temp`),
			rules: func([]string) []Rule { return one(Auth, Action{Reply: "454"}) }},
		{Form: "expired", Means: "432 4.7.12 to AUTH: the password must be changed.", Example: "expired", Where: userName, words: form(`expired`),
			rules: func([]string) []Rule { return one(Auth, Action{Reply: "432"}) }},
		{Form: "disabled", Means: "535 5.7.13 to AUTH: the account is disabled.", Example: "disabled", Where: userName, words: form(`disabled`),
			rules: func([]string) []Rule { return one(Auth, Action{Reply: "535 5.7.13 Account disabled"}) }},
	}
}

const userName = "user name"

func form(expression string) *regexp.Regexp { return regexp.MustCompile(`^(?i:` + expression + `)$`) }

func one(at Stage, do Action) []Rule { return []Rule{{Stage: at, Do: do}} }

func deferred(a []string) []Rule {
	n, _ := strconv.Atoi(a[1])
	return []Rule{{Stage: Rcpt, Per: PerPair, Times: n, Do: Action{Reply: "451 4.3.0 Deferred, try again later"}}}
}

func quota(a []string) []Rule {
	if a[1] == "552" {
		return one(Rcpt, Action{Reply: "552 5.2.2 Mailbox full"})
	}
	return one(Rcpt, Action{Reply: "452 4.2.2 Mailbox full, try again later"})
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// lengthOf reads what the table's expression let pass, and bounds it.
func lengthOf(s string) Duration {
	d, _ := time.ParseDuration(strings.ToLower(s))
	return Duration(min(d, DelayMax))
}

// book reads addresses by the table. It is built once; looking up an address
// that has no "+" and no digit in front costs nothing.
type book struct{ recipients, senders, users []Address }

func newBook() book {
	var b book
	for _, a := range Addresses() {
		switch {
		case a.rules == nil:
		case a.Where == "recipient":
			b.recipients = append(b.recipients, a)
		case a.Where == "sender":
			b.senders = append(b.senders, a)
		default:
			b.users = append(b.users, a)
		}
	}
	return b
}

// wordsMax bounds how many "+" words of an address are looked at.
const wordsMax = 8

// words are the parts after each "+", and a local part that is a bare code or,
// of a user name, one of the names.
func words(local string, user bool) []string {
	first, rest, more := strings.Cut(local, "+")
	var list []string
	if user && !more || bareCode(first) {
		list = append(list, first)
	}
	for more && len(list) < wordsMax {
		var word string
		word, rest, more = strings.Cut(rest, "+")
		list = append(list, word)
	}
	return list
}

func bareCode(s string) bool {
	return len(s) == 3 && (s[0] == '4' || s[0] == '5') && s[1] >= '0' && s[1] <= '9' && s[2] >= '0' && s[2] <= '9'
}

// of returns the rules that an address stands for at a stage.
func of(table []Address, address string, at Stage, user bool) []Rule {
	local := address
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		local = mail.Local(address)
	}
	var rules []Rule
	for _, w := range words(strings.Trim(local, `"`), user) {
		for i := range table {
			arg := table[i].words.FindStringSubmatch(w)
			if arg == nil {
				continue
			}
			for _, r := range table[i].rules(arg) {
				if r.Stage == at {
					r.ID = "+" + strings.ToLower(w)
					rules = append(rules, r)
				}
			}
			break
		}
	}
	return rules
}

// rules returns what the addresses in f ask for at its stage.
func (b book) rules(f *Facts) []Rule {
	switch f.Stage {
	case Mail:
		return of(b.senders, f.Sender, Mail, false)
	case Auth:
		return of(b.users, f.User, Auth, true)
	case Rcpt, Delivery:
		return of(b.recipients, f.Recipient, f.Stage, false)
	case Data, Content, Dot:
		if f.Stage == Data && !f.BDAT {
			return nil
		}
		var all []Rule
		for _, to := range f.Recipients {
			all = append(all, of(b.recipients, to, f.Stage, false)...)
		}
		return all
	}
	return nil
}
