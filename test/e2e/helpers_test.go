package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// until tries again and again until f has no complaint or the context ends;
// then the last complaint is the answer.
func until(ctx context.Context, f func() error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain: %w", err)
		case <-tick.C:
		}
	}
}

// eventually is until for tests, with the longest time anything here takes.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := until(ctx, f); err != nil {
		t.Fatal(err)
	}
}

// answers waits until something listens.
func answers(ctx context.Context, address string) error {
	return until(ctx, func() error {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			err = c.Close()
		}
		return err
	})
}

// write makes files with all folders above them.
func write(files map[string]string) error {
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// letter is a delivered message.
type letter struct {
	raw    []byte
	Header mail.Header
	Body   string
}

func (l letter) String() string { return string(l.raw) }

func openLetter(raw []byte) (letter, error) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return letter{}, fmt.Errorf("not a message: %w:\n%.400s", err, raw)
	}
	var body bytes.Buffer
	if _, err := body.ReadFrom(m.Body); err != nil {
		return letter{}, err
	}
	return letter{raw: raw, Header: m.Header, Body: body.String()}, nil
}

// maildir returns the messages in a maildir that hold all the words.
func maildir(dir string, words ...string) ([]letter, error) {
	files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil {
		return nil, err
	}
	var found []letter
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		if !containsAll(string(raw), words) {
			continue
		}
		l, err := openLetter(raw)
		if err != nil {
			return nil, err
		}
		found = append(found, l)
	}
	return found, nil
}

func containsAll(s string, words []string) bool {
	for _, w := range words {
		if !strings.Contains(s, w) {
			return false
		}
	}
	return true
}

// arrives waits for the one message in a maildir that holds all the words.
func arrives(t *testing.T, dir string, words ...string) letter {
	t.Helper()
	var one letter
	eventually(t, func() error {
		found, err := maildir(dir, words...)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return fmt.Errorf("no message with %q in %s", words, dir)
		}
		if len(found) > 1 {
			t.Fatalf("%d messages with %q in %s, want one", len(found), words, dir)
		}
		one = found[0]
		return nil
	})
	return one
}

// mustContain fails the test unless s holds each of the words.
func mustContain(t *testing.T, what, s string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(s, w) {
			t.Errorf("%s lacks %q:\n%s", what, w, cut(s))
		}
	}
}

func cut(s string) string {
	if len(s) > 4000 {
		return s[:2000] + "\n[…]\n" + s[len(s)-2000:]
	}
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ids looks up a user of the system.
func ids(name string) (uid, gid int, err error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, 0, err
	}
	if uid, err = strconv.Atoi(u.Uid); err != nil {
		return 0, 0, err
	}
	gid, err = strconv.Atoi(u.Gid)
	return uid, gid, err
}

// readHeader reads fields without a body.
func readHeader(fields string) (textproto.MIMEHeader, error) {
	return textproto.NewReader(bufio.NewReader(strings.NewReader(fields + "\n\n"))).ReadMIMEHeader()
}
