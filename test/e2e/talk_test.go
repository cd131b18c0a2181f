package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/xdg-go/scram"
)

// talk is one SMTP session of our own, for what no client program can be made
// to say. Nothing in it can wait for ever.
type talk struct {
	conn net.Conn
	r    *bufio.Reader
}

const talkPatience = 20 * time.Second

// dial opens a session and reads the greeting. With a TLS configuration the
// connection begins with a handshake, as on 465.
func dial(address string, implicit *tls.Config) (*talk, error) {
	c, err := net.DialTimeout("tcp", address, talkPatience)
	if err != nil {
		return nil, err
	}
	if implicit != nil {
		c = tls.Client(c, implicit)
	}
	k := &talk{conn: c, r: bufio.NewReader(c)}
	return k, k.expect("220")
}

func (k *talk) close() { _ = k.conn.Close() }

// reply reads one reply, all its lines joined by "\n".
func (k *talk) reply() (string, error) {
	if err := k.conn.SetReadDeadline(time.Now().Add(talkPatience)); err != nil {
		return "", err
	}
	var lines []string
	for {
		line, err := k.r.ReadString('\n')
		if err != nil {
			return strings.Join(lines, "\n"), err
		}
		line = strings.TrimRight(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n"), nil
		}
	}
}

// send writes raw octets.
func (k *talk) send(raw string) error {
	if err := k.conn.SetWriteDeadline(time.Now().Add(talkPatience)); err != nil {
		return err
	}
	_, err := k.conn.Write([]byte(raw))
	return err
}

// ask sends one command line and returns its reply.
func (k *talk) ask(format string, args ...any) (string, error) {
	if err := k.send(fmt.Sprintf(format, args...) + "\r\n"); err != nil {
		return "", err
	}
	return k.reply()
}

// expect reads a reply that must begin like that.
func (k *talk) expect(prefix string) error {
	got, err := k.reply()
	return expected(got, err, prefix)
}

// must asks and demands a reply that begins like that.
func (k *talk) must(prefix, format string, args ...any) error {
	got, err := k.ask(format, args...)
	if err := expected(got, err, prefix); err != nil {
		return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
	}
	return nil
}

func expected(got string, err error, prefix string) error {
	if err != nil {
		return fmt.Errorf("want a reply %s, got %q: %w", prefix, got, err)
	}
	if !strings.HasPrefix(got, prefix) {
		return fmt.Errorf("want a reply %s, got %q", prefix, got)
	}
	return nil
}

// starttls changes to TLS; EHLO is needed again.
func (k *talk) starttls(c *tls.Config) error {
	if err := k.must("220", "STARTTLS"); err != nil {
		return err
	}
	k.conn = tls.Client(k.conn, c)
	k.r = bufio.NewReader(k.conn)
	return nil
}

func plain(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// scram logs in with SCRAM-SHA-256, which spares the server the costly hash
// that PLAIN needs.
func (k *talk) scram(client *scram.Client) error {
	conversation := client.NewConversation()
	first, err := conversation.Step("")
	if err != nil {
		return err
	}
	reply, err := k.ask("AUTH SCRAM-SHA-256 %s", base64.StdEncoding.EncodeToString([]byte(first)))
	for range 2 { // the proof, then the word that the server's was right
		if err := expected(reply, err, "334 "); err != nil {
			return err
		}
		challenge, err := base64.StdEncoding.DecodeString(reply[4:])
		if err != nil {
			return err
		}
		answer, err := conversation.Step(string(challenge))
		if err != nil {
			return err
		}
		if reply, err = k.ask("%s", base64.StdEncoding.EncodeToString([]byte(answer))); err != nil {
			return err
		}
		if conversation.Done() {
			break
		}
	}
	return expected(reply, nil, "235")
}

// transaction says MAIL, RCPT for each, DATA, and gives back the final reply.
// Parameters may follow the addresses: "<a@b> NOTIFY=NEVER".
func (k *talk) transaction(from, message string, to ...string) (string, error) {
	if err := k.must("250", "MAIL FROM:%s", path(from)); err != nil {
		return "", err
	}
	for _, rcpt := range to {
		if err := k.must("25", "RCPT TO:%s", path(rcpt)); err != nil {
			return "", err
		}
	}
	if err := k.must("354", "DATA"); err != nil {
		return "", err
	}
	return k.ask("%s\r\n.", strings.TrimSuffix(stuffed(message), "\r\n"))
}

// path puts an address into angle brackets unless it stands in some already.
func path(address string) string {
	if strings.HasPrefix(address, "<") {
		return address
	}
	return "<" + address + ">"
}

// stuffed ends all lines with CRLF and doubles leading dots.
func stuffed(message string) string {
	message = strings.ReplaceAll(strings.ReplaceAll(message, "\r\n", "\n"), "\n", "\r\n")
	message = strings.ReplaceAll(message, "\r\n.", "\r\n..")
	if strings.HasPrefix(message, ".") {
		message = "." + message
	}
	return message
}

// queuedAs picks our ID out of "250 2.0.0 Ok: queued as ID".
func queuedAs(reply string) (string, error) {
	_, id, ok := strings.Cut(reply, "queued as ")
	if !ok || !strings.HasPrefix(reply, "250 2.0.0 ") {
		return "", fmt.Errorf("want 250 2.0.0 Ok: queued as ID, got %q", reply)
	}
	return strings.TrimSpace(id), nil
}
