package pop3

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/mail"
)

// lineMax is the longest command line in octets, CR LF included (RFC 2449 §4).
const lineMax = 255

// faultsMax is how many commands in a row may be wrong before we hang up.
const faultsMax = 10

type session struct {
	needs  Needs
	conn   net.Conn
	r      *bufio.Reader
	w      *bufio.Writer
	secure bool
	user   string // said by USER
	inside bool   // logged in
	list   []Message
	gone   map[int]bool // indexes marked by DELE
	faults int
}

func newSession(n Needs, conn net.Conn) *session {
	s := &session{needs: n, conn: conn, gone: map[int]bool{}}
	s.attach(conn)
	return s
}

func (s *session) attach(conn net.Conn) {
	s.conn = conn
	s.r, s.w = bufio.NewReaderSize(conn, lineMax+1), bufio.NewWriter(conn)
}

var errQuit = errors.New("the client said goodbye")

func (s *session) run() {
	s.ok("Paquebot keeps caught mail; the user name is the mailbox")
	for s.w.Flush() == nil {
		line, err := s.read()
		if err != nil {
			return
		}
		if err := s.obey(line); err != nil || s.faults > faultsMax {
			s.w.Flush()
			return
		}
		s.conn.SetWriteDeadline(time.Now().Add(writeMax))
	}
}

// read returns a line without its end. A longer one than allowed ends the
// session: what follows it could be anything.
func (s *session) read() (string, error) {
	s.conn.SetDeadline(time.Now().Add(idleMax))
	line, err := s.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || len(line) > lineMax {
		s.refuse("line too long")
		s.w.Flush()
		return "", bufio.ErrBufferFull
	}
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

func (s *session) ok(format string, args ...any) { fmt.Fprintf(s.w, "+OK "+format+"\r\n", args...) }

func (s *session) refuse(format string, args ...any) {
	s.faults++
	fmt.Fprintf(s.w, "-ERR "+format+"\r\n", args...)
}

// obey carries out one command; what may be said when is RFC 1939 §4 and §5.
func (s *session) obey(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "CAPA":
		s.capabilities()
		return nil
	case "QUIT":
		return s.quit()
	case "NOOP":
		s.ok("still here")
		return nil
	}
	before := s.faults
	if err := s.within(strings.ToUpper(verb), rest); err != nil {
		return err
	}
	if s.faults == before {
		s.faults = 0
	}
	return nil
}

func (s *session) within(verb, rest string) error {
	if !s.inside {
		switch verb {
		case "STLS":
			return s.stls()
		case "USER":
			s.userIs(rest)
		case "PASS":
			s.pass(rest)
		case "UTF8": // messages are given as they came in any case (RFC 6856 §2)
			s.ok("UTF8")
		default:
			s.refuse("log in first: USER, then PASS")
		}
		return nil
	}
	switch verb {
	case "STAT":
		n, size := s.total()
		s.ok("%d %d", n, size)
	case "LIST":
		s.scan(rest, func(m Message) string { return strconv.FormatInt(m.Size, 10) })
	case "UIDL":
		s.scan(rest, func(m Message) string { return m.ID.String() })
	case "RETR":
		return s.retrieve(rest, -1)
	case "TOP":
		return s.top(rest)
	case "DELE":
		s.remove(rest)
	case "RSET":
		clear(s.gone)
		s.ok("nothing is marked as deleted")
	default:
		s.refuse("no such command")
	}
	return nil
}

func (s *session) capabilities() {
	s.ok("what there is")
	lines := []string{"TOP", "UIDL", "PIPELINING", "RESP-CODES", "EXPIRE NEVER", "UTF8", "IMPLEMENTATION Paquebot"}
	if s.mayLogIn() {
		lines = append(lines, "USER")
	}
	if s.needs.TLS != nil && !s.secure && !s.inside {
		lines = append(lines, "STLS")
	}
	s.w.WriteString(strings.Join(lines, "\r\n") + "\r\n.\r\n")
}

// mayLogIn: a password goes over the wire in TLS, or not beyond this machine.
func (s *session) mayLogIn() bool {
	if s.secure {
		return true
	}
	a, err := netip.ParseAddrPort(s.conn.RemoteAddr().String())
	return err == nil && a.Addr().Unmap().IsLoopback()
}

// stls begins TLS. What was sent along with STLS is not read: it would be
// believed to have come under TLS (RFC 2595 §4).
func (s *session) stls() error {
	switch {
	case s.secure || s.needs.TLS == nil:
		s.refuse("TLS cannot be begun here")
		return nil
	case s.r.Buffered() > 0:
		s.refuse("nothing may follow STLS before its answer")
		return errQuit
	}
	s.ok("begin TLS")
	if err := s.w.Flush(); err != nil {
		return err
	}
	conn := tls.Server(s.conn, s.needs.TLS)
	if err := conn.Handshake(); err != nil {
		return err
	}
	s.attach(conn)
	s.secure, s.user = true, ""
	return nil
}

func (s *session) userIs(name string) {
	switch {
	case !s.mayLogIn():
		s.refuse("[AUTH] begin TLS first: STLS")
	case name == "":
		s.refuse("USER needs a name; it is the mailbox, or all")
	default:
		s.user = name
		s.ok("any password will do")
	}
}

func (s *session) pass(password string) {
	switch {
	case s.user == "":
		s.refuse("USER first")
	case password == "wrong" || s.user == "wrong":
		s.refuse("[AUTH] this one is refused on purpose")
	default:
		box := s.user
		if box == "all" {
			box = ""
		}
		s.list = s.needs.Mail.Messages(box)
		s.list = s.list[:min(len(s.list), messagesMax)]
		s.inside = true
		n, size := s.total()
		s.ok("%d messages, %d octets", n, size)
	}
}

func (s *session) total() (n int, size int64) {
	for i, m := range s.list {
		if !s.gone[i] {
			n, size = n+1, size+m.Size
		}
	}
	return n, size
}

// number finds the message a client means; they count from 1.
func (s *session) number(text string) (int, bool) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > len(s.list) || s.gone[n-1] {
		s.refuse("no such message")
		return 0, false
	}
	return n - 1, true
}

func (s *session) scan(arg string, tell func(Message) string) {
	if arg != "" {
		if i, found := s.number(arg); found {
			s.ok("%d %s", i+1, tell(s.list[i]))
		}
		return
	}
	n, _ := s.total()
	s.ok("%d messages", n)
	for i, m := range s.list {
		if !s.gone[i] {
			fmt.Fprintf(s.w, "%d %s\r\n", i+1, tell(m))
		}
	}
	s.w.WriteString(".\r\n")
}

func (s *session) remove(arg string) {
	if i, found := s.number(arg); found {
		s.gone[i] = true
		s.ok("message %d goes at QUIT", i+1)
	}
}

func (s *session) top(arg string) error {
	which, count, _ := strings.Cut(arg, " ")
	lines, err := strconv.Atoi(count)
	if err != nil || lines < 0 {
		s.refuse("TOP needs a message and a number of lines")
		return nil
	}
	return s.retrieve(which, lines)
}

// retrieve sends a message, or its header and so many lines of its body.
func (s *session) retrieve(arg string, lines int) error {
	i, found := s.number(arg)
	if !found {
		return nil
	}
	body, err := s.needs.Mail.Open(s.list[i].ID)
	if err != nil {
		s.refuse("the message is gone")
		return nil
	}
	defer body.Close()
	s.ok("%d octets", s.list[i].Size)
	s.conn.SetWriteDeadline(time.Now().Add(writeMax))
	return s.send(bufio.NewReader(mail.Reader(body)), lines)
}

// send writes a message with dots stuffed (RFC 1939 §3). Lines may be of any
// length and are passed on in pieces.
func (s *session) send(r *bufio.Reader, lines int) error {
	atStart, inBody := true, false
	for {
		piece, err := r.ReadSlice('\n')
		blank := atStart && strings.TrimRight(string(piece), "\r\n") == ""
		if inBody && atStart && lines >= 0 {
			if lines == 0 {
				break
			}
			lines--
		}
		if atStart && len(piece) > 0 && piece[0] == '.' {
			s.w.WriteByte('.')
		}
		if _, err := s.w.Write(piece); err != nil {
			return err
		}
		s.conn.SetWriteDeadline(time.Now().Add(writeMax))
		if len(piece) > 0 {
			atStart = piece[len(piece)-1] == '\n'
		}
		inBody = inBody || blank && atStart
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break // the end, or what can be read of it
		}
	}
	if !atStart {
		s.w.WriteString("\r\n")
	}
	_, err := s.w.WriteString(".\r\n")
	return err
}

// quit removes what was marked (RFC 1939 §6).
func (s *session) quit() error {
	var ids []mail.ID
	for i := range s.list {
		if s.gone[i] {
			ids = append(ids, s.list[i].ID)
		}
	}
	if len(ids) > 0 {
		if err := s.needs.Mail.Delete(ids...); err != nil {
			s.refuse("[SYS/TEMP] not all marked messages were removed")
			return errQuit
		}
	}
	s.ok("goodbye")
	return errQuit
}
