package deliver

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

const (
	webTimeout = time.Minute // for the whole exchange, unless configured

	// webAnswerMax is how much of an application's answer is read, in octets:
	// it becomes the reply's text.
	webAnswerMax = 4 << 10

	// webIdleMax bounds the idle connections to all applications.
	webIdleMax = 100
)

// newWebClient follows no redirect: mail goes where the operator said, not
// where an answer points (SSRF).
func newWebClient(d *Deliverer) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: nil, // of no environment either
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return d.needs.Dial(ctx, network, addr, netip.Addr{})
			},
			TLSClientConfig:     &tls.Config{RootCAs: d.conf.Roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 30 * time.Second,
			MaxIdleConns:        webIdleMax,
			IdleConnTimeout:     d.conf.Pool.Idle,
			ForceAttemptHTTP2:   true,
		},
	}
}

// toWebhook posts the message to an application, for all recipients at once:
//
//	POST, Content-Type: message/rfc822, the message as it was stored
//	X-Paquebot-Id, X-Paquebot-From, X-Paquebot-To (one per recipient)
//	X-Paquebot-Attempt: 1
//	X-Paquebot-Signature: t=UNIXTIME,v1=HEX
//
// The signature is HMAC-SHA256 over the time, the ID, the sender and the
// recipients, each followed by LF, then the message. The ID is the same when a
// message is posted again, so that an application can tell.
func (d *Deliverer) toWebhook(ctx context.Context, a mail.Attempt) []mail.Outcome {
	hook := d.conf.Webhooks[a.Route.Target]
	if hook.Timeout <= 0 {
		hook.Timeout = webTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, hook.Timeout)
	defer cancel()
	req, err := webRequest(ctx, a, hook.Secret)
	if err != nil {
		return d.all(a, d.ownFault(mail.StageRoute, smtp.LocalError.Because(err)))
	}
	resp, err := d.web.Do(req)
	if err != nil {
		o := d.ownFault(mail.StageContent, smtp.NoHost.WithText("Application did not answer").Because(err))
		o.Reach, o.Host = mail.ThisSite, req.URL.Host
		return d.all(a, o)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, webAnswerMax))
	o := judgeWeb(resp.StatusCode, smtp.Printable(string(text)))
	o.Host = req.URL.Host
	return d.all(a, o)
}

func webRequest(ctx context.Context, a mail.Attempt, secret []byte) (*http.Request, error) {
	if _, err := url.Parse(a.Route.Target); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.Route.Target, io.NopCloser(mail.Reader(a.Body)))
	if err != nil {
		return nil, err
	}
	req.ContentLength = a.Body.Size()
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(mail.Reader(a.Body)), nil }
	h := req.Header
	h.Set("Content-Type", "message/rfc822")
	h.Set("User-Agent", "Paquebot")
	h.Set("X-Paquebot-Id", a.Envelope.ID.String())
	h.Set("X-Paquebot-From", headerText(a.Envelope.From))
	for _, r := range recipients(a) {
		h.Add("X-Paquebot-To", headerText(r.Address))
	}
	h.Set("X-Paquebot-Attempt", strconv.Itoa(int(a.Number)))
	if len(secret) == 0 {
		return req, nil
	}
	sum, err := signature(secret, time.Now().Unix(), a)
	h.Set("X-Paquebot-Signature", sum)
	return req, err
}

// headerText is an address as HTTP headers can hold it: ASCII, or an encoded
// word.
func headerText(s string) string { return mime.QEncoding.Encode("utf-8", s) }

func signature(secret []byte, at int64, a mail.Attempt) (string, error) {
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "%d\n%s\n%s\n", at, a.Envelope.ID, a.Envelope.From)
	for _, r := range recipients(a) {
		fmt.Fprintf(m, "%s\n", r.Address)
	}
	if _, err := io.Copy(m, mail.Reader(a.Body)); err != nil {
		return "", err
	}
	return fmt.Sprintf("t=%d,v1=%s", at, hex.EncodeToString(m.Sum(nil))), nil
}

// judgeWeb reads an application's verdict: 2xx took it; 4xx will never take it,
// but for 408, 425 and 429; all else is trouble that may pass. A redirect, a
// secret refused or an address where nobody is at home is most likely a slip of
// configuration or of a deployment, and waits for the operator.
func judgeWeb(code int, text string) mail.Outcome {
	o := mail.Outcome{Stage: mail.StageDot, Result: mail.Deferred, Reach: mail.ThisSite}
	said := fmt.Sprintf("HTTP %d %s", code, text)
	switch {
	case code/100 == 2:
		o.Result, o.Reach, o.Reply = mail.Accepted, mail.ThisRecipient, smtp.OK.WithText("%s", said)
	case misplaced(code):
		o.Reply = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 3, Detail: 5},
			Text: "Check the address and credentials of the application: " + said}
	case code/100 == 4 && code != http.StatusRequestTimeout && code != http.StatusTooEarly && code != http.StatusTooManyRequests:
		o.Result, o.Reach = mail.Refused, mail.ThisMessage
		o.Reply = smtp.Reply{Code: 554, Enhanced: smtp.Enhanced{Class: 5}, Text: said}
	default:
		o.Reply = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 3}, Text: said}
	}
	return o
}

// misplaced: the answer is about where and as whom we asked, not about the message.
func misplaced(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
		return true
	}
	return false
}
