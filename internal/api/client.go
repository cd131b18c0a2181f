package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Client speaks to the server of a data directory.
type Client struct{ http *http.Client }

// Dial makes a client and sees whether the server is there: ErrNotRunning.
func Dial(ctx context.Context, dataDir string) (*Client, error) {
	c, err := connect(ctx, dataDir)
	if err != nil {
		return nil, err
	}
	_ = c.Close()
	return NewClient(&http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return connect(ctx, dataDir) },
	}), nil
}

// NewClient makes a client over any transport.
func NewClient(t http.RoundTripper) *Client { return &Client{&http.Client{Transport: t}} }

// answerMax bounds an answer: a page of messages with all their recipients.
const answerMax = 256 << 20

// do asks; a refusal is a *Fault.
func do[Out any](ctx context.Context, c *Client, method, path string, in any) (Out, error) {
	var out Out
	res, err := c.send(ctx, method, path, in)
	if err != nil {
		return out, err
	}
	defer res.Body.Close()
	return out, decode(res, &out)
}

func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://paquebot"+path, body)
	if err != nil {
		return nil, err
	}
	return c.http.Do(req)
}

func decode(res *http.Response, out any) error {
	d := json.NewDecoder(io.LimitReader(res.Body, answerMax))
	if res.StatusCode == http.StatusOK {
		return d.Decode(out)
	}
	var w wireFault
	if err := d.Decode(&w); err != nil || w.Error == nil {
		return fmt.Errorf("the server answered %s", res.Status)
	}
	w.Error.Status = res.StatusCode
	return w.Error
}

// Status asks how the server does.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return do[Status](ctx, c, "GET", "/v1/status", nil)
}

// Reload has the configuration read again.
func (c *Client) Reload(ctx context.Context) (ReloadResult, error) {
	return do[ReloadResult](ctx, c, "POST", "/v1/reload", nil)
}

// SpoolStat asks what the spool holds.
func (c *Client) SpoolStat(ctx context.Context) (SpoolStat, error) {
	return do[SpoolStat](ctx, c, "GET", "/v1/spool", nil)
}

// QueueSummary asks where mail waits.
func (c *Client) QueueSummary(ctx context.Context) (QueueSummary, error) {
	return do[QueueSummary](ctx, c, "GET", "/v1/queue/summary", nil)
}

// QueueList asks for a page of messages.
func (c *Client) QueueList(ctx context.Context, f Filter, after string, limit int) (MessageList, error) {
	return do[MessageList](ctx, c, "GET", "/v1/queue/messages?"+f.Query(after, limit).Encode(), nil)
}

// QueueShow asks for one message.
func (c *Client) QueueShow(ctx context.Context, id string) (Message, error) {
	return do[Message](ctx, c, "GET", "/v1/queue/messages/"+url.PathEscape(id), nil)
}

// Raw gives a message's bytes; the caller closes it.
func (c *Client) Raw(ctx context.Context, id string) (io.ReadCloser, error) {
	res, err := c.send(ctx, "GET", "/v1/queue/messages/"+url.PathEscape(id)+"/raw", nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		return nil, decode(res, nil)
	}
	return res.Body, nil
}

// Act has something done.
func (c *Client) Act(ctx context.Context, a Action) (ActionResult, error) {
	return do[ActionResult](ctx, c, "POST", "/v1/queue/actions", a)
}

// Rules asks for the rules in force.
func (c *Client) Rules(ctx context.Context) (RuleList, error) {
	return do[RuleList](ctx, c, "GET", "/v1/queue/rules", nil)
}

// EndRule ends one.
func (c *Client) EndRule(ctx context.Context, id string) (Done, error) {
	return do[Done](ctx, c, "DELETE", "/v1/queue/rules/"+url.PathEscape(id), nil)
}

// Trace asks for a message's life.
func (c *Client) Trace(ctx context.Context, id string) (Trace, error) {
	return do[Trace](ctx, c, "GET", "/v1/messages/"+url.PathEscape(id)+"/trace", nil)
}

func accountPath(name string) string { return "/v1/accounts/" + url.PathEscape(name) }

// Accounts lists them.
func (c *Client) Accounts(ctx context.Context) (AccountList, error) {
	return do[AccountList](ctx, c, "GET", "/v1/accounts", nil)
}

// Account shows one.
func (c *Client) Account(ctx context.Context, name string) (Account, error) {
	return do[Account](ctx, c, "GET", accountPath(name), nil)
}

// AddAccount makes one.
func (c *Client) AddAccount(ctx context.Context, n NewAccount) (Made, error) {
	return do[Made](ctx, c, "POST", "/v1/accounts", n)
}

// SetPassword sets a password.
func (c *Client) SetPassword(ctx context.Context, name string, n NewPassword) (Made, error) {
	return do[Made](ctx, c, "POST", accountPath(name)+"/password", n)
}

// DisableAccount refuses its credentials.
func (c *Client) DisableAccount(ctx context.Context, name, why string) (Done, error) {
	return do[Done](ctx, c, "POST", accountPath(name)+"/disable", Disabling{why})
}

// EnableAccount undoes that.
func (c *Client) EnableAccount(ctx context.Context, name string) (Done, error) {
	return do[Done](ctx, c, "POST", accountPath(name)+"/enable", nil)
}

// RemoveAccount removes it.
func (c *Client) RemoveAccount(ctx context.Context, name string) (Done, error) {
	return do[Done](ctx, c, "DELETE", accountPath(name), nil)
}

// ChangeSenders replaces the addresses it may send as.
func (c *Client) ChangeSenders(ctx context.Context, name string, senders []string) (Done, error) {
	return do[Done](ctx, c, "PUT", accountPath(name)+"/senders", senders)
}

// MakeToken makes a token.
func (c *Client) MakeToken(ctx context.Context, name string, n NewToken) (Made, error) {
	return do[Made](ctx, c, "POST", accountPath(name)+"/tokens", n)
}

// RevokeToken revokes one.
func (c *Client) RevokeToken(ctx context.Context, name, token string) (Done, error) {
	return do[Done](ctx, c, "DELETE", accountPath(name)+"/tokens/"+url.PathEscape(token), nil)
}
