package observe

import (
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Facts turns events into attributes: field names in snake case, the nouns of
// mail flattened into what a reader asks of them. The zero value is ready; it is
// safe for concurrent use. Each type is looked at by reflection once.
type Facts struct {
	// Detail adds what a trace shows and a log does not: every recipient, the
	// subject, the dialogue (CMP-2: a subject is never logged).
	Detail bool
	// Private hides local parts of addresses and the hosts of client addresses
	// (CMP-2, mode domain-only).
	Private bool
	// NoDialogue leaves dialogues out, where another keeps them.
	NoDialogue bool

	plans sync.Map // reflect.Type → []step
}

// step appends one field's facts.
type step struct {
	index int
	name  string
	add   func(*adder, string, reflect.Value)
}

// adder collects attributes.
type adder struct {
	*Facts
	attrs []slog.Attr
}

// Of appends the facts of e to attrs.
func (f *Facts) Of(e event.Event, attrs []slog.Attr) []slog.Attr {
	v := reflect.ValueOf(e)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return attrs
	}
	a := adder{f, attrs}
	for _, s := range f.plan(v.Type()) {
		s.add(&a, s.name, v.Field(s.index))
	}
	return a.attrs
}

func (f *Facts) plan(t reflect.Type) []step {
	if p, ok := f.plans.Load(t); ok {
		return p.([]step)
	}
	var steps []step
	for i := range t.NumField() {
		if field := t.Field(i); field.IsExported() {
			steps = append(steps, step{i, snake(field.Name), adderOf(field.Type)})
		}
	}
	f.plans.Store(t, steps)
	return steps
}

// adderOf chooses how a field's type is told. Types it does not know are left
// out rather than dumped: nothing gets into a log by accident.
func adderOf(t reflect.Type) func(*adder, string, reflect.Value) {
	if add, ok := nouns[t]; ok {
		return add
	}
	switch {
	case t.Kind() == reflect.String:
		return func(a *adder, name string, v reflect.Value) { a.text(name, v.String()) }
	case t.Kind() == reflect.Bool:
		return func(a *adder, name string, v reflect.Value) { a.flag(name, v.Bool()) }
	case t.Kind() == reflect.Float64 && strings.HasSuffix(t.String(), "float64"):
		return func(a *adder, name string, v reflect.Value) { a.put(name, slog.Float64Value(round(v.Float()))) }
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.String:
		return func(a *adder, name string, v reflect.Value) { a.texts(name, v.Interface().([]string)) }
	case v64(t):
		return func(a *adder, name string, v reflect.Value) { a.put(name, slog.Int64Value(v.Int())) }
	case u64(t):
		return func(a *adder, name string, v reflect.Value) { a.put(name, slog.Uint64Value(v.Uint())) }
	}
	return func(*adder, string, reflect.Value) {}
}

func v64(t reflect.Type) bool { return t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64 }
func u64(t reflect.Type) bool { return t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 }

// nouns tells the types that are more than a plain value. It is never changed.
var nouns = map[reflect.Type]func(*adder, string, reflect.Value){
	reflect.TypeFor[mail.ID]():        func(a *adder, n string, v reflect.Value) { a.id(n, v.Interface().(mail.ID)) },
	reflect.TypeFor[time.Time]():      func(a *adder, n string, v reflect.Value) { a.time(n, v.Interface().(time.Time)) },
	reflect.TypeFor[netip.AddrPort](): func(a *adder, n string, v reflect.Value) { a.addrPort(n, v.Interface().(netip.AddrPort)) },
	reflect.TypeFor[netip.Addr]():     func(a *adder, n string, v reflect.Value) { a.addr(n, v.Interface().(netip.Addr)) },
	reflect.TypeFor[smtp.Reply]():     func(a *adder, n string, v reflect.Value) { a.reply(n, v.Interface().(smtp.Reply)) },
	reflect.TypeFor[mail.Origin]():    func(a *adder, _ string, v reflect.Value) { o := v.Interface().(mail.Origin); a.origin(&o) },
	reflect.TypeFor[*mail.TLS]():      func(a *adder, n string, v reflect.Value) { a.tls(n, v.Interface().(*mail.TLS)) },
	reflect.TypeFor[*mail.Envelope](): func(a *adder, _ string, v reflect.Value) { a.envelope(v.Interface().(*mail.Envelope)) },
	reflect.TypeFor[mail.Outcome]():   func(a *adder, _ string, v reflect.Value) { o := v.Interface().(mail.Outcome); a.outcome(&o) },
	reflect.TypeFor[mail.Standing]():  func(a *adder, _ string, v reflect.Value) { s := v.Interface().(mail.Standing); a.standing(&s) },
	reflect.TypeFor[[]event.Line]():   func(a *adder, n string, v reflect.Value) { a.dialogue(n, v.Interface().([]event.Line)) },
}

func (a *adder) put(name string, v slog.Value) {
	a.attrs = append(a.attrs, slog.Attr{Key: name, Value: v})
}

func (a *adder) flag(name string, is bool) {
	if is {
		a.put(name, slog.BoolValue(true))
	}
}

// textMax bounds one value; a reply has at most some 500 octets a line.
const textMax = 1000

// text tells a text that may come from a peer: no control character and nothing
// that a terminal or a viewer takes for a line end stays in it (log forging).
func (a *adder) text(name, s string) {
	if s == "" {
		return
	}
	if a.Private {
		s = hideLocals(s)
	}
	a.put(name, slog.StringValue(clean(s)))
}

func clean(s string) string {
	if len(s) > textMax {
		s = strings.ToValidUTF8(s[:textMax], "") + "..."
	}
	if !strings.ContainsFunc(s, isUnsafe) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if isUnsafe(r) {
			return '?'
		}
		return r
	}, s)
}

// isUnsafe: control characters, line and paragraph separators, and the marks
// that make text run the other way.
func isUnsafe(r rune) bool {
	return r < ' ' || r == unicode.ReplacementChar || r >= 0x7f && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029')
}

// listMax bounds the items told of a list.
const listMax = 100

func (a *adder) texts(name string, list []string) {
	if len(list) == 0 {
		return
	}
	if a.Detail {
		out := make([]string, min(len(list), listMax))
		for i := range out {
			out[i] = clean(list[i])
		}
		a.put(name, slog.AnyValue(out))
		return
	}
	more := ""
	if len(list) > listMax {
		list, more = list[:listMax], ", ..."
	}
	a.text(name, strings.Join(list, ", ")+more)
}

func (a *adder) time(name string, t time.Time) {
	if !t.IsZero() {
		a.put(name, slog.TimeValue(t.UTC()))
	}
}

func (a *adder) id(name string, id mail.ID) {
	if !id.IsZero() {
		a.put(name, slog.StringValue(id.String()))
	}
}

func (a *adder) addrPort(name string, p netip.AddrPort) {
	switch {
	case !p.IsValid():
	case a.Private:
		a.addr(name, p.Addr())
	default:
		a.put(name, slog.StringValue(p.String()))
	}
}

func (a *adder) addr(name string, p netip.Addr) {
	if !p.IsValid() {
		return
	}
	if a.Private {
		bits := 48
		if p.Unmap().Is4() {
			bits = 24
		}
		net, _ := p.Unmap().Prefix(bits)
		a.put(name, slog.StringValue(net.String()))
		return
	}
	a.put(name, slog.StringValue(p.String()))
}

// reply tells the reply and, apart from it, the cause that stayed home.
func (a *adder) reply(name string, r smtp.Reply) {
	if r.Code == 0 {
		return
	}
	a.text(name, r.String())
	if r.Cause != nil {
		a.text("cause", r.Cause.Error())
	}
}

func (a *adder) tls(name string, t *mail.TLS) {
	if t == nil {
		return
	}
	a.put(name, slog.StringValue(t.Version))
	if a.Detail {
		a.text("cipher", t.Cipher)
		a.text("verified", t.Verified)
	}
}

func (a *adder) origin(o *mail.Origin) {
	a.text("session", o.Session)
	a.text("role", string(o.Role))
	a.text("listener", o.Listener)
	a.addrPort("client", o.Client)
	a.text("name", o.Name)
	a.text("helo", o.Helo)
	a.tls("tls", o.TLS)
	a.text("account", o.Account)
	a.text("method", o.Method)
	a.flag("trusted", o.Trusted)
}

func (a *adder) envelope(e *mail.Envelope) {
	if e == nil {
		return
	}
	a.id("id", e.ID)
	a.path("sender", e.From)
	a.recipients(e)
	a.put("size_bytes", slog.Int64Value(e.Size))
	a.text("message_id", e.MessageID)
	if a.Detail {
		a.text("subject", e.Subject)
	}
	a.origin(&e.Origin)
}

// path tells a reverse path, so that the null sender can be seen.
func (a *adder) path(name, address string) {
	if address == "" {
		address = "<>"
	}
	a.text(name, address)
}

// recipientsLogged bounds the recipients of a log line; a trace has listMax.
const recipientsLogged = 5

func (a *adder) recipients(e *mail.Envelope) {
	limit := recipientsLogged
	if a.Detail {
		limit = listMax
	}
	var list []string
	for _, r := range e.Recipients[:min(len(e.Recipients), limit)] {
		list = append(list, r.Address)
	}
	a.texts("recipients", list)
	a.put("recipient_count", slog.Int64Value(int64(len(e.Recipients))))
}

func (a *adder) outcome(o *mail.Outcome) {
	a.put("result", slog.StringValue(o.Result.String()))
	a.text("stage", string(o.Stage))
	a.reply("reply", o.Reply)
	a.flag("ours", o.Ours)
	a.text("host", o.Host)
	a.addrPort("addr", o.Addr)
	a.addr("source", o.Source)
	if o.Result > mail.Accepted {
		a.put("reach", slog.StringValue(o.Reach.String()))
	}
	a.tls("tls", o.TLS)
	a.flag("ambiguous", o.Ambiguous)
	a.text("remote_id", o.RemoteID)
	a.text("hint", o.Hint)
	a.put("took_seconds", slog.Float64Value(round(o.Took.Seconds())))
}

func (a *adder) standing(s *mail.Standing) {
	a.put("state", slog.StringValue(s.State.String()))
	if !s.State.Final() {
		a.time("due", s.Due)
	}
	a.put("tries", slog.Int64Value(int64(s.Tries)))
	a.text("site", s.Site)
	a.text("host", s.Last.Host)
	a.text("stage", string(s.Last.Stage))
	a.reply("reply", s.Last.Reply)
	a.flag("ours", s.Last.Ours)
	a.flag("ambiguous", s.Last.Ambiguous)
}

// dialogue is for traces alone; its lines were redacted by who recorded them.
func (a *adder) dialogue(name string, lines []event.Line) {
	if !a.Detail || a.NoDialogue || len(lines) == 0 {
		return
	}
	var b strings.Builder
	for _, l := range lines[:min(len(lines), dialogueMax)] {
		sign := "S: "
		if l.Client {
			sign = "C: "
		}
		b.WriteString(sign + clean(l.Text) + "\n")
	}
	a.put(name, slog.StringValue(b.String()))
}

// dialogueMax bounds the lines of a dialogue in a trace.
const dialogueMax = 200

// round keeps microseconds: more is noise in a log.
func round(seconds float64) float64 {
	return float64(int64(seconds*1e6+0.5)) / 1e6
}

// hideLocals replaces the local part of whatever looks like an address.
func hideLocals(s string) string {
	if !strings.Contains(s, "@") {
		return s
	}
	const ends = " \t<>,;:\"'()[]"
	var b strings.Builder
	for {
		at := strings.IndexByte(s, '@')
		if at < 0 {
			return b.String() + s
		}
		start := strings.LastIndexAny(s[:at], ends) + 1
		b.WriteString(s[:start])
		b.WriteString("*@")
		s = s[at+1:]
	}
}

// snake writes "TookSeconds" as "took_seconds" and "ID" as "id".
func snake(name string) string {
	runs := []rune(name)
	var out []rune
	for i, r := range runs {
		upper := unicode.IsUpper(r)
		if upper && i > 0 && (!unicode.IsUpper(runs[i-1]) || i+1 < len(runs) && !unicode.IsUpper(runs[i+1])) {
			out = append(out, '_')
		}
		out = append(out, unicode.ToLower(r))
	}
	return string(slices.Clip(out))
}
