package provider

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// CheckCredential says whether user and password look like what the provider
// issues (SH-14). It knows shapes only: nil does not mean that they are right.
// The error says what is wrong and what to give instead; it never holds the
// password. Empty words are left alone where AUTH is optional.
func (p *Provider) CheckCredential(user, pass string) error {
	a := p.Auth
	switch {
	case a.None && user+pass != "":
		return fmt.Errorf("%s takes no user name and password: %s", p.Title, a.Hint)
	case a.None, a.Optional && user+pass == "":
		return nil
	case user == "" || pass == "":
		return fmt.Errorf("%s needs a user name and a password: %s", p.Title, a.Hint)
	}
	if err := p.wrongKind(user, pass); err != nil {
		return err
	}
	switch {
	case a.User != "" && user != a.User:
		return fmt.Errorf("the user name at %s is always %q: %s", p.Title, a.User, a.Hint)
	case !p.fits(a.UserShape, user):
		return fmt.Errorf("%q is no user name of %s: %s", clip(user), p.Title, a.Hint)
	case a.SameIf != "" && p.fits(a.SameIf, user) && pass != user:
		return fmt.Errorf("at %s this user name is also the password: %s", p.Title, a.Hint)
	case !p.fits(a.PassShape, pass):
		return fmt.Errorf("the password (%d characters) is none of %s: %s", len(pass), p.Title, a.Hint)
	}
	return nil
}

// wrongKind names a credential of another kind.
func (p *Provider) wrongKind(user, pass string) error {
	if strings.ContainsAny(pass, "\r\n") || strings.TrimSpace(pass) != pass {
		return errors.New("the password begins or ends with a space or a line end: write the file again without it")
	}
	for _, w := range p.Auth.Wrong {
		if p.fits(w.User, user) && p.fits(w.Pass, pass) {
			return fmt.Errorf("%s: %s", p.Title, w.Says)
		}
	}
	return nil
}

// fits says whether a word fits a shape; everything fits none.
func (p *Provider) fits(shape, word string) bool {
	if shape == "" {
		return true
	}
	re := compiled(shape)
	return re == nil || re.MatchString(word)
}

// compiled returns a regular expression of the catalogue, or of a provider that
// somebody made up; nil if it is none.
func compiled(text string) *regexp.Regexp {
	if c, err := Load(); err == nil && c.patterns[text] != nil {
		return c.patterns[text]
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil
	}
	return re
}
