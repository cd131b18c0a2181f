package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"paquebot/internal/config"
	"paquebot/internal/console"
	"paquebot/internal/event"
	"paquebot/internal/listen"
	"paquebot/internal/mail"
	"paquebot/internal/node"
	"paquebot/internal/smtp"
)

// DevCmd is the catcher on a laptop: the production engine with a mailbox in
// front. Its flags are those of the catcher; its subcommands ask one that runs.
type DevCmd struct {
	Ports       string   `enum:"standard,random" default:"standard" env:"PAQUEBOT_DEV_PORTS" help:"standard: 1025, 1587, 1465, 2525 and 8025. random: free ones, told as JSON on standard output."`
	MX          int      `name:"mx" default:"1025" env:"PAQUEBOT_DEV_MX" placeholder:"PORT" help:"Port like 25."`
	Submission  int      `default:"1587" env:"PAQUEBOT_DEV_SUBMISSION" placeholder:"PORT" help:"Port like 587."`
	Submissions int      `default:"1465" env:"PAQUEBOT_DEV_SUBMISSIONS" placeholder:"PORT" help:"Port like 465."`
	Alternative int      `default:"2525" env:"PAQUEBOT_DEV_ALTERNATIVE" placeholder:"PORT" help:"Port like 2525."`
	HTTP        int      `name:"http" default:"8025" env:"PAQUEBOT_DEV_HTTP" placeholder:"PORT" help:"Port of the page and of the interface for tests."`
	POP3        int      `name:"pop3" env:"PAQUEBOT_DEV_POP3" placeholder:"PORT" help:"Let mail programs read caught mail here, such as 1110; off without it."`
	LAN         bool     `name:"lan" env:"PAQUEBOT_DEV_LAN" help:"Listen on every address, not on loopback alone: whoever reaches this machine can read the mail."`
	Host        []string `env:"PAQUEBOT_DEV_HOST" placeholder:"NAME" help:"Another name the page answers to and the certificate proves; may be repeated."`
	Webhook     string   `env:"PAQUEBOT_DEV_WEBHOOK" placeholder:"URL" help:"Post each caught message there, at least once."`
	SecretFile  string   `name:"webhook-secret-file" env:"PAQUEBOT_DEV_WEBHOOK_SECRET_FILE" placeholder:"FILE" help:"File with the secret that signs what is posted."`
	MaxMessages int      `default:"10000" env:"PAQUEBOT_DEV_MAX_MESSAGES" placeholder:"N" help:"How many messages are kept; the oldest go."`
	Data        string   `env:"PAQUEBOT_DEV_DATA" placeholder:"DIR" help:"Keep mail in DIR; without it all is gone at the end."`
	Relay       bool     `help:"Deliver for real instead of catching. Mail leaves this machine."`
	Compat      string   `enum:"none,mailpit,mailhog" default:"none" env:"PAQUEBOT_DEV_COMPAT" help:"mailpit, mailhog: 1025 takes any AUTH in clear. mailpit: MP_* variables are read. mailhog: GET /api/v1/messages is MailHog's."`
	Path        string   `env:"PAQUEBOT_DEV_PATH" placeholder:"/SUB" help:"Serve the page and the interfaces below this path, as behind a proxy."`
	Verbose     bool     `short:"v" help:"Show the server's log as well."`
	WaitReady   bool     `name:"wait" help:"Start nothing: wait until the catcher that runs is ready, then end."`
	Within      string   `default:"30s" placeholder:"TIME" help:"For --wait: how long."`

	Start  DevStartCmd  `cmd:"" default:"1" hidden:"" help:"Start the catcher."`
	Wait   DevWaitCmd   `cmd:"" help:"Wait for a message, or prove that none comes."`
	Export DevExportCmd `cmd:"" help:"Write caught mail to files, with its dialogues."`
	Import DevImportCmd `cmd:"" help:"Send messages from files to the catcher."`
	Rules  DevRulesCmd  `cmd:"" help:"What goes wrong on purpose: list, add, remove."`
	Clear  DevClearCmd  `cmd:"" help:"Delete caught mail: all, or one mailbox."`

	alike alike
}

// Help is shown below the usage of the command.
func (DevCmd) Help() string {
	return `Examples:
  paquebot dev                   catch mail; the screen says how to send some
  paquebot dev --ports random    for test suites that run side by side
  paquebot dev --data ./mail     keep what is caught
  paquebot dev --compat mailpit  where Mailpit was (or mailhog): 1025 in clear
  paquebot dev --wait            in a script: until the ports listen
  paquebot dev -c paquebot.toml  caught mail can be released by its smart hosts
  paquebot dev wait --mailbox app --q subject:welcome

It listens on loopback only, needs no configuration and no root, and fetches
nothing. Any user and any password are accepted, inside TLS, as in production;
user "wrong" or password "wrong" is refused. Failures on purpose: send to
user+550@..., user+defer-2@..., user+slow-5s@... (paquebot dev rules
addresses), or make rules (paquebot dev rules add).`
}

// DevStartCmd is what paquebot dev does when it is told nothing else.
type DevStartCmd struct{}

// Run catches mail until Ctrl-C, or waits for one that does.
func (DevStartCmd) Run(g *Globals, c *DevCmd) error {
	if c.WaitReady {
		return c.waitReady(g)
	}
	return c.start(g)
}

func (c *DevCmd) start(g *Globals) error {
	began := time.Now()
	if err := c.readMailpit(os.Getenv); err != nil {
		return err
	}
	w := node.System(g.Stderr)
	dir, cleanUp, err := c.dir()
	if err != nil {
		return problem("cannot make a directory for the mail", err, "name another one with --data DIR")
	}
	defer cleanUp()

	ca, certs, err := devCertificates(w, c.Host)
	if err != nil {
		return problem("cannot make a certificate", err, "")
	}
	page, err := w.Listen(c.addressAt(c.alike.ui, c.HTTP))
	if err != nil {
		return c.failure(w, err)
	}
	defer page.Close()
	lines := &devLines{w: g.Stdout, clear: c.alike.clearAuth}
	if c.Ports == "random" {
		lines.w = g.Stderr // standard output holds the JSON and nothing else
	}
	opts := node.Options{Version: versionString(), Dev: &node.Dev{Certs: certs, CA: ca, Keep: c.Data != "", MaxMessages: c.MaxMessages, ClearMX: c.alike.clearAuth}, Log: lines}
	if c.Verbose {
		opts.Log = nil
	}
	settings := c.config(dir)
	if err := g.waysOut(settings); err != nil {
		return err
	}
	n, err := node.Start(context.Background(), w, settings, opts)
	if err != nil {
		return c.failure(w, err)
	}
	ports := console.Ports{
		MX: tcpPort(n.Addr(mail.RoleMX, 0)), Submission: tcpPort(n.Addr(mail.RoleSubmission, 0)),
		Submissions: tcpPort(n.Addr(mail.RoleSubmissions, 0)), Alternative: tcpPort(n.Addr(mail.RoleSubmission, 1)),
	}
	api, err := c.compatible(n, w, dir)
	if err != nil {
		return problem("cannot start", err, "")
	}
	web := &http.Server{
		Handler: c.locked(console.New(console.Config{Version: versionString(), Hosts: c.Host, LAN: c.LAN || c.alike.opensPage(), BasePath: c.Path}, console.Needs{
			Store: n.Caught(), Mishap: n.Mishaps(), CA: ca.PEM, Ports: ports,
			Ready:    func() error { return n.Ready(context.Background()) },
			Critique: console.Judged(n.Caught()), Trace: tracer(n), Release: wayOut{n.Release()}, Submit: submitter(w, ports.MX),
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				return w.Dial(ctx, network, address, netip.Addr{})
			},
			More: api.Handlers(), MoreBody: api.BodyMax,
		})),
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	go func() { _ = web.Serve(page) }()
	reading, stopBeside, err := c.beside(w, n, api, certs, lines)
	if err != nil {
		stopWithin(n, 5*time.Second, make(chan os.Signal))
		return err
	}
	defer stopBeside()
	if err := c.say(g, lines, ports, tcpPort(page.Addr()), reading, time.Since(began)); err != nil {
		return err
	}

	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	<-signals
	_ = web.Close() // live views never end by themselves
	stopWithin(n, 5*time.Second, signals)
	return nil
}

// addressAt is address, but where a variable says at.
func (c *DevCmd) addressAt(at netip.AddrPort, port int) string {
	if !at.IsValid() {
		return c.address(port)
	}
	if c.Ports == "random" {
		port = 0
	}
	return netip.AddrPortFrom(at.Addr(), uint16(port)).String()
}

func (c *DevCmd) address(port int) string {
	if c.Ports == "random" {
		port = 0
	}
	host := "127.0.0.1"
	if c.LAN {
		host = ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// config is what a laptop needs: the four ports on loopback, all mail to the
// catch store, limits that no test suite meets by accident.
func (c *DevCmd) config(dir string) *config.Config {
	cfg := config.Default()
	cfg.Hostname = "localhost"
	cfg.DataDir = dir
	cfg.Listeners = []config.Listener{
		{Address: c.addressAt(c.alike.smtp, c.MX), Role: string(mail.RoleMX)},
		{Address: c.address(c.Submission), Role: string(mail.RoleSubmission)},
		{Address: c.address(c.Submissions), Role: string(mail.RoleSubmissions)},
		{Address: c.address(c.Alternative), Role: string(mail.RoleSubmission)},
	}
	for i := range cfg.Listeners { // what a program can use it should be able to try
		cfg.Listeners[i].Extensions = []string{"binarymime", "deliverby", "futurerelease", "mt-priority"}
	}
	if !c.Relay {
		cfg.Routes = []config.Route{{Via: string(mail.Catch)}}
	}
	if c.alike.clearAuth { // applications send here, as to a submission port
		cfg.Limits.MessagesPerSessionMX, cfg.Limits.BadRecipientsMX = cfg.Limits.MessagesPerSession, cfg.Limits.BadRecipients
	}
	cfg.Limits.ConnectionsPerIP = 2000
	cfg.Limits.ConnectionsPerAccount = -1 // unlimited
	cfg.Limits.ConnectionRate = config.Rate{}
	cfg.Limits.HandshakeRate = config.Rate{}
	cfg.Metrics.Address, cfg.Console.Address = "", ""
	return cfg
}

// dir is where mail is kept: a temporary directory unless named.
func (c *DevCmd) dir() (dir string, cleanUp func(), err error) {
	if c.Data != "" {
		return c.Data, func() {}, os.MkdirAll(c.Data, 0o700)
	}
	dir, err = os.MkdirTemp("", "paquebot-dev-")
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

func devCertificates(w node.World, names []string) (*listen.Authority, *listen.Certs, error) {
	ca, err := listen.NewAuthority("Paquebot dev, this run only", w.Rand)
	if err != nil {
		return nil, nil, err
	}
	cert, err := ca.Issue(append([]string{"localhost", "127.0.0.1", "::1"}, names...)...)
	if err != nil {
		return nil, nil, err
	}
	return ca, listen.OwnCerts(cert, event.Discard), nil
}

func tcpPort(a net.Addr) uint16 {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Port()
	}
	return 0
}

// say prints the start screen: where to look, how to sign in, and lines to
// paste that work as they are.
func (c *DevCmd) say(g *Globals, lines *devLines, p console.Ports, web, reading uint16, took time.Duration) error {
	page := fmt.Sprintf("http://localhost:%d%s", web, c.basePath())
	if c.Ports == "random" {
		ready := map[string]any{
			"schema": "paquebot.dev/1", "console": page, "ca": page + "/ca.pem",
			"mx": p.MX, "submission": p.Submission, "submissions": p.Submissions, "alternative": p.Alternative, "http": web,
		}
		if reading != 0 {
			ready["pop3"] = reading
		}
		err := g.printJSON(ready)
		if err != nil {
			return err
		}
	} else {
		fmt.Fprint(g.Stdout, c.screen(g, p, page, reading))
	}
	if c.Ports == "random" { // what is a risk is said on the screen, or here
		for _, what := range c.warnings(p.MX) {
			lines.note("OPEN: %s", what)
		}
	}
	lines.ca = page + "/ca.pem"
	lines.note("ready in %d ms", took.Milliseconds())
	return nil
}

func (c *DevCmd) screen(g *Globals, p console.Ports, page string, reading uint16) string {
	s := g.page()
	if c.Relay {
		s.line("Paquebot %s delivers mail FOR REAL (--relay).", release)
	} else {
		s.line("Paquebot %s catches mail. Nothing leaves this machine.", release)
	}
	s.line("")
	s.line("  %-12s %s", "See it", s.paint(bold, page))
	s.line("  %-12s any user, any password   (the user name becomes the mailbox)", "Sign in as")
	s.line("  %-12s %s/ca.pem   (own CA, for this run only)", "Trust", page)
	if reading != 0 {
		s.line("  %-12s localhost:%d   (POP3; user name = mailbox, or all)", "Read", reading)
	}
	if c.Webhook != "" {
		s.line("  %-12s %s   (each message, at least once)", "Announce", c.Webhook)
	}
	for _, what := range c.warnings(p.MX) {
		s.line("  %-12s %s", "OPEN", s.paint(yellow, what))
	}
	s.line("")
	s.line("  %-6s %-6s %-38s %s", "PORT", "LIKE", "WHAT IT IS", "TRY IT")
	var blocks []console.Snippet
	for _, n := range console.Snippets(p, page+"/ca.pem") {
		if len(blocks) > 0 && blocks[len(blocks)-1].Port == n.Port {
			continue // one for each port is enough here; the page has them all
		}
		blocks = append(blocks, n)
		s.line("  %-6d %-6d %-38s (%d) %s", n.Port, n.Like, n.What, len(blocks), n.Tool)
	}
	// What is to be pasted stands on lines of its own, whole.
	for i, n := range blocks {
		s.line("")
		first := ""
		if n.First() != "" {
			first = " (once before: " + n.First() + ")"
		}
		s.line("(%d) port %d, with %s%s:", i+1, n.Port, n.Tool, first)
		s.WriteString(n.Text + "\n")
	}
	s.line("")
	s.line("Ctrl-C ends it.%s", c.farewell())
	s.line("")
	return s.String()
}

func (c *DevCmd) farewell() string {
	if c.Data == "" {
		return " What was caught is gone then; --data DIR keeps it."
	}
	return ""
}

// devLines is the terminal's live view: a line for each mail and for each
// session that failed, with what to change.
type devLines struct {
	mu sync.Mutex
	w  io.Writer
	ca string // where the CA is

	clear bool // 1025 takes AUTH, in clear
}

func (d *devLines) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fmt.Fprintf(d.w, "%s %s\n", time.Now().Format(time.TimeOnly), oneLine(fmt.Sprintf(format, args...)))
}

// Emit implements event.Sink.
func (d *devLines) Emit(e event.Event) {
	switch e := e.(type) {
	case event.MessageAccepted:
		d.note("%s", acceptedLine(e.Envelope))
	case event.TLSFailed:
		advice := e.Advice
		if strings.Contains(advice, "trust") {
			advice += "; give it " + d.ca
		}
		d.failed(e.Origin, "TLS: "+e.Error, advice)
	case event.CommandRefused: // a failed AUTH, a smuggler's message too: said once
		d.failed(e.Origin, refusedLine(e), cmp.Or(e.Advice, devAdvice(e.Reply)))
	case event.MishapStruck: // a reply is a refused command, and told there
		if e.Reply.Code == 0 {
			d.note("%d %-8s on purpose, %s at %s: %s", e.Origin.Local.Port(), dash(e.User), e.Rule, e.Stage, e.Action)
		}
	case event.SessionEnded:
		if gaveUp(e) {
			advice := devNoAuth
			if d.clear {
				advice = ""
			}
			d.failed(e.Origin, "the client left without sending anything", advice)
		}
	case event.RecipientSettled:
		if e.Standing.State == mail.Failed {
			d.note("%s to %s failed: %s", e.ID, e.Recipient, e.Standing.Last.Reply.String())
		}
	case event.AnnouncementFailed:
		why := e.Error
		if e.Status != 0 {
			why = fmt.Sprintf("HTTP %d", e.Status)
		}
		d.note("webhook: %s was not taken (try %d): %s", e.ID, e.Attempt, why)
	case event.SpoolTroubled:
		d.note("storage: %s: %s", e.Operation, e.Error)
	}
}

func refusedLine(e event.CommandRefused) string {
	if c := strings.TrimSpace(e.Command); c != "" {
		return cut(c, 60) + ": " + e.Reply.String()
	}
	return e.Reply.String()
}

// devAdvice says what to change where the reply alone does not tell.
func devAdvice(r smtp.Reply) string {
	switch {
	case strings.Contains(r.Text, "bare CR or LF"):
		return "every line must end with CR LF; a library does it, as does curl --crlf"
	case strings.Contains(r.Text, "not a web server"):
		return "this port speaks SMTP; the page is on another one"
	}
	return ""
}

const devNoAuth = "if it wanted to sign in: this is port 25's twin without AUTH; use a submission port"

// gaveUp: the client asked the port without AUTH what it can, and left. A probe
// that only connects is none.
func gaveUp(e event.SessionEnded) bool {
	if e.Origin.Role != mail.RoleMX || !e.Origin.ESMTP || e.Messages > 0 || e.Refusals > 0 || e.Dialogue == nil {
		return false
	}
	for _, l := range e.Dialogue {
		if l.Client && len(l.Text) >= 5 && strings.EqualFold(l.Text[:5], "MAIL ") {
			return false
		}
	}
	return true
}

func (d *devLines) failed(o mail.Origin, what, advice string) {
	d.note("%d %-8s FAIL %s", o.Local.Port(), dash(o.Account), what)
	if advice != "" {
		d.mu.Lock()
		defer d.mu.Unlock()
		fmt.Fprintf(d.w, "%23s%s\n", "", oneLine(advice))
	}
}

func acceptedLine(e *mail.Envelope) string {
	to := "nobody"
	if len(e.Recipients) > 0 {
		to = cut(e.Recipients[0].Address, 40)
		if more := len(e.Recipients) - 1; more > 0 {
			to += fmt.Sprintf(" and %d more", more)
		}
	}
	from := e.From
	if from == "" {
		from = "<>"
	}
	tls := "in clear"
	if e.Origin.TLS != nil {
		tls = e.Origin.TLS.Version
	}
	return fmt.Sprintf("%d %-8s %s > %s  %q  %s  %s", e.Origin.Local.Port(), dash(cut(e.Origin.Account, 20)), cut(from, 40), to, cut(e.Subject, 50), devSize(e.Size), tls)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func devSize(n int64) string {
	if n < 10<<10 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}
