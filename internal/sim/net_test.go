package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// connected returns both ends of a connection to address.
func connected(t *testing.T, n *Network, address string) (client, server *Conn) {
	t.Helper()
	l, err := n.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c, err := n.Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*Conn), s.(*Conn)
}

func TestOctetsArriveInOrderAndEOFEndsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		c, s := connected(t, n, "192.0.2.1:25")
		text := strings.Repeat("0123456789", 50_000) // beyond the buffer: Write waits for Read
		go func() {
			io.WriteString(c, text)
			c.CloseWrite()
		}()
		got, err := io.ReadAll(s)
		if err != nil || string(got) != text {
			t.Fatalf("read %d octets, %v", len(got), err)
		}
		io.WriteString(s, "bye") // the other half still works
		s.Close()
		if got, _ := io.ReadAll(c); string(got) != "bye" {
			t.Errorf("after half-close the client read %q", got)
		}
		if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("write after both closed: %v", err)
		}
		c.Close()
		if n.Open() != 0 {
			t.Errorf("%d connections open", n.Open())
		}
	})
}

func TestDeadlinesFireAtTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, NewNetwork(), "[2001:db8::1]:25")
		defer c.Close()
		defer s.Close()
		begin := time.Now()
		c.SetReadDeadline(begin.Add(5 * time.Minute))
		_, err := c.Read(make([]byte, 1))
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != 5*time.Minute {
			t.Errorf("read ended with %v after %v", err, took)
		}
		var ne net.Error
		if !errors.As(err, &ne) || !ne.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
		c.SetWriteDeadline(time.Now().Add(time.Minute))
		if _, err := c.Write(make([]byte, 2*bufferMax)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write to a peer that does not read: %v", err)
		}
		c.SetDeadline(time.Time{})
		go func() { time.Sleep(time.Hour); s.Write([]byte("x")) }()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Errorf("after the deadline was lifted: %v", err)
		}
	})
}

func TestADeadlineSetInThePastFreesAWaitingReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, NewNetwork(), "192.0.2.1:25")
		defer c.Close()
		defer s.Close()
		go func() { time.Sleep(time.Second); c.SetReadDeadline(time.Unix(1, 0)) }()
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestLatencyDelaysEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		n.SetLatency("192.0.2.1", 50*time.Millisecond)
		begin := time.Now()
		c, s := connected(t, n, "192.0.2.1:25") // one round trip
		go func() { io.WriteString(s, "220 ready"); s.Close() }()
		got, _ := io.ReadAll(c)
		if took := time.Since(begin); string(got) != "220 ready" || took != 150*time.Millisecond {
			t.Errorf("%q after %v", got, took)
		}
		c.Close()
	})
}

func TestFaults(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault Fault
		want  error
	}{
		{"no listener", Healthy, syscall.ECONNREFUSED},
		{"refused", Refused, syscall.ECONNREFUSED},
		{"silent", Silent, os.ErrDeadlineExceeded},
		{"unreachable", Unreachable, syscall.EHOSTUNREACH},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := NewNetwork()
				n.SetFault("192.0.2.9:25", row.fault)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				_, err := n.Dial(ctx, "tcp", "192.0.2.9:25")
				if !errors.Is(err, row.want) {
					t.Errorf("got %v", err)
				}
				if n.Dials("192.0.2.9:25") != 1 {
					t.Error("dial not counted")
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		n.SetFault("192.0.2.9", Resets)
		c, err := n.Dial(t.Context(), "tcp", "192.0.2.9:25")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("resets: %v", err)
		}
		c.Close()
		if n.Open() != 0 {
			t.Error("left open")
		}
	})
}

func TestAnyAddressAndSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		for _, any := range []string{":25", "[::]:26", "0.0.0.0:27"} {
			l, err := n.Listen("tcp", any)
			if err != nil {
				t.Fatal(err)
			}
			_, port, _ := net.SplitHostPort(any)
			c, err := n.DialFrom(t.Context(), netip.MustParseAddr("198.51.100.7"), "tcp", "203.0.113.5:"+port)
			if err != nil {
				t.Fatal(err)
			}
			s, _ := l.Accept()
			if got := s.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().String(); got != "198.51.100.7" {
				t.Errorf("%s: peer is %s", any, got)
			}
			if got := s.LocalAddr().String(); got != "203.0.113.5:"+port {
				t.Errorf("%s: local is %s", any, got)
			}
			c.Close()
			s.Close()
			l.Close()
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("accept after close: %v", err)
			}
		}
	})
}

func TestUnixSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork()
		if _, err := n.Dial(t.Context(), "unix", "/run/lmtp.sock"); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("without listener: %v", err)
		}
		l, _ := n.Listen("unix", "/run/lmtp.sock")
		defer l.Close()
		c, err := n.Dial(t.Context(), "unix", "/run/lmtp.sock")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

func TestTLSHandshakeInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := connected(t, NewNetwork(), "192.0.2.1:465")
		cert := selfSigned(t)
		var wg sync.WaitGroup
		wg.Go(func() {
			server := tls.Server(s, &tls.Config{Certificates: []tls.Certificate{cert}})
			io.WriteString(server, "220 ready")
			server.Close()
		})
		client := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		got, err := io.ReadAll(client)
		if string(got) != "220 ready" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		client.Close()
		wg.Wait()
	})
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"mx.example.org"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
