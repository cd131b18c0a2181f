package observe

import (
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"paquebot/internal/event"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// Metrics counts events: a Sink with a registry of its own. Names and units
// follow Prometheus' habits (ux.md §3.2.16); every label has a bound.
type Metrics struct {
	registry *prometheus.Registry
	rows     []metricRow // for the reference page

	ports sync.Map // "role listener" → *port
	sites *bounded
	rules *bounded
	words *bounded // reasons, kinds, actions: fixed texts of ours, bounded all the same

	sessions        *prometheus.CounterVec
	sessionsOpen    *prometheus.GaugeVec
	sessionSeconds  *prometheus.HistogramVec
	sessionBytes    *prometheus.CounterVec
	refusedAtDoor   *prometheus.CounterVec
	auth            *prometheus.CounterVec
	accepted        *prometheus.CounterVec
	acceptedBytes   *prometheus.CounterVec
	acceptedTo      *prometheus.CounterVec
	refused         *prometheus.CounterVec
	messagesRefused *prometheus.CounterVec
	tlsFailed       *prometheus.CounterVec
	attacked        *prometheus.CounterVec
	deliveries      *prometheus.CounterVec
	failures        *prometheus.CounterVec
	settled         *prometheus.CounterVec
	reports         *prometheus.CounterVec
	opened          *prometheus.CounterVec
	openFailed      *prometheus.CounterVec
	backOffs        *prometheus.CounterVec
	acted           *prometheus.CounterVec
	endpoints       *prometheus.CounterVec
	alarmed         *prometheus.GaugeVec
	failedOver      *prometheus.GaugeVec
	reloads         *prometheus.CounterVec
	certificateEnds *prometheus.GaugeVec

	acceptSeconds   prometheus.Histogram
	deliverySeconds *prometheus.HistogramVec
	messageSeconds  prometheus.Histogram
	syncSeconds     prometheus.Histogram
	syncRecords     prometheus.Histogram
	syncBytes       prometheus.Counter
	compacted       prometheus.Counter
	troubled        prometheus.Gauge
	stopped         prometheus.Gauge
	stray           prometheus.Gauge
	repaired        prometheus.Counter

	deliverySecondsOf [4]prometheus.Observer // by mail.Result
	settledOf         [6]prometheus.Counter  // by mail.State
}

// labelsMax bounds the values a label may take before the rest are "other".
const labelsMax = 100

// Buckets: a commit takes a disk's sync, milliseconds; a delivery a conversation;
// a message's way anything up to days.
var (
	syncBuckets     = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}
	deliveryBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 600}
	wayBuckets      = []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 5 * 24 * 3600}
	recordBuckets   = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}
)

// NewMetrics makes the registry; version is the program's.
func NewMetrics(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), sites: newBounded(labelsMax), rules: newBounded(labelsMax), words: newBounded(labelsMax)}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauge("build_info", "Always 1; the labels say what runs.", "version", "goversion").WithLabelValues(version, runtime.Version()).Set(1)
	m.receiving()
	m.sending()
	m.keeping()
	return m
}

func (m *Metrics) receiving() {
	m.sessions = m.counter("sessions_total", "Sessions that ended.", "port", "role", "tls")
	m.sessionsOpen = m.gauge("sessions_open", "Sessions going on.", "port", "role")
	m.sessionSeconds = m.histogram("session_seconds", "How long sessions took.", deliveryBuckets, "port", "role")
	m.sessionBytes = m.counter("session_bytes_total", "Octets in sessions, before TLS.", "port", "direction")
	m.refusedAtDoor = m.counter("connections_refused_total", "Peers turned away before a session began.", "port", "role", "reason")
	m.auth = m.counter("auth_total", "Credentials checked.", "port", "role", "method", "result")
	m.accepted = m.counter("messages_accepted_total", "Messages on stable storage, told 250.", "port", "role")
	m.acceptedBytes = m.counter("messages_accepted_bytes_total", "Their octets.", "port", "role")
	m.acceptedTo = m.counter("recipients_accepted_total", "Their recipients.", "port", "role")
	m.refused = m.counter("refused_total", "Commands refused, by the rule or limit that did (ABU-21).", "port", "role", "class", "rule")
	m.messagesRefused = m.counter("messages_refused_total", "Messages refused after their content was seen.", "port", "role", "class", "rule")
	m.tlsFailed = m.counter("tls_failed_total", "Handshakes that failed on our side.", "port")
	m.attacked = m.counter("attacks_total", "What no honest client does.", "port", "kind")
	m.acceptSeconds = m.plainHistogram("accept_seconds", "From the final dot to durable.", syncBuckets)
}

func (m *Metrics) sending() {
	m.deliveries = m.counter("deliveries_total", "Attempts by their outcome for one recipient.", "site", "result")
	m.failures = m.counter("delivery_failures_total", "Attempts that failed, by where in the conversation.", "stage", "class")
	m.deliverySeconds = m.histogram("delivery_seconds", "How long attempts took.", deliveryBuckets, "result")
	for _, r := range []mail.Result{mail.Untried, mail.Accepted, mail.Deferred, mail.Refused} {
		m.deliverySecondsOf[r] = m.deliverySeconds.WithLabelValues(r.String())
	}
	m.settled = m.counter("recipients_total", "Recipients whose state was written down, by the new state.", "state")
	for s := mail.Waiting; s <= mail.Deleted; s++ {
		m.settledOf[s] = m.settled.WithLabelValues(s.String())
	}
	m.messageSeconds = m.plainHistogram("message_seconds", "From arrival until every recipient is final.", wayBuckets)
	m.reports = m.counter("reports_total", "Reports to senders; sent is false when none was owed.", "action", "sent")
	m.opened = m.counter("connections_opened_total", "Outgoing connections ready for mail.", "site", "tls")
	m.openFailed = m.counter("connections_failed_total", "Outgoing connections that did not come to mail.", "site", "stage")
	m.backOffs = m.counter("site_backoffs_total", "Times a site was left alone for a while.", "site")
	m.acted = m.counter("operator_actions_total", "Messages touched by operators.", "action")
	m.endpoints = m.counter("smarthost_endpoint_changes_total", "Times a smart host's mail took another of its endpoints.", "smarthost")
	m.alarmed = m.gauge("smarthost_alarm", "1 while nothing may leave by a smart host: wrong certificate, no TLS, credential refused.", "smarthost")
	m.failedOver = m.gauge("smarthost_failed_over", "1 while another smart host stands in for it.", "smarthost")
	m.stray = m.plainGauge("recipients_without_next_event", "Recipients found without a next event (promise P2); always 0.")
	m.repaired = m.plainCounter("recipients_repaired_total", "Such recipients, given a next event again.")
}

func (m *Metrics) keeping() {
	m.syncSeconds = m.plainHistogram("spool_sync_seconds", "How long one group commit took.", syncBuckets)
	m.syncRecords = m.plainHistogram("spool_records_per_sync", "Records that shared one group commit.", recordBuckets)
	m.syncBytes = m.plainCounter("spool_written_bytes_total", "Octets written to the journal.")
	m.compacted = m.plainCounter("spool_freed_bytes_total", "Octets given back by compaction.")
	m.troubled = m.plainGauge("spool_troubled", "1 while storage refuses.")
	m.stopped = m.plainGauge("spool_stopped", "1 when storage stopped for good: restart after mending it.")
	m.reloads = m.counter("reloads_total", "Configurations read again.", "result")
	m.certificateEnds = m.gauge("certificate_expiry_timestamp_seconds", "When the certificates shown end.", "self_signed")
}

// Registry is for /metrics and for what others want to add.
func (m *Metrics) Registry() *prometheus.Registry { return m.registry }

// Pull adds a gauge that is asked for at each scrape. It must be cheap.
func (m *Metrics) Pull(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: plainName(name), Help: help}, value))
}

// PullTotal adds a counter that is asked for at each scrape.
func (m *Metrics) PullTotal(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: plainName(name), Help: help}, value))
}

// PullBy adds gauges with one label, asked for together at each scrape; at
// most labelsMax of them are told.
func (m *Metrics) PullBy(name, help, label string, values func() map[string]float64) {
	m.registry.MustRegister(pullBy{
		desc:   prometheus.NewDesc(namespace+"_"+plainName(name), help, []string{label}, nil),
		values: values,
	})
}

type pullBy struct {
	desc   *prometheus.Desc
	values func() map[string]float64
}

func (p pullBy) Describe(ch chan<- *prometheus.Desc) { ch <- p.desc }

func (p pullBy) Collect(ch chan<- prometheus.Metric) {
	n := 0
	for label, v := range p.values() {
		if n++; n > labelsMax {
			return
		}
		ch <- prometheus.MustNewConstMetric(p.desc, prometheus.GaugeValue, v, clean(label))
	}
}

const namespace = "paquebot"

// plainName forgives a name that has the prefix already.
func plainName(name string) string { return strings.TrimPrefix(name, namespace+"_") }

// metricRow describes one metric.
type metricRow struct {
	name, kind, help string
	labels           []string
}

func (m *Metrics) describe(kind, name, help string, labels []string) {
	m.rows = append(m.rows, metricRow{namespace + "_" + name, kind, help, labels})
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	m.describe("counter", name, help, labels)
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	m.describe("gauge", name, help, labels)
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	m.describe("histogram", name, help, labels)
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) plainCounter(name, help string) prometheus.Counter {
	return m.counter(name, help).WithLabelValues()
}

func (m *Metrics) plainGauge(name, help string) prometheus.Gauge {
	return m.gauge(name, help).WithLabelValues()
}

func (m *Metrics) plainHistogram(name, help string, buckets []float64) prometheus.Histogram {
	return m.histogram(name, help, buckets).WithLabelValues().(prometheus.Histogram)
}

// port holds the handles of one listener, so that counting needs no look-up.
type port struct {
	number, role                   string
	open                           prometheus.Gauge
	seconds                        prometheus.Observer
	bytesIn, bytesOut              prometheus.Counter
	accepted, acceptedB, acceptedR prometheus.Counter
}

// portOf finds a listener's handles. There are as many as listeners are
// configured, so the map is bounded by the configuration.
func (m *Metrics) portOf(role mail.Role, listener string) *port {
	type key struct{ role, listener string }
	k := key{string(role), listener}
	if p, ok := m.ports.Load(k); ok {
		return p.(*port)
	}
	_, number, err := net.SplitHostPort(listener)
	if err != nil {
		number = "-" // mail made here has no port
	}
	n, r := number, string(role)
	p, _ := m.ports.LoadOrStore(k, &port{
		number: n, role: r,
		open: m.sessionsOpen.WithLabelValues(n, r), seconds: m.sessionSeconds.WithLabelValues(n, r),
		bytesIn: m.sessionBytes.WithLabelValues(n, "in"), bytesOut: m.sessionBytes.WithLabelValues(n, "out"),
		accepted: m.accepted.WithLabelValues(n, r), acceptedB: m.acceptedBytes.WithLabelValues(n, r), acceptedR: m.acceptedTo.WithLabelValues(n, r),
	})
	return p.(*port)
}

// Emit implements event.Sink.
func (m *Metrics) Emit(e event.Event) {
	if !m.receive(e) && !m.send(e) {
		m.keep(e)
	}
}

// receive counts what listeners and sessions say.
func (m *Metrics) receive(e event.Event) bool {
	switch e := e.(type) {
	case event.ConnectionRefused:
		p := m.portOf(e.Role, e.Listener)
		m.refusedAtDoor.WithLabelValues(p.number, p.role, m.words.label(e.Reason)).Inc()
	case event.SessionStarted:
		m.portOf(e.Origin.Role, e.Origin.Listener).open.Inc()
	case event.SessionEnded:
		p := m.portOf(e.Origin.Role, e.Origin.Listener)
		p.open.Dec()
		p.seconds.Observe(e.TookSeconds)
		p.bytesIn.Add(float64(max(e.BytesIn, 0)))
		p.bytesOut.Add(float64(max(e.BytesOut, 0)))
		m.sessions.WithLabelValues(p.number, p.role, tlsLabel(e.Origin.TLS)).Inc()
	case event.CommandRefused:
		m.refuse(&e.Origin, e.Reply, e.Rule)
	case event.MessageRefused: // its reply is a refused command, too, and counted there
		p := m.portOf(e.Envelope.Origin.Role, e.Envelope.Origin.Listener)
		m.messagesRefused.WithLabelValues(p.number, p.role, class(e.Reply), m.rules.label(e.Rule)).Inc()
	case event.TLSFailed:
		m.tlsFailed.WithLabelValues(m.portOf(e.Origin.Role, e.Origin.Listener).number).Inc()
	case event.AuthSucceeded:
		m.authenticated(&e.Origin, e.Origin.Method, "ok")
	case event.AuthFailed:
		m.authenticated(&e.Origin, e.Method, "bad")
	case event.Attacked:
		m.attacked.WithLabelValues(m.portOf(e.Origin.Role, e.Origin.Listener).number, m.words.label(e.Kind)).Inc()
	case event.MessageAccepted:
		p := m.portOf(e.Envelope.Origin.Role, e.Envelope.Origin.Listener)
		p.accepted.Inc()
		p.acceptedB.Add(float64(e.Envelope.Size))
		p.acceptedR.Add(float64(len(e.Envelope.Recipients)))
		m.acceptSeconds.Observe(e.TookSeconds)
	default:
		return false
	}
	return true
}

func (m *Metrics) refuse(o *mail.Origin, r smtp.Reply, rule string) {
	p := m.portOf(o.Role, o.Listener)
	m.refused.WithLabelValues(p.number, p.role, class(r), m.rules.label(rule)).Inc()
}

func (m *Metrics) authenticated(o *mail.Origin, method, result string) {
	p := m.portOf(o.Role, o.Listener)
	m.auth.WithLabelValues(p.number, p.role, m.words.label(method), result).Inc()
}

// send counts what the queue and its couriers say.
func (m *Metrics) send(e event.Event) bool {
	switch e := e.(type) {
	case event.DeliveryTried:
		m.tried(&e)
	case event.RecipientSettled:
		if s := e.Standing.State; int(s) < len(m.settledOf) {
			m.settledOf[s].Inc()
		}
	case event.ReportSent:
		m.reports.WithLabelValues(m.words.label(e.Action), strconv.FormatBool(e.Dropped == "")).Inc()
	case event.MessageFinished:
		m.messageSeconds.Observe(e.TookSeconds)
	case event.ConnectionOpened:
		m.opened.WithLabelValues(m.sites.label(e.Site), tlsLabel(e.TLS)).Inc()
	case event.ConnectionFailed:
		m.openFailed.WithLabelValues(m.sites.label(e.Site), string(e.Stage)).Inc()
	case event.SiteBackedOff:
		m.backOffs.WithLabelValues(m.sites.label(e.Site)).Inc()
	case event.OperatorActed:
		m.acted.WithLabelValues(m.words.label(e.Action)).Inc()
	case event.SmarthostChanged:
		m.endpoints.WithLabelValues(m.sites.label(e.Smarthost)).Inc()
	case event.SmarthostAlarmed:
		if e.Stopped {
			m.alarmed.WithLabelValues(m.sites.label(e.Smarthost)).Set(1)
		}
	case event.SmarthostMended:
		m.alarmed.WithLabelValues(m.sites.label(e.Smarthost)).Set(0)
	case event.SmarthostFailedOver:
		m.failedOver.WithLabelValues(m.sites.label(e.Smarthost)).Set(map[bool]float64{false: 1, true: 0}[e.Ended])
	case event.WatchdogRan:
		m.stray.Set(float64(e.Stray))
		m.repaired.Add(float64(max(e.Stray, 0)))
	default:
		return false
	}
	return true
}

func (m *Metrics) tried(e *event.DeliveryTried) {
	r := e.Outcome.Result
	m.deliveries.WithLabelValues(m.sites.label(e.Site), r.String()).Inc()
	if int(r) < len(m.deliverySecondsOf) {
		m.deliverySecondsOf[r].Observe(e.Outcome.Took.Seconds())
	}
	if r > mail.Accepted {
		m.failures.WithLabelValues(string(e.Outcome.Stage), class(e.Outcome.Reply)).Inc()
	}
}

// keep counts what the machinery says.
func (m *Metrics) keep(e event.Event) {
	switch e := e.(type) {
	case event.SpoolSynced:
		m.syncSeconds.Observe(e.TookSeconds)
		m.syncRecords.Observe(float64(e.Records))
		m.syncBytes.Add(float64(max(e.Bytes, 0)))
	case event.SpoolCompacted:
		m.compacted.Add(float64(max(e.FreedBytes, 0)))
	case event.SpoolTroubled:
		m.troubled.Set(1)
		if e.Stopped {
			m.stopped.Set(1)
		}
	case event.SpoolHealed:
		m.troubled.Set(0)
	case event.ServerReloaded:
		m.reloads.WithLabelValues(map[bool]string{true: "ok", false: "refused"}[e.Error == ""]).Inc()
	case event.CertificateLoaded:
		m.certificateEnds.WithLabelValues(strconv.FormatBool(e.SelfSigned)).Set(float64(e.NotAfter.Unix()))
	}
}

// class is a reply's first digit: "4xx".
func class(r smtp.Reply) string {
	if r.Code < 100 || r.Code > 599 {
		return "none"
	}
	return strconv.Itoa(r.Code/100) + "xx"
}

func tlsLabel(t *mail.TLS) string {
	switch {
	case t == nil:
		return "none"
	case len(t.Version) > 7: // "TLS 1.3"
		return "other"
	}
	return t.Version
}

// bounded lets a label take only so many values; later ones are "other".
type bounded struct {
	max  int32
	n    atomic.Int32
	seen sync.Map // string → string
}

func newBounded(max int) *bounded { return &bounded{max: int32(max)} }

// labelMax bounds the length of a label's value.
const labelMax = 100

func (b *bounded) label(s string) string {
	if s == "" {
		return "none"
	}
	if v, ok := b.seen.Load(s); ok {
		return v.(string)
	}
	if len(s) > labelMax || b.n.Load() >= b.max {
		return "other"
	}
	v := clean(s)
	if _, there := b.seen.LoadOrStore(s, v); !there && b.n.Add(1) > b.max {
		b.seen.Delete(s) // two came at once for the last place
		return "other"
	}
	return v
}
