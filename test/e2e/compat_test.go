package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Clients written for Mailpit and MailHog read what dev caught, unchanged, each
// of their functions. The variable is what compose files set for Mailpit.
func TestClientsOfOtherCatchers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		client, compat, env string
	}{
		{"mailpit-api", "mailpit", ""}, {"cypress-mailpit", "none", "MP_SMTP_AUTH_ALLOW_INSECURE=1"}, {"mailhog", "none", "MP_SMTP_AUTH_ACCEPT_ANY=1"},
		{"mailhog", "mailhog", ""}, {"cypress-mailhog", "mailhog", ""},
	} {
		t.Run(row.client+" with --compat "+row.compat, func(t *testing.T) {
			t.Parallel()
			p := startDevWith(t, []string{row.env}, "--ports", "random", "--compat", row.compat).ports(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, "node", "node/compat.js", row.client, fmt.Sprintf("http://127.0.0.1:%d", p.HTTP), strconv.Itoa(p.MX)).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// clear sends a message in clear with a login, as recipes for Mailpit do.
func (p devPorts) clear(t *testing.T, user, subject string) {
	t.Helper()
	msg := "From: a@example.com\r\nTo: b@example.com\r\nSubject: " + subject + "\r\n\r\nx\r\n"
	check(t, smtp.SendMail(fmt.Sprintf("127.0.0.1:%d", p.MX), smtp.PlainAuth("", user, "any", "127.0.0.1"), "a@example.com", []string{"b@example.com", "hidden@example.com"}, []byte(msg)))
}

// ask answers a request to the page with its status and body.
func (p devPorts) ask(t *testing.T, method, path, user, password string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", p.HTTP, path), nil)
	check(t, err)
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	res, err := http.DefaultTransport.RoundTrip(r) // which follows nothing
	check(t, err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	check(t, err)
	return res.StatusCode, string(b)
}

func (p devPorts) caughtNow(t *testing.T, path, user, password string, want int) string {
	t.Helper()
	var last string
	eventually(t, func() error {
		status, body := p.ask(t, http.MethodGet, path, user, password)
		var list struct{ Total int }
		if last = body; status != http.StatusOK || json.Unmarshal([]byte(body), &list) != nil || list.Total != want {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	return last
}

// The variables that recipes set for Mailpit mean here what they mean there.
func TestMailpitVariables(t *testing.T) {
	t.Parallel()
	type announced struct {
		label, body string
	}
	told := make(chan announced, 10)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		told <- announced{r.Header.Get("Mailpit-Label"), string(b)}
	}))
	defer app.Close()
	d := startDevWith(t, []string{
		"MP_SMTP_BIND_ADDR=0.0.0.0:1025", "MP_UI_BIND_ADDR=[::]:8025", "MP_UI_AUTH=anna:secret paul:other", "MP_WEBROOT=/mail/", "MP_MAX_MESSAGES=2",
		"MP_WEBHOOK_URL=" + app.URL, "MP_LABEL=lab", "MP_ENABLE_CHAOS=1",
	}, "--ports", "random", "--compat", "mailpit")
	p := d.ports(t)
	mustContain(t, "the start", d.printed(), "IN CLEAR", "MP_SMTP_BIND_ADDR=0.0.0.0:1025", "MP_UI_BIND_ADDR=[::]:8025")
	for path, want := range map[string]int{
		"/mail/api/v1/info": http.StatusUnauthorized, "/mail/": http.StatusUnauthorized, "/mail/readyz": http.StatusOK, "/mail/livez": http.StatusOK,
	} {
		if status, _ := p.ask(t, http.MethodGet, path, "", ""); status != want {
			t.Errorf("GET %s without a password: %d", path, status)
		}
	}
	if status, _ := p.ask(t, http.MethodGet, "/mail/", "anna", "other"); status != http.StatusUnauthorized {
		t.Errorf("anna with paul's password: %d", status)
	}
	for _, path := range []string{"/mail/", "/mail/api/v1/webui", "/mail/api/v1/chaos", "/mail/api/v2/messages"} {
		if status, body := p.ask(t, http.MethodGet, path, "paul", "other"); status != http.StatusOK {
			t.Errorf("GET %s: %d %s", path, status, body)
		}
	}
	for i := range 3 {
		p.clear(t, "mailpit", fmt.Sprint("message ", i))
	}
	list := p.caughtNow(t, "/mail/api/v1/search?query=subject:message", "anna", "secret", 2) // the oldest went
	mustContain(t, "the list", list, `"Username":"mailpit"`, `"message 2"`, `"hidden@example.com"`)
	first := <-told
	var s struct{ Subject, ID string }
	if err := json.Unmarshal([]byte(first.body), &s); err != nil || first.label != "lab" || s.Subject != "message 0" || s.ID == "" {
		t.Errorf("the application was told %+v", first)
	}
	if status, _ := p.ask(t, http.MethodGet, "/mail/view/latest", "anna", "secret"); status != http.StatusFound {
		t.Errorf("view/latest: %d", status)
	}
}

// Without --compat, and without the two variables, 1025 is port 25's twin: no
// AUTH in clear, and no AUTH at all.
func TestPort25sTwinStaysHonest(t *testing.T) {
	t.Parallel()
	p := startDevWith(t, []string{"MP_UI_AUTH=anna:secret", "MP_WEBROOT=/mail"}, "--ports", "random").ports(t)
	c, err := smtp.Dial(fmt.Sprintf("127.0.0.1:%d", p.MX))
	check(t, err)
	defer func() { _ = c.Close() }()
	check(t, c.Hello("test"))
	if ok, how := c.Extension("AUTH"); ok {
		t.Errorf("AUTH %s is offered", how)
	}
	if status, _ := p.ask(t, http.MethodGet, "/api/v1/info", "", ""); status != http.StatusOK { // the variables are Mailpit's, not ours
		t.Errorf("info: %d", status)
	}
}

// What was kept under MP_DATABASE is there after a restart, read marks and tags
// with it.
func TestMailpitDatabaseSurvives(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp(need(t).dir, "database-")
	check(t, err)
	check(t, own(dir, "nobody"))
	start := func() (*dev, devPorts) {
		d := startDevWritable(t, dir, []string{"MP_DATABASE=" + dir + "/mailpit.db"}, "--ports", "random", "--compat", "mailpit")
		return d, d.ports(t)
	}
	d, p := start()
	p.clear(t, "suite", "kept")
	p.caughtNow(t, "/api/v1/messages", "", "", 1)
	before, body := p.ask(t, http.MethodGet, "/api/v1/message/latest", "", "") // reads it
	if before != http.StatusOK {
		t.Fatal(before, body)
	}
	check(t, d.cmd.Process.Signal(syscall.SIGTERM))
	<-d.exited
	_, p = start()
	mustContain(t, "after the restart", p.caughtNow(t, "/api/v1/messages", "", "", 1), `"unread":0`, `"Read":true`, `"Tags":["suite"]`, `"kept"`)
}

// MailHog's list is an array; the one route on which it and Mailpit differ.
func TestCompatMailHogTurnsOneRoute(t *testing.T) {
	t.Parallel()
	p := startDevWith(t, nil, "--ports", "random", "--compat", "mailhog").ports(t)
	p.clear(t, "suite", "hello")
	p.caughtNow(t, "/api/v2/messages", "", "", 1)
	_, body := p.ask(t, http.MethodGet, "/api/v1/messages", "", "")
	var list []struct {
		ID  string
		Raw struct{ To []string }
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list) != 1 || !strings.HasSuffix(list[0].ID, "@mailhog.example") || len(list[0].Raw.To) != 2 {
		t.Errorf("%v %s", err, body)
	}
	if _, body := p.ask(t, http.MethodGet, "/api/v1/message/latest", "", ""); !strings.Contains(body, `"Subject":"hello"`) { // Mailpit's is there as well
		t.Error(body)
	}
}
