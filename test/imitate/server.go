package imitate

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Service is what one provider answers. A method that returns "" says yes with
// the usual words; any other reply is sent as it is.
type Service interface {
	// Ports are those the provider publishes.
	Ports() []Port
	Greeting() string
	// Ehlo returns the lines after the 250: the first is the greeting's, the
	// others keywords, as they are before or after TLS.
	Ehlo(s *Session) []string
	// Login checks a credential; secret is a password or a token.
	Login(s *Session, user, secret string) string
	Mail(s *Session, from string) string
	Rcpt(s *Session, to string) string
	// Data takes a message, of which the Server knows everything else.
	Data(s *Session, m *Message) string
	// Words are how it says yes.
	Words() Words
}

// Words are a provider's friendly replies.
type Words struct {
	Mail, Rcpt, Data, Accepted, SignedIn, StartTLS, Bye string
	// NeedTLS answers what comes before TLS, "" where that is allowed.
	NeedTLS string
	// NeedLogin answers MAIL before a sign-in.
	NeedLogin string
}

// Port is one port of a provider.
type Port struct {
	Number   int
	Implicit bool // TLS from the first octet; else STARTTLS
}

// Session is one connection, as a Service sees it.
type Session struct {
	Port       Port
	Peer       net.IP
	TLS        *tls.ConnectionState // nil before
	User       string               // "" before a sign-in
	Mechanism  string
	From       string
	To         []string
	mailParams string
	account    any // what the service keeps of who signed in
}

// Message is one message that was taken.
type Message struct {
	Session
	Content []byte
	ID      string // what the provider called it, "" if it does not say
	At      time.Time
}

// Header returns the first value of a field, "" if there is none.
func (m *Message) Header(name string) string {
	head, _, _ := bytes.Cut(m.Content, []byte("\r\n\r\n"))
	text := strings.NewReplacer("\r\n ", " ", "\r\n\t", " ").Replace(string(head))
	for line := range strings.SplitSeq(text, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Server is a Service that listens.
type Server struct {
	service Service
	tls     *tls.Config

	mu       sync.Mutex
	taken    []*Message
	offences []string
	sessions int
	open     map[net.Conn]bool
	closers  []io.Closer
}

// Start listens on all ports of a service, with listen as it makes listeners.
func Start(service Service, config *tls.Config, listen func(port int) (net.Listener, error)) (*Server, error) {
	s := &Server{service: service, tls: config, open: map[net.Conn]bool{}}
	for _, p := range service.Ports() {
		l, err := listen(p.Number)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("port %d: %w", p.Number, err)
		}
		s.closers = append(s.closers, l)
		go s.accept(l, p)
	}
	return s, nil
}

// Close ends listening; open sessions end by themselves.
func (s *Server) Close() {
	for _, c := range s.closers {
		_ = c.Close()
	}
}

// Messages returns what was taken with all the words in its content.
func (s *Server) Messages(words ...string) (found []*Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
next:
	for _, m := range s.taken {
		for _, w := range words {
			if !bytes.Contains(m.Content, []byte(w)) {
				continue next
			}
		}
		found = append(found, m)
	}
	return found
}

// Offences are what no client may do, whatever it is offered: sending a
// password in clear.
func (s *Server) Offences() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.offences...)
}

// Sessions says how many connections there were.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// HangUp ends all open sessions without a word.
func (s *Server) HangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

func (s *Server) offend(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offences = append(s.offences, fmt.Sprintf(format, args...))
}

func (s *Server) accept(l net.Listener, p Port) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.sessions++
		s.open[c] = true
		s.mu.Unlock()
		go func() {
			defer func() {
				_ = c.Close()
				s.mu.Lock()
				delete(s.open, c)
				s.mu.Unlock()
			}()
			_ = s.serve(c, p) // a session ends as it ends
		}()
	}
}

// patience is how long a session waits for its client; the longest any of
// these providers documents is longer, but a test's client has nothing to
// think about.
const patience = 2 * time.Minute

// lineMax and contentMax bound what a client may send.
const (
	lineMax    = 64 << 10 // tokens are long
	contentMax = 64 << 20
)

type connection struct {
	Session
	srv  *Server
	conn net.Conn
	r    *bufio.Reader
}

var errBye = errors.New("goodbye")

func (s *Server) serve(raw net.Conn, p Port) error {
	c := &connection{srv: s, conn: raw}
	c.Port = p
	if a, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
		c.Peer = a.IP
	}
	if p.Implicit {
		if err := c.handshake(); err != nil {
			return err
		}
	}
	c.r = bufio.NewReaderSize(c.conn, lineMax)
	if err := c.say(s.service.Greeting()); err != nil || !strings.HasPrefix(s.service.Greeting(), "220") {
		return err
	}
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		verb, rest, _ := strings.Cut(line, " ")
		if err := c.do(strings.ToUpper(verb), rest); err != nil {
			return err
		}
	}
}

func (c *connection) handshake() error {
	t := tls.Server(c.conn, c.srv.tls)
	_ = t.SetDeadline(time.Now().Add(patience))
	if err := t.Handshake(); err != nil {
		return err
	}
	state := t.ConnectionState()
	c.conn, c.TLS = t, &state
	c.r = bufio.NewReaderSize(t, lineMax)
	return nil
}

func (c *connection) say(reply string) error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, err := io.WriteString(c.conn, reply+"\r\n")
	return err
}

func (c *connection) line() (string, error) {
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	b, err := c.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// yes sends the service's refusal, or else its friendly words.
func (c *connection) yes(refusal, words string) (bool, error) {
	if refusal != "" {
		if err := c.say(refusal); err != nil {
			return false, err
		}
		if strings.HasPrefix(refusal, "421") {
			return false, errBye
		}
		return false, nil
	}
	return true, c.say(words)
}

func (c *connection) do(verb, rest string) error {
	words := c.srv.service.Words()
	switch verb {
	case "EHLO":
		lines := c.srv.service.Ehlo(&c.Session)
		for i, l := range lines {
			dash := "-"
			if i == len(lines)-1 {
				dash = " "
			}
			if err := c.say("250" + dash + l); err != nil {
				return err
			}
		}
		return nil
	case "HELO", "NOOP":
		return c.say("250 Ok")
	case "RSET":
		c.From, c.To = "", nil
		return c.say("250 Ok")
	case "QUIT":
		_ = c.say(words.Bye)
		return errBye
	case "STARTTLS":
		return c.startTLS(words)
	}
	if c.TLS == nil && words.NeedTLS != "" {
		if verb == "AUTH" {
			c.srv.offend("port %d: AUTH before TLS", c.Port.Number)
		}
		return c.say(words.NeedTLS)
	}
	switch verb {
	case "AUTH":
		return c.auth(rest, words)
	case "MAIL":
		return c.mail(rest, words)
	case "RCPT":
		to, _ := path(rest, "TO:")
		if c.From == "" {
			return c.say("503 5.5.1 MAIL first")
		}
		ok, err := c.yes(c.srv.service.Rcpt(&c.Session, to), words.Rcpt)
		if ok {
			c.To = append(c.To, to)
		}
		return err
	case "DATA":
		if len(c.To) == 0 {
			return c.say("503 5.5.1 RCPT first")
		}
		if err := c.say(words.Data); err != nil {
			return err
		}
		content, err := c.dots()
		if err != nil {
			return err
		}
		return c.take(content, words)
	case "BDAT":
		return c.bdat(rest, words)
	}
	return c.say("500 5.5.1 Unrecognized command")
}

func (c *connection) startTLS(words Words) error {
	if c.TLS != nil {
		return c.say("503 5.5.1 TLS is on")
	}
	if err := c.say(words.StartTLS); err != nil {
		return err
	}
	if n := c.r.Buffered(); n > 0 { // RFC 3207 §4: what came with STARTTLS was not protected
		c.srv.offend("port %d: %d octets after STARTTLS in clear", c.Port.Number, n)
	}
	c.User, c.From, c.To = "", "", nil
	return c.handshake()
}

func (c *connection) mail(rest string, words Words) error {
	if words.NeedLogin != "" && c.User == "" {
		return c.say(words.NeedLogin)
	}
	from, params := path(rest, "FROM:")
	ok, err := c.yes(c.srv.service.Mail(&c.Session, from), words.Mail)
	if ok {
		c.From, c.To, c.mailParams = "<"+from+">", nil, params
	}
	return err
}

// path takes the address out of "FROM:<a@b> X=Y".
func path(rest, key string) (address, params string) {
	if len(rest) < len(key) || !strings.EqualFold(rest[:len(key)], key) {
		return "", ""
	}
	address, params, _ = strings.Cut(strings.TrimSpace(rest[len(key):]), " ")
	return strings.Trim(address, "<>"), params
}

func (c *connection) take(content []byte, words Words) error {
	m := &Message{Session: c.Session, Content: content, At: time.Now()}
	m.From = strings.Trim(c.From, "<>")
	c.From, c.To = "", nil
	refusal := c.srv.service.Data(&c.Session, m)
	if refusal == "" {
		c.srv.mu.Lock()
		c.srv.taken = append(c.srv.taken, m)
		c.srv.mu.Unlock()
	}
	_, err := c.yes(refusal, strings.ReplaceAll(words.Accepted, "{id}", m.ID))
	return err
}

// dots reads content up to the final dot (RFC 5321 §4.5.2).
func (c *connection) dots() ([]byte, error) {
	var content []byte
	for {
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		line, err := c.r.ReadBytes('\n')
		if err != nil {
			return nil, err
		}
		if string(line) == ".\r\n" {
			return content, nil
		}
		if len(content)+len(line) > contentMax {
			return nil, errors.New("too much content")
		}
		content = append(content, bytes.TrimPrefix(line, []byte("."))...)
	}
}

// bdat reads the chunks of a message (RFC 3030).
func (c *connection) bdat(rest string, words Words) error {
	var content []byte
	for {
		size, last, _ := strings.Cut(strings.ToUpper(rest), " ")
		n, err := strconv.Atoi(size)
		if err != nil || n < 0 || len(content)+n > contentMax {
			return c.say("501 5.5.4 BDAT what?")
		}
		chunk := make([]byte, n)
		_ = c.conn.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(c.r, chunk); err != nil {
			return err
		}
		content = append(content, chunk...)
		if last == "LAST" {
			if len(c.To) == 0 {
				return c.say("503 5.5.1 RCPT first")
			}
			return c.take(content, words)
		}
		if err := c.say("250 2.0.0 Chunk received"); err != nil {
			return err
		}
		line, err := c.line()
		if err != nil {
			return err
		}
		verb, args, _ := strings.Cut(line, " ")
		if !strings.EqualFold(verb, "BDAT") {
			return c.do(strings.ToUpper(verb), args)
		}
		rest = args
	}
}

// offers says whether the service offers a mechanism as things stand.
func (c *connection) offers(mechanism string) bool {
	for _, l := range c.srv.service.Ehlo(&c.Session) {
		if words := strings.Fields(l); len(words) > 1 && words[0] == "AUTH" {
			for _, w := range words[1:] {
				if w == mechanism {
					return true
				}
			}
		}
	}
	return false
}

func (c *connection) auth(rest string, words Words) error {
	mechanism, initial, given := strings.Cut(rest, " ")
	mechanism = strings.ToUpper(mechanism)
	if c.TLS == nil {
		c.srv.offend("port %d: AUTH %s in clear", c.Port.Number, mechanism)
	}
	if c.User != "" {
		return c.say("503 5.5.1 Already authenticated")
	}
	if !c.offers(mechanism) {
		return c.say("504 5.7.4 Unrecognized authentication type")
	}
	user, secret, err := c.exchange(mechanism, initial, given)
	if err != nil {
		if errors.Is(err, errSyntax) {
			return c.say("501 5.5.2 Cannot decode")
		}
		return err
	}
	c.Mechanism = mechanism
	ok, err := c.yes(c.srv.service.Login(&c.Session, user, secret), words.SignedIn)
	if ok {
		c.User = user
	}
	return err
}

var errSyntax = errors.New("not base64, or not the mechanism's form")

// ask sends a challenge and reads the answer.
func (c *connection) ask(challenge string) (string, error) {
	if err := c.say("334 " + challenge); err != nil {
		return "", err
	}
	line, err := c.line()
	if err != nil {
		return "", err
	}
	return decode(line)
}

func decode(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", errSyntax
	}
	return string(b), nil
}

// exchange speaks the mechanism and returns what it was about. CRAM-MD5 shows
// no password: its secret is "cram:CHALLENGE:DIGEST", for cramMatches.
func (c *connection) exchange(mechanism, initial string, given bool) (user, secret string, err error) {
	answer := func(challenge string) (string, error) {
		if given {
			given = false
			return decode(initial)
		}
		return c.ask(challenge)
	}
	switch mechanism {
	case "PLAIN": // RFC 4616
		text, err := answer("")
		parts := strings.Split(text, "\x00")
		if err != nil || len(parts) != 3 {
			return "", "", errors.Join(err, errSyntax)
		}
		return parts[1], parts[2], nil
	case "LOGIN":
		if user, err = answer(base64.StdEncoding.EncodeToString([]byte("Username:"))); err != nil {
			return "", "", err
		}
		secret, err = c.ask(base64.StdEncoding.EncodeToString([]byte("Password:")))
		return user, secret, err
	case "CRAM-MD5": // RFC 2195
		challenge := fmt.Sprintf("<%d.1@imitation.test>", time.Now().UnixNano())
		text, err := c.ask(base64.StdEncoding.EncodeToString([]byte(challenge)))
		user, digest, ok := strings.Cut(text, " ")
		if err != nil || !ok {
			return "", "", errors.Join(err, errSyntax)
		}
		return user, "cram:" + challenge + ":" + digest, nil
	case "XOAUTH2": // user=USER^Aauth=Bearer TOKEN^A^A
		text, err := answer("")
		user, bearer, ok := strings.Cut(strings.TrimSuffix(text, "\x01\x01"), "\x01auth=Bearer ")
		if err != nil || !ok || !strings.HasPrefix(user, "user=") {
			return "", "", errors.Join(err, errSyntax)
		}
		return strings.TrimPrefix(user, "user="), bearer, nil
	}
	return "", "", errSyntax
}

// matches compares a password with what a client showed of it.
func matches(secret, password string) bool {
	rest, cram := strings.CutPrefix(secret, "cram:")
	if !cram {
		return hmac.Equal([]byte(secret), []byte(password))
	}
	at := strings.LastIndexByte(rest, ':')
	mac := hmac.New(md5.New, []byte(password))
	mac.Write([]byte(rest[:at]))
	return hmac.Equal([]byte(rest[at+1:]), []byte(hex.EncodeToString(mac.Sum(nil))))
}

// domainOf returns what stands right of the @, in lower case.
func domainOf(address string) string {
	return strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
}

// addressOf takes the address out of a From field.
func addressOf(field string) string {
	if i := strings.LastIndexByte(field, '<'); i >= 0 {
		field, _, _ = strings.Cut(field[i+1:], ">")
	}
	return strings.ToLower(strings.TrimSpace(field))
}

// window counts events of the last while, for rates.
type window []time.Time

// add counts one more, and says how many there were within the span before.
func (w *window) add(now time.Time, span time.Duration) int {
	kept := (*w)[:0]
	for _, t := range *w {
		if now.Sub(t) < span {
			kept = append(kept, t)
		}
	}
	*w = append(kept, now)
	return len(*w)
}
