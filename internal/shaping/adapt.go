package shaping

import (
	"strings"
	"time"

	"paquebot/internal/mail"
)

// A site that says "slow down" gets half, at most once per halveEvery (answers
// to what was in flight are one message, not many), and a short pause that
// doubles while it goes on saying so. Each recoverEvery without such words
// after the pause gives back a twentieth (SH-11).
const (
	halveEvery   = 10 * time.Second
	recoverEvery = time.Minute
	recoverStep  = 0.05
	factorMin    = 1.0 / 64
	pauseFirst   = 5 * time.Second
	pauseMax     = 10 * time.Minute
)

// adaptation is what was learnt of a site.
type adaptation struct {
	factor    float64   // of its limits: 1 when it never complained
	halved    time.Time // last
	quiet     time.Time // since then: the end of the pause, or the newest step of recovery
	pause     time.Duration
	notBefore time.Time
	base      Rate // learnt on the first complaint of a site without a rate
	said      string
}

func (a *adaptation) recover(now time.Time) {
	if a.factor == 0 {
		a.factor = 1
	}
	if a.factor >= 1 {
		return
	}
	if steps := now.Sub(a.quiet) / recoverEvery; steps > 0 {
		a.factor = min(1, a.factor+float64(steps)*recoverStep)
		a.quiet = a.quiet.Add(steps * recoverEvery)
	}
	if a.factor >= 1 {
		*a = adaptation{factor: 1}
	}
}

// throttled halves. observed is how many messages the site took in the minute
// before, which is the rate it complained about.
func (a *adaptation) throttled(now time.Time, observed int, said string) {
	if now.Sub(a.halved) < halveEvery && a.factor < 1 {
		return
	}
	if a.factor >= 1 && observed > 0 {
		a.base = Rate{observed, time.Minute}
	}
	a.factor = max(a.factor/2, factorMin)
	a.halved, a.said = now, said
	a.pause = min(max(2*a.pause, pauseFirst), pauseMax)
	a.notBefore = now.Add(a.pause)
	a.quiet = a.notBefore
}

// Throttle reports whether an outcome is a site's request to slow down: 421 in
// any place, or a temporary refusal for policy (4.7.x) that reaches beyond one
// recipient, or one of the large receivers' own words for it (§16.3). A
// greylisting answer to a recipient is none: it says "later", not "less".
func Throttle(o mail.Outcome) bool {
	if o.Result != mail.Deferred || o.Ours || o.Reply.Code == 0 {
		return false
	}
	switch e := o.Reply.Enhanced; {
	case o.Reply.Code == 421:
		return true
	case e.Class == 4 && e.Subject == 7 && o.Reach > mail.ThisRecipient:
		return true
	}
	text := strings.ToLower(o.Reply.Text)
	for _, sign := range throttleSigns() {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// relayThrottle is Throttle at a smart host, which does not greylist those who
// pay it: 454, and whatever it defers for policy, is a request for less (SH-11).
func relayThrottle(o mail.Outcome) bool {
	if o.Result != mail.Deferred || o.Ours {
		return false
	}
	return o.Reply.Code == 454 || o.Reply.Enhanced.Class == 4 && o.Reply.Enhanced.Subject == 7
}

// throttleSigns are words by which large receivers ask for less. They refine a
// 4xx that the peer gave; they never make one (CLI-32).
func throttleSigns() []string {
	return []string{
		"rate limit", "ratelimit", "too many messages", "too many connections", "throttl", "unusual rate",
		"temporarily deferred", "slow down", "receiving mail at a rate", "exceeded the rate", "too fast",
		"maximum credits", "server busy. please try again later from",
	}
}
