package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"
)

// Remote pictures are fetched by this program and handed to the page, never by
// the browser: so the policy of the frame stays as strict as ever, the sender
// learns no browser, no cookie and no address but this machine's, and what is
// inside the network can be kept out of reach. A browser told to load
// http://router.local/reboot would do it.
//
// A picture is fetched only after a person asked for this message, only if this
// message names its address, only from port 80 or 443 of a public address, only
// if it is a picture.

const (
	pictureMax     = 10 << 20         // octets of one picture
	picturePatient = 10 * time.Second // for one picture, redirects and all
	pictureHops    = 5                // redirects
	picturesAtOnce = 4
)

// pictures fetches them.
type pictures struct {
	client *http.Client
	slots  chan struct{}
}

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// newPictures returns nil when there is nothing to dial with.
func newPictures(dial dialer) *pictures {
	if dial == nil {
		return nil
	}
	return picturesBy(dial, net.DefaultResolver.LookupNetIP)
}

func picturesBy(dial dialer, names lookup) *pictures {
	return &pictures{
		slots: make(chan struct{}, picturesAtOnce),
		client: &http.Client{
			Timeout: picturePatient,
			Transport: &http.Transport{
				Proxy:             nil, // a proxy would look names up where we cannot see it
				DialContext:       publicOnly(dial, names),
				DisableKeepAlives: true,
				ForceAttemptHTTP2: true,
			},
			CheckRedirect: func(r *http.Request, via []*http.Request) error {
				r.Header.Del("Referer")
				if len(via) > pictureHops {
					return errors.New("too many redirects")
				}
				return fetchable(r.URL)
			},
		},
	}
}

var (
	errInside = errors.New("the address is not on the public internet")
	errPort   = errors.New("only ports 80 and 443 are asked")
)

// publicOnly looks a name up once, drops what is not public, and connects to
// what is left: the address that was judged is the address that is dialled.
func publicOnly(dial dialer, names lookup) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if port != "80" && port != "443" {
			return nil, errPort
		}
		addrs, err := names(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		last := errInside
		for _, a := range addrs {
			if !public(a) {
				continue
			}
			conn, err := dial(ctx, network, net.JoinHostPort(a.Unmap().WithZone("").String(), port))
			if err == nil {
				return conn, nil
			}
			last = err
		}
		return nil, last
	}
}

// inside are the blocks that are not the public internet, beside those that
// netip knows (RFC 6890 and its registries). Those that carry an IPv4 address
// within an IPv6 one could lead inside again, so they are closed as a whole.
var inside = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared address space
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"), // NAT64
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), // Teredo among others
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("fec0::/10"),
}

func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(inside, func(p netip.Prefix) bool { return p.Contains(a) })
}

// fetchable reports what is wrong with the form of an address.
func fetchable(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("not an address of the web")
	case u.Port() != "" && u.Port() != "80" && u.Port() != "443":
		return errPort
	case u.User != nil:
		return errors.New("the address holds a user name")
	}
	return nil
}

// fetch brings one picture.
func (p *pictures) fetch(ctx context.Context, address string) (kind string, body []byte, err error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", nil, err
	}
	if err := fetchable(u); err != nil {
		return "", nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", nil, err
	}
	r.Header.Set("Accept", "image/png,image/jpeg,image/gif,image/webp")
	r.Header.Set("User-Agent", "paquebot-dev")
	res, err := p.client.Do(r)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return "", nil, fmt.Errorf("the server answered %s", res.Status)
	}
	return readPicture(res.Body)
}

// readPicture believes the bytes, not what was said of them.
func readPicture(from io.Reader) (kind string, body []byte, err error) {
	body, err = io.ReadAll(io.LimitReader(from, pictureMax+1))
	if err != nil {
		return "", nil, err
	}
	kind = http.DetectContentType(body)
	switch {
	case len(body) > pictureMax:
		return "", nil, fmt.Errorf("more than %s", humanSize(pictureMax))
	case !safeImage(kind):
		return "", nil, errors.New("not a picture")
	case tooManyPoints(body):
		return "", nil, errors.New("a picture too large to show")
	}
	return kind, body, nil
}

// remotePicture hands one on.
func (c *console) remotePicture(w http.ResponseWriter, r *http.Request) {
	if c.pictures == nil {
		http.Error(w, "Nothing is fetched here.", http.StatusNotFound)
		return
	}
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	root, err := c.parse(r, m.ID)
	if err != nil {
		fail(w, err)
		return
	}
	address := r.URL.Query().Get("u")
	if part := root.Contents().HTML; part == nil || !slices.Contains(remotePictures(cut(part.Text(), frameMax)), address) {
		http.Error(w, "This message names no such picture.", http.StatusNotFound)
		return
	}
	kind, body, err := c.pictures.fetch(r.Context(), address)
	if err != nil {
		http.Error(w, "Not fetched: "+err.Error(), http.StatusBadGateway)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // the mail's frame has an origin of its own
	h.Set("Content-Type", kind)
	_, _ = w.Write(body)
}
