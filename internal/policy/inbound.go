package policy

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// mailbox finds out whether an address of ours exists.
func (p *Policy) mailbox(ctx context.Context, d *domain, address string) (existence, error) {
	local := mail.Local(address)
	switch {
	case d.any || d.alias(local) != nil || d.has(local):
		return yes, nil
	case !d.verify && d.catchAll != "":
		return yes, nil
	case !d.verify:
		return no, nil
	}
	e, why := p.verify(ctx, address)
	if e == no && d.catchAll != "" {
		return yes, nil
	}
	return e, why
}

var errNoVerifier = errors.New("nobody can ask the next hop")

// verify asks the next hop, or remembers what it said.
func (p *Policy) verify(ctx context.Context, address string) (existence, error) {
	if e, ok := p.verified.get(address); ok {
		return e, nil
	}
	if p.needs.Verifier == nil {
		return doubt, errNoVerifier
	}
	err := p.needs.Verifier.Verify(ctx, address)
	var r smtp.Reply
	switch {
	case err == nil:
		p.verified.put(address, yes, verifiedYes)
		return yes, nil
	case errors.As(err, &r) && r.Permanent():
		p.verified.put(address, no, verifiedNo)
		return no, err
	}
	return doubt, err
}

const (
	// verifiedYes and verifiedNo are how long an answer of the next hop
	// counts: a new mailbox should work soon, an old one seldom goes.
	verifiedYes = time.Hour
	verifiedNo  = 5 * time.Minute
	// verificationsMax bounds the memory at about 4 MiB, whatever dictionary
	// is tried.
	verificationsMax = 20_000
)

// verifications remembers the next hop's answers, the least used forgotten.
type verifications struct {
	mu    sync.Mutex
	order *list.List // of *verification, the newest first
	known map[string]*list.Element
}

type verification struct {
	address string
	answer  existence
	until   time.Time
}

func newVerifications() *verifications {
	return &verifications{order: list.New(), known: map[string]*list.Element{}}
}

func (v *verifications) get(address string) (existence, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	e, ok := v.known[address]
	if !ok {
		return doubt, false
	}
	known := e.Value.(*verification)
	if !time.Now().Before(known.until) {
		v.drop(e)
		return doubt, false
	}
	v.order.MoveToFront(e)
	return known.answer, true
}

func (v *verifications) put(address string, answer existence, ttl time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e, ok := v.known[address]; ok {
		v.drop(e)
	}
	v.known[address] = v.order.PushFront(&verification{address, answer, time.Now().Add(ttl)})
	if v.order.Len() > verificationsMax {
		v.drop(v.order.Back())
	}
}

func (v *verifications) drop(e *list.Element) {
	delete(v.known, e.Value.(*verification).address)
	v.order.Remove(e)
}
