package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A person logs in, and the server's token comes of it (RFC 8628).
func TestSmarthostLogin(t *testing.T) {
	answer := "agree"
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/device":
			fmt.Fprintf(w, `{"device_code":"hush-device","user_code":"ABCD-EFGH","verification_uri":"https://%s/go","expires_in":60,"interval":0.01}`, r.Host)
		case r.Form.Get("refresh_token") == "hush-1":
			fmt.Fprint(w, `{"access_token":"hush-a","expires_in":3600,"refresh_token":"hush-2"}`)
		case r.Form.Get("device_code") == "hush-device" && answer == "agree":
			fmt.Fprint(w, `{"access_token":"hush-a","expires_in":3600,"refresh_token":"hush-1"}`)
		case r.Form.Get("device_code") == "hush-device":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":%q}`, answer)
		default:
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
		}
	}))
	defer issuer.Close()
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "paquebot.toml")
	text := fmt.Sprintf(`hostname = "mx.example.org"
data_dir = %q
[[route]]
via = "m365"
[smarthost.m365]
host = "smtp.provider.test"
ports = [587]
username = "anna@example.org"
[smarthost.m365.oauth2]
token_url = "%[2]s/token"
device_url = "%[2]s/device"
client_id = "app"
ca = %[3]q
`, filepath.Join(dir, "data"), issuer.URL, ca)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	do := func(code int, args ...string) (out, hints string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		got := run(append([]string{"paquebot", "-c", file, "smarthost"}, args...), strings.NewReader(""), &stdout, &stderr)
		if got != code {
			t.Errorf("%v: exit %d, want %d\n%s%s", args, got, code, stdout.String(), stderr.String())
		}
		if strings.Contains(stdout.String()+stderr.String(), "hush") {
			t.Errorf("%v shows a secret:\n%s%s", args, stdout.String(), stderr.String())
		}
		return stdout.String(), stderr.String()
	}
	mustHold := func(text string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("%q is not in:\n%s", w, text)
			}
		}
	}
	out, _ := do(0, "list")
	mustHold(out, "m365", "smtp.provider.test", "token", "login needed", "paquebot smarthost login m365")
	out, _ = do(1, "status", "m365")
	mustHold(out, "nobody has logged in yet")
	_, hints := do(1, "status", "m356")
	mustHold(hints, "Did you mean m365?")

	answer = "access_denied"
	_, hints = do(1, "login", "m365")
	mustHold(hints, "ABCD-EFGH", "/go", "access_denied", "log in again")

	answer = "agree"
	out, hints = do(0, "login", "m365")
	mustHold(hints, "ABCD-EFGH")
	mustHold(out, "Logged in.", "oauth/m365.json")
	info, err := os.Stat(filepath.Join(dir, "data", "oauth", "m365.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	out, _ = do(0, "status", "m365", "--json")
	var st smarthostRow
	if err := json.Unmarshal([]byte(out), &st); err != nil || st.State != "ok" || st.Expires.IsZero() || st.LoggedIn.IsZero() {
		t.Errorf("%v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "data", "oauth", "m365.json"))
	if err != nil || !strings.Contains(string(b), "hush-2") {
		t.Errorf("the rotated refresh token is not kept: %s, %v", b, err)
	}
	out, _ = do(1, "status", "m365") // our issuer forgets rotated ones: as when it was withdrawn
	mustHold(out, "invalid_grant", "paquebot smarthost login m365")
}
