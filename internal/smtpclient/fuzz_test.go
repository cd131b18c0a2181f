package smtpclient

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"

	"paquebot/internal/mail"
)

// FuzzPeer lets a peer say anything at all: a session ends in time, with an
// answer for each recipient, and never with one accepted that no 2xx accepted.
func FuzzPeer(f *testing.F) {
	for _, s := range []string{
		"220 x\r\n250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n250 ok\r\n250 ok\r\n550 no\r\n250 queued\r\n",
		"220 x\r\n250 x\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 queued\r\n",
		"220 x\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n250 x\r\n",
		"220-x\r\n", "HTTP/1.1 200\r\n", "\x00\x00", "220 x\r\n421 bye\r\n", "220 x\r\n250 LIMITS RCPTMAX=0 SIZE=9 AUTH=\r\n354\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, script []byte, lmtp bool) {
		synctest.Test(t, func(t *testing.T) { fuzzPeer(t, script, lmtp) })
	})
}

func fuzzPeer(t *testing.T, script []byte, lmtp bool) {
	client, server := net.Pipe()
	go func() {
		go io.Copy(io.Discard, server)
		server.Write(script)
		server.Close()
	}()
	c, err := Open(context.Background(), client, Options{Ehlo: "here", LMTP: lmtp})
	if err != nil {
		if a, ok := err.(Answer); !ok || a.Good() {
			t.Errorf("Open failed with %v", err)
		}
		return
	}
	defer c.Quit()
	for range 2 {
		got := c.Send(context.Background(), Message{From: "a@b", Body: mail.Bytes("\r\nhi\r\n"),
			Recipients: []mail.Recipient{{Address: "c@d"}, {Address: "e@f"}}})
		for _, a := range got {
			if a.Reply.Code == 0 || a.Stage == "" || a.Good() && a.Stage != mail.StageDot {
				t.Errorf("%q: %+v", script, a)
			}
		}
		if !c.Usable() {
			return
		}
	}
}
