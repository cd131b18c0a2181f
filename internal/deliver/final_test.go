package deliver_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"paquebot/internal/deliver"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

func plainDial(ctx context.Context, network, addr string, _ netip.Addr) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

func attemptTo(r mail.Route, body string, to ...string) mail.Attempt {
	env := &mail.Envelope{ID: mail.ID{1}, From: "a@here.example"}
	a := mail.Attempt{Envelope: env, Route: r, Body: mail.Bytes(body), Number: 1}
	for i, addr := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: addr})
		a.Recipients = append(a.Recipients, i)
	}
	return a
}

// RCV-8, REL-5: final delivery into a maildir.
func TestMaildir(t *testing.T) {
	dir := t.TempDir()
	d := deliver.New(deliver.Config{Hostname: "here.example"}, deliver.Needs{})
	defer d.Close()
	target := mail.Route{Transport: mail.Maildir, Target: dir + "/mail/{domain}/{local}"}
	body := "Return-Path: <forged@x>\r\nReceived: by there\r\nSubject: x\r\n\r\nhi\r\n.dot\r\n"
	for range 2 { // an attempt repeated after a crash adds no copy
		for _, o := range d.Deliver(t.Context(), attemptTo(target, body, "Anna@Ours.example", `"b o"@ours.example`)) {
			if o.Result != mail.Accepted {
				t.Fatalf("%+v", o)
			}
		}
	}
	for _, box := range []string{"anna", "b o"} {
		files, _ := filepath.Glob(dir + "/mail/ours.example/" + box + "/new/*")
		if len(files) != 1 {
			t.Fatalf("%s: %q", box, files)
		}
		got, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		want := "Return-Path: <a@here.example>\nDelivered-To: "
		if !strings.HasPrefix(string(got), want) || strings.Count(string(got), "Return-Path") != 1 ||
			!strings.HasSuffix(string(got), "\nSubject: x\n\nhi\n.dot\n") || strings.Contains(string(got), "\r") {
			t.Errorf("%q", got)
		}
		info, _ := os.Stat(files[0])
		box, _ := os.Stat(filepath.Dir(files[0]))
		if info.Mode().Perm() != 0o600 || box.Mode().Perm() != 0o700 {
			t.Errorf("%v in %v", info.Mode(), box.Mode())
		}
		if tmp, _ := filepath.Glob(filepath.Dir(filepath.Dir(files[0])) + "/tmp/*"); len(tmp) != 0 {
			t.Errorf("left behind: %q", tmp)
		}
	}
	loop := "Delivered-To: anna@ours.example\r\n\r\nhi\r\n"
	o := d.Deliver(t.Context(), attemptTo(target, loop, "anna@ours.example"))[0]
	if o.Result != mail.Refused || o.Reply.Enhanced.String() != "5.4.6" {
		t.Errorf("a loop was closed: %+v", o)
	}
}

// No address leads out of the directory the operator named.
func TestMaildirCannotBeLeft(t *testing.T) {
	dir := t.TempDir()
	outside := t.TempDir()
	if err := os.MkdirAll(dir+"/mail", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, dir+"/mail/link"); err != nil {
		t.Fatal(err)
	}
	d := deliver.New(deliver.Config{Hostname: "here.example"}, deliver.Needs{})
	defer d.Close()
	for _, local := range []string{"..", ".", `"../x"`, `"a/b"`, `"/etc"`, ".hidden", `"..\\/x"`, `"a\\b"`, strings.Repeat("a", 250), "link", `""`} {
		o := d.Deliver(t.Context(), attemptTo(mail.Route{Transport: mail.Maildir, Target: dir + "/mail/{local}"}, "\r\nhi\r\n", local+"@ours.example"))[0]
		if o.Result == mail.Accepted {
			t.Errorf("%s was accepted", local)
		}
	}
	for _, domain := range []string{"..", "a/b"} {
		o := d.Deliver(t.Context(), attemptTo(mail.Route{Transport: mail.Maildir, Target: dir + "/mail/{domain}/x"}, "\r\nhi\r\n", "a@"+domain))[0]
		if o.Result == mail.Accepted {
			t.Errorf("%s was accepted", domain)
		}
	}
	if files, _ := os.ReadDir(outside); len(files) != 0 {
		t.Errorf("written outside: %v", files)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("written beside: %v", files)
	}
}

func TestMaildirTroubleDefers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := deliver.New(deliver.Config{}, deliver.Needs{})
	defer d.Close()
	o := d.Deliver(t.Context(), attemptTo(mail.Route{Transport: mail.Maildir, Target: file + "/{local}"}, "\r\nhi\r\n", "a@ours.example"))[0]
	if o.Result != mail.Deferred || o.Reply.Enhanced.String() != "4.3.0" {
		t.Errorf("%+v", o)
	}
}

func TestWebhook(t *testing.T) {
	body := "Subject: x\r\n\r\nhi\r\n"
	secret := []byte("s3cret")
	status := http.StatusOK
	var got *http.Request
	var sent string
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, sent = r, string(b)
		if status/100 == 3 {
			w.Header().Set("Location", "http://192.0.2.1/elsewhere")
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "seen\r\n", strings.Repeat("x", 1<<16))
	}))
	defer app.Close()
	d := deliver.New(deliver.Config{Webhooks: map[string]deliver.Webhook{app.URL: {Secret: secret}}}, deliver.Needs{Dial: plainDial})
	defer d.Close()
	a := attemptTo(mail.Route{Transport: mail.Webhook, Target: app.URL}, body, "b@ours.example", "jörg@ours.example")
	for _, o := range d.Deliver(t.Context(), a) {
		if o.Result != mail.Accepted || len(o.Reply.Text) > 300 || strings.ContainsAny(o.Reply.Text, "\r\n") {
			t.Errorf("%+v", o)
		}
	}
	h := got.Header
	if got.Method != "POST" || sent != body || h.Get("Content-Type") != "message/rfc822" || got.ContentLength != int64(len(body)) ||
		h.Get("X-Paquebot-Id") != a.Envelope.ID.String() || h.Get("X-Paquebot-From") != "a@here.example" ||
		!slices.Equal(h.Values("X-Paquebot-To"), []string{"b@ours.example", "=?utf-8?q?j=C3=B6rg@ours.example?="}) {
		t.Errorf("%v %v", got.Method, h)
	}
	at, sum, _ := strings.Cut(strings.TrimPrefix(h.Get("X-Paquebot-Signature"), "t="), ",v1=")
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "%s\n%s\na@here.example\nb@ours.example\njörg@ours.example\n%s", at, a.Envelope.ID, body)
	if hex.EncodeToString(m.Sum(nil)) != sum {
		t.Errorf("signature %q", h.Get("X-Paquebot-Signature"))
	}
	for code, want := range map[int]mail.Result{
		200: mail.Accepted, 202: mail.Accepted, 204: mail.Accepted,
		400: mail.Refused, 413: mail.Refused, 422: mail.Refused,
		401: mail.Deferred, 403: mail.Deferred, 404: mail.Deferred, 410: mail.Deferred, // slips of configuration
		408: mail.Deferred, 425: mail.Deferred, 429: mail.Deferred, 500: mail.Deferred, 502: mail.Deferred, 503: mail.Deferred,
		301: mail.Deferred, 307: mail.Deferred, // never followed
	} {
		status = code
		if o := d.Deliver(t.Context(), a)[0]; o.Result != want || o.Result == mail.Refused != o.Reply.Permanent() {
			t.Errorf("HTTP %d: %v %v, want %v", code, o.Result, o.Reply, want)
		}
	}
}

func TestWebhookThatDoesNotAnswer(t *testing.T) {
	hold := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	defer app.Close()
	defer close(hold)
	d := deliver.New(deliver.Config{Webhooks: map[string]deliver.Webhook{app.URL: {Timeout: 20 * time.Millisecond}}}, deliver.Needs{Dial: plainDial})
	defer d.Close()
	for _, url := range []string{app.URL, "http://127.0.0.1:1/"} {
		if o := d.Deliver(t.Context(), attemptTo(mail.Route{Transport: mail.Webhook, Target: url}, "\r\n", "b@ours.example"))[0]; o.Result != mail.Deferred || o.Reach != mail.ThisSite {
			t.Errorf("%s: %+v", url, o)
		}
	}
}

type catcher struct {
	got []mail.Recipient
	err error
}

func (c *catcher) Catch(_ context.Context, _ *mail.Envelope, to []mail.Recipient, _ mail.Body) error {
	c.got = append(c.got, to...)
	return c.err
}

func TestCatch(t *testing.T) {
	c := &catcher{}
	d := deliver.New(deliver.Config{}, deliver.Needs{Catcher: c})
	defer d.Close()
	a := attemptTo(mail.Route{Transport: mail.Catch}, "\r\n", "b@ours.example", "c@ours.example")
	for _, o := range d.Deliver(t.Context(), a) {
		if o.Result != mail.Accepted || o.At.IsZero() {
			t.Errorf("%+v", o)
		}
	}
	if len(c.got) != 2 {
		t.Errorf("caught for %v", c.got)
	}
	c.err = errors.New("disk on fire")
	if o := d.Deliver(t.Context(), a)[1]; o.Result != mail.Deferred || o.Reply.Code != smtp.LocalError.Code {
		t.Errorf("%+v", o)
	}
	none := deliver.New(deliver.Config{}, deliver.Needs{})
	defer none.Close()
	for _, tr := range []mail.Transport{mail.Catch, "pigeon"} {
		if o := none.Deliver(t.Context(), attemptTo(mail.Route{Transport: tr}, "\r\n", "b@x"))[0]; o.Result != mail.Deferred {
			t.Errorf("%s: %+v", tr, o)
		}
	}
}
