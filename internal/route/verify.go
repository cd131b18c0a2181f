package route

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

const (
	// verifyTime bounds one question to a next hop: a client waits at RCPT.
	verifyTime = 30 * time.Second

	// How long an answer is remembered: a known mailbox rarely goes, a new one
	// should work soon, and trouble passes.
	goodFor  = time.Hour
	badFor   = 5 * time.Minute
	shakyFor = 30 * time.Second

	// checkedMax bounds the addresses remembered, about 200 octets each.
	checkedMax = 50_000

	// checksMax bounds the questions under way at one time, goodbyes included.
	checksMax = 20

	// quitTime bounds the goodbye to a next hop, which nobody waits for.
	quitTime = 10 * time.Second
)

// cannotTell is what a client hears when the next hop could not be asked
// (RC-26): trouble of ours is never a refusal for good.
func cannotTell(cause error) smtp.Reply {
	return smtp.Reply{Code: 450, Enhanced: smtp.Enhanced{Class: 4, Subject: 4, Detail: 1},
		Text: "Recipient cannot be checked now, try again later", Cause: cause}
}

// Verify asks the next hop of a domain of ours whether it takes mail for a
// recipient: MAIL FROM:<>, RCPT TO, and no more. It returns nil if so, else a
// smtp.Reply: 5xx the next hop's refusal, 4xx if nobody could tell. Targets
// that cannot be asked (a maildir, a web application) take all.
func (r *Router) Verify(ctx context.Context, recipient string) error {
	target, ok := r.local(mail.Domain(recipient))
	if !ok || len(target.Hops) == 0 {
		return nil
	}
	if err, ok := r.checked.get(recipient, time.Now()); ok {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	select {
	case r.checked.slots <- struct{}{}:
	case <-ctx.Done():
		return cannotTell(ctx.Err())
	}
	err := r.askHop(ctx, target, recipient, func() { <-r.checked.slots })
	r.checked.put(recipient, err, time.Now())
	return err
}

// askHop calls done when the next hop is left, which may be after the answer:
// the client does not wait for our goodbye.
func (r *Router) askHop(ctx context.Context, target mail.Route, recipient string, done func()) error {
	conn, err := r.connect(ctx, target.Hops[0])
	if err != nil {
		done()
		return cannotTell(err)
	}
	c, err := smtpclient.Open(ctx, conn, smtpclient.Options{Ehlo: r.conf.Hostname, LMTP: target.Transport == mail.LMTP, Security: target.Security,
		Timeouts: smtpclient.Timeouts{Quit: quitTime}})
	if err != nil {
		done()
		return cannotTell(err)
	}
	defer func() {
		go func() {
			defer done()
			c.Quit()
		}()
	}()
	a := c.Check(ctx, "", recipient)
	switch {
	case a.Good():
		return nil
	case a.Stage == mail.StageRcpt && a.Reply.Permanent() && a.Reply.Code != 552: // CLI-26
		return a.Reply
	}
	return cannotTell(a)
}

func (r *Router) connect(ctx context.Context, hop mail.Hop) (net.Conn, error) {
	if r.needs.Dial == nil {
		return nil, errors.New("no way to connect")
	}
	if hop.Port == 0 {
		return r.needs.Dial(ctx, "unix", hop.Name, netip.Addr{})
	}
	addrs := hop.Addrs
	if len(addrs) == 0 {
		addrs = r.interleave(r.needs.Names.Addrs(ctx, hop.Name).Records)
	}
	err := errors.New("next hop has no address")
	for _, a := range addrs {
		var conn net.Conn
		if conn, err = r.needs.Dial(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(int(hop.Port))), netip.Addr{}); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// checked remembers what next hops said.
type checked struct {
	mu      sync.Mutex
	answers map[string]checkedEntry
	slots   chan struct{}
}

type checkedEntry struct {
	err   error
	until time.Time
}

func newChecked() *checked {
	return &checked{answers: make(map[string]checkedEntry), slots: make(chan struct{}, checksMax)}
}

func (c *checked) get(recipient string, now time.Time) (error, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.answers[recipient]
	return e.err, ok && now.Before(e.until)
}

func (c *checked) put(recipient string, err error, now time.Time) {
	keep := goodFor
	if err != nil {
		keep = badFor
		if smtp.AsReply(err).Transient() {
			keep = shakyFor
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for old := range c.answers {
		if len(c.answers) < checkedMax {
			break
		}
		delete(c.answers, old)
	}
	c.answers[recipient] = checkedEntry{err, now.Add(keep)}
}
