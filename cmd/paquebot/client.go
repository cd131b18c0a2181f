package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/accounts"
	"paquebot/internal/api"
	"paquebot/internal/config"
	"paquebot/internal/event"
	"paquebot/internal/store"
)

// dataDir is where the server keeps everything, as the configuration says; the
// rest of the configuration may be wrong.
func (g *Globals) dataDir() (string, error) {
	dir, problems := config.DataDir(g.configFile())
	if dir == "" {
		why := errors.New("unknown")
		for _, p := range problems {
			why = p
		}
		return "", unsure("cannot read the configuration", why, "paquebot config check")
	}
	return dir, nil
}

// askTime bounds a question to the server.
const askTime = time.Minute

// ask connects to the running server. Without one it says so, and how the
// question can be answered all the same.
func (g *Globals) ask() (context.Context, *api.Client, error) {
	dir, err := g.dataDir()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	context.AfterFunc(ctx, cancel)
	c, err := api.Dial(ctx, dir)
	if err != nil {
		return nil, nil, notReached(dir, err)
	}
	return ctx, c, nil
}

// asServer is what to do where only the server's user may.
const asServer = "Run it as the server's user: sudo -u paquebot paquebot …"

func notReached(dir string, err error) error {
	switch {
	case errors.Is(err, api.ErrNotRunning):
		return unsure("cannot reach the server", errors.New("nobody answers on "+dir+"/"+api.SocketName),
			"Is it running? Its data_dir is taken from the configuration: -c FILE or PAQUEBOT_CONFIG.")
	case errors.Is(err, os.ErrPermission):
		return unsure("cannot reach the server", errors.New("this user may not open "+dir+"/"+api.SocketName),
			asServer)
	}
	return unsure("cannot reach the server", err, "")
}

// directory is the accounts, wherever they can be reached.
type directory interface {
	AddAccount(n api.NewAccount) (api.Made, error)
	SetPassword(name string, n api.NewPassword) (api.Made, error)
	MakeToken(name string, n api.NewToken) (api.Made, error)
	RevokeToken(name, token string) (api.Done, error)
	DisableAccount(name, why string) (api.Done, error)
	EnableAccount(name string) (api.Done, error)
	RemoveAccount(name string) (api.Done, error)
	ChangeSenders(name string, senders []string) (api.Done, error)
	ShowAccount(name string) (api.Account, error)
	ListAccounts() (api.AccountList, error)
}

// directory reaches the accounts through the running server, or, when none
// runs, opens their table. Never both: the table lets in one process at a time.
func (g *Globals) directory() (directory, func(), error) {
	dir, err := g.dataDir()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	c, err := api.Dial(ctx, dir)
	if err == nil {
		return online{ctx, c}, cancel, nil
	}
	cancel()
	if !errors.Is(err, api.ErrNotRunning) {
		return nil, nil, notReached(dir, err)
	}
	return g.openAccounts(dir)
}

// openAccounts opens the table of a stopped server.
func (g *Globals) openAccounts(dir string) (directory, func(), error) {
	db, err := store.Open(vfs.Default, config.TablesDir(dir), store.Options{})
	if err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return nil, nil, unsure("cannot open the accounts", errors.New(plainCause(err)), asServer)
		}
		remedy := "If a server is running, its socket " + dir + "/" + api.SocketName + " should answer; if not, run this as its user."
		return nil, nil, unsure("cannot open the accounts", err, remedy)
	}
	a, err := accounts.Open(g.accountsConfig(), accounts.Needs{
		Accounts: db.Table(config.AccountsTable), Events: event.Discard,
	})
	if err != nil {
		_ = db.Close() // the first error is the one to tell
		return nil, nil, unsure("cannot read the accounts", err, "")
	}
	done := func() {
		_ = db.Close() // each change was durable when it was made
		handOver(dir)
	}
	return offline{api.AccountsAPI{Accounts: a}, api.UserName(os.Geteuid())}, done, nil
}

// handOver gives what root has written to the owner of the data directory, or
// the server could not open it.
func handOver(dir string) {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return
	}
	_ = filepath.WalkDir(config.TablesDir(dir), func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			_ = os.Lchown(name, int(owner.Uid), int(owner.Gid)) // the server says so if it cannot read it
		}
		return nil
	})
}

// accountsConfig knows the accounts that are declared in the configuration, so
// that none of them is made a second time.
func (g *Globals) accountsConfig() accounts.Config {
	var out accounts.Config
	c, _ := config.Load(g.configFile()) // a wrong file has no declared accounts in force
	if c == nil {
		return out
	}
	for _, a := range c.Accounts {
		out.Accounts = append(out.Accounts, accounts.Declared{Name: a.Name, PasswordHash: a.PasswordHash, SCRAM: a.SCRAM, Senders: a.Senders, Disabled: a.Disabled})
	}
	return out
}

// online asks the server.
type online struct {
	ctx context.Context
	c   *api.Client
}

func (o online) AddAccount(n api.NewAccount) (api.Made, error) { return o.c.AddAccount(o.ctx, n) }
func (o online) SetPassword(name string, n api.NewPassword) (api.Made, error) {
	return o.c.SetPassword(o.ctx, name, n)
}
func (o online) MakeToken(name string, n api.NewToken) (api.Made, error) {
	return o.c.MakeToken(o.ctx, name, n)
}
func (o online) RevokeToken(name, token string) (api.Done, error) {
	return o.c.RevokeToken(o.ctx, name, token)
}
func (o online) DisableAccount(name, why string) (api.Done, error) {
	return o.c.DisableAccount(o.ctx, name, why)
}
func (o online) EnableAccount(name string) (api.Done, error) { return o.c.EnableAccount(o.ctx, name) }
func (o online) RemoveAccount(name string) (api.Done, error) { return o.c.RemoveAccount(o.ctx, name) }
func (o online) ChangeSenders(name string, senders []string) (api.Done, error) {
	return o.c.ChangeSenders(o.ctx, name, senders)
}
func (o online) ShowAccount(name string) (api.Account, error) { return o.c.Account(o.ctx, name) }
func (o online) ListAccounts() (api.AccountList, error)       { return o.c.Accounts(o.ctx) }

// offline changes the table itself, by the same code as the server.
type offline struct {
	a  api.AccountsAPI
	by string
}

func (o offline) AddAccount(n api.NewAccount) (api.Made, error) { return o.a.AddAccount(n, o.by) }
func (o offline) SetPassword(name string, n api.NewPassword) (api.Made, error) {
	return o.a.SetPassword(name, n, o.by)
}
func (o offline) MakeToken(name string, n api.NewToken) (api.Made, error) {
	return o.a.MakeToken(name, n, o.by)
}
func (o offline) RevokeToken(name, token string) (api.Done, error) {
	return o.a.RevokeToken(name, token, o.by)
}
func (o offline) DisableAccount(name, why string) (api.Done, error) {
	return o.a.DisableAccount(name, why, o.by)
}
func (o offline) EnableAccount(name string) (api.Done, error) { return o.a.EnableAccount(name, o.by) }
func (o offline) RemoveAccount(name string) (api.Done, error) { return o.a.RemoveAccount(name, o.by) }
func (o offline) ChangeSenders(name string, senders []string) (api.Done, error) {
	return o.a.ChangeSenders(name, senders, o.by)
}
func (o offline) ShowAccount(name string) (api.Account, error) { return o.a.ShowAccount(name) }
func (o offline) ListAccounts() (api.AccountList, error)       { return o.a.ListAccounts() }
