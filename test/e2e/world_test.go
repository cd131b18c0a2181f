package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// world is the network of the tests: our side, where the test program and the
// servers under test are, and the peers' side, a network of its own. So an
// address of theirs is never one of ours (MX-8).
type world struct {
	dir    string // of this run; removed at its end
	bin    string // the binary under test
	ca     *authority
	holder int // the process that keeps the peers' network

	servers, places atomic.Int32

	postfix, chasquid, dovecot daemon
}

func newWorld(ctx context.Context, dir, bin string) (*world, error) {
	w := &world{dir: dir, bin: bin}
	var err error
	if w.ca, err = newAuthority(dir); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{w.lay, w.names} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// lay lays the wire. The addresses behind it are whole ranges ("local"
// routes), so a new server needs nothing set up.
func (w *world) lay(ctx context.Context) error {
	holder := exec.Command("unshare", "--net", "--", "sleep", "infinity")
	holder.SysProcAttr = dieWithUs
	if err := holder.Start(); err != nil {
		return err
	}
	w.holder = holder.Process.Pid
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		return err
	}
	err = until(ctx, func() error {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", w.holder))
		if err == nil && theirs == ours {
			err = errors.New("the peers have no network of their own yet")
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range []struct {
		there bool
		line  string
	}{
		{false, "ip link set lo up"},
		{false, fmt.Sprintf("ip link add ship type veth peer name quay netns %d", w.holder)},
		{false, "ip addr add 45.77.0.1/24 dev ship"},
		{false, "ip link set ship up"},
		{true, "ip link set lo up"},
		{true, "ip addr add 45.77.0.2/24 dev quay"},
		{true, "ip link set quay up"},
		{true, "ip route add local 45.77.2.0/24 dev lo"},
		{true, "ip addr add " + postfixAddr + "/32 dev lo"}, // Postfix looks for its address among the interfaces
		{true, "ip route add 45.77.1.0/24 via 45.77.0.1"},
		{false, "ip route add local 45.77.1.0/24 dev lo"},
		{false, "ip route add 45.77.2.0/24 via 45.77.0.2"},
		{false, "ip -6 addr add 2a01:70::1/64 dev ship nodad"},
		{false, "ip -6 neigh add 2a01:70::2 lladdr 02:00:00:00:00:02 dev ship nud permanent"}, // no such machine
		{false, "ip -6 route add 2a01:77::/64 via 2a01:70::2"},
	} {
		args := strings.Fields(c.line)
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		if c.there {
			cmd = w.there(ctx, args...)
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", c.line, err, out)
		}
	}
	return nil
}

// names starts Knot and makes it everybody's resolver.
func (w *world) names(ctx context.Context) error {
	dir := filepath.Join(w.dir, "knot")
	err := write(map[string]string{
		dir + "/root.zone": zone(),
		dir + "/knot.conf": fmt.Sprintf(`
server:
    listen: %s@53
    rundir: %s
database:
    storage: %[2]s
log:
  - target: stdout
    any: info
zone:
  - domain: .
    file: %[2]s/root.zone
  - domain: broken.test
    file: %[2]s/no-such-file
`, knotAddr, dir),
		w.dir + "/resolv.conf": "nameserver " + knotAddr + "\noptions timeout:2 attempts:2\n",
	})
	if err != nil {
		return err
	}
	if err := w.spawn("knot", w.there(context.Background(), "knotd", "-c", dir+"/knot.conf")); err != nil {
		return err
	}
	target, err := filepath.EvalSymlinks("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "mount", "--bind", w.dir+"/resolv.conf", target).CombinedOutput(); err != nil {
		return fmt.Errorf("mount resolv.conf: %w: %s", err, out)
	}
	return until(ctx, func() error {
		_, err := net.DefaultResolver.LookupMX(ctx, "postfix.test")
		return err
	})
}

// there makes a command on the peers' side.
func (w *world) there(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"-t", strconv.Itoa(w.holder), "-n", "--"}, args...)
	return exec.CommandContext(ctx, "nsenter", args...)
}

var dieWithUs = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}

// spawn starts a daemon for as long as the world stands, its words in NAME.log.
func (w *world) spawn(name string, cmd *exec.Cmd) error {
	log, err := os.OpenFile(filepath.Join(w.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // the namespace's end is its end; this only reaps
	return nil
}

// log returns what a daemon has said so far.
func (w *world) log(name string) string {
	b, _ := os.ReadFile(filepath.Join(w.dir, name+".log"))
	return string(b)
}

// daemon is a peer all tests share, started when first asked for.
type daemon struct {
	once sync.Once
	err  error
}

func (d *daemon) start(t *testing.T, start func(context.Context) error) {
	t.Helper()
	d.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		d.err = start(ctx)
	})
	if d.err != nil {
		t.Fatal(d.err)
	}
}

// place is room for a peer that one test starts: a domain and its exchanger.
type place struct {
	domain string // p07.test
	addr   string // of mx.p07.test
}

func newPlace(t *testing.T) place {
	t.Helper()
	n := int(need(t).places.Add(1))
	if n > maxPlaces {
		t.Fatal("no place left: raise maxPlaces")
	}
	return place{domain: placeName(n), addr: placeAddr(n)}
}
