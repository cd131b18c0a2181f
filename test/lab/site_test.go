package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// site is one experiment's network: a client behind a router, at the end of a
// long line to the internet. What the router does to packets is the experiment.
type site struct {
	w              *world
	name           string
	client, router *space
	c4, c6, r4, r6 netip.Addr // of client and router
	resolv         string     // the client's resolv.conf
	boxes          int
	group          *os.File // a control group for what the client runs; nil: none
}

// far is what a packet takes from router to internet: enough to tell a proxy
// next door from a host in another town (DIAG-14, DIAG-23).
const far = 10 * time.Millisecond

// newSite makes a site where nothing is wrong: addresses of both families with
// reverse names, and the router answering DNS honestly.
func newSite(t *testing.T, name string) *site { return newSiteAt(t, name, far) }

func newSiteAt(t *testing.T, name string, distance time.Duration) *site {
	t.Helper()
	w := need(t)
	n := int(w.sites.Add(1))
	if n > 250 {
		t.Fatal("too many sites for the addresses there are")
	}
	s := &site{w: w, name: name,
		c4: netip.AddrFrom4([4]byte{45, 80, byte(n), 2}), r4: netip.AddrFrom4([4]byte{45, 80, byte(n), 1}),
		c6: netip.MustParseAddr(fmt.Sprintf("2a0c:80:%x::2", n)), r6: netip.MustParseAddr(fmt.Sprintf("2a0c:80:%x::1", n)),
		resolv: filepath.Join(w.dir, fmt.Sprintf("resolv.%d", n)),
	}
	var err error
	s.client, err = newSpace()
	check(t, err)
	s.router, err = newSpace()
	check(t, err)
	t.Cleanup(func() {
		_ = s.client.file.Close()
		_ = s.router.file.Close()
	})
	up, down := "uplink", fmt.Sprintf("down%d", n)
	l, err := newLine(s.router, up, w.net, down, distance)
	check(t, err)
	t.Cleanup(func() { _ = l.ends[0].Close(); _ = l.ends[1].Close() })
	forward := map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0"}
	check(t, s.router.set(forward))
	check(t, s.router.ip(
		"link add lan type veth peer name eth netns "+s.client.path(),
		"link set lan up",
		fmt.Sprintf("addr add %s/24 dev lan", s.r4),
		fmt.Sprintf("addr add %s/64 dev lan nodad", s.r6),
		"route add default dev "+up,
		"route add ::/0 dev "+up,
	))
	check(t, s.client.ip(
		"link set eth up",
		fmt.Sprintf("addr add %s/24 dev eth", s.c4),
		fmt.Sprintf("addr add %s/64 dev eth nodad", s.c6),
		fmt.Sprintf("route add default via %s", s.r4),
		fmt.Sprintf("route add ::/0 via %s", s.r6),
	))
	check(t, w.net.ip(
		fmt.Sprintf("route add %s/24 dev %s", s.r4.String()[:len(s.r4.String())-1]+"0", down),
		fmt.Sprintf("route add 2a0c:80:%x::/64 dev %s", n, down),
	))
	s.names(t, fmt.Sprintf("c%d.access.example", n))
	check(t, resolver(s.router, s.r4, w.zone.answer))
	s.resolvers(t, s.r4)
	return s
}

// names publishes the client's reverse names and what confirms them.
func (s *site) names(t *testing.T, name string) {
	check(t, s.w.zone.add(name+". A "+s.c4.String(), name+". AAAA "+s.c6.String()))
	check(t, s.w.zone.reverse(s.c4, name))
	check(t, s.w.zone.reverse(s.c6, name))
}

// resolvers makes these the client's name servers.
func (s *site) resolvers(t *testing.T, at ...netip.Addr) {
	var text string
	for _, a := range at {
		text += "nameserver " + a.String() + "\n"
	}
	check(t, os.WriteFile(s.resolv, []byte(text+"options timeout:2 attempts:1\n"), 0o644))
}

// liar gives the client a resolver at another address of the router's.
func (s *site) liar(t *testing.T, answer func(*dns.Msg) *dns.Msg) {
	a := s.r4.As4()
	a[3] = 53
	at := netip.AddrFrom4(a)
	check(t, s.router.ip(fmt.Sprintf("addr add %s/32 dev lan", at)))
	check(t, resolver(s.router, at, answer))
	s.resolvers(t, at)
}

// filter adds rules for what the router forwards, in nft's words.
func (s *site) filter(t *testing.T, rules ...string) {
	t.Helper()
	check(t, s.router.nft(chain("passing", "filter", "forward", "0", rules)))
}

func chain(name, kind, hook, priority string, rules []string) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "table inet lab {\nchain %s { type %s hook %s priority %s; policy accept;\n", name, kind, hook, priority)
	for _, r := range rules {
		fmt.Fprintln(&b, r)
	}
	fmt.Fprintln(&b, "}\n}")
	return b.String()
}

// box makes the router answer connections that match, in nft's words, in place
// of whoever was meant.
func (s *site) box(t *testing.T, match string, b box) {
	t.Helper()
	s.boxes++
	port := uint16(40000 + s.boxes)
	for _, a := range []string{"0.0.0.0", "[::]"} {
		l, err := s.router.listen(a + ":" + portText(port))
		check(t, err)
		t.Cleanup(func() { _ = l.Close() })
		go accept(l, func(c net.Conn) {
			meant, err := meantFor(c)
			if err != nil {
				return
			}
			b.between(c, meant, s.router)
		})
	}
	check(t, s.router.nft(chain(fmt.Sprintf("box%d", s.boxes), "nat", "prerouting", "-100",
		[]string{fmt.Sprintf("iifname lan %s redirect to :%d", match, port)})))
}

// command is a program at the client, with the client's resolv.conf. It must be
// started on a thread of the client's network (space.do).
func (s *site) command(t *testing.T, args ...string) *exec.Cmd {
	return s.commandFor(t.Context(), args)
}

func (s *site) commandFor(ctx context.Context, args []string) *exec.Cmd {
	args = append([]string{"-m", "--", "sh", "-c", `mount --bind "$0" "$(readlink -f /etc/resolv.conf)" && exec "$@"`, s.resolv}, args...)
	cmd := exec.CommandContext(ctx, "unshare", args...)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+s.w.ca.file, "HOME="+s.w.dir, "NO_COLOR=1", "LAB_KEY=SG.not-a-key")
	if s.group != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(s.group.Fd())}
	}
	return cmd
}

// run starts a program at the client and waits.
func (s *site) run(ctx context.Context, args ...string) (stdout, stderr []byte, code int, err error) {
	cmd := s.commandFor(ctx, args)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := s.client.do(cmd.Start); err != nil {
		return nil, nil, 0, err
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	return out.Bytes(), errs.Bytes(), cmd.ProcessState.ExitCode(), err
}
