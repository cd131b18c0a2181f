package sim

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Site is a receiving operation.
type Site struct {
	Name string
	Addr netip.Addr

	personality Personality
	began       time.Time
	mu          sync.Mutex
	seen        map[string]time.Time // by message and recipient
	count       int
	window      time.Time
	contents    int
	lost        time.Time // until then DNS does not answer for it
}

// Visit is an attempt at a site, seen from there.
type Visit struct {
	World   *World
	Site    *Site
	Attempt mail.Attempt
	Context context.Context
}

// wait lets time pass in the visit; it reports false if we left meanwhile.
func (v Visit) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-v.Context.Done():
		return false
	}
}

// Personality is how a site answers for the nth recipient of a visit.
type Personality func(v Visit, recipient string, n int) mail.Outcome

func took(d time.Duration) mail.Outcome {
	return mail.Outcome{Result: mail.Accepted, Reply: smtp.OK, Stage: mail.StageDot, Took: d}
}

func later4xx(code int, e smtp.Enhanced, text string, stage mail.Stage, reach mail.Reach) mail.Outcome {
	return mail.Outcome{Result: mail.Deferred, Stage: stage, Reach: reach, Reply: smtp.Reply{Code: code, Enhanced: e, Text: text}}
}

func noAnswer() mail.Outcome {
	return mail.Outcome{Result: mail.Deferred, Reply: smtp.NoHost, Ours: true, Stage: mail.StageConnect, Reach: mail.ThisSite}
}

// Good takes everything within a second.
func Good() Personality {
	return func(v Visit, _ string, n int) mail.Outcome {
		if n == 0 && !v.wait(200*time.Millisecond) {
			return mail.Outcome{}
		}
		return took(200 * time.Millisecond)
	}
}

// Greylisting refuses what it sees first for a while.
func Greylisting(d time.Duration) Personality {
	return func(v Visit, recipient string, n int) mail.Outcome {
		s := v.Site
		s.mu.Lock()
		defer s.mu.Unlock()
		key := v.Attempt.Envelope.From + " " + recipient
		first, ok := s.seen[key]
		if !ok {
			first = time.Now()
			s.seen[key] = first
		}
		if time.Since(first) < d {
			return later4xx(451, smtp.Enhanced{Class: 4, Subject: 7, Detail: 1}, "Greylisted, please come back", mail.StageRcpt, mail.ThisRecipient)
		}
		return took(time.Second)
	}
}

// DeadFor refuses connections for a time, then is as told.
func DeadFor(d time.Duration, then Personality) Personality {
	return func(v Visit, recipient string, n int) mail.Outcome {
		if time.Since(v.Site.began) < d {
			return noAnswer()
		}
		return then(v, recipient, n)
	}
}

// BusyAfter says 421 to more than n messages a minute.
func BusyAfter(n int) Personality {
	return func(v Visit, _ string, at int) mail.Outcome {
		s := v.Site
		s.mu.Lock()
		defer s.mu.Unlock()
		if now := time.Now(); now.Sub(s.window) >= time.Minute {
			s.window, s.count = now, 0
		}
		if at == 0 {
			s.count++
		}
		if s.count > n {
			return later4xx(421, smtp.Enhanced{Class: 4, Subject: 7}, "Try again later, closing connection", mail.StageMail, mail.ThisHost)
		}
		return took(time.Second)
	}
}

// SilentAfterData never answers the final dot: nobody knows whether it has it.
// It has not. The nth message and on it takes.
func SilentAfterData(n int) Personality {
	return func(v Visit, _ string, at int) mail.Outcome {
		s := v.Site
		s.mu.Lock()
		s.count++
		silent := s.count <= n
		s.mu.Unlock()
		if !silent {
			return took(time.Second)
		}
		if at == 0 && !v.wait(10*time.Minute) {
			return mail.Outcome{}
		}
		o := later4xx(451, smtp.Enhanced{Class: 4, Subject: 4, Detail: 2}, "Timed out", mail.StageDot, mail.ThisHost)
		o.Ours, o.Ambiguous = true, true
		return o
	}
}

// SlowByTheByte takes its time and the message.
func SlowByTheByte(d time.Duration) Personality {
	return func(v Visit, _ string, n int) mail.Outcome {
		if n == 0 && !v.wait(d) {
			return mail.Outcome{}
		}
		return took(d)
	}
}

// Lying takes a message and drops the connection before it says so, for one in
// n attempts: what comes again is a duplicate nobody can prevent (RFC 1047).
func Lying(n int) Personality {
	return func(v Visit, _ string, _ int) mail.Outcome {
		if v.World.IntN(n) != 0 {
			return took(time.Second)
		}
		o := later4xx(451, smtp.Enhanced{Class: 4, Subject: 4, Detail: 2}, "Connection dropped", mail.StageDot, mail.ThisHost)
		o.Ours, o.Ambiguous, o.Took = true, true, time.Second
		return o
	}
}

// Choosy knows no recipient whose address begins with "bad".
func Choosy() Personality {
	return func(v Visit, recipient string, n int) mail.Outcome {
		if len(recipient) >= 3 && recipient[:3] == "bad" {
			return mail.Outcome{Result: mail.Refused, Reply: smtp.NoMailbox, Stage: mail.StageRcpt}
		}
		return Good()(v, recipient, n)
	}
}

// Moody is one of several at each visit.
func Moody(of ...Personality) Personality {
	return func(v Visit, recipient string, n int) mail.Outcome {
		return of[v.World.IntN(len(of))](v, recipient, n)
	}
}
