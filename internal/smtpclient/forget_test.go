package smtpclient

import (
	"net"
	"testing"

	"paquebot/internal/mail"
	"paquebot/internal/smtpclient/peertest"
)

// TRAP-9, EXT-21: what one connection offers is not believed of the next.
func TestOffersBelongToOneConnection(t *testing.T) {
	for _, c := range []struct {
		script string
		want   bool
	}{
		{"S: 220 a\nC: EHLO here.example\nS: 250-a\nS: 250 CHUNKING\nC: QUIT\nS: 221 bye", true},
		{"S: 220 a\nC: EHLO here.example\nS: 250 a\nC: QUIT\nS: 221 bye", false},
	} {
		ours, theirs := net.Pipe()
		played := make(chan error, 1)
		go func() { played <- peertest.Run(theirs, c.script, nil) }()
		client, err := Open(t.Context(), ours, Options{Ehlo: "here.example", Security: mail.Clear})
		if err != nil {
			t.Fatal(err)
		}
		if got := client.Extensions().Has("CHUNKING"); got != c.want {
			t.Errorf("CHUNKING is offered: %v, want %v", got, c.want)
		}
		client.Quit()
		if err := <-played; err != nil {
			t.Error(err)
		}
	}
}
