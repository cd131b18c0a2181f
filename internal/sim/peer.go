package sim

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"paquebot/internal/mail"
)

// Peer is a receiving site that speaks SMTP on the world's network, in a manner.
type Peer struct {
	world    *World
	site     *Site
	manner   Manner
	listener net.Listener
	conns    sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool
}

// Manner is how a Peer behaves. The zero value takes everything at once.
type Manner struct {
	Plain       bool                              // HELO only: no extensions
	DSN         bool                              // offers DSN
	Chunking    bool                              // offers CHUNKING
	Greeting    func() string                     // another greeting line; one that is no 220 hangs up
	Rcpt        func(from, to string) string      // "": taken
	PerMinute   int                               // messages, then 421 and hang up
	Dot         func(n int) (reply string, d Dot) // to the nth content; "": 250
	Drip        time.Duration                     // pause after each octet it says
	Garbage     bool                              // is no SMTP server
	HangUpAfter int                               // messages on a connection, without a word (MAILMAX undeclared)
}

// Dot is what a peer does at the end of content.
type Dot int

const (
	Answers       Dot = iota
	TakesAndDrops     // it has the message and hangs up without a word
	Drops             // it has it not, and hangs up
	Mute              // it has it not, and never says a word again
)

// AddPeer lets a site speak SMTP at an address of its own.
func (w *World) AddPeer(name string, m Manner) *Peer {
	s := w.Site(name, nil)
	w.mu.Lock()
	n := len(w.sites)
	w.mu.Unlock()
	s.Addr = netip.AddrFrom4([4]byte{10, 25, byte(n >> 8), byte(n)})
	l, err := w.Net.Listen("tcp", netip.AddrPortFrom(s.Addr, 25).String())
	if err != nil {
		w.t.Fatal(err)
	}
	p := &Peer{world: w, site: s, manner: m, listener: l, open: map[net.Conn]bool{}}
	w.mu.Lock()
	w.peers = append(w.peers, p)
	w.mu.Unlock()
	p.conns.Go(p.serve)
	return p
}

// Fault makes a site's address unreachable in a way, or healthy again.
func (w *World) Fault(name string, f Fault) {
	w.Net.SetFault(w.siteOf(name).Addr.String(), f)
}

func (p *Peer) serve() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.open[c] = true
		p.mu.Unlock()
		p.world.entered(p.site.Name, time.Now())
		p.conns.Go(func() {
			defer p.world.left(p.site.Name)
			d := &dialogue{peer: p, conn: c, r: bufio.NewReader(c)}
			d.run()
			c.Close()
			p.mu.Lock()
			delete(p.open, c)
			p.mu.Unlock()
		})
	}
}

func (p *Peer) close() {
	p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		c.(*Conn).Reset()
	}
	p.mu.Unlock()
	p.conns.Wait()
}

// dialogue is one connection to a Peer.
type dialogue struct {
	peer  *Peer
	conn  net.Conn
	r     *bufio.Reader
	from  string
	to    []string
	sent  strings.Builder // BDAT so far
	mails int
}

func (d *dialogue) say(line string) bool {
	if d.peer.manner.Drip == 0 {
		_, err := io.WriteString(d.conn, line+"\r\n")
		return err == nil
	}
	for _, c := range []byte(line + "\r\n") {
		time.Sleep(d.peer.manner.Drip)
		if _, err := d.conn.Write([]byte{c}); err != nil {
			return false
		}
	}
	return true
}

func (d *dialogue) run() {
	m := d.peer.manner
	if m.Garbage {
		io.WriteString(d.conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
		return
	}
	greeting := "220 mx." + d.peer.site.Name + " ESMTP"
	if m.Greeting != nil {
		greeting = m.Greeting()
	}
	if !d.say(greeting) || !strings.HasPrefix(greeting, "220") {
		return
	}
	for {
		line, err := d.r.ReadString('\n')
		if err != nil || !d.verb(strings.TrimRight(line, "\r\n")) {
			return
		}
	}
}

// verb answers a command; false ends the connection.
func (d *dialogue) verb(line string) bool {
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "EHLO":
		return d.ehlo()
	case "HELO":
		return d.say("250 mx." + d.peer.site.Name)
	case "MAIL":
		return d.mail(arg)
	case "RCPT":
		return d.rcpt(path(arg))
	case "DATA":
		return d.data()
	case "BDAT":
		return d.bdat(arg)
	case "RSET":
		d.from, d.to = "", nil
		d.sent.Reset()
		return d.say("250 2.0.0 Ok")
	case "NOOP":
		return d.say("250 2.0.0 Ok")
	case "QUIT":
		d.say("221 2.0.0 Bye")
		return false
	}
	return d.say("500 5.5.1 What?")
}

func (d *dialogue) ehlo() bool {
	m := d.peer.manner
	if m.Plain {
		return d.say("502 5.5.1 No")
	}
	offers := []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 10000000"}
	if m.DSN {
		offers = append(offers, "DSN")
	}
	if m.Chunking {
		offers = append(offers, "CHUNKING")
	}
	text := "250-mx." + d.peer.site.Name + "\r\n"
	for i, o := range offers {
		sep := "-"
		if i == len(offers)-1 {
			sep = " "
		}
		text += "250" + sep + o + "\r\n"
	}
	return d.say(strings.TrimSuffix(text, "\r\n"))
}

func (d *dialogue) mail(arg string) bool {
	p := d.peer
	if m := p.manner; m.HangUpAfter > 0 && d.mails >= m.HangUpAfter {
		return false
	}
	if p.manner.PerMinute > 0 && !p.site.within(p.manner.PerMinute) {
		d.say("421 4.7.0 Try again later, closing connection")
		return false
	}
	d.from, d.to = path(arg), nil
	return d.say("250 2.1.0 Ok")
}

// within counts a message in its minute.
func (s *Site) within(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.window) >= time.Minute {
		s.window, s.count = now, 0
	}
	s.count++
	return s.count <= n
}

func (d *dialogue) rcpt(to string) bool {
	if f := d.peer.manner.Rcpt; f != nil {
		if reply := f(d.from, to); reply != "" {
			return d.say(reply)
		}
	}
	d.to = append(d.to, to)
	return d.say("250 2.1.5 Ok")
}

func (d *dialogue) data() bool {
	if len(d.to) == 0 {
		return d.say("554 5.5.1 No valid recipients")
	}
	if !d.say("354 Go ahead") {
		return false
	}
	var content strings.Builder
	for {
		line, err := d.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			return d.end(content.String())
		}
		content.WriteString(strings.TrimPrefix(line, "."))
	}
}

func (d *dialogue) bdat(arg string) bool {
	size, last, _ := strings.Cut(arg, " ")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return d.say("501 5.5.4 No")
	}
	if _, err := io.CopyN(&d.sent, d.r, n); err != nil {
		return false
	}
	switch {
	case len(d.to) == 0:
		return d.say("503 5.5.1 No valid recipients")
	case last == "":
		return d.say("250 2.0.0 Ok")
	}
	content := d.sent.String()
	d.sent.Reset()
	return d.end(content)
}

// end answers content as the manner wants.
func (d *dialogue) end(content string) bool {
	d.mails++
	p := d.peer
	p.site.mu.Lock()
	p.site.contents++
	n := p.site.contents
	p.site.mu.Unlock()
	reply, what := "", Answers
	if p.manner.Dot != nil {
		reply, what = p.manner.Dot(n)
	}
	switch what {
	case TakesAndDrops:
		p.take(d, content, true)
		return false
	case Drops:
		return false
	case Mute:
		io.Copy(io.Discard, d.r)
		return false
	}
	if reply != "" {
		return d.say(reply)
	}
	taken := p.take(d, content, false)
	if d.say("250 2.0.0 Ok: queued") {
		return true
	}
	p.world.unheard(taken) // whoever sent it was gone before the verdict was out
	return false
}

// take notes what the site has from now on.
func (p *Peer) take(d *dialogue, content string, unknown bool) (taken []fate) {
	env := &mail.Envelope{From: d.from}
	a := mail.Attempt{Envelope: env, Body: mail.Bytes(content)}
	for line := range strings.SplitSeq(content, "\r\n") {
		if value, ok := strings.CutPrefix(line, "Message-ID: <"); ok {
			id, _, _ := strings.Cut(value, "@")
			env.ID, _ = mail.ParseID(strings.TrimSuffix(id, ".report"))
			break
		}
	}
	for i, to := range d.to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: to})
		a.Recipients = append(a.Recipients, i)
	}
	if d.from == "" {
		a.Recipients = a.Recipients[:min(len(a.Recipients), 1)]
	}
	for _, i := range a.Recipients {
		p.world.received(a, i, unknown)
		taken = append(taken, fate{env.ID, env.Recipients[i].Address})
	}
	return taken
}

// path takes the address out of "FROM:<a@b> SIZE=5".
func path(arg string) string {
	_, rest, _ := strings.Cut(arg, "<")
	address, _, _ := strings.Cut(rest, ">")
	return address
}

// GreylistingManner refuses what it sees first for a while.
func GreylistingManner(d time.Duration) Manner {
	var mu sync.Mutex
	seen := map[string]time.Time{}
	return Manner{Chunking: true, Rcpt: func(from, to string) string {
		mu.Lock()
		defer mu.Unlock()
		first, ok := seen[from+" "+to]
		if !ok {
			first = time.Now()
			seen[from+" "+to] = first
		}
		if time.Since(first) < d {
			return fmt.Sprintf("451 4.7.1 <%s>: Greylisted, please come back", to)
		}
		return ""
	}}
}

// LyingManner loses its reply to one in n messages that it took.
func (w *World) LyingManner(n int, chunking bool) Manner {
	return Manner{Chunking: chunking, Dot: func(int) (string, Dot) {
		if w.IntN(n) == 0 {
			return "", TakesAndDrops
		}
		return "", Answers
	}}
}

// ChoosyManner knows no recipient whose address begins with "bad", and is
// tired at every "tired" one.
func ChoosyManner() Manner {
	return Manner{DSN: true, Rcpt: func(_, to string) string {
		switch {
		case strings.HasPrefix(to, "bad"):
			return "550 5.1.1 No such user"
		case strings.HasPrefix(to, "tired"):
			return "450-4.2.1 The mailbox\r\n450 4.2.1 is tired"
		}
		return ""
	}}
}

// MuteManner says nothing after the first n contents.
func MuteManner(n int) Manner {
	return Manner{Dot: func(at int) (string, Dot) {
		if at <= n {
			return "", Mute
		}
		return "", Answers
	}}
}

// RefusingManner refuses contents in turn: as temporary, for good, with a drop.
func RefusingManner() Manner {
	return Manner{Chunking: true, Dot: func(at int) (string, Dot) {
		replies := []string{"452 4.3.1 Full", "554 5.7.1 Spam", "", ""}
		return replies[at%len(replies)], slices.Repeat([]Dot{Answers, Answers, Answers, Drops}, 1)[at%len(replies)]
	}}
}
