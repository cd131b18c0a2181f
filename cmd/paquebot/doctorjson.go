package main

import (
	"strings"
	"time"

	"paquebot/internal/doctor"
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// doctorSchema is the shape of --json; it only grows (docs/reference/doctor.md).
const doctorSchema = "paquebot.doctor/1"

type doctorDoc struct {
	Schema  string         `json:"schema"`
	Exit    int            `json:"exit"` // 0 a secure port works, 1 none does, 2 could not tell
	Reports []doctorReport `json:"reports"`
}

type doctorReport struct {
	Target       string              `json:"target"`
	Kind         doctor.Kind         `json:"kind"`
	Title        string              `json:"title"`
	Provider     string              `json:"provider,omitempty"`
	Region       string              `json:"region,omitempty"`
	VerdictID    string              `json:"verdict_id"` // DIAG-60 to DIAG-72; "" if no pattern fits
	Verdict      string              `json:"verdict"`
	Word         doctor.Word         `json:"word"` // ok, warn, FAIL, ?
	Confidence   doctor.Confidence   `json:"confidence"`
	Recommended  *doctorPort         `json:"recommended"`
	InsecureOnly bool                `json:"insecure_only"`
	Why          []string            `json:"why"`
	Advice       []string            `json:"advice"`
	Notes        []string            `json:"notes"`
	Checks       []doctorCheck       `json:"checks"`
	Findings     []doctorFinding     `json:"findings"`
	Names        []doctorName        `json:"names"`
	Observations []doctorObservation `json:"observations"`
	Controls     []doctorControl     `json:"controls"`
	Settings     map[string][]string `json:"settings,omitempty"`
	Seconds      float64             `json:"took_seconds"`
	Exit         int                 `json:"exit"`
}

// doctorName is what DNS said of a host (DIAG-4).
type doctorName struct {
	Host      string   `json:"host"`
	Status    string   `json:"status"` // ok, nxdomain, nodata, temp
	Addresses []string `json:"addresses"`
	Secure    bool     `json:"secure"`           // DNSSEC, as a trusted resolver says
	Second    string   `json:"second,omitempty"` // the second resolver's status
	Seconds   float64  `json:"took_seconds"`
}

// doctorControl is a connection made only to compare (DIAG-3).
type doctorControl struct {
	Kind    string `json:"kind"` // impossible, reference, reflector, web
	Host    string `json:"host"`
	Port    uint16 `json:"port"`
	Address string `json:"address"`
	Connect string `json:"connect"`
	First   string `json:"first,omitempty"`
}

type doctorPort struct {
	Host string `json:"host"`
	Port uint16 `json:"port"`
	Mode string `json:"mode"` // starttls, tls, mx
}

type doctorCheck struct {
	Name string      `json:"name"`
	Word doctor.Word `json:"word"`
	Text string      `json:"text"`
}

type doctorFinding struct {
	ID         string            `json:"id"`
	Confidence doctor.Confidence `json:"confidence"`
	Word       doctor.Word       `json:"word"`
	Text       string            `json:"text"`
	Advice     string            `json:"advice,omitempty"`
	Family     int               `json:"family,omitempty"`
	Ports      []doctorPort      `json:"ports"`
	Evidence   []doctorEvidence  `json:"evidence"`
}

type doctorEvidence struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

type doctorObservation struct {
	Host     string      `json:"host"`
	Port     uint16      `json:"port"`
	Mode     string      `json:"mode"`
	Family   int         `json:"family"`
	Address  string      `json:"address"`
	Local    string      `json:"local,omitempty"`
	Connect  string      `json:"connect"` // open, refused, reset, timeout, no-route, prohibited, denied, error
	Errno    string      `json:"errno,omitempty"`
	Connects float64     `json:"connect_seconds"`
	Tries    int         `json:"tries"`
	Greeting string      `json:"greeting,omitempty"`
	Greets   float64     `json:"greeting_seconds,omitempty"`
	Ehlo     string      `json:"ehlo,omitempty"`
	StartTLS string      `json:"starttls,omitempty"`
	TLS      *doctorTLS  `json:"tls,omitempty"`
	Auth     []string    `json:"auth"`
	Login    string      `json:"login,omitempty"`
	Size     int64       `json:"size_bytes,omitempty"`
	Cut      string      `json:"cut,omitempty"`
	CutBy    string      `json:"cut_by,omitempty"`
	Seconds  float64     `json:"took_seconds"`
	Word     doctor.Word `json:"word"`
	Dialogue []string    `json:"dialogue"`
}

type doctorTLS struct {
	Version string   `json:"version,omitempty"`
	Suite   string   `json:"suite,omitempty"`
	Group   string   `json:"group,omitempty"`
	Fault   string   `json:"fault,omitempty"` // why the peer is not trusted
	Alert   string   `json:"alert,omitempty"`
	Names   []string `json:"names,omitempty"` // of the certificate
	Issuer  string   `json:"issuer,omitempty"`
	Expires string   `json:"expires,omitempty"`
	Small   bool     `json:"small_hello,omitempty"`
}

func doctorDocument(reports []*doctor.Report) doctorDoc {
	d := doctorDoc{Schema: doctorSchema, Reports: []doctorReport{}}
	if code, ok := exitOf(reports).(exitCode); ok {
		d.Exit = int(code)
	}
	for _, r := range reports {
		d.Reports = append(d.Reports, reportOf(r))
	}
	return d
}

func modeWord(m mail.Security) string {
	switch m {
	case mail.Implicit:
		return "tls"
	case mail.Opportunistic:
		return "mx"
	}
	return "starttls"
}

func reportOf(r *doctor.Report) doctorReport {
	out := doctorReport{
		Target: r.Target.Name, Kind: r.Target.Kind, Title: r.Target.Title, VerdictID: r.Verdict.ID, Verdict: r.Verdict.Text, Word: r.Verdict.Word,
		Confidence: r.Verdict.Confidence, InsecureOnly: r.InsecureOnly, Why: orEmpty(r.Why), Advice: orEmpty(r.Advice), Notes: orEmpty(r.Notes),
		Checks: []doctorCheck{}, Findings: []doctorFinding{}, Observations: []doctorObservation{}, Seconds: r.Took.Seconds(), Exit: r.Exit,
	}
	if p := r.Target.Provider; p != nil {
		out.Provider = p.Name
	}
	if g := r.Target.Region; g != nil {
		out.Region = g.Name
	}
	if rec := r.Recommendation; rec != nil {
		out.Recommended = &doctorPort{rec.Host, rec.Port, modeWord(rec.Mode)}
		out.Settings = map[string][]string{}
		for _, s := range r.Settings() {
			out.Settings[s.Name] = s.Lines
		}
	}
	for _, c := range r.Target.Checks {
		out.Checks = append(out.Checks, doctorCheck{c.Name, c.Word, c.Text})
	}
	for _, f := range r.Findings {
		x := doctorFinding{ID: f.ID, Confidence: f.Confidence, Word: f.Word, Text: f.Text, Advice: f.Advice, Family: f.Family, Ports: []doctorPort{}, Evidence: []doctorEvidence{}}
		for _, e := range f.Where {
			x.Ports = append(x.Ports, doctorPort{e.Host, e.Port, modeWord(e.Mode)})
		}
		for _, e := range f.Evidence {
			x.Evidence = append(x.Evidence, doctorEvidence{e.Name, e.Text})
		}
		out.Findings = append(out.Findings, x)
	}
	out.Names, out.Controls = namesOf(r.Facts), controlsOf(r.Facts)
	for i := range r.Facts.Sights {
		out.Observations = append(out.Observations, observationOf(&r.Facts.Sights[i], r))
	}
	return out
}

func namesOf(f *doctor.Facts) []doctorName {
	out := []doctorName{}
	for _, n := range f.Names {
		x := doctorName{Host: n.Host, Status: n.Answer.Status.String(), Addresses: []string{}, Secure: n.Answer.Secure, Seconds: n.Took.Seconds()}
		for _, a := range n.Answer.Records {
			x.Addresses = append(x.Addresses, a.String())
		}
		if n.Second != nil {
			x.Second = n.Second.Status.String()
		}
		out = append(out, x)
	}
	return out
}

func controlsOf(f *doctor.Facts) []doctorControl {
	out := []doctorControl{}
	for _, s := range f.Controls.References {
		out = append(out, doctorControl{"reference", s.Endpoint.Host, s.Endpoint.Port, s.Observation.Endpoint.Addr.String(), s.Dial.Result, firstText(s.First)})
	}
	for _, k := range []struct {
		kind string
		all  []doctor.Control
	}{{"impossible", f.Controls.Impossible}, {"reflector", f.Controls.Reflector}, {"web", f.Controls.Web}} {
		for _, c := range k.all {
			out = append(out, doctorControl{k.kind, c.Host, c.Port, c.Addr.String(), c.Dial.Result, firstText(c.First)})
		}
	}
	return out
}

// firstText is the first line of what a peer said, safe to show.
func firstText(b []byte) string {
	const handshake = 22 // a TLS record (RFC 9846 §5.1), of no use to a reader
	if len(b) > 0 && b[0] == handshake {
		return "TLS"
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return smtp.Printable(strings.TrimSpace(line))
}

func orEmpty(s []string) []string { return append([]string{}, s...) }

func replyText(r *smtp.Reply) string {
	if r == nil {
		return ""
	}
	return r.String()
}

func observationOf(s *doctor.Sight, r *doctor.Report) doctorObservation {
	o := doctorObservation{
		Host: s.Endpoint.Host, Port: s.Endpoint.Port, Mode: modeWord(s.Endpoint.Mode), Family: s.Family, Address: s.Observation.Endpoint.Addr.String(),
		Connect: s.Dial.Result, Errno: s.Dial.Errno, Connects: s.Dial.Took.Seconds(), Tries: 1 + len(s.Earlier),
		Greeting: replyText(s.Greeting), Greets: s.GreetIn.Seconds(), Ehlo: replyText(s.Ehlo), StartTLS: replyText(s.StartTLS), Login: replyText(s.Observation.Login),
		Auth: orEmpty(s.Auth), Size: s.Ext.Size(), Cut: s.Cut, CutBy: s.CutBy, Seconds: s.Took.Seconds(), Dialogue: []string{},
	}
	if s.Local.IsValid() {
		o.Local = s.Local.String()
	}
	for _, row := range r.Rows {
		if row.Endpoint.Host == s.Endpoint.Host && row.Endpoint.Port == s.Endpoint.Port && (row.Family == 0 || row.Family == s.Family) {
			o.Word = row.Word
		}
	}
	for _, l := range s.Dialogue {
		who := map[bool]string{true: "C: ", false: "S: "}[l.Client]
		if l.Note {
			who = "=== "
		}
		o.Dialogue = append(o.Dialogue, who+l.Text)
	}
	if t := s.TLS; t != nil {
		o.TLS = &doctorTLS{Version: t.Version, Suite: t.Suite, Group: t.Group, Alert: t.Alert, Small: t.Small}
		if t.Fault != nil {
			o.TLS.Fault = t.Fault.Error()
		}
		if len(t.Chain) > 0 {
			leaf := t.Chain[0]
			o.TLS.Names, o.TLS.Issuer, o.TLS.Expires = leaf.DNSNames, leaf.Issuer.CommonName, leaf.NotAfter.UTC().Format(time.RFC3339)
		}
	}
	return o
}
