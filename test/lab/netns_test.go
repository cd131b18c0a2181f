package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// space is a network namespace, kept by its file.
type space struct {
	file *os.File
}

// newSpace makes a network with a loopback interface and nothing else.
func newSpace() (*space, error) {
	type made struct {
		f   *os.File
		err error
	}
	c := make(chan made)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends, the namespace stays open in the file
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			c <- made{err: err}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		c <- made{f, err}
	}()
	m := <-c
	if m.err != nil {
		return nil, m.err
	}
	s := &space{m.f}
	return s, s.ip("link set lo up")
}

// do runs f on a thread that is in this network. Sockets that f makes stay
// here, and so do the processes it starts.
func (s *space) do(f func() error) error {
	c := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread must not be used again
		if err := unix.Setns(int(s.file.Fd()), unix.CLONE_NEWNET); err != nil {
			c <- err
			return
		}
		c <- f()
	}()
	return <-c
}

// path is where other programs find the namespace.
func (s *space) path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), s.file.Fd()) }

// ip gives lines to `ip -batch`.
func (s *space) ip(lines ...string) error {
	return s.feed(strings.Join(lines, "\n")+"\n", "ip", "-batch", "-")
}

// nft adds rules to this network's firewall.
func (s *space) nft(rules string) error { return s.feed(rules, "nft", "-f", "-") }

func (s *space) feed(input string, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := s.do(cmd.Start); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w: %s\n%s", strings.Join(args, " "), err, out.String(), input)
	}
	return nil
}

// set writes settings below /proc/sys/net.
func (s *space) set(values map[string]string) error {
	return s.do(func() error {
		for name, v := range values {
			if err := os.WriteFile("/proc/sys/net/"+name, []byte(v), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *space) listen(addr string) (l net.Listener, err error) {
	network := "tcp4"
	if strings.HasPrefix(addr, "[") {
		network = "tcp6" // and a wildcard is of its family alone
	}
	err = s.do(func() error { l, err = net.Listen(network, addr); return err })
	return l, err
}

func (s *space) listenPacket(addr string) (c net.PacketConn, err error) {
	err = s.do(func() error { c, err = net.ListenPacket("udp", addr); return err })
	return c, err
}

// dial connects from this network to an address (no name: looking one up would
// happen on another thread).
func (s *space) dial(ctx context.Context, addr string) (c net.Conn, err error) {
	err = s.do(func() error { c, err = (&net.Dialer{}).DialContext(ctx, "tcp", addr); return err })
	return c, err
}
