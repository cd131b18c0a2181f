package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paquebot/internal/console"
	"paquebot/internal/event"
)

func TestMailpitsVariables(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(file, []byte("carl:word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, compat string
		env          map[string]string
		want         func(*DevCmd) bool
		err          string
	}{
		{"nothing said", "none", nil, func(c *DevCmd) bool { return !c.alike.clearAuth && c.Data == "" && len(c.warnings(1025)) == 0 }, ""},
		{"mailpit", "mailpit", nil, func(c *DevCmd) bool { return c.alike.clearAuth && len(c.warnings(1025)) == 1 }, ""},
		{"mailhog", "mailhog", nil, func(c *DevCmd) bool { return c.alike.clearAuth }, ""},
		{"compose files", "none", map[string]string{"MP_SMTP_AUTH_ACCEPT_ANY": "1"}, func(c *DevCmd) bool { return c.alike.clearAuth }, ""},
		{"one of the two is enough", "none", map[string]string{"MP_SMTP_AUTH_ALLOW_INSECURE": "true"}, func(c *DevCmd) bool { return c.alike.clearAuth }, ""},
		{"said no", "none", map[string]string{"MP_SMTP_AUTH_ALLOW_INSECURE": "0"}, func(c *DevCmd) bool { return !c.alike.clearAuth }, ""},
		{"ours alone, the others are not read", "mailhog", map[string]string{"MP_WEBROOT": "/x", "MP_DATABASE": "/y.db"}, func(c *DevCmd) bool { return c.Path == "" && c.Data == "" }, ""},
		{"beside the file", "mailpit", map[string]string{"MP_DATABASE": "/data/mailpit.db"}, func(c *DevCmd) bool { return c.Data == "/data/mailpit.paquebot" }, ""},
		{"its old name", "mailpit", map[string]string{"MP_DATA_FILE": "/data/mailpit"}, func(c *DevCmd) bool { return c.Data == "/data/mailpit.paquebot" }, ""},
		{"rqlite", "mailpit", map[string]string{"MP_DATABASE": "http://db:4001"}, nil, "not in rqlite"},
		{"how many", "mailpit", map[string]string{"MP_MAX_MESSAGES": "7"}, func(c *DevCmd) bool { return c.MaxMessages == 7 }, ""},
		{"all", "mailpit", map[string]string{"MP_MAX_MESSAGES": "0"}, func(c *DevCmd) bool { return c.MaxMessages == unlimited }, ""},
		{"a word", "mailpit", map[string]string{"MP_MAX_MESSAGES": "many"}, nil, "not a number of messages"},
		{"a port", "mailpit", map[string]string{"MP_SMTP_BIND_ADDR": "127.0.0.1:2500"}, func(c *DevCmd) bool {
			return c.addressAt(c.alike.smtp, c.MX) == "127.0.0.1:2500" && len(c.alike.open) == 0
		}, ""},
		{"everywhere", "mailpit", map[string]string{"MP_SMTP_BIND_ADDR": ":1025", "MP_UI_BIND_ADDR": "0.0.0.0:80"}, func(c *DevCmd) bool {
			return c.addressAt(c.alike.smtp, c.MX) == "[::]:1025" && c.addressAt(c.alike.ui, c.HTTP) == "0.0.0.0:80" && c.alike.opensPage() && len(c.warnings(1025)) == 3
		}, ""},
		{"no address", "mailpit", map[string]string{"MP_UI_BIND_ADDR": "mail.example.org:80"}, nil, "not an address of this machine"},
		{"no port", "mailpit", map[string]string{"MP_UI_BIND_ADDR": "0.0.0.0"}, nil, "not an address with a port"},
		{"keys", "mailpit", map[string]string{"MP_UI_AUTH": "anna:pw paul:other", "MP_UI_AUTH_FILE": file}, func(c *DevCmd) bool {
			return c.alike.keys.Fit("anna", "pw") && c.alike.keys.Fit("paul", "other") && c.alike.keys.Fit("carl", "word") && !c.alike.keys.Fit("anna", "other")
		}, ""},
		{"keys that are none", "mailpit", map[string]string{"MP_UI_AUTH": "secret-alone"}, nil, "not user:password"},
		{"path, webhook, label", "mailpit", map[string]string{"MP_WEBROOT": "mail/", "MP_WEBHOOK_URL": "http://app/", "MP_LABEL": "lab"}, func(c *DevCmd) bool {
			return c.basePath() == "/mail" && c.Webhook == "http://app/" && c.alike.label == "lab"
		}, ""},
	} {
		c := &DevCmd{Compat: row.compat, MX: usualSMTP, HTTP: usualHTTP, MaxMessages: catchDefault}
		err := c.readMailpit(func(name string) string { return row.env[name] })
		if row.err != "" {
			if err == nil || !strings.Contains(err.Error(), row.err) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", row.name, err)
			}
			continue
		}
		if err != nil || !row.want(c) {
			t.Errorf("%s: %v %+v", row.name, err, c)
		}
	}
}

func TestFlagsWinOverVariables(t *testing.T) {
	c := &DevCmd{Compat: "mailpit", MX: 2500, HTTP: 8080, MaxMessages: 9, Data: "/mine", Path: "/p", Webhook: "http://mine/"}
	env := map[string]string{"MP_SMTP_BIND_ADDR": "127.0.0.1:1", "MP_UI_BIND_ADDR": "127.0.0.1:2", "MP_MAX_MESSAGES": "3", "MP_DATABASE": "/x.db", "MP_WEBROOT": "/y", "MP_WEBHOOK_URL": "http://z/"}
	if err := c.readMailpit(func(name string) string { return env[name] }); err != nil {
		t.Fatal(err)
	}
	if c.MX != 2500 || c.HTTP != 8080 || c.MaxMessages != 9 || c.Data != "/mine" || c.Path != "/p" || c.Webhook != "http://mine/" {
		t.Errorf("%+v", c)
	}
}

// A health check finds the page where the same flags and variables put it.
func TestReadyIsAskedWhereThePageIs(t *testing.T) {
	for _, row := range []struct {
		c    DevCmd
		env  map[string]string
		want string
	}{
		{DevCmd{HTTP: usualHTTP}, nil, "http://localhost:8025"},
		{DevCmd{HTTP: 8080, Path: "/mail/"}, nil, "http://localhost:8080/mail"},
		{DevCmd{HTTP: usualHTTP, Compat: "mailpit"}, map[string]string{"MP_WEBROOT": "mail", "MP_UI_BIND_ADDR": "0.0.0.0:80"}, "http://localhost:80/mail"},
		{DevCmd{HTTP: usualHTTP, Compat: "mailpit"}, map[string]string{"MP_UI_BIND_ADDR": "[::1]:80"}, "http://[::1]:80"},
	} {
		if err := row.c.readMailpit(func(name string) string { return row.env[name] }); err != nil || row.c.pageURL() != row.want {
			t.Errorf("%v %s, want %s", err, row.c.pageURL(), row.want)
		}
	}
}

// What opens the catcher is said on the start screen, and by --ports random,
// which has none.
func TestLANIsSaidLoudly(t *testing.T) {
	for _, ports := range []string{"standard", "random"} {
		var out, err strings.Builder
		c := &DevCmd{LAN: true, Ports: ports}
		lines := &devLines{w: &err}
		if e := c.say(&Globals{Stdout: &out, Stderr: &err}, lines, console.Ports{MX: 1025}, 8025, 0, 0); e != nil {
			t.Fatal(e)
		}
		if said := out.String() + err.String(); strings.Count(said, "--lan: whoever reaches this machine") != 1 {
			t.Errorf("%s: %s", ports, said)
		}
	}
}

// A message deleted while it is exported leaves no empty file.
func TestExportLeavesOutWhatIsGone(t *testing.T) {
	page := httptest.NewServer(http.NotFoundHandler())
	defer page.Close()
	c := DevExportCmd{devAsk: devAsk{URL: page.URL}, Out: t.TempDir()}
	if err := c.toFiles(t.Context(), console.Summary{}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(c.Out); err != nil || len(left) != 0 {
		t.Errorf("%v %v", left, err)
	}
}

// A webhook that nobody answers has no HTTP status.
func TestWebhookTroubleIsSaidPlainly(t *testing.T) {
	var out strings.Builder
	d := &devLines{w: &out}
	d.Emit(event.AnnouncementFailed{Attempt: 1, Error: "connection refused"})
	d.Emit(event.AnnouncementFailed{Attempt: 2, Status: 500})
	if s := out.String(); !strings.Contains(s, "(try 1): connection refused\n") || !strings.Contains(s, "(try 2): HTTP 500\n") {
		t.Error(s)
	}
}
