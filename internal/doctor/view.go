package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/probe"
)

// view is the facts with the questions the rows ask of them.
type view struct {
	*Facts
	states map[*Sight]state
}

func newView(f *Facts) *view {
	v := &view{Facts: f, states: map[*Sight]state{}}
	for i := range f.Sights {
		v.states[&f.Sights[i]] = judgeSight(&f.Sights[i])
	}
	for i := range f.Controls.References {
		v.states[&f.Controls.References[i]] = judgeSight(&f.Controls.References[i])
	}
	return v
}

func (v *view) state(s *Sight) state { return v.states[s] }

// where picks sights of the target.
func (v *view) where(ok func(*Sight) bool) []*Sight { return pick(v.Sights, ok) }

// refs picks references on a port in a family; port 0 or family 0: any.
func (v *view) refs(port uint16, family int) []*Sight {
	return pick(v.Controls.References, func(s *Sight) bool {
		return (port == 0 || s.Endpoint.Port == port) && (family == 0 || s.Family == family)
	})
}

func pick(all []Sight, ok func(*Sight) bool) []*Sight {
	var out []*Sight
	for i := range all {
		if ok(&all[i]) {
			out = append(out, &all[i])
		}
	}
	return out
}

// open: the connection stood.
func open(s *Sight) bool { return s.Dial.Result == probe.Open }

func dialled(result string) func(*Sight) bool {
	return func(s *Sight) bool { return s.Dial.Result == result }
}

func (v *view) in(states ...state) func(*Sight) bool {
	return func(s *Sight) bool { return slices.Contains(states, v.state(s)) }
}

// impossibles are the controls on a port that somebody answered although
// nobody can.
func (v *view) impossibles(port uint16) []Control {
	return slices.DeleteFunc(slices.Clone(v.Controls.Impossible), func(c Control) bool {
		return c.Dial.Result != probe.Open || c.Port != port
	})
}

// impossible returns the control of a port and family.
func (v *view) impossible(port uint16, family int) (Control, bool) {
	i := slices.IndexFunc(v.Controls.Impossible, func(c Control) bool { return c.Port == port && familyOf(c.Addr) == family })
	if i < 0 {
		return Control{}, false
	}
	return v.Controls.Impossible[i], true
}

// rtt is the shortest time in which another port of the same host came to
// stand, 443 included; 0 if none did.
func (v *view) rtt(host string, but uint16, family int) time.Duration {
	var best time.Duration
	note := func(d time.Duration) {
		if best == 0 || d < best {
			best = d
		}
	}
	for i := range v.Sights {
		if s := &v.Sights[i]; s.Endpoint.Host == host && s.Endpoint.Port != but && s.Family == family && open(s) {
			note(s.Dial.Took)
		}
	}
	if w, ok := v.web(host, family); ok && w.Dial.Result == probe.Open {
		note(w.Dial.Took)
	}
	return best
}

func (v *view) web(host string, family int) (Control, bool) {
	for _, c := range v.Controls.Web {
		if c.Host == host && familyOf(c.Addr) == family {
			return c, true
		}
	}
	return Control{}, false
}

// siblings are the other ports of a sight's host in the same family.
func (v *view) siblings(s *Sight) []*Sight {
	return v.where(func(x *Sight) bool {
		return x.Endpoint.Host == s.Endpoint.Host && x.Endpoint.Port != s.Endpoint.Port && x.Family == s.Family
	})
}

// ports lists the ports of sights, each once: "25, 465 and 587".
func ports(all []*Sight) string { return list(portNumbers(all)) }

func portNumbers(all []*Sight) []string {
	var n []int
	for _, s := range all {
		if p := int(s.Endpoint.Port); !slices.Contains(n, p) {
			n = append(n, p)
		}
	}
	slices.Sort(n)
	var out []string
	for _, p := range n {
		out = append(out, strconv.Itoa(p))
	}
	return out
}

// hostsOf lists the hosts of sights, each once.
func hostsOf(all []*Sight) string {
	var out []string
	for _, s := range all {
		if !slices.Contains(out, s.Endpoint.Host) {
			out = append(out, s.Endpoint.Host)
		}
	}
	return list(out)
}

// list writes "a", "a and b", "a, b and c".
func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

func endpointsOf(all []*Sight) []Endpoint {
	var out []Endpoint
	for _, s := range all {
		if !slices.ContainsFunc(out, func(e Endpoint) bool { return sameEndpoint(e, s.Endpoint) }) {
			out = append(out, s.Endpoint)
		}
	}
	return out
}

func sameEndpoint(a, b Endpoint) bool {
	return a.Host == b.Host && a.Port == b.Port && a.Mode == b.Mode
}

// familyOfAll is the family that all sights share; 0 if they differ.
func familyOfAll(all []*Sight) int {
	for _, s := range all {
		if s.Family != all[0].Family {
			return 0
		}
	}
	if len(all) == 0 {
		return 0
	}
	return all[0].Family
}

// is writes "587 is" and "25 and 587 are".
func is(all []*Sight, one, more string) string {
	if len(portNumbers(all)) == 1 {
		return one
	}
	return more
}

// verb picks the form of a verb for the ports of sights.
func verb(all []*Sight, one, more string) string { return is(all, one, more) }

func ms(d time.Duration) string {
	switch {
	case d >= 10*time.Second:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d >= time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= time.Millisecond:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return "under 1 ms"
}

// who names the operation behind a target for sentences.
func (v *view) who() string {
	if p := v.Target.Provider; p != nil {
		return p.Title
	}
	if len(v.Target.Endpoints) > 0 {
		return v.Target.Endpoints[0].Host
	}
	return cmp.Or(v.Target.Title, v.Target.Name)
}

func ipName(family int) string { return "IPv" + strconv.Itoa(family) }
