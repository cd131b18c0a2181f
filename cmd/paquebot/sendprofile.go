package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// sendProfile is where to send and as whom, as it is saved: without secrets,
// the password by the file it is in.
type sendProfile struct {
	Schema       string `json:"schema"`
	Server       string `json:"server,omitempty"`
	Via          string `json:"via,omitempty"`
	MX           bool   `json:"mx,omitempty"`
	TLS          string `json:"tls,omitempty"`
	CA           string `json:"ca,omitempty"`
	TLSName      string `json:"tls_name,omitempty"`
	User         string `json:"user,omitempty"`
	PasswordFile string `json:"password_file,omitempty"`
	Auth         string `json:"auth,omitempty"`
	Ehlo         string `json:"ehlo,omitempty"`
	From         string `json:"from,omitempty"`
}

const sendProfileSchema = "paquebot.send.profile/1"

var profileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// profileFile is where a profile is kept: in the user's own configuration.
func profileFile(name string) (string, error) {
	if !profileName.MatchString(name) {
		return "", fmt.Errorf("%q is no name for a profile; use letters, digits, dots and dashes", name)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "paquebot", "send", name+".json"), nil
}

// useProfile fills in what the command line leaves open. Where to is one
// thing: who names another server does not get the profile's provider, and that
// server does not get the credential, nor the name and CA to know it by.
func (c *SendCmd) useProfile() error {
	if c.Profile == "" {
		return nil
	}
	file, err := profileFile(c.Profile)
	if err != nil {
		return unsure("--profile", err, "")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return unsure("--profile "+c.Profile, errors.New(plainCause(err)), savedProfiles(filepath.Dir(file)))
	}
	var p sendProfile
	if err := json.Unmarshal(b, &p); err != nil || p.Schema != sendProfileSchema {
		return unsure("--profile "+c.Profile, fmt.Errorf("%s cannot be understood", file), "save it anew with --save-profile "+c.Profile)
	}
	if c.Server == "" && c.Via == "" && !c.MX {
		c.Server, c.Via, c.MX = p.Server, p.Via, p.MX
	} else if c.Server != p.Server || c.Via != p.Via || c.MX != p.MX {
		p.User, p.PasswordFile, p.Auth, p.TLSName, p.CA, p.TLS = "", "", "", "", "", ""
	}
	if c.TLS == "auto" && p.TLS != "" {
		c.TLS = p.TLS
	}
	if c.User == "" && c.PasswordFile == "" {
		c.User, c.PasswordFile = p.User, p.PasswordFile
	}
	for _, f := range []struct {
		flag  *string
		saved string
	}{{&c.PasswordFile, p.PasswordFile}, {&c.CA, p.CA}, {&c.TLSName, p.TLSName}, {&c.Auth, p.Auth}, {&c.Ehlo, p.Ehlo}, {&c.From, p.From}} {
		if *f.flag == "" {
			*f.flag = f.saved
		}
	}
	return nil
}

func savedProfiles(dir string) string {
	files, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	if len(files) == 0 {
		return "none is saved yet; --save-profile NAME does it"
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(filepath.Base(f), ".json")
	}
	return "there are: " + strings.Join(files, ", ")
}

// saveProfile keeps the flags for the next time, for their owner's eyes only.
func (c *SendCmd) saveProfile(g *Globals) error {
	file, err := profileFile(c.SaveProfile)
	if err != nil {
		return err
	}
	p := sendProfile{Schema: sendProfileSchema, Server: c.Server, Via: c.Via, MX: c.MX, TLSName: c.TLSName, User: c.User, Auth: c.Auth, Ehlo: c.Ehlo, From: c.From}
	if c.TLS != "auto" {
		p.TLS = c.TLS
	}
	for _, f := range []struct{ from, to *string }{{&c.CA, &p.CA}, {&c.PasswordFile, &p.PasswordFile}} {
		if *f.from == "" || *f.from == "-" {
			continue
		}
		if *f.to, err = filepath.Abs(*f.from); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(g.Stderr, "Saved as %s, without secrets: %s\n", c.SaveProfile, file)
	if c.PasswordFile == "-" {
		fmt.Fprintln(g.Stderr, "The password came from standard input and is not part of it: give --password-file again.")
	}
	return nil
}
