package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// relay is a provider of our own on the peers' side: TLS and AUTH on 587, 465
// and 2525, and a list of what it took by which port. Its certificate can be
// exchanged while it runs.
type relay struct {
	place place

	mu    sync.Mutex
	cert  *tls.Certificate
	taken map[string][]string // X-Load number → the ports by which it came
	conns map[net.Conn]bool
	auths int
}

// startRelay starts one at a place, on these ports.
func startRelay(t *testing.T, ports ...int) *relay {
	t.Helper()
	w := need(t)
	r := &relay{place: newPlace(t), taken: map[string][]string{}, conns: map[net.Conn]bool{}}
	r.shows(t, r.host())
	for _, port := range ports {
		l, err := w.listenThere(fmt.Sprintf("%s:%d", r.place.addr, port))
		check(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go r.accept(l, port)
	}
	return r
}

func (r *relay) host() string { return "mx." + r.place.domain }

// shows exchanges the certificate for one of that name, as a restart would: who
// is connected is cut off.
func (r *relay) shows(t *testing.T, name string) {
	t.Helper()
	certFile, keyFile, err := need(t).ca.issue(name)
	check(t, err)
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	check(t, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cert = &pair
	for c := range r.conns {
		_ = c.Close()
	}
}

// listenThere opens a socket in the peers' network. The thread that went there
// does not come back, so it ends with the goroutine.
func (w *world) listenThere(address string) (net.Listener, error) {
	type opened struct {
		l   net.Listener
		err error
	}
	done := make(chan opened)
	go func() {
		runtime.LockOSThread()
		ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", w.holder))
		if err == nil {
			defer func() { _ = ns.Close() }()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		var l net.Listener
		if err == nil {
			l, err = net.Listen("tcp", address)
		}
		done <- opened{l, err}
	}()
	o := <-done
	return o.l, o.err
}

func (r *relay) accept(l net.Listener, port int) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.conns[c] = true
		r.mu.Unlock()
		go func() {
			r.serve(c, port)
			_ = c.Close()
			r.mu.Lock()
			delete(r.conns, c)
			r.mu.Unlock()
		}()
	}
}

// serve speaks just enough SMTP. Mail before AUTH, and AUTH before TLS, it does
// not know.
func (r *relay) serve(conn net.Conn, port int) {
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.cert, nil
	}}
	safe, signed := port == 465, false
	if safe {
		conn = tls.Server(conn, config)
	}
	in := bufio.NewReader(conn)
	say := func(line string) { _, _ = conn.Write([]byte(line + "\r\n")) }
	say("220 " + r.host() + " ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		switch {
		case verb == "EHLO" && safe:
			say("250-" + r.host() + "\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 AUTH PLAIN LOGIN")
		case verb == "EHLO":
			say("250-" + r.host() + "\r\n250-ENHANCEDSTATUSCODES\r\n250 STARTTLS")
		case verb == "STARTTLS" && !safe:
			say("220 2.0.0 go")
			conn = tls.Server(conn, config)
			in, safe = bufio.NewReader(conn), true
		case verb == "AUTH" && safe:
			r.mu.Lock()
			r.auths++
			r.mu.Unlock()
			signed = true
			say("235 2.7.0 welcome")
		case verb == "DATA" && signed:
			say("354 go on")
			content, err := readDots(in)
			if err != nil {
				return
			}
			say(r.take(content, port))
		case verb == "QUIT":
			say("221 2.0.0 bye")
			return
		case (verb == "MAIL" || verb == "RCPT") && signed, verb == "RSET", verb == "NOOP":
			say("250 2.0.0 ok")
		default:
			say("530 5.7.0 not like this")
		}
	}
}

func (r *relay) take(content []byte, port int) string {
	m := loadNumber.FindSubmatch(content)
	r.mu.Lock()
	defer r.mu.Unlock()
	if m != nil {
		r.taken[string(m[1])] = append(r.taken[string(m[1])], fmt.Sprint(port))
	}
	return "250 2.0.0 queued"
}

// by counts the messages that came by a port, and those that came twice.
func (r *relay) by() (ports map[string]int, total, twice int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ports = map[string]int{}
	for _, came := range r.taken {
		for _, p := range came {
			ports[p]++
		}
		total++
		twice += len(came) - 1
	}
	return ports, total, twice
}

// drops lets a port of the relay vanish: no packet comes or goes. The func it
// returns brings it back.
func (r *relay) drops(t *testing.T, port int) (back func()) {
	t.Helper()
	name := strings.ReplaceAll(fmt.Sprintf("%s_%d", r.place.domain, port), ".", "_")
	r.nft(t, "add", "table", "inet", name)
	for _, hook := range []struct{ name, match string }{{"input", "ip daddr %s tcp dport %d drop"}, {"output", "ip saddr %s tcp sport %d drop"}} {
		r.nft(t, "add", "chain", "inet", name, hook.name, "{ type filter hook "+hook.name+" priority 0; }")
		r.nft(t, append([]string{"add", "rule", "inet", name, hook.name}, strings.Fields(fmt.Sprintf(hook.match, r.place.addr, port))...)...)
	}
	back = sync.OnceFunc(func() { r.nft(t, "delete", "table", "inet", name) })
	t.Cleanup(back)
	return back
}

func (r *relay) nft(t *testing.T, args ...string) {
	t.Helper()
	if out, err := need(t).there(context.Background(), append([]string{"nft"}, args...)...).CombinedOutput(); err != nil {
		t.Errorf("nft %v: %v: %s", args, err, out)
	}
}

// smarthost is the configuration that leads all mail to it.
func (r *relay) smarthost(t *testing.T, more string) string {
	t.Helper()
	return "[[route]]\nvia = \"provider\"\n" + r.table(t, "provider", more)
}

// table is its [smarthost] table.
func (r *relay) table(t *testing.T, name, more string) string {
	t.Helper()
	w := need(t)
	secret := w.dir + "/" + r.place.domain + ".secret" // of its own: tests run beside each other
	check(t, write(map[string]string{secret: "secret\n"}))
	check(t, os.Chmod(secret, 0o600))
	return fmt.Sprintf("[smarthost.%s]\nhost = %q\nusername = \"app\"\npassword = { file = %q }\nca = %q\n%s\n",
		name, r.host(), secret, w.ca.caFile, more)
}
