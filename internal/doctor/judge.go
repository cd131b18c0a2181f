package doctor

import (
	"cmp"
	"slices"
	"strings"

	"paquebot/internal/probe"
)

// rows are the rows of standards §24.2 and §24.3, in the order they are told.
// Each looks at the facts alone; several may name one fault, and each says what
// it adds.
var rows = []func(*view) []Finding{
	judgeNoName, judgeNoResolver, judgeForgedName,
	judgeOpen, judgeRefused, judgeFiltered, judgeNoFamily, judgeNoRoute, judgeProhibited, judgeDenied,
	judgeReset, judgeInspected, judgeImpossible, judgeNear,
	judgeImplicit, judgePlain, judgeMasked, judgeOverwritten, judgeStripped, judgeNoEhlo, judgeForeign,
	judgeShared, judgeInspector, judgeCertificate, judgeOldTLS, judgeListed, judgeBusy,
	judgeNoAuth, judgeTokensOnly, judgeLogin, judgeNoPTR, judgeOneFamily, judgePortal, judgeSlow,
}

// Judge makes a report of facts. It reads nothing else.
func Judge(f *Facts) *Report {
	v := newView(f)
	r := &Report{Target: f.Target, Facts: f, Findings: append([]Finding{}, f.Target.Findings...)}
	for _, row := range rows {
		r.Findings = append(r.Findings, row(v)...)
	}
	v.soften(r.Findings)
	r.Rows = matrix(v, r)
	r.Verdict = verdict(v, r)
	recommend(v, r)
	conclude(v, r)
	return r
}

// soften: what is broken over one family alone is a warning, for mail goes over
// the other.
func (v *view) soften(all []Finding) {
	for i := range all {
		f := &all[i]
		if f.Word != Fail || f.Family == 0 || len(f.Where) == 0 {
			continue
		}
		broken := slices.ContainsFunc(f.Where, func(e Endpoint) bool {
			return len(v.where(func(s *Sight) bool { return sameEndpoint(s.Endpoint, e) && s.Family != f.Family && v.modeOf(s) != "" })) == 0
		})
		if !broken {
			f.Word = Warn
		}
	}
}

// has returns the first finding with one of these IDs.
func (r *Report) has(ids ...string) *Finding {
	for i := range r.Findings {
		if slices.Contains(ids, r.Findings[i].ID) {
			return &r.Findings[i]
		}
	}
	return nil
}

// about returns the findings with an ID that concern a port.
func (r *Report) about(port uint16, ids ...string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool {
		return slices.Contains(ids, f.ID) && slices.ContainsFunc(f.Where, func(e Endpoint) bool { return e.Port == port })
	})
}

// conclude gives the exit code of DIAG-83: 0 something secure can be used, 1
// nothing can, 2 nobody could tell.
func conclude(v *view, r *Report) {
	login := r.has("DIAG-45")
	switch {
	case r.Verdict.ID == "DIAG-71" || r.Verdict.ID == "DIAG-72" || login != nil:
		r.Exit = 1
	case r.Recommendation != nil:
		r.Exit = 0
	case len(v.Sights) == 0 && len(v.Names) == 0:
		r.Exit = exitOfChecks(v.Target)
	case unresolved(v), v.Cut && len(v.where(open)) == 0:
		r.Exit = 2
	default:
		r.Exit = 1
		r.InsecureOnly = len(v.where(func(s *Sight) bool {
			return v.state(s) == stStripped || v.state(s) == stUntrusted || v.state(s) == stNoTLS
		})) > 0
	}
}

// exitOfChecks is the answer where no port was looked at: the checks decide.
func exitOfChecks(t Target) int {
	code := 2
	for _, c := range t.Checks {
		switch c.Word {
		case Fail:
			return 1
		case Good:
			code = 0
		}
	}
	for _, f := range t.Findings {
		if f.Word == Fail {
			return 1
		}
	}
	return code
}

// unresolved: no name could be looked up, for want of an answer.
func unresolved(v *view) bool {
	if len(v.Names) == 0 || len(v.Sights) > 0 {
		return false
	}
	return !slices.ContainsFunc(v.Names, func(n Name) bool { return n.Answer.Status.None() })
}

// about makes a finding about sights.
func about(id string, c Confidence, w Word, all []*Sight, text, advice string, evidence ...Evidence) Finding {
	return Finding{ID: id, Confidence: c, Word: w, Text: text, Advice: advice, Evidence: evidence, Where: endpointsOf(all), Family: familyOfAll(all)}
}

func one(f Finding) []Finding { return []Finding{f} }

// byHost gathers sights by host, in their order.
func byHost(all []*Sight) [][]*Sight {
	var out [][]*Sight
	for _, s := range all {
		i := slices.IndexFunc(out, func(g []*Sight) bool { return g[0].Endpoint.Host == s.Endpoint.Host })
		if i < 0 {
			out = append(out, []*Sight{s})
			continue
		}
		out[i] = append(out[i], s)
	}
	return out
}

// tried are all connections of a sight, the last one last.
func tried(s *Sight) []*probe.Observation {
	var out []*probe.Observation
	for i := range s.Earlier {
		out = append(out, &s.Earlier[i])
	}
	return append(out, &s.Observation)
}

// at writes "smtp.example.org" once for all its ports.
func at(all []*Sight) string {
	return "port" + map[bool]string{true: "", false: "s"}[len(portNumbers(all)) == 1] + " " + ports(all) + " of " + hostsOf(all)
}

// capital begins a sentence.
func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// quote shows what a peer said, cut to a line.
func quote(s string) string {
	const most = 90
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return `"` + s + `"`
}

// worst of several confidences.
func surest(a, b Confidence) Confidence {
	order := []Confidence{Unknown, Likely, Proven}
	if cmp.Compare(slices.Index(order, a), slices.Index(order, b)) >= 0 {
		return a
	}
	return b
}
