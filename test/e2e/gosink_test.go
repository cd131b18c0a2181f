package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// counter is a mail server of our own that only counts: which message, by the
// number in its X-Load field, was taken when. Every second connection is
// offered CHUNKING, so that mail comes by BDAT as well as by DATA.
type counter struct {
	addr string

	mu       sync.Mutex
	taken    map[string][]time.Time // by number: when each copy was answered 250
	open     int                    // transactions between MAIL and their last reply
	sessions int
}

func startCounter(t *testing.T) *counter {
	t.Helper()
	l, err := net.Listen("tcp", "45.77.0.1:0")
	check(t, err)
	t.Cleanup(func() { _ = l.Close() })
	c := &counter{addr: l.Addr().String(), taken: map[string][]time.Time{}}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.sessions++
			chunking := c.sessions%2 == 0
			c.mu.Unlock()
			go func() {
				defer func() { _ = conn.Close() }()
				_ = c.serve(conn, chunking) // a session ends as it ends: the other side is killed all the time
			}()
		}
	}()
	return c
}

var loadNumber = regexp.MustCompile(`(?m)^X-Load: (\S+)\r$`)

// serve speaks just enough SMTP.
func (c *counter) serve(conn net.Conn, chunking bool) error {
	r, w := bufio.NewReader(conn), bufio.NewWriter(conn)
	begun := false
	defer func() { c.transaction(&begun, false) }()
	if _, err := w.WriteString("220 counter.test ESMTP\r\n"); err != nil {
		return err
	}
	var content []byte
	for {
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		reply := "250 2.0.0 ok"
		words := append(strings.Fields(strings.ToUpper(line)), "", "")
		switch words[0] {
		case "EHLO":
			reply = "250-counter.test\r\n250-PIPELINING\r\n250-8BITMIME"
			if chunking {
				reply += "\r\n250-CHUNKING"
			}
			reply += "\r\n250 ENHANCEDSTATUSCODES"
		case "MAIL":
			c.transaction(&begun, true)
			content = nil
		case "DATA":
			if _, err := w.WriteString("354 go on\r\n"); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if content, err = readDots(r); err != nil {
				return err
			}
			c.take(content)
			c.transaction(&begun, false)
		case "BDAT":
			n, err := strconv.Atoi(words[1])
			if err != nil {
				return err
			}
			chunk := make([]byte, n)
			if _, err := io.ReadFull(r, chunk); err != nil {
				return err
			}
			content = append(content, chunk...)
			if words[2] == "LAST" {
				c.take(content)
				c.transaction(&begun, false)
			}
		case "QUIT":
			_, _ = w.WriteString("221 2.0.0 bye\r\n")
			return w.Flush()
		case "RCPT", "RSET", "NOOP":
		default:
			reply = "500 5.5.1 what?"
		}
		if _, err := w.WriteString(reply + "\r\n"); err != nil {
			return err
		}
	}
}

func (c *counter) transaction(begun *bool, now bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *begun != now {
		if *begun = now; now {
			c.open++
		} else {
			c.open--
		}
	}
}

// take counts a message, from before its 250 is sent.
func (c *counter) take(content []byte) {
	m := loadNumber.FindSubmatch(content)
	if m == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken[string(m[1])] = append(c.taken[string(m[1])], time.Now())
}

// missing returns how many of the numbers were never taken, and one of them.
func (c *counter) missing(numbers []string) (n int, one string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range numbers {
		if len(c.taken[id]) == 0 {
			n, one = n+1, id
		}
	}
	return n, one
}

// inFlight says how many messages may be under way or not yet written down as
// done: open transactions, and those taken since a moment.
func (c *counter) inFlight(since time.Time) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.open
	for _, copies := range c.taken {
		if copies[len(copies)-1].After(since) {
			n++
		}
	}
	return n
}

// readDots reads content up to the final dot.
func readDots(r *bufio.Reader) ([]byte, error) {
	var content []byte
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ".\r\n" {
			return content, nil
		}
		if len(content) > 1<<20 {
			return nil, fmt.Errorf("a message over 1 MiB: %d", len(content))
		}
		content = append(content, line...)
	}
}
