package listen

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// greeter says who it is and what it saw.
type greeter struct{}

func (greeter) Serve(_ context.Context, conn net.Conn, o mail.Origin, state *tls.ConnectionState) {
	defer conn.Close()
	version := "clear"
	if state != nil {
		version = tls.VersionName(state.Version)
	}
	_, _ = io.WriteString(conn, "220 "+version+" trusted="+map[bool]string{true: "yes", false: "no"}[o.Trusted]+"\r\n")
}

// heard collects events.
type heard struct {
	mu  sync.Mutex
	all []event.Event
	c   chan event.Event
}

func newHeard() *heard { return &heard{c: make(chan event.Event, 100)} }

func (h *heard) Emit(e event.Event) {
	h.mu.Lock()
	h.all = append(h.all, e)
	h.mu.Unlock()
	select {
	case h.c <- e:
	default:
	}
}

// wait returns the next event of type T.
func wait[T event.Event](t *testing.T, h *heard) T {
	t.Helper()
	end := time.After(10 * time.Second)
	for {
		select {
		case e := <-h.c:
			if got, ok := e.(T); ok {
				return got
			}
		case <-end:
			var none T
			t.Fatalf("no %T was emitted", none)
			return none
		}
	}
}

func start(t *testing.T, cfg Config, h *heard) *Listener {
	t.Helper()
	socket, err := Bind("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(socket, cfg, Needs{Handler: greeter{}, Events: h, Refuse: func(c net.Conn, r smtp.Reply) {
		_, _ = c.Write(r.AppendWire(nil))
	}})
	go func() { _ = l.Serve(context.Background()) }()
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func firstLine(t *testing.T, conn net.Conn) string {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	b, err := io.ReadAll(conn)
	if err != nil && len(b) == 0 {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func dialTo(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func testCerts(t *testing.T, h event.Sink) (*Certs, *x509.CertPool) {
	t.Helper()
	ca, err := NewAuthority("test", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("mx.example", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM)
	return OwnCerts(cert, h), pool
}

// P465-1: on a submissions port TLS comes first, 1.2 and up, without tickets.
func TestTLSFromTheFirstByte(t *testing.T) {
	h := newHeard()
	certs, roots := testCerts(t, h)
	l := start(t, Config{Role: mail.RoleSubmissions, TLSFirst: true, TLS: certs.Config(false)}, h)
	for version, want := range map[uint16]string{tls.VersionTLS12: "220 TLS 1.2", tls.VersionTLS13: "220 TLS 1.3"} {
		conn := tls.Client(dialTo(t, l), &tls.Config{RootCAs: roots, ServerName: "mx.example", MinVersion: version, MaxVersion: version})
		if got := firstLine(t, conn); !strings.HasPrefix(got, want) {
			t.Errorf("%x: %q", version, got)
		}
	}
	// TE-15, TLS-1: nothing older.
	conn := tls.Client(dialTo(t, l), &tls.Config{RootCAs: roots, ServerName: "mx.example", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if err := conn.Handshake(); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	wait[event.TLSFailed](t, h)
	// P465-5: a browser was led here.
	conn = tls.Client(dialTo(t, l), &tls.Config{RootCAs: roots, ServerName: "mx.example", NextProtos: []string{"h2", "http/1.1"}})
	if err := conn.Handshake(); err == nil {
		t.Error("a client that wants HTTP was let in")
	}
}

// TE-4, PC-18: the log says what the client does wrong.
func TestCleartextOnTLSPortIsExplained(t *testing.T) {
	h := newHeard()
	certs, _ := testCerts(t, h)
	l := start(t, Config{Role: mail.RoleSubmissions, TLSFirst: true, TLS: certs.Config(false)}, h)
	conn := dialTo(t, l)
	_, _ = io.WriteString(conn, "EHLO client.example\r\n")
	e := wait[event.TLSFailed](t, h)
	if !strings.Contains(e.Error, "cleartext on TLS port") || !strings.Contains(e.Error, "EHLO") || !strings.Contains(e.Advice, "SSL/TLS") {
		t.Errorf("%+v", e)
	}
}

// TE-16, RC-4.
func TestTooManyAreToldSo(t *testing.T) {
	h := newHeard()
	l := start(t, Config{Role: mail.RoleMX, PerMinute: 1}, h)
	firstLine(t, dialTo(t, l))
	if got := firstLine(t, dialTo(t, l)); !strings.HasPrefix(got, "421 4.7.0 Too many connections") {
		t.Errorf("%q", got)
	}
	if e := wait[event.ConnectionRefused](t, h); !strings.Contains(e.Reason, "a minute") {
		t.Errorf("%+v", e)
	}
}

func TestTrustComesFromTheList(t *testing.T) {
	for list, want := range map[string]string{"127.0.0.0/8": "trusted=yes", "10.0.0.0/8": "trusted=no"} {
		l := start(t, Config{Role: mail.RoleMX, Trusted: []netip.Prefix{netip.MustParsePrefix(list)}}, newHeard())
		if got := firstLine(t, dialTo(t, l)); !strings.Contains(got, want) {
			t.Errorf("%s: %q", list, got)
		}
	}
}

// A reload hands the socket on; who knocks meanwhile is served by one of both.
func TestSharedSocketOutlivesTheFirstHandle(t *testing.T) {
	h := newHeard()
	first := start(t, Config{Role: mail.RoleMX}, h)
	socket, err := first.Share()
	if err != nil {
		t.Fatal(err)
	}
	second := New(socket, Config{Role: mail.RoleMX}, Needs{Handler: greeter{}, Events: h, Refuse: func(net.Conn, smtp.Reply) {}})
	go func() { _ = second.Serve(context.Background()) }()
	defer second.Close()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := firstLine(t, dialTo(t, second)); !strings.HasPrefix(got, "220") {
		t.Errorf("%q", got)
	}
}

func TestPortInUseNamesItsHolder(t *testing.T) {
	socket, err := Bind("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	_, err = Bind(socket.Addr().String())
	var b *BindError
	if !errors.As(err, &b) || !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatal(err)
	}
	if !strings.Contains(b.Error(), "in use by listen.test (pid ") || !strings.Contains(b.Remedy(), "ss -ltnp") {
		t.Errorf("%s; %s", b, b.Remedy())
	}
}

func TestBindErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		cause        error
		says, remedy string
	}{
		{syscall.EACCES, "no permission for a port below 1024", "setcap cap_net_bind_service=+ep"},
		{syscall.EACCES, "no permission", "AmbientCapabilities=CAP_NET_BIND_SERVICE"},
		{syscall.EADDRNOTAVAIL, "does not have the address", "ip address"},
		{syscall.EADDRINUSE, "in use", "ss -ltnp 'sport = :25'"},
	} {
		e := &BindError{Address: "192.0.2.1:25", Cause: c.cause}
		if !strings.Contains(e.Error(), c.says) || !strings.Contains(e.Remedy(), c.remedy) {
			t.Errorf("%v: %q, %q", c.cause, e.Error(), e.Remedy())
		}
	}
}

// A socket file left by a crash is no reason not to start; one that is answered
// on is.
func TestUnixSocketOfADeadServerIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "submit.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close()
	l, err := Bind("unix:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	go func() {
		if c, err := l.Accept(); err == nil {
			_ = c.Close()
		}
	}()
	if _, err := Bind("unix:" + path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second server took the socket: %v", err)
	}
}
