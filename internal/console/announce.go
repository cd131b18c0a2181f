package console

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/event"
)

// Announcer posts each caught message to an application, in the order of
// catching, at least once: where it is, is kept in a file, and a message that
// the application did not take with a 2xx is posted again until it does. What
// is deleted meanwhile is passed over.
//
//	POST, Content-Type: application/json, body: as Body makes it
//	X-Paquebot-Id: the message's ID, the same each time it is posted
//	X-Paquebot-Attempt: 1
//	X-Paquebot-Signature: t=UNIXTIME,v1=HEX        with a Secret only
//
// The signature is HMAC-SHA256 over the time in decimal, a dot, and the body.
type Announcer struct {
	URL    string
	Secret []byte
	Store  *catch.Store
	// Body makes what is posted of a message; nil: a Summary.
	Body func(catch.Message) any
	// Path of the file that says how far it came; "": it begins with what is
	// caught from now on, each time.
	Path   string
	Client *http.Client // nil: one that follows no redirect
	Events event.Sink   // nil: nobody
}

const (
	announceTime  = 10 * time.Second // for one post, answer included
	announceFirst = time.Second      // before a second try; doubles
	announceLast  = time.Minute      // the longest pause between tries
	announceBatch = 500              // messages looked up at once
)

// Run posts until ctx ends.
func (a *Announcer) Run(ctx context.Context) error {
	if a.Client == nil {
		a.Client = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if a.Events == nil {
		a.Events = event.Discard
	}
	at, err := a.begin()
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		found, err := a.Store.Wait(ctx, catch.Query{}, at, 1)
		if errors.Is(err, catch.ErrClosed) || ctx.Err() != nil {
			return nil
		}
		if err != nil { // too many watch: look again later
			pause(ctx, announceFirst)
			continue
		}
		for _, m := range append(found, a.more(found)...) {
			if !a.deliver(ctx, m) {
				return nil
			}
			at = m.Seq
			if err := a.keep(at); err != nil {
				return fmt.Errorf("webhook: cannot write down how far it came: %w", err)
			}
		}
	}
	return nil
}

// begin reads where it was; without a place to read it is the newest message.
func (a *Announcer) begin() (uint64, error) {
	b, err := os.ReadFile(a.Path)
	switch {
	case a.Path == "" || errors.Is(err, os.ErrNotExist):
		at := a.Store.Stat().LastSeq
		return at, a.keep(at)
	case err != nil:
		return 0, err
	}
	at, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s does not hold a number; delete it to begin with new mail: %w", a.Path, err)
	}
	return at, nil
}

func (a *Announcer) keep(at uint64) error {
	if a.Path == "" {
		return nil
	}
	fresh := a.Path + ".new"
	if err := os.WriteFile(fresh, strconv.AppendUint(nil, at, 10), 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, a.Path)
}

// more is what came together with the one that ended a wait.
func (a *Announcer) more(found []catch.Message) []catch.Message {
	return a.Store.After(found[len(found)-1].Seq, announceBatch)
}

// deliver posts one message until it is taken or gone; false: ctx ended.
func (a *Announcer) deliver(ctx context.Context, m catch.Message) bool {
	wait := announceFirst
	for try := 1; ; try++ {
		whole, err := a.Store.Get(m.ID)
		if err != nil {
			return ctx.Err() == nil // deleted: nothing to tell
		}
		status, err := a.post(ctx, whole, try)
		if err == nil && status/100 == 2 {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		a.Events.Emit(event.AnnouncementFailed{ID: m.ID, Attempt: try, Status: status, Error: errorText(err), RetrySeconds: wait.Seconds()})
		if !pause(ctx, wait) {
			return false
		}
		wait = min(2*wait, announceLast)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (a *Announcer) post(ctx context.Context, m catch.Message, try int) (status int, err error) {
	var what any
	if a.Body != nil {
		what = a.Body(m)
	} else {
		what = (&console{}).summary(m)
	}
	body, err := json.Marshal(what)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, announceTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	h := r.Header
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "Paquebot")
	h.Set("X-Paquebot-Id", m.ID.String())
	h.Set("X-Paquebot-Attempt", strconv.Itoa(try))
	if len(a.Secret) > 0 {
		now := strconv.FormatInt(time.Now().Unix(), 10)
		h.Set("X-Paquebot-Signature", "t="+now+",v1="+sign(a.Secret, now, body))
	}
	resp, err := a.Client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	return resp.StatusCode, nil
}

func sign(secret []byte, now string, body []byte) string {
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "%s.", now)
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}
