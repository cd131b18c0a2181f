package smtpclient

import "time"

// Timeouts bound each phase of a session (RFC 5321 §4.5.3.2; CLI-2 to CLI-11).
type Timeouts struct {
	Greeting  time.Duration
	Ehlo      time.Duration
	StartTLS  time.Duration // the reply to STARTTLS
	Handshake time.Duration
	Auth      time.Duration // each step
	Mail      time.Duration
	Rcpt      time.Duration
	Data      time.Duration // the 354
	Block     time.Duration // each write of content or commands
	Dot       time.Duration // the reply to the final dot or the last BDAT
	Quit      time.Duration
}

// DefaultTimeouts are the standard's minima and our choices where it has none
// (standards §13.1).
func DefaultTimeouts() Timeouts {
	return Timeouts{
		Greeting:  5 * time.Minute,  // CLI-2
		Ehlo:      5 * time.Minute,  // CLI-3
		StartTLS:  2 * time.Minute,  // CLI-4
		Handshake: 60 * time.Second, // CLI-4
		Auth:      2 * time.Minute,  // CLI-5
		Mail:      5 * time.Minute,  // CLI-6
		Rcpt:      5 * time.Minute,  // CLI-7
		Data:      2 * time.Minute,  // CLI-8
		Block:     3 * time.Minute,  // CLI-9
		Dot:       10 * time.Minute, // CLI-10
		Quit:      30 * time.Second, // CLI-11
	}
}

// orDefaults replaces what is not set.
func (t Timeouts) orDefaults() Timeouts {
	d := DefaultTimeouts()
	for _, f := range []struct{ set, def *time.Duration }{
		{&t.Greeting, &d.Greeting}, {&t.Ehlo, &d.Ehlo}, {&t.StartTLS, &d.StartTLS}, {&t.Handshake, &d.Handshake},
		{&t.Auth, &d.Auth}, {&t.Mail, &d.Mail}, {&t.Rcpt, &d.Rcpt}, {&t.Data, &d.Data},
		{&t.Block, &d.Block}, {&t.Dot, &d.Dot}, {&t.Quit, &d.Quit},
	} {
		if *f.set <= 0 {
			*f.set = *f.def
		}
	}
	return t
}
