package lab

import (
	"context"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/provider"
)

// world is what all experiments share: an internet with its hosts and names.
type world struct {
	dir    string // of this run; removed at its end
	bin    string // the binary under test
	ca     *authority
	shield *authority // a virus scanner's, which nobody trusts
	net    *space
	zone   *zone

	hosts, sites atomic.Int32
	heard        heard
	servers      struct{ postfix, chasquid, paquebot daemon }
}

// Name servers of the laboratory: its own, and the well-known public ones, so
// that whoever asks for a second opinion gets one.
var resolvers = []netip.Addr{
	netip.MustParseAddr("45.77.255.53"), netip.MustParseAddr("2a0c:77::53"),
	netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("9.9.9.9"),
	netip.MustParseAddr("2606:4700:4700::1111"), netip.MustParseAddr("2001:4860:4860::8888"), netip.MustParseAddr("2620:fe::fe"),
}

func newWorld(_ context.Context, dir, bin string) (*world, error) {
	w := &world{dir: dir, bin: bin, zone: newZone()}
	var err error
	if w.ca, err = newAuthority(filepath.Join(dir, "ca.pem"), pkix.Name{CommonName: "Laboratory Public CA"}); err != nil {
		return nil, err
	}
	if w.shield, err = newAuthority(filepath.Join(dir, "shield.pem"), pkix.Name{Organization: []string{"Acme Security"}, CommonName: "Acme Mail Shield Root"}); err != nil {
		return nil, err
	}
	if w.net, err = newSpace(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{w.lay, w.serveNames, w.populate, w.others} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// lay makes whole ranges of addresses ours; all others are a black hole.
func (w *world) lay() error {
	lines := []string{
		"route add local 45.77.0.0/16 dev lo",
		"route add local 2a0c:77::/32 dev lo",
		"route add blackhole default metric 9999",
		"route add blackhole ::/0 metric 9999",
	}
	for _, a := range resolvers {
		lines = append(lines, fmt.Sprintf("addr add %s/%d dev lo", a, a.BitLen()))
	}
	if err := w.net.set(map[string]string{
		"ipv4/ip_forward": "0", "ipv4/ip_nonlocal_bind": "1", "ipv6/ip_nonlocal_bind": "1",
		"ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
	}); err != nil {
		return err
	}
	return w.net.ip(lines...)
}

func (w *world) serveNames() error {
	if err := w.zone.add(". SOA . . 1 3600 600 86400 60"); err != nil {
		return err
	}
	for _, a := range resolvers {
		if err := resolver(w.net, a, w.zone.answer); err != nil {
			return err
		}
	}
	return nil
}

// host is a machine of the internet: a name and an address of each family.
type host struct {
	w      *world
	name   string
	v4, v6 netip.Addr
}

// newHost gives a host its addresses and puts it into the DNS, forward and
// back. Nothing listens there yet.
func (w *world) newHost(name string) (*host, error) {
	n := int(w.hosts.Add(1))
	h := &host{w: w, name: name,
		v4: netip.AddrFrom4([4]byte{45, 77, byte(n / 200), byte(n%200 + 1)}),
		v6: netip.MustParseAddr(fmt.Sprintf("2a0c:77::%x:%x", n/200+1, n%200+1)),
	}
	if err := w.zone.add(name+". A "+h.v4.String(), name+". AAAA "+h.v6.String()); err != nil {
		return nil, err
	}
	if err := w.zone.reverse(h.v4, name); err != nil {
		return nil, err
	}
	return h, w.zone.reverse(h.v6, name)
}

// serve lets a server answer on a port, on both addresses.
func (h *host) serve(port uint16, s server) error {
	for _, a := range []netip.Addr{h.v4, h.v6} {
		l, err := h.w.net.listen(netip.AddrPortFrom(a, port).String())
		if err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		go accept(l, s.serve)
	}
	return nil
}

// server is whatever talks on a connection and closes it.
type server interface{ serve(net.Conn) }

func accept(l net.Listener, talk func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			talk(c)
		}()
	}
}

// populate makes every host of the provider catalogue: as the catalogue says,
// all ports open and clean, and HTTPS beside.
func (w *world) populate() error {
	seen := map[string]bool{}
	for _, p := range provider.All() {
		for _, r := range p.Regions {
			if r.Host == "" || seen[r.Host] {
				continue
			}
			seen[r.Host] = true
			h, err := w.newHost(r.Host)
			if err != nil {
				continue // a host name with a gap to fill in is nobody's
			}
			if err := h.provider(p.Ports); err != nil {
				return err
			}
		}
	}
	return nil
}

// others makes hosts and names that experiments ask for by name.
func (w *world) others() error {
	if err := w.zone.add(
		"mail.brand.example. CNAME smtp.sendgrid.net.", // a name that the certificate there is not for (DIAG-39)
		"mxdomain.example. MX 10 mx.mxdomain.example.",
		"mxdomain.example. A 45.77.255.200", // silent: no web server
	); err != nil {
		return err
	}
	w.zone.breakAt("servfail.example")
	mx, err := w.newHost("mx.mxdomain.example")
	if err != nil {
		return err
	}
	m := mx.mta(false)
	m.auth = ""
	if err := mx.serve(25, m); err != nil {
		return err
	}
	check, err := w.newHost("connectivitycheck.gstatic.com")
	if err != nil {
		return err
	}
	if err := check.serve(80, plainWeb("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")); err != nil {
		return err
	}
	reflector, err := w.newHost("reflector.example")
	if err != nil {
		return err
	}
	for _, p := range []uint16{25, 465, 587, 2525, 2465, 2587} {
		if err := reflector.serve(p, reflector.mta(p == 465 || p == 2465)); err != nil {
			return err
		}
	}
	return nil
}

// provider lets a host answer as a mail provider should.
func (h *host) provider(ports []provider.Port) error {
	for _, p := range ports {
		if err := h.serve(p.Number, h.mta(p.Mode == mail.Implicit)); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(ports, func(p provider.Port) bool { return p.Number == 443 }) {
		return nil // some take mail even there
	}
	return h.serve(443, web{h.w.ca.config("", good())})
}

// spawn starts a daemon in the internet for as long as the world stands, its
// words in NAME.log.
func (w *world) spawn(name string, args ...string) error {
	log, err := os.OpenFile(filepath.Join(w.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+w.ca.file)
	if err := w.net.do(cmd.Start); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // the namespace's end is its end; this only reaps
	return nil
}

// answers waits until something listens in a network.
func answers(ctx context.Context, in *space, addr string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := in.dial(ctx, addr)
		if err == nil {
			return c.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nobody listens at %s: %w", addr, err)
		case <-tick.C:
		}
	}
}

func answersSoon(in *space, addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return answers(ctx, in, addr)
}

func portText(p uint16) string { return strconv.Itoa(int(p)) }
