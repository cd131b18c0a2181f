package console

import (
	"html/template"
	"strconv"
	"strings"
	"time"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
)

// templateFuncs are the words that templates use beside fields.
func templateFuncs(base string, n Needs) template.FuncMap {
	return template.FuncMap{
		"base":  func() string { return base },
		"size":  humanSize,
		"clock": clock,
		"age":   func(t time.Time) string { return age(time.Since(t), t) },
		"stamp": func(t time.Time) string { return t.Format(time.RFC3339) },
		"full":  func(t time.Time) string { return t.Format("Mon 2 Jan 2006 15:04:05.000 -0700") },
		"other": func(o mail.Origin) uint16 { // the standard port, where it is another one
			if like := n.Ports.Like(o.Local.Port()); like != o.Local.Port() {
				return like
			}
			return 0
		},
		"port": portOf,
		"user": func(m catch.Message) string { return m.Origin.Account },
		"can": func(what string) bool {
			switch what {
			case "mishaps":
				return n.Mishap != nil
			case "critique":
				return n.Critique != nil
			case "trace":
				return n.Trace != nil
			case "release":
				return n.Release != nil && len(n.Release.Routes()) > 0
			case "reply":
				return n.Submit != nil
			case "pictures":
				return n.Dial != nil
			}
			return false
		},
		"offset": func(first, at time.Time) string {
			return "+" + strconv.FormatFloat(at.Sub(first).Seconds(), 'f', 3, 64)
		},
		"who":       who,
		"matches":   matches,
		"sentence":  sentence,
		"untrusted": func(advice string) bool { return strings.Contains(advice, "trust the certificate") },
		"thousands": thousands,
		"binary":    func(n int64) string { return strconv.FormatFloat(float64(n)/(1<<30), 'g', 3, 64) + " GiB" },
		"grammar":   grammar,
		"plural": func(n int, one, many string) string {
			if n == 1 {
				return "1 " + one
			}
			return thousands(n) + " " + many
		},
	}
}

// who is the name of "Anna <anna@example.com>", or the address where there is
// no name: a list has little room.
func who(s string) string {
	name, rest, named := strings.Cut(s, " <")
	if !named || strings.TrimSpace(name) == "" {
		return s
	}
	if _, more, found := strings.Cut(rest, "> "); found {
		return name + " " + more
	}
	return name
}

// portOf is the port a message came through, as its listener has it.
func portOf(o mail.Origin) string {
	if o.Local.IsValid() {
		return itoa(int(o.Local.Port()))
	}
	if i := strings.LastIndexByte(o.Listener, ':'); i >= 0 {
		return o.Listener[i+1:]
	}
	return "-"
}

func humanSize(n any) string {
	var b float64
	switch n := n.(type) {
	case int:
		b = float64(n)
	case int64:
		b = float64(n)
	}
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if b < 1024 {
			if unit == "B" || b >= 100 {
				return strconv.FormatFloat(b, 'f', 0, 64) + " " + unit
			}
			return strconv.FormatFloat(b, 'f', 1, 64) + " " + unit
		}
		b /= 1024
	}
	return strconv.FormatFloat(b, 'f', 1, 64) + " GiB"
}

// sentence makes a sentence of what an event says: "client has TLS off".
func sentence(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return s
	}
	s = strings.ToUpper(s[:1]) + s[1:]
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}

// thousands writes 10000 as 10,000.
func thousands(n int) string {
	s := itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// clock is the time of day for today, else the day as well.
func clock(t time.Time) string {
	now := time.Now()
	t = t.In(now.Location())
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05")
	}
	return t.Format("2 Jan 15:04")
}

// age is how long ago something was, as briefly as can be; console.js says the
// same as time goes on.
func age(d time.Duration, at time.Time) string {
	switch {
	case d < 5*time.Second:
		return "now"
	case d < time.Minute:
		return itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return itoa(int(d.Minutes())) + " min"
	case d < 24*time.Hour:
		return itoa(int(d.Hours())) + " h"
	case d < 100*24*time.Hour:
		return itoa(int(d.Hours()/24)) + " d"
	}
	return at.Format("2 Jan 2006")
}
