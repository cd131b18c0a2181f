package doctor

import (
	"slices"
	"strings"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/probe"
)

// Columns of the matrix, after the port and its mode.
var Columns = []string{"TCP", "GREETING", "STARTTLS", "CERTIFICATE", "AUTH"}

// matrix has a row for each endpoint: one for both families where they agree.
func matrix(v *view, r *Report) []Row {
	var out []Row
	for i := range v.Sights {
		s := &v.Sights[i]
		row := Row{Endpoint: s.Endpoint, Family: s.Family, Word: v.state(s).word(), Cells: v.cells(s, r), Took: took(s)}
		j := slices.IndexFunc(out, func(x Row) bool { return sameEndpoint(x.Endpoint, s.Endpoint) && sameCells(x.Cells, row.Cells) })
		if j >= 0 {
			out[j].Family = 0
			out[j].Took = min(out[j].Took, row.Took)
			continue
		}
		if !slices.ContainsFunc(v.Sights, func(x Sight) bool { return x.Family != s.Family && sameEndpoint(x.Endpoint, s.Endpoint) }) {
			row.Family = 0
		}
		out = append(out, row)
	}
	return out
}

// took is how long the dialogue needed; a silence was borne more than once.
func took(s *Sight) time.Duration {
	if s.Dial.Result != probe.Timeout {
		return s.Took
	}
	var d time.Duration
	for _, o := range tried(s) {
		d += o.Dial.Took
	}
	return d
}

func sameCells(a, b []Cell) bool { return slices.Equal(a, b) }

func (v *view) cells(s *Sight, r *Report) []Cell {
	tcp := tcpCell(s)
	if tcp.Word != Good {
		return []Cell{tcp, unreached(), unreached(), unreached(), unreached()}
	}
	return []Cell{tcp, v.greetingCell(s, r), v.startTLSCell(s), v.certificateCell(s), v.authCell(s)}
}

func unreached() Cell { return Cell{NotReached, "-"} }

func tcpCell(s *Sight) Cell {
	switch s.Dial.Result {
	case probe.Open:
		return Cell{Good, "open"}
	case probe.Timeout:
		return Cell{Fail, "TIMEOUT"}
	case probe.Refused:
		return Cell{Fail, "REFUSED"}
	case probe.Reset:
		return Cell{Fail, "RESET"}
	case probe.NoRoute:
		return Cell{Warn, "no route"}
	case probe.Prohibited:
		return Cell{Fail, "FORBIDDEN"}
	case probe.Denied:
		return Cell{Fail, "DENIED"}
	case "":
		return Cell{Unsure, "?"}
	}
	return Cell{Fail, "ERROR"}
}

func (v *view) greetingCell(s *Sight, r *Report) Cell {
	switch st := v.state(s); {
	case s.Greeting != nil && masked(s.Greeting.Text):
		return Cell{Fail, "MASKED"}
	case s.Greeting != nil && r.about(s.Endpoint.Port, "DIAG-36"):
		return Cell{Fail, "FOREIGN"}
	case st == stBusy:
		return Cell{Fail, "BUSY"}
	case st == stRefused:
		return Cell{Fail, "REFUSED"}
	case st == stSilent:
		return Cell{Fail, "SILENT"}
	case st == stPlain, st == stGarbage:
		return Cell{Fail, "NOT TLS"}
	case s.Greeting != nil:
		return Cell{Good, "ok"}
	case s.Cut != "":
		return Cell{Fail, strings.ToUpper(s.CutBy)}
	}
	return unreached()
}

func (v *view) startTLSCell(s *Sight) Cell {
	switch v.state(s) {
	case stImplicit:
		return Cell{Warn, "TLS FIRST"}
	case stStripped, stNoEhlo:
		if s.Endpoint.Known {
			return Cell{Fail, "STRIPPED"}
		}
		return Cell{Fail, "MISSING"}
	case stNoTLS:
		return Cell{Fail, "REFUSED"}
	}
	switch {
	case s.Endpoint.Mode == mail.Implicit || s.Ehlo == nil:
		return unreached()
	case s.StartTLS != nil:
		return Cell{Good, "offered"}
	case s.Endpoint.Mode == mail.Opportunistic:
		return Cell{Warn, "none"}
	}
	return unreached()
}

func (v *view) certificateCell(s *Sight) Cell {
	t := s.TLS
	switch {
	case t == nil:
		return unreached()
	case v.state(s) == stPlain:
		return unreached()
	case t.Alert == "protocol_version":
		return Cell{Fail, "OLD TLS"}
	case t.Err != nil && t.Fault == nil:
		return Cell{Fail, "BROKEN"}
	case t.Fault == nil:
		return Cell{Good, "verified"}
	case s.Endpoint.Mode == mail.Opportunistic:
		return Cell{Good, "any"} // RFC 7435: nobody asked for more
	case expired(t.Fault):
		return Cell{Fail, "EXPIRED"}
	case t.Name != nil && !unknownCA(t.Fault):
		return Cell{Fail, "WRONG NAME"}
	}
	return Cell{Fail, "FOREIGN"}
}

func (v *view) authCell(s *Sight) Cell {
	login := s.Observation.Login
	switch {
	case login != nil && login.Code/100 == 2:
		return Cell{Good, "accepted"}
	case login != nil:
		return Cell{Fail, "REFUSED"}
	case v.state(s) == stUntrusted:
		return Cell{NotReached, "not asked"}
	case v.state(s) == stStripped:
		return Cell{NotReached, "hidden"}
	case len(s.Auth) > 0:
		return Cell{Good, authWords(s.Auth)}
	case s.Endpoint.Role == Exchange || s.Secure == nil:
		return unreached()
	}
	return Cell{Warn, "none"}
}

// authWords fits the mechanisms into a cell.
func authWords(all []string) string {
	const most = 13
	text := strings.Join(all, " ")
	if len(text) <= most {
		return text
	}
	short := all[0]
	for _, m := range all[1:] {
		if len(short)+1+len(m)+2 > most {
			return short + " …"
		}
		short += " " + m
	}
	return short
}

// Latency is what a person takes for the time of an endpoint.
func (r Row) Latency() time.Duration { return r.Took }
