package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// box is a device in the path: it got a connection that was meant for another.
type box interface {
	between(client net.Conn, meant netip.AddrPort, out *space)
}

// meantFor asks the kernel whom a redirected connection was for.
func meantFor(c net.Conn) (netip.AddrPort, error) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	const soOriginalDst = 80 // of SOL_IP and SOL_IPV6 alike
	var meant netip.AddrPort
	var inner error
	err = raw.Control(func(fd uintptr) {
		if c.LocalAddr().(*net.TCPAddr).IP.To4() != nil {
			var a *unix.IPv6Mreq // sixteen octets hold a sockaddr_in
			if a, inner = unix.GetsockoptIPv6Mreq(int(fd), unix.SOL_IP, soOriginalDst); inner == nil {
				b := a.Multiaddr
				meant = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:4]))
			}
			return
		}
		var a *unix.IPv6MTUInfo
		if a, inner = unix.GetsockoptIPv6MTUInfo(int(fd), unix.SOL_IPV6, soOriginalDst); inner == nil {
			var b [2]byte
			binary.NativeEndian.PutUint16(b[:], a.Addr.Port)
			meant = netip.AddrPortFrom(netip.AddrFrom16(a.Addr.Addr), binary.BigEndian.Uint16(b[:]))
		}
	})
	if err == nil {
		err = inner
	}
	return meant, err
}

// instead answers itself, whoever was meant.
type instead struct{ server }

func (b instead) between(c net.Conn, _ netip.AddrPort, _ *space) { b.serve(c) }

// rewriter passes the cleartext of a session on, line by line, changed. Once
// the server has agreed to STARTTLS it only carries octets.
type rewriter struct {
	// reply changes a line of the server, to the command given ("" before the
	// first, the greeting); "" drops the line.
	reply func(command, line string) string
	// command may answer for the server; "" passes the command on.
	command func(line string) string
	// cutAfter ends the session with a reset when a command begins so.
	cutAfter string
}

func (b rewriter) between(c net.Conn, meant netip.AddrPort, out *space) {
	far, err := dialOn(out, meant)
	if err != nil {
		return
	}
	defer far.Close()
	cr, fr := bufio.NewReader(c), bufio.NewReader(far)
	if !b.pass(c, fr, "") {
		return
	}
	for {
		line, err := cr.ReadString('\n')
		if err != nil {
			return
		}
		text := strings.TrimRight(line, "\r\n")
		if b.cutAfter != "" && strings.HasPrefix(strings.ToUpper(text), b.cutAfter) {
			hangUp(c)
			return
		}
		if b.command != nil {
			if answer := b.command(text); answer != "" {
				_, _ = io.WriteString(c, answer+"\r\n")
				continue
			}
		}
		if _, err := io.WriteString(far, line); err != nil || !b.pass(c, fr, text) {
			return
		}
		if strings.EqualFold(text, "STARTTLS") {
			carryBoth(c, cr, far, fr)
			return
		}
	}
}

// pass hands one whole reply on, changed.
func (b rewriter) pass(c net.Conn, from *bufio.Reader, command string) bool {
	var lines []string
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return false
		}
		line = strings.TrimRight(line, "\r\n")
		last := len(line) < 4 || line[3] != '-'
		if b.reply != nil {
			line = b.reply(command, line)
		}
		if line != "" {
			lines = append(lines, line)
		}
		if last {
			break
		}
	}
	for i, l := range lines {
		if len(l) > 3 {
			sep := "-"
			if i == len(lines)-1 {
				sep = " "
			}
			lines[i] = l[:3] + sep + l[4:]
		}
	}
	_, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n")
	return err == nil
}

// stripper removes STARTTLS from what servers offer, as some providers of
// access and some virus scanners do.
func stripper() rewriter {
	return rewriter{
		reply: func(command, line string) string {
			if strings.HasPrefix(strings.ToUpper(command), "EHLO") && strings.EqualFold(line[4:], "STARTTLS") {
				return ""
			}
			return line
		},
		command: func(line string) string {
			if strings.EqualFold(line, "STARTTLS") {
				return "502 5.5.1 not implemented"
			}
			return ""
		},
	}
}

// pix masks the greeting and overwrites extensions it does not know, as Cisco
// PIX and ASA do with "fixup protocol smtp" ("inspect esmtp").
func pix() rewriter {
	return rewriter{
		reply: func(command, line string) string {
			switch {
			case command == "":
				return "220 " + strings.Repeat("*", max(len(line)-4, 20))
			case strings.HasPrefix(strings.ToUpper(command), "EHLO") && strings.HasPrefix(line[4:], "STARTTLS"):
				return line[:4] + "XXXXXXXA"
			}
			return line
		},
		command: func(line string) string {
			if strings.EqualFold(line, "STARTTLS") {
				return "500 5.5.1 command unrecognized"
			}
			return ""
		},
	}
}

// greeter puts its own name into the greeting.
func greeter(greeting string) rewriter {
	return rewriter{reply: func(command, line string) string {
		if command == "" {
			return greeting
		}
		return line
	}}
}

// noESMTP refuses EHLO, as proxies of the last century do.
func noESMTP() rewriter {
	return rewriter{command: func(line string) string {
		if strings.HasPrefix(strings.ToUpper(line), "EHLO") {
			return "500 5.5.1 command unrecognized"
		}
		return ""
	}}
}

// interceptor ends TLS itself with a certificate of its own authority and
// speaks TLS to the server meant, reading everything between.
type interceptor struct {
	ca   *authority
	name string // the one certificate for everybody; "" makes one for each name asked for
}

func (b interceptor) between(c net.Conn, meant netip.AddrPort, out *space) {
	far, err := dialOn(out, meant)
	if err != nil {
		return
	}
	defer far.Close()
	cr, fr := bufio.NewReader(c), bufio.NewReader(far)
	if !implicit(meant) && !untilTLS(c, cr, far, fr) {
		return
	}
	near := tls.Server(c, b.ca.config(b.name, good()))
	if near.Handshake() != nil {
		return
	}
	beyond := tls.Client(far, &tls.Config{InsecureSkipVerify: true, ServerName: near.ConnectionState().ServerName})
	if beyond.Handshake() != nil {
		return
	}
	carryBoth(near, near, beyond, beyond)
}

// untilTLS passes the cleartext phase on, through the reply to STARTTLS.
func untilTLS(c net.Conn, cr *bufio.Reader, far net.Conn, fr *bufio.Reader) bool {
	plain := rewriter{}
	if !plain.pass(c, fr, "") {
		return false
	}
	for {
		line, err := cr.ReadString('\n')
		if err != nil {
			return false
		}
		if _, err := io.WriteString(far, line); err != nil {
			return false
		}
		if !plain.pass(c, fr, line) {
			return false
		}
		if strings.EqualFold(strings.TrimSpace(line), "STARTTLS") {
			return true
		}
	}
}

// smallHello lets a ClientHello pass only if it fits into limit octets: the
// device that reassembles nothing, of which large post-quantum key shares were
// the first to tell (TLS-3).
type smallHello struct {
	limit int
	reset bool // reset the connection; otherwise keep silent
}

func (b smallHello) between(c net.Conn, meant netip.AddrPort, out *space) {
	far, err := dialOn(out, meant)
	if err != nil {
		return
	}
	defer far.Close()
	cr, fr := bufio.NewReader(c), bufio.NewReader(far)
	if !implicit(meant) && !untilTLS(c, cr, far, fr) {
		return
	}
	head, err := cr.Peek(5) // a TLS record's: type, version, length
	if err != nil {
		return
	}
	if int(binary.BigEndian.Uint16(head[3:5])) > b.limit {
		if b.reset {
			hangUp(c)
			return
		}
		_, _ = io.Copy(io.Discard, cr)
		return
	}
	carryBoth(c, cr, far, fr)
}

// implicit tells the ports where TLS comes first.
func implicit(to netip.AddrPort) bool {
	p := to.Port()
	return p == 465 || p == 2465 || p == 443
}

func dialOn(out *space, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := out.dial(ctx, to.String())
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(time.Minute))
	}
	return c, err
}

// carryBoth carries octets both ways until one side has ended.
func carryBoth(a net.Conn, ar io.Reader, b net.Conn, br io.Reader) {
	done := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(b, ar); done <- struct{}{} }()
	go func() { _, _ = io.Copy(a, br); done <- struct{}{} }()
	<-done
	_ = a.Close()
	_ = b.Close()
}

// tunnel ends the connection near by and carries the octets to the host meant.
type tunnel struct{}

func (tunnel) between(c net.Conn, meant netip.AddrPort, out *space) {
	far, err := dialOn(out, meant)
	if err != nil {
		hangUp(c)
		return
	}
	carryBoth(c, c, far, far)
}
