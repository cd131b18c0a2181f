package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// SocketName is the socket's name in the data directory.
const SocketName = "paquebot.sock"

// ErrRunning: another server answers in this data directory.
var ErrRunning = errors.New("a server is running in this data directory already")

// ErrNotRunning: nobody answers there.
var ErrNotRunning = errors.New("no server is running in this data directory")

// Listen opens the socket in the data directory, for the server's user and
// root alone. A socket that a dead server left is replaced.
func Listen(dataDir string) (net.Listener, error) {
	path := filepath.Join(dataDir, SocketName)
	c, err := connect(context.Background(), dataDir)
	if err == nil {
		_ = c.Close()
		return nil, ErrRunning
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	addr, release, err := address(dataDir)
	if err != nil {
		return nil, err
	}
	defer release()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: addr, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // its name may be of the form /proc/self/fd
	if err := os.Chmod(path, 0o600); err != nil {
		_ = l.Close()
		return nil, err
	}
	return &listener{UnixListener: l, path: path}, nil
}

// pathMax is what fits into a socket address on all systems we know.
const pathMax = 100

// address returns a name for the socket that is short enough: a deep data
// directory is reached through a descriptor of it.
func address(dataDir string) (name string, release func(), err error) {
	path := filepath.Join(dataDir, SocketName)
	if len(path) <= pathMax {
		return path, func() {}, nil
	}
	d, err := os.Open(dataDir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), SocketName), func() { _ = d.Close() }, nil
}

// dialTime: the socket is on this machine and answers at once or never.
const dialTime = 2 * time.Second

// connect reaches the server of a data directory, or says ErrNotRunning.
func connect(ctx context.Context, dataDir string) (net.Conn, error) {
	addr, release, err := address(dataDir)
	if err != nil {
		return nil, notRunning(err)
	}
	defer release()
	c, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "unix", addr)
	return c, notRunning(err)
}

func notRunning(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return ErrNotRunning
	}
	return err
}

// listener lets in peers with the right credentials only.
type listener struct {
	*net.UnixListener
	path string
}

// Accept drops strangers without a word.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		p, err := credentials(c)
		if err == nil && (p.uid == uint32(os.Geteuid()) || p.uid == 0) {
			return &peerConn{c, p}, nil
		}
		_ = c.Close()
	}
}

// Close also removes the socket.
func (l *listener) Close() error {
	_ = os.Remove(l.path)
	return l.UnixListener.Close()
}

type peerConn struct {
	*net.UnixConn
	peer peer
}

// peer is who is at the other end, as the kernel says.
type peer struct {
	uid   uint32
	known bool
}

type peerKey struct{}

func peerOf(ctx context.Context) peer {
	p, _ := ctx.Value(peerKey{}).(peer)
	return p
}

// String is for the audit: "anna", "uid 1000".
func (p peer) String() string {
	if !p.known {
		return "api"
	}
	return UserName(int(p.uid))
}

// UserName is a user's name on this machine.
func UserName(uid int) string {
	id := strconv.Itoa(uid)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

func credentials(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return peer{}, err
	}
	if failed != nil {
		return peer{}, failed
	}
	return peer{uid: cred.Uid, known: true}, nil
}
