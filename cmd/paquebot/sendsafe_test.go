package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"paquebot/internal/mail"
)

// P4, SH-4: who blocks 587, 465 and 2525 does not get the message by 25 in
// clear, and who has given a credential is never sent for without it.
func TestSendPortsAreEquallySafe(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cmd  SendCmd
		want mail.Security // of the last port
	}{
		{SendCmd{TLS: "auto", Server: "mail.example.org"}, mail.Verify},
		{SendCmd{TLS: "auto", Server: "mail.example.org", User: "anna", PasswordFile: password}, mail.Verify},
		{SendCmd{TLS: "auto", Server: "mail.example.org:25", User: "anna", PasswordFile: password}, mail.Verify},
		{SendCmd{TLS: "auto", Server: "mail.example.org:25"}, mail.Opportunistic}, // as one server to another
		{SendCmd{TLS: "none", Server: "mail.example.org:25"}, mail.Clear},
	} {
		to, err := c.cmd.target(context.Background(), &Globals{})
		if err != nil {
			t.Fatal(err)
		}
		if got := to.endpoints[len(to.endpoints)-1]; got.mode != c.want {
			t.Errorf("--server %s --user %q: %s is used with %s, want %s", c.cmd.Server, c.cmd.User, got, got.mode, c.want)
		}
	}
}

// A profile's credential is for its server, not for one named in its place.
func TestProfileCredentialStaysWithItsServer(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	file, err := profileFile("work")
	if err != nil {
		t.Fatal(err)
	}
	saved := `{"schema":"` + sendProfileSchema + `","server":"mail.example.org","user":"anna","password_file":"/pw","from":"anna@example.org"}`
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(saved), 0o600); err != nil {
		t.Fatal(err)
	}
	for server, want := range map[string]string{"": "/pw", "mail.example.org": "/pw", "mail.example.net": ""} {
		c := SendCmd{Profile: "work", Server: server, TLS: "auto"}
		if err := c.useProfile(); err != nil {
			t.Fatal(err)
		}
		if c.PasswordFile != want || c.From != "anna@example.org" {
			t.Errorf("--server %q: password file %q, want %q; from %q", server, c.PasswordFile, want, c.From)
		}
	}
}
