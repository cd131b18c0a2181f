package smtpclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// startScram is RFC 5802 without channel binding. Where we could bind and the
// host does not offer it, we say so: if it did offer it, somebody between us
// has changed the list (§6, AUTH-8).
func startScram(c *Client, _ string) (exchange, error) {
	client, err := scram.SHA256.NewClient(c.opt.Login.User, c.opt.Login.Password, "")
	if err != nil {
		return nil, err
	}
	only := c.opt.Login.Only
	wanted := len(only) == 0 || slices.Contains(only, "SCRAM-SHA-256-PLUS")
	if wanted && c.binding() != nil && !slices.Contains(c.ext.Auth(), "SCRAM-SHA-256-PLUS") {
		return scramExchange(client.NewConversationAdvertisingChannelBinding()), nil
	}
	return scramExchange(client.NewConversation()), nil
}

// startScramPlus binds the exchange to this TLS connection (AUTH-8, RFC 9266).
func startScramPlus(c *Client, _ string) (exchange, error) {
	client, err := scram.SHA256.NewClient(c.opt.Login.User, c.opt.Login.Password, "")
	if err != nil {
		return nil, err
	}
	b := c.binding()
	if b == nil {
		return nil, errors.New("no channel to bind to")
	}
	return scramExchange(client.NewConversationWithChannelBinding(*b)), nil
}

// binding ties an exchange to this connection: tls-exporter in TLS 1.3 (RFC
// 9266), below it tls-server-end-point (RFC 5929 §4), because the exporter
// would need the extended master secret there (AUTH-8). nil: there is none.
func (c *Client) binding() *scram.ChannelBinding {
	t, ok := c.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	state := t.ConnectionState()
	bind := scram.NewTLSExporterBinding
	if state.Version < tls.VersionTLS13 {
		bind = scram.NewTLSServerEndpointBinding
	}
	b, err := bind(&state)
	if err != nil {
		return nil
	}
	return &b
}

// scramItersMax bounds the work a host may ask of us, some two seconds; the
// highest counts recommended today are near 600,000.
const scramItersMax = 4_000_000

var scramIters = regexp.MustCompile(`(?:^|,)i=(\d{1,12})(?:,|$)`)

func scramExchange(conv *scram.ClientConversation) exchange {
	step := 0
	return func(challenge []byte) ([]byte, error) {
		if conv.Done() && challenge == nil {
			if !conv.Valid() {
				return nil, errors.New("server signature missing or wrong")
			}
			return nil, nil
		}
		if step++; step == 2 {
			if m := scramIters.FindSubmatch(challenge); m != nil {
				if n, err := strconv.Atoi(string(m[1])); err != nil || n > scramItersMax {
					return nil, fmt.Errorf("host asks for %s iterations", m[1])
				}
			}
		}
		s, err := conv.Step(string(challenge))
		return []byte(s), err
	}
}

// finish checks, where a mechanism can, that the peer proved itself as well.
func finish(name string, next exchange) error {
	if !strings.HasPrefix(name, "SCRAM-") {
		return nil
	}
	_, err := next(nil)
	return err
}
