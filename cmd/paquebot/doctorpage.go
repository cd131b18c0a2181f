package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/dns"
	"paquebot/internal/doctor"
	"paquebot/internal/mail"
)

// show writes the reports in the form asked for. last are those of the round
// before, of a watch.
func (c *DoctorCmd) show(g *Globals, reports, last []*doctor.Report) error {
	switch {
	case g.JSON:
		return g.printJSON(doctorDocument(reports))
	case g.Plain:
		plainReports(g, reports)
		return nil
	}
	p := g.page()
	if last != nil && !c.changes(p, reports, last) {
		return nil
	}
	for i, r := range reports {
		if i > 0 {
			p.line("")
		}
		c.report(p, r)
	}
	return g.show(p)
}

// changes tells what is different since the last round; false: nothing.
func (c *DoctorCmd) changes(p *page, reports, last []*doctor.Report) bool {
	changed := false
	for i, r := range reports {
		if i >= len(last) {
			break
		}
		for _, row := range r.Rows {
			for _, was := range last[i].Rows {
				same := row.Endpoint.Host == was.Endpoint.Host && row.Endpoint.Port == was.Endpoint.Port && row.Family == was.Family
				if same && row.Word != was.Word {
					changed = true
					p.line("%s  %s:%d was %s, is %s", p.now.Format(time.TimeOnly), row.Endpoint.Host, row.Endpoint.Port, was.Word, row.Word)
				}
			}
		}
	}
	return changed
}

func (p *page) word(w doctor.Word) string {
	style := map[doctor.Word]string{doctor.Good: green, doctor.Warn: yellow, doctor.Fail: red, doctor.NotReached: dim, doctor.Unsure: yellow}[w]
	return p.paint(style, fmt.Sprintf("%-4s", w))
}

// report is one target on a page: headline, checks, matrix, verdict and why,
// what to do (ux.md §3.2.4).
func (c *DoctorCmd) report(p *page, r *doctor.Report) {
	p.doctorHead(r)
	for _, check := range append(dnsChecks(r), r.Target.Checks...) {
		p.check(check)
	}
	if len(r.Rows) > 0 {
		p.line("")
		p.matrix(r)
	}
	p.line("")
	p.verdict(r)
	if c.Verbose {
		p.evidence(r)
	}
	p.use(r, c.Format)
	p.rest(r)
}

// dnsChecks tell where the names lead; of a mail domain's many hosts only those
// that lead nowhere.
func dnsChecks(r *doctor.Report) []doctor.Check {
	const few = 2
	var out []doctor.Check
	for _, n := range r.Facts.Names {
		word, text := doctor.Good, ""
		switch {
		case n.Answer.Status == dns.Temp:
			word, text = doctor.Unsure, n.Host+": no answer"
		case n.Answer.Status != dns.OK:
			word, text = doctor.Fail, n.Host+": "+n.Answer.Status.String()
		case len(r.Facts.Names) > few:
			continue
		default:
			text = addressWords(n.Answer.Records)
			if forged(r, n.Host) {
				word = doctor.Warn
			}
			if n.Answer.Secure {
				text += ", DNSSEC"
			}
			if len(r.Facts.Names) > 1 {
				text = n.Host + " " + text
			}
		}
		out = append(out, doctor.Check{Name: "DNS", Word: word, Text: text + " (" + shortTime(n.Took) + ")"})
	}
	return out
}

// forged: others get another answer (DIAG-12).
func forged(r *doctor.Report, host string) bool {
	return slices.ContainsFunc(r.Findings, func(f doctor.Finding) bool {
		return f.ID == "DIAG-12" && strings.Contains(f.Text, host)
	})
}

func addressWords(all []netip.Addr) string {
	const shown = 3
	var out []string
	for _, a := range all[:min(len(all), shown)] {
		out = append(out, a.String())
	}
	text := strings.Join(out, ", ")
	if more := len(all) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// untrusted lists the ports that answer, and must not get a password.
func untrusted(r *doctor.Report) string {
	var out []int
	for _, f := range r.Findings {
		if f.Word != doctor.Fail || f.ID < "DIAG-32" || f.ID > "DIAG-39" {
			continue
		}
		for _, e := range f.Where {
			if !slices.Contains(out, int(e.Port)) && e.Role != doctor.Exchange {
				out = append(out, int(e.Port))
			}
		}
	}
	slices.Sort(out)
	var words []string
	for _, port := range out {
		words = append(words, strconv.Itoa(port))
	}
	return strings.Join(words, ", ")
}

func (p *page) doctorHead(r *doctor.Report) {
	var right []string
	if n := len(r.Target.Endpoints); n > 0 {
		right = append(right, plural(int64(n), "port"))
	}
	right = append(right, families(r), fmt.Sprintf("%.1f s", r.Took.Seconds()))
	right = slices.DeleteFunc(right, func(s string) bool { return s == "" })
	title, tail := r.Target.Title, strings.Join(right, ", ")
	gap := max(1, p.width-len(title)-len(tail))
	p.line("%s%s%s", p.paint(bold, title), strings.Repeat(" ", gap), p.paint(dim, tail))
}

func families(r *doctor.Report) string {
	var four, six bool
	for _, s := range r.Facts.Sights {
		four, six = four || s.Family == 4, six || s.Family == 6
	}
	switch {
	case four && six:
		return "IPv4 and IPv6"
	case six:
		return "IPv6"
	case four:
		return "IPv4"
	}
	return ""
}

func (p *page) check(check doctor.Check) {
	lead := fmt.Sprintf("%-13s %s ", check.Name, p.word(check.Word))
	indent := strings.Repeat(" ", 19)
	for i, l := range wrap(check.Text, p.width-len(indent)) {
		if i == 0 {
			p.line("%s%s", lead, l)
			continue
		}
		p.line("%s%s", indent, l)
	}
}

// widths of the matrix's cells; with port, mode and time they fill 80 columns.
var (
	cellWidths  = []int{10, 9, 10, 12, 14}
	splitWidths = []int{10, 9, 9, 11, 14} // where families differ
)

func (p *page) matrix(r *doctor.Report) {
	hosts := map[string]bool{}
	split := false
	for _, row := range r.Rows {
		hosts[row.Endpoint.Host] = true
		split = split || row.Family != 0
	}
	widths, mode := cellWidths, 9
	if split { // "starttls v6"
		widths, mode = splitWidths, 11
	}
	head := fmt.Sprintf("%4s %-*s", "PORT", mode, "MODE")
	for i, name := range doctor.Columns {
		head += fmt.Sprintf(" %-*s", widths[i], name)
	}
	p.line("%s%6s", head, "TIME")
	host := ""
	for _, row := range r.Rows {
		if len(hosts) > 1 && row.Endpoint.Host != host {
			host = row.Endpoint.Host
			p.line("%s", p.paint(bold, host))
		}
		p.portRow(row, widths, mode)
	}
}

func (p *page) portRow(row doctor.Row, widths []int, modeWidth int) {
	mode := map[mail.Security]string{mail.Implicit: "tls", mail.Opportunistic: "mx"}[row.Endpoint.Mode]
	mode = cmp.Or(mode, "starttls")
	if row.Family != 0 {
		mode = fmt.Sprintf("%-8s v%d", mode, row.Family)
	}
	text := fmt.Sprintf("%4d %-*s", row.Endpoint.Port, modeWidth, mode)
	for i, cell := range row.Cells {
		style := map[doctor.Word]string{doctor.Warn: yellow, doctor.Fail: red, doctor.NotReached: dim, doctor.Unsure: yellow}[cell.Word]
		shown := cell.Text
		if style != "" {
			shown = p.paint(style, cell.Text)
		}
		text += " " + shown + strings.Repeat(" ", max(0, widths[i]-len([]rune(cell.Text))))
	}
	p.line("%s%6s", text, shortTime(row.Took))
}

func shortTime(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dms", d.Milliseconds())
}

// verdict is the headline of what is wrong, and the findings that carry it.
func (p *page) verdict(r *doctor.Report) {
	v := r.Verdict
	text, sure := v.Text, ""
	if v.Word != doctor.Good && v.Confidence != doctor.Proven && v.Confidence != "" {
		text, sure = strings.TrimSuffix(text, "."), " ("+string(v.Confidence)+")."
	}
	p.text(p.word(v.Word)+" ", "     ", text+sure)
	for _, f := range r.Findings {
		if f.Word == doctor.Good || f.Text == v.Text && len(f.Evidence) == 0 {
			continue
		}
		if f.Text != v.Text {
			p.text("  "+p.word(f.Word)+" ", "       ", f.Text)
		}
		for _, e := range f.Evidence {
			p.text(fmt.Sprintf("       %-22s ", e.Name), strings.Repeat(" ", 30), e.Text)
		}
	}
}

// use is the one thing to do.
func (p *page) use(r *doctor.Report, format string) {
	rec := r.Recommendation
	if rec == nil {
		if r.InsecureOnly {
			p.line("")
			p.line("%s", p.paint(bold, "DO NOT send passwords from here: nothing that answers can be trusted."))
		}
		return
	}
	if r.Target.Kind == doctor.KindSelf && r.Target.Own {
		return // our own ports: nobody here is to use them
	}
	p.line("")
	if bad := untrusted(r); bad != "" {
		p.line("%s", p.paint(bold, "DO NOT send passwords on "+bad+" from here."))
	}
	how := map[mail.Security]string{mail.Implicit: "with TLS from the first byte", mail.Opportunistic: "from server to server"}[rec.Mode]
	p.line("%s", p.paint(bold, fmt.Sprintf("USE %d %s", rec.Port, cmp.Or(how, "with STARTTLS"))))
	p.text("  ", "  ", rec.Reason)
	for _, s := range r.Settings() {
		if format != "" && s.Name != format || format == "" && !slices.Contains(doctor.Usual, s.Name) {
			continue
		}
		for i, l := range s.Lines { // whole, to be pasted (ux.md §3.2.15)
			name := ""
			if i == 0 {
				name = s.Title
			}
			p.line("  %-12s %s", name, l)
		}
	}
}

func (p *page) rest(r *doctor.Report) {
	if len(r.Advice) > 0 || len(r.Notes) > 0 {
		p.line("")
	}
	for _, a := range r.Advice {
		p.text("do   ", "     ", a)
	}
	for _, n := range r.Notes {
		p.text("note ", "     ", n)
	}
	p.line("%s", p.paint(dim, "more -v evidence   --format django|phpmailer|wordpress|...   --json   --watch"))
}

// evidence is what was said on each connection, and the certificate shown.
func (p *page) evidence(r *doctor.Report) {
	for i := range r.Facts.Sights {
		s := &r.Facts.Sights[i]
		p.line("")
		p.line("%s", p.paint(bold, fmt.Sprintf("%s:%d over IPv%d", s.Endpoint.Host, s.Endpoint.Port, s.Family)))
		for _, l := range s.Dialogue {
			sign := map[[2]bool]string{{true, false}: " ->", {true, true}: " ~>", {false, false}: "<- ", {false, true}: "<~ "}[[2]bool{l.Client, l.Secure}]
			if l.Note {
				sign = "==="
			}
			p.line("  %7s %s %s", "+"+shortTime(l.At), sign, l.Text)
		}
		if s.TLS != nil {
			for _, cert := range s.TLS.Chain {
				p.line("  certificate %s, issued by %s, until %s", cmp.Or(strings.Join(cert.DNSNames, " "), cert.Subject.CommonName), cert.Issuer.CommonName, cert.NotAfter.UTC().Format(time.DateOnly))
			}
		}
	}
}

// plainReports writes one record a line.
func plainReports(g *Globals, reports []*doctor.Report) {
	for _, r := range reports {
		for _, row := range r.Rows {
			fields := []any{"port", r.Target.Name, row.Endpoint.Host, row.Endpoint.Port, row.Endpoint.Mode, row.Family, row.Word}
			for _, cell := range row.Cells {
				fields = append(fields, cell.Text)
			}
			g.record(append(fields, row.Took.Milliseconds())...)
		}
		for _, f := range r.Findings {
			g.record("finding", r.Target.Name, f.ID, f.Confidence, f.Word, f.Text)
		}
		for _, c := range r.Target.Checks {
			g.record("check", r.Target.Name, c.Name, c.Word, c.Text)
		}
		g.record("verdict", r.Target.Name, r.Verdict.ID, r.Verdict.Confidence, r.Verdict.Word, r.Verdict.Text)
		if rec := r.Recommendation; rec != nil {
			g.record("use", r.Target.Name, rec.Host, rec.Port, rec.Mode, rec.Reason)
		}
	}
}
