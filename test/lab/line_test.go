package lab

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// line is a long wire between two networks: two TUN devices, and goroutines
// that carry packets from one to the other after a delay. It stands in for
// netem, which not every kernel has.
type line struct {
	ends [2]*os.File
}

const (
	lineMTU   = 1500
	lineQueue = 4096 // packets on the way in one direction; more are lost, as on any line
)

// newLine lays a line whose ends are the devices nameA in a and nameB in b.
// Each packet takes delay.
func newLine(a *space, nameA string, b *space, nameB string, delay time.Duration) (*line, error) {
	l := new(line)
	for i, end := range []struct {
		in   *space
		name string
	}{{a, nameA}, {b, nameB}} {
		f, err := newTun(end.in, end.name)
		if err != nil {
			return nil, fmt.Errorf("tun %s: %w", end.name, err)
		}
		l.ends[i] = f
		if err := end.in.ip(fmt.Sprintf("link set %s mtu %d up", end.name, lineMTU)); err != nil {
			return nil, err
		}
	}
	go carry(l.ends[0], l.ends[1], delay)
	go carry(l.ends[1], l.ends[0], delay)
	return l, nil
}

func newTun(in *space, name string) (*os.File, error) {
	var f *os.File
	err := in.do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		ifr, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr); err != nil {
			_ = unix.Close(fd)
			return err
		}
		f = os.NewFile(uintptr(fd), name)
		return nil
	})
	return f, err
}

type packet struct {
	due  time.Time
	data []byte
}

func carry(from, to *os.File, delay time.Duration) {
	way := make(chan packet, lineQueue)
	defer close(way)
	go func() {
		for p := range way {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data) // a packet for nobody is lost
		}
	}()
	buf := make([]byte, 65536)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case way <- packet{time.Now().Add(delay), append([]byte(nil), buf[:n]...)}:
		default:
		}
	}
}
