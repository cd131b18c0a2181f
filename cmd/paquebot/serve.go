package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/listen"
	"paquebot/internal/node"
	"paquebot/internal/spool"
)

// ServeCmd runs the server until it is told to stop.
type ServeCmd struct{}

// Help is shown below the usage of the command.
func (ServeCmd) Help() string {
	return `Examples:
  paquebot serve                    with /etc/paquebot/paquebot.toml
  paquebot serve -c paquebot.toml
  kill -HUP PID                     reads it again, dropping no session

It logs to standard error, is ready when a line says so (and tells systemd),
and stops on SIGTERM or Ctrl-C within 30 seconds: sessions finish or hear 421.`
}

// stopMax is how long sessions and deliveries may take to end (design §3).
const stopMax = 25 * time.Second

// Run starts the server and waits.
func (ServeCmd) Run(g *Globals) error {
	load := func() (*config.Config, []config.Problem) { return config.Load(g.configFile()) }
	c, problems := load()
	tellProblems(g.Stderr, c, problems)
	if config.Failed(problems) {
		return problem(g.configFile()+" has errors", nil, "mend them, then: paquebot config check -c "+g.configFile())
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n, err := node.Start(ctx, node.System(g.Stderr), c, node.Options{Version: versionString(), Load: load})
	if err != nil {
		return startFailure(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.Wait(ctx) }()
	for {
		select {
		case err := <-ended:
			stopWithin(n, stopMax, signals)
			return problem("the queue ended", err, "")
		case s := <-signals:
			if s == syscall.SIGHUP {
				n.Reload(ctx)
				continue
			}
			cancel()
			stopWithin(n, stopMax, signals)
			return nil
		}
	}
}

// tellProblems writes them for people, or as the log's lines where the log is
// read by a machine.
func tellProblems(w io.Writer, c *config.Config, problems []config.Problem) {
	if c == nil || c.Log.Format != "json" {
		fmt.Fprint(w, config.Render(problems))
		return
	}
	for _, p := range problems {
		line, err := json.Marshal(map[string]any{
			"time": time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"), "level": p.Severity, "msg": "config.problem",
			"file": p.File, "line": p.Line, "key": p.Key, "text": p.Message, "remedy": p.Remedy,
		})
		if err == nil {
			fmt.Fprintf(w, "%s\n", line)
		}
	}
}

// stopWithin stops a server; a second signal skips the waiting.
func stopWithin(n *node.Node, most time.Duration, signals <-chan os.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	defer cancel()
	go func() {
		for s := range signals {
			if s != syscall.SIGHUP {
				cancel()
				return
			}
		}
	}()
	n.Stop(ctx)
}

// startFailure says what to do about a server that did not start.
func startFailure(err error) error {
	var advised interface{ Remedy() string }
	remedy := ""
	var bind *listen.BindError
	switch {
	case errors.As(err, &bind) && strings.HasPrefix(bind.Address, "/") && errors.Is(err, syscall.EADDRINUSE):
		return problem("cannot start", errors.New("another server uses data_dir "+filepath.Dir(bind.Address)),
			"stop that one, or give this one a data_dir of its own")
	case errors.As(err, &advised):
		remedy = advised.Remedy()
	case errors.Is(err, spool.ErrLocked):
		remedy = "another server uses this data_dir; stop it, or give this one its own"
	case errors.Is(err, os.ErrPermission):
		remedy = "run as the user that owns data_dir, or change data_dir in the configuration"
	}
	return problem("cannot start", err, remedy)
}
