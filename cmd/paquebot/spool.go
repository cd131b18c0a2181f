package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"time"

	"paquebot/internal/api"
	"paquebot/internal/config"
	"paquebot/internal/spool"
)

// SpoolCmd is `paquebot spool`.
type SpoolCmd struct {
	Check   SpoolCheckCmd   `cmd:"" help:"Read all of a stopped server's spool and say what is damaged."`
	Reindex SpoolReindexCmd `cmd:"" help:"Make a new index from the journal. Nothing can be lost by it."`
	Export  SpoolExportCmd  `cmd:"" help:"Write every message as ID.eml, with its envelope as ID.json."`
}

// Help is shown below the usage.
func (SpoolCmd) Help() string {
	return `The server must be stopped. The journal is the truth and is never changed by
these; the index is made from it.

Examples:
  paquebot spool check
  paquebot spool reindex
  paquebot spool export /var/tmp/mail`
}

// spoolOptions finds the spool. A running server is told apart first, because
// its answer is better than that of the lock.
func (g *Globals) spoolOptions() (spool.Options, error) {
	dir, err := g.dataDir()
	if err != nil {
		return spool.Options{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if _, err := api.Dial(ctx, dir); err == nil {
		return spool.Options{}, errSpoolInUse
	}
	o := spool.Options{Dir: config.SpoolDir(dir)}
	switch _, err := os.Stat(o.Dir); {
	case errors.Is(err, fs.ErrNotExist):
		return o, unsure("cannot open the spool", errors.New("there is none in "+dir), "Its data_dir is taken from the configuration: -c FILE or PAQUEBOT_CONFIG.")
	case err != nil:
		return o, spoolFailure("cannot open the spool", err)
	}
	return o, nil
}

var errSpoolInUse = unsure("the spool is in use", errors.New("the server is running"), "Stop it first. What waits: paquebot queue summary")

func spoolFailure(what string, err error) error {
	switch {
	case errors.Is(err, spool.ErrLocked):
		return errSpoolInUse
	case errors.Is(err, context.Canceled):
		return exitCode(130)
	case errors.Is(err, spool.ErrDamaged):
		return problem(what, err, "paquebot spool check says what is damaged; paquebot spool export saves what can be read")
	case errors.Is(err, fs.ErrPermission):
		return unsure(what, errors.New(plainCause(err)), asServer)
	}
	return unsure(what, errors.New(plainCause(err)), "")
}

// progress shows a bar on standard error: on a terminal after 200 ms, else a
// line every ten seconds (ux.md §3.2.11).
func (g *Globals) progress(what string) (tell func(float64), done func()) {
	began := time.Now()
	f, _ := g.Stderr.(*os.File)
	live := f != nil && g.terminal()
	every, next := 10*time.Second, began.Add(10*time.Second)
	if live {
		every, next = 200*time.Millisecond, began.Add(200*time.Millisecond)
	}
	shown := false
	tell = func(share float64) {
		if time.Now().Before(next) {
			return
		}
		next, shown = time.Now().Add(every), true
		left := ""
		if share > 0.01 {
			left = ", " + span(time.Duration(float64(time.Since(began))*(1-share)/share)) + " left"
		}
		if live {
			fmt.Fprintf(g.Stderr, "\r%s %3.0f%%%s\x1b[K", what, share*100, left)
		} else {
			fmt.Fprintf(g.Stderr, "%s %.0f%%%s\n", what, share*100, left)
		}
	}
	return tell, func() {
		if live && shown {
			fmt.Fprint(g.Stderr, "\r\x1b[K")
		}
	}
}

// interruptible ends with Ctrl-C.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), os.Interrupt)
}

// SpoolCheckCmd checks.
type SpoolCheckCmd struct{}

// Help is shown below the usage.
func (SpoolCheckCmd) Help() string {
	return `Examples:
  paquebot spool check
  paquebot spool check -c /etc/paquebot/paquebot.toml
  paquebot spool check --json`
}

// Run checks.
func (SpoolCheckCmd) Run(g *Globals) error {
	o, err := g.spoolOptions()
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	tell, done := g.progress("reading")
	r, err := spool.Check(ctx, o, tell)
	done()
	if err != nil {
		return spoolFailure("cannot check the spool", err)
	}
	switch {
	case g.JSON:
		err = g.printJSON(spoolView(r))
	case g.Plain:
		g.record("spool", r.Messages, r.Records, r.Segments, r.Octets, r.Torn)
		for _, x := range r.Problems {
			g.record("problem", x.Where, x.What, x.Repair)
		}
	default:
		p := g.page()
		spoolPage(p, r)
		err = g.show(p)
	}
	if err == nil && len(r.Problems) > 0 {
		return exitCode(exitNo)
	}
	return err
}

// spoolView is the report's document.
func spoolView(r *spool.Report) any {
	type problemView struct {
		Where  string `json:"where"`
		What   string `json:"what"`
		Repair string `json:"repair,omitempty"`
	}
	out := struct {
		Schema   string        `json:"schema"`
		OK       bool          `json:"ok"`
		Segments int           `json:"segments"`
		Records  int64         `json:"records"`
		Octets   int64         `json:"journal_bytes"`
		Torn     int64         `json:"torn_bytes"`
		Messages int64         `json:"messages"`
		Problems []problemView `json:"problems"`
	}{"paquebot.spool.check/1", len(r.Problems) == 0, r.Segments, r.Records, r.Octets, r.Torn, r.Messages, []problemView{}}
	for _, x := range r.Problems {
		out.Problems = append(out.Problems, problemView{x.Where, x.What, x.Repair})
	}
	return out
}

func spoolPage(p *page, r *spool.Report) {
	verdict := p.paint(green, "ok") + "   The spool is sound."
	if n := len(r.Problems); n > 0 {
		verdict = p.paint(red, "FAIL") + " " + plural(int64(n), "problem") + "."
	}
	p.line("%s %s waiting, %s in %s, %s.", verdict, plural(r.Messages, "message"), plural(r.Records, "record"),
		plural(int64(r.Segments), "segment"), size(r.Octets))
	if r.Torn > 0 {
		p.line("The last %s were being written at a crash and were never acknowledged; the next", size(r.Torn))
		p.line("start cuts them off. Nothing is lost.")
	}
	repair := ""
	for _, x := range r.Problems {
		p.line("")
		p.line("%s", oneLine(x.Where))
		p.text("", "  ", x.What)
		if x.Repair != "" {
			repair = x.Repair
		}
	}
	if len(r.Problems) > 0 {
		p.line("")
		if repair != "" {
			p.line("%s", repair)
		}
		p.line("paquebot spool export DIR saves every message that can be read.")
	}
}

// SpoolReindexCmd makes the index anew.
type SpoolReindexCmd struct{}

// Help is shown below the usage.
func (SpoolReindexCmd) Help() string {
	return `Examples:
  paquebot spool reindex
  paquebot spool reindex -c /etc/paquebot/paquebot.toml
  paquebot spool check                    first, to see what is damaged`
}

// Run makes it.
func (SpoolReindexCmd) Run(g *Globals) error {
	o, err := g.spoolOptions()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := spool.Reindex(o); err != nil {
		return spoolFailure("cannot make the index", err)
	}
	return g.done(api.Done{Schema: "paquebot.done/1", Done: "the index was made anew in " + span(time.Since(began))}, "")
}

// SpoolExportCmd exports.
type SpoolExportCmd struct {
	Dir string `arg:"" help:"An empty folder, or one to be made."`
}

// Help is shown below the usage.
func (SpoolExportCmd) Help() string {
	return `Examples:
  paquebot spool export /var/tmp/mail
  paquebot spool export /var/tmp/mail -c /etc/paquebot/paquebot.toml
  paquebot spool export /var/tmp/mail --json`
}

// Run exports. What cannot be read does not keep the rest from being saved.
func (c *SpoolExportCmd) Run(g *Globals) error {
	if list, err := os.ReadDir(c.Dir); err == nil && len(list) > 0 {
		return unsure("cannot export to "+c.Dir, errors.New("it is not empty"), "Name another folder.")
	}
	o, err := g.spoolOptions()
	if err != nil {
		return err
	}
	ctx, cancel := interruptible()
	defer cancel()
	n, err := spool.Export(ctx, o, c.Dir)
	if n == 0 && err != nil {
		return spoolFailure("cannot export", err)
	}
	d := api.Done{Schema: "paquebot.done/1", Done: "wrote " + plural(int64(n), "message") + " to " + c.Dir}
	if e := g.done(d, ""); e != nil {
		return e
	}
	if err != nil {
		return problem("not everything could be read", err, "paquebot spool check")
	}
	return nil
}
