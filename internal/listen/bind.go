package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// BindError says why a port cannot be opened, and what to do.
type BindError struct {
	Address string
	Cause   error
	Holder  string // the program that has the port, "" if unknown
}

// Error implements error.
func (e *BindError) Error() string {
	switch {
	case errors.Is(e.Cause, syscall.EADDRINUSE) && e.Holder != "":
		return fmt.Sprintf("cannot listen on %s: the port is in use by %s", e.Address, e.Holder)
	case errors.Is(e.Cause, syscall.EADDRINUSE):
		return fmt.Sprintf("cannot listen on %s: the port is in use", e.Address)
	case errors.Is(e.Cause, syscall.EACCES):
		return fmt.Sprintf("cannot listen on %s: no permission for a port below 1024", e.Address)
	case errors.Is(e.Cause, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("cannot listen on %s: this machine does not have the address", e.Address)
	}
	return fmt.Sprintf("cannot listen on %s: %v", e.Address, e.Cause)
}

// Unwrap returns the cause.
func (e *BindError) Unwrap() error { return e.Cause }

// Remedy says what to do, with a command to paste.
func (e *BindError) Remedy() string {
	_, port, _ := net.SplitHostPort(e.Address)
	switch {
	case errors.Is(e.Cause, syscall.EADDRINUSE):
		return "stop it, or give this listener another address; to see who listens:\n  ss -ltnp 'sport = :" + port + "'"
	case errors.Is(e.Cause, syscall.EACCES):
		exe, err := os.Executable()
		if err != nil {
			exe = "/usr/bin/paquebot"
		}
		return "allow the program to open low ports:\n  sudo setcap cap_net_bind_service=+ep " + exe +
			"\nor, in its systemd unit:\n  AmbientCapabilities=CAP_NET_BIND_SERVICE"
	case errors.Is(e.Cause, syscall.EADDRNOTAVAIL):
		return "see which addresses there are:\n  ip address"
	}
	return ""
}

// Bind opens a listening socket: "host:port", or "unix:PATH" for a socket that
// everybody on this machine may use. The error is a *BindError.
func Bind(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return bindUnix(path)
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		e := &BindError{Address: address, Cause: err}
		if errors.Is(err, syscall.EADDRINUSE) {
			e.Holder = holder("/proc", address)
		}
		return nil, e
	}
	return l, nil
}

func bindUnix(path string) (net.Listener, error) {
	// A socket file that nobody answers on is left from a crash.
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close()
		return nil, &BindError{Address: path, Cause: syscall.EADDRINUSE}
	}
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, &BindError{Address: path, Cause: err}
	}
	if err := os.Chmod(path, 0o666); err != nil {
		_ = l.Close()
		return nil, &BindError{Address: path, Cause: err}
	}
	return l, nil
}

// holder names the program that listens on the port of address, as far as
// /proc lets us see: "postfix/master (pid 812)".
func holder(proc, address string) string {
	_, p, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return ""
	}
	inode := listeningInode(proc, uint16(port))
	if inode == "" {
		return ""
	}
	links, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	if err != nil {
		return ""
	}
	want := "socket:[" + inode + "]"
	for _, l := range links {
		if target, err := os.Readlink(l); err != nil || target != want {
			continue
		}
		dir := filepath.Dir(filepath.Dir(l))
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			return "process " + filepath.Base(dir)
		}
		return strings.TrimSpace(string(name)) + " (pid " + filepath.Base(dir) + ")"
	}
	return ""
}

// listeningInode finds the socket that listens on port in /proc/net/tcp and
// tcp6, whose fields are: sl local_address rem_address st ... inode.
func listeningInode(proc string, port uint16) string {
	const stateListen = "0A"
	suffix := fmt.Sprintf(":%04X", port)
	for _, table := range []string{"tcp", "tcp6"} {
		b, err := os.ReadFile(filepath.Join(proc, "net", table))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == stateListen && strings.HasSuffix(f[1], suffix) {
				return f[9]
			}
		}
	}
	return ""
}
