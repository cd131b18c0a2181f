package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"paquebot/internal/accounts"
)

// AccountsAPI does the account routes' work without HTTP, so that the commands
// do the same on a stopped server's table.
type AccountsAPI struct{ Accounts }

func (s *Server) accounts() (AccountsAPI, error) {
	if s.needs.Accounts == nil {
		return AccountsAPI{}, absent("accounts")
	}
	return AccountsAPI{s.needs.Accounts}, nil
}

// explain adds the account's name and the remedy to an error of the room.
func explain(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, accounts.ErrNotFound):
		return fault(http.StatusNotFound, "paquebot account list", "account %q: %v", name, err)
	case errors.Is(err, accounts.ErrExists):
		return fault(http.StatusConflict, "paquebot account passwd "+name+" sets another password", "account %q: %v", name, err)
	case errors.Is(err, accounts.ErrDeclared):
		return fault(http.StatusConflict, "edit its [[account]] and reload", "account %q: %v", name, err)
	}
	return fault(http.StatusBadRequest, "", "account %q: %v", name, err)
}

// AddAccount makes an account.
func (a AccountsAPI) AddAccount(n NewAccount, by string) (Made, error) {
	secret, err := a.Add(accounts.New{Name: n.Name, Password: n.Password, Senders: n.Senders, Limits: n.Limits}, by)
	return Made{Schema: madeSchema, Account: n.Name, Secret: secret, Login: n.Name}, explain(n.Name, err)
}

const madeSchema = "paquebot.account.made/1"

// SetPassword sets a password.
func (a AccountsAPI) SetPassword(name string, n NewPassword, by string) (Made, error) {
	secret, err := a.Passwd(name, n.Password, by)
	return Made{Schema: madeSchema, Account: name, Secret: secret, Login: name}, explain(name, err)
}

// MakeToken makes a token.
func (a AccountsAPI) MakeToken(name string, n NewToken, by string) (Made, error) {
	secret, err := a.AddToken(name, accounts.Token{Name: n.Name, Expires: n.Expires}, by)
	return Made{Schema: madeSchema, Account: name, Token: n.Name, Secret: secret, Login: name}, explain(name, err)
}

// RevokeToken revokes a token.
func (a AccountsAPI) RevokeToken(name, token, by string) (Done, error) {
	err := a.RemoveToken(name, token, by)
	if errors.Is(err, accounts.ErrNotFound) {
		return Done{}, fault(http.StatusNotFound, "paquebot account show "+name, "account %q has no token %q", name, token)
	}
	return done("token %s of %s revoked", token, name), explain(name, err)
}

// DisableAccount refuses its credentials.
func (a AccountsAPI) DisableAccount(name, why, by string) (Done, error) {
	return done("%s disabled", name), explain(name, a.Disable(name, why, by))
}

// EnableAccount undoes DisableAccount.
func (a AccountsAPI) EnableAccount(name, by string) (Done, error) {
	return done("%s enabled", name), explain(name, a.Enable(name, by))
}

// RemoveAccount removes it.
func (a AccountsAPI) RemoveAccount(name, by string) (Done, error) {
	return done("%s removed", name), explain(name, a.Remove(name, by))
}

// ChangeSenders replaces the addresses it may send as.
func (a AccountsAPI) ChangeSenders(name string, senders []string, by string) (Done, error) {
	return done("%s may send as %s", name, strings.Join(senders, ", ")), explain(name, a.SetSenders(name, senders, by))
}

// ShowAccount shows one.
func (a AccountsAPI) ShowAccount(name string) (Account, error) {
	p, err := a.Show(name)
	return Account{"paquebot.account/1", p}, explain(name, err)
}

// ListAccounts lists all.
func (a AccountsAPI) ListAccounts() (AccountList, error) {
	all, err := a.List()
	out := AccountList{"paquebot.accounts/1", make([]Account, 0, len(all))}
	for _, p := range all {
		out.Accounts = append(out.Accounts, Account{Profile: p})
	}
	return out, err
}

func (s *Server) accountList(context.Context, request) (AccountList, error) {
	a, err := s.accounts()
	if err != nil {
		return AccountList{}, err
	}
	return a.ListAccounts()
}

func (s *Server) accountShow(_ context.Context, r request) (Account, error) {
	a, err := s.accounts()
	if err != nil {
		return Account{}, err
	}
	return a.ShowAccount(r.PathValue("name"))
}

func (s *Server) accountAdd(_ context.Context, r request, n NewAccount) (Made, error) {
	a, err := s.accounts()
	if err != nil {
		return Made{}, err
	}
	return a.AddAccount(n, r.By)
}

func (s *Server) accountPasswd(_ context.Context, r request, n NewPassword) (Made, error) {
	a, err := s.accounts()
	if err != nil {
		return Made{}, err
	}
	return a.SetPassword(r.PathValue("name"), n, r.By)
}

func (s *Server) accountDisable(_ context.Context, r request, d Disabling) (Done, error) {
	a, err := s.accounts()
	if err != nil {
		return Done{}, err
	}
	return a.DisableAccount(r.PathValue("name"), d.Why, r.By)
}

func (s *Server) accountEnable(_ context.Context, r request) (Done, error) {
	a, err := s.accounts()
	if err != nil {
		return Done{}, err
	}
	return a.EnableAccount(r.PathValue("name"), r.By)
}

func (s *Server) accountRemove(_ context.Context, r request) (Done, error) {
	a, err := s.accounts()
	if err != nil {
		return Done{}, err
	}
	return a.RemoveAccount(r.PathValue("name"), r.By)
}

func (s *Server) accountSenders(_ context.Context, r request, senders []string) (Done, error) {
	a, err := s.accounts()
	if err != nil {
		return Done{}, err
	}
	return a.ChangeSenders(r.PathValue("name"), senders, r.By)
}

func (s *Server) tokenAdd(_ context.Context, r request, n NewToken) (Made, error) {
	a, err := s.accounts()
	if err != nil {
		return Made{}, err
	}
	return a.MakeToken(r.PathValue("name"), n, r.By)
}

func (s *Server) tokenRemove(_ context.Context, r request) (Done, error) {
	a, err := s.accounts()
	if err != nil {
		return Done{}, err
	}
	return a.RevokeToken(r.PathValue("name"), r.PathValue("token"), r.By)
}
