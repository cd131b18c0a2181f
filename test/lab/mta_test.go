package lab

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// mta is a mail server made of answers. Its zero value with a name and TLS is
// a well-behaved submission server.
type mta struct {
	name     string // in the greeting
	tls      *tls.Config
	implicit bool
	noTLS    bool // never offers STARTTLS

	greeting string        // the whole of it; "" is "220 NAME ESMTP ready"
	pause    time.Duration // before the greeting
	thinks   time.Duration // before each answer to EHLO
	noEHLO   bool          // 500 to EHLO, HELO works
	auth     string        // mechanisms offered under TLS
	bareAuth string        // mechanisms offered without TLS
	password string        // of any user; "" accepts nobody
	relays   bool          // takes mail from anybody to anybody
	heard    *heard
}

// mta is the server a host of the internet runs when nothing is wrong.
func (h *host) mta(implicit bool) mta {
	return mta{name: h.name, tls: h.w.ca.config(h.name, good()), implicit: implicit, auth: "PLAIN LOGIN", password: "secret", heard: &h.w.heard}
}

func (m mta) serve(c net.Conn) {
	secure := false
	if m.implicit {
		t := tls.Server(c, m.tls)
		if t.Handshake() != nil {
			return
		}
		c, secure = t, true
	}
	time.Sleep(m.pause)
	if m.greeting == "" {
		m.greeting = "220 " + m.name + " ESMTP ready"
	}
	r := bufio.NewReader(c)
	say := func(lines ...string) { _, _ = io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n") }
	say(m.greeting)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		m.heard.add(m.name, line)
		switch verb = strings.ToUpper(verb); {
		case verb == "QUIT":
			say("221 2.0.0 bye")
			return
		case !strings.HasPrefix(m.greeting, "220"):
			say("503 5.5.1 I said no")
		case verb == "EHLO" && m.noEHLO:
			say("500 5.5.1 command unrecognized")
		case verb == "EHLO":
			time.Sleep(m.thinks)
			say(m.extensions(secure)...)
		case verb == "HELO":
			say("250 " + m.name)
		case verb == "STARTTLS" && !secure && !m.noTLS:
			say("220 2.0.0 go ahead")
			t := tls.Server(c, m.tls)
			if t.Handshake() != nil {
				return
			}
			c, secure = t, true
			r = bufio.NewReader(c)
		case verb == "AUTH":
			m.login(rest, say, r)
		case verb == "NOOP", verb == "RSET", m.relays && (verb == "MAIL" || verb == "RCPT"):
			say("250 2.0.0 ok")
		case verb == "MAIL", verb == "RCPT":
			say("530 5.7.0 authentication required")
		default:
			say("502 5.5.1 no such command")
		}
	}
}

func (m mta) extensions(secure bool) []string {
	lines := []string{m.name + " greets you", "PIPELINING", "8BITMIME", "SIZE 31457280"}
	if !secure && !m.noTLS {
		lines = append(lines, "STARTTLS")
	}
	if secure && m.auth != "" {
		lines = append(lines, "AUTH "+m.auth)
	}
	if !secure && m.bareAuth != "" {
		lines = append(lines, "AUTH "+m.bareAuth)
	}
	for i := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		lines[i] = "250" + sep + lines[i]
	}
	return lines
}

// login knows PLAIN and LOGIN, which is what the doctor tries here.
func (m mta) login(rest string, say func(...string), r *bufio.Reader) {
	ask := func(prompt string) string {
		say("334 " + prompt)
		line, _ := r.ReadString('\n')
		b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		return string(b)
	}
	mechanism, initial, has := strings.Cut(rest, " ")
	var pass string
	switch strings.ToUpper(mechanism) {
	case "PLAIN":
		if !has {
			pass = ask("")
		} else {
			b, _ := base64.StdEncoding.DecodeString(initial)
			pass = string(b)
		}
		pass = pass[strings.LastIndexByte(pass, 0)+1:]
	case "LOGIN":
		if !has {
			_ = ask("VXNlcm5hbWU6")
		}
		pass = ask("UGFzc3dvcmQ6")
	default:
		say("504 5.5.4 unknown mechanism")
		return
	}
	if m.password == "" || pass != m.password {
		say("535 5.7.8 authentication credentials invalid")
		return
	}
	say("235 2.7.0 welcome")
}

// heard remembers what clients said, so that a test can hold that the doctor
// never sends mail and never a password unasked (DIAG-1).
type heard struct {
	mu    sync.Mutex
	lines map[string][]string // by the server's name
}

func (h *heard) add(name, line string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lines == nil {
		h.lines = map[string][]string{}
	}
	h.lines[name] = append(h.lines[name], line)
}

// names are the servers that heard something.
func (h *heard) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.lines))
}

// by returns the commands a server heard that begin with one of the verbs.
func (h *heard) by(name string, verbs ...string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []string
	for _, l := range h.lines[name] {
		for _, v := range verbs {
			if strings.HasPrefix(strings.ToUpper(l), v) {
				found = append(found, l)
			}
		}
	}
	return found
}

// web is an HTTPS server that has nothing to say.
type web struct{ tls *tls.Config }

func (s web) serve(c net.Conn) {
	t := tls.Server(c, s.tls)
	if t.Handshake() != nil {
		return
	}
	if _, err := http.ReadRequest(bufio.NewReader(t)); err == nil {
		fmt.Fprint(t, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	}
	_ = t.Close()
}

// page is an HTTPS server with one page.
type page struct {
	tls  *tls.Config
	body string
}

func (s page) serve(c net.Conn) {
	t := tls.Server(c, s.tls)
	if t.Handshake() != nil {
		return
	}
	if _, err := http.ReadRequest(bufio.NewReader(t)); err == nil {
		fmt.Fprintf(t, "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(s.body), s.body)
	}
	_ = t.Close()
}

// plainWeb answers any HTTP request with the same bytes.
type plainWeb string

func (s plainWeb) serve(c net.Conn) {
	if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_, _ = io.WriteString(c, string(s))
	}
}

// cut ends a connection at once, without a word.
type cut struct{ reset bool }

func (s cut) serve(c net.Conn) {
	if s.reset {
		hangUp(c)
	}
}

// hangUp closes with a reset.
func hangUp(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
