package console

import (
	"slices"
	"strings"
	"time"

	"paquebot/internal/message"
)

// calendarView is an invitation or another part of iCalendar (RFC 5545).
type calendarView struct {
	Part   int
	Name   string
	Method string // "REQUEST", "CANCEL"
	Events []eventView
	Source string
}

// Says is the method in plain words.
func (c calendarView) Says() string {
	switch c.Method {
	case "REQUEST":
		return "Invitation"
	case "CANCEL":
		return "Cancellation"
	case "REPLY":
		return "Answer to an invitation"
	case "COUNTER":
		return "Counter-proposal"
	}
	return "Calendar"
}

// eventView is a VEVENT, VTODO or VJOURNAL.
type eventView struct {
	Summary, Start, End, Location, Organizer, Status, Repeats, UID, Description, URL string
	Attendees                                                                        []string
}

const (
	calendarMax  = 256 << 10 // bytes of one part that are read
	eventsMax    = 50        // of one part
	attendeesMax = 200       // of one event
)

func calendarParts(c message.Contents) []*message.Part {
	var out []*message.Part
	if c.Calendar != nil {
		out = append(out, c.Calendar)
	}
	for _, p := range c.Attachments {
		if p != c.Calendar && (p.Type == "text/calendar" || p.Type == "application/ics" || strings.HasSuffix(strings.ToLower(p.FileName), ".ics")) {
			out = append(out, p)
		}
	}
	return out[:min(len(out), 10)]
}

func calendars(c message.Contents) []calendarView {
	var out []calendarView
	for _, p := range calendarParts(c) {
		v := readCalendar(cut(p.Text(), calendarMax))
		if slices.ContainsFunc(out, func(o calendarView) bool { return o.Source == v.Source }) {
			continue // senders put the same one in as a part and as an attachment
		}
		v.Part, v.Name = p.Number, p.FileName
		out = append(out, v)
	}
	return out
}

// readCalendar takes from iCalendar what a person wants to see, and leaves the
// rest: it is no judge of calendars.
func readCalendar(text string) calendarView {
	v := calendarView{Source: foldLong(text)}
	text = strings.NewReplacer("\r\n ", "", "\r\n\t", "", "\n ", "", "\n\t", "").Replace(text) // RFC 5545 §3.1
	var e *eventView
	nested := 0 // alarms and the like within an event
	for line := range strings.Lines(text) {
		name, params, value := contentLine(strings.TrimRight(line, "\r\n"))
		switch {
		case name == "METHOD" && e == nil:
			v.Method = strings.ToUpper(value)
		case name == "BEGIN" && e != nil:
			nested++
		case name == "BEGIN" && isEvent(value) && len(v.Events) < eventsMax:
			v.Events = append(v.Events, eventView{})
			e = &v.Events[len(v.Events)-1]
		case name == "END" && nested > 0:
			nested--
		case name == "END" && isEvent(value):
			e = nil
		case e != nil && nested == 0:
			e.take(name, params, value)
		}
	}
	return v
}

func isEvent(component string) bool {
	switch strings.ToUpper(component) {
	case "VEVENT", "VTODO", "VJOURNAL":
		return true
	}
	return false
}

func (e *eventView) take(name string, params map[string]string, value string) {
	switch name {
	case "SUMMARY":
		e.Summary = calendarText(value)
	case "DTSTART":
		e.Start = calendarTime(value, params["TZID"])
	case "DTEND", "DUE":
		e.End = calendarTime(value, params["TZID"])
	case "DURATION":
		e.End = "for " + strings.ToLower(strings.TrimPrefix(strings.TrimPrefix(value, "P"), "T"))
	case "LOCATION":
		e.Location = calendarText(value)
	case "ORGANIZER":
		e.Organizer = calendarPerson(params, value)
	case "ATTENDEE":
		if len(e.Attendees) < attendeesMax {
			e.Attendees = append(e.Attendees, calendarPerson(params, value))
		}
	case "STATUS":
		e.Status = strings.ToLower(value)
	case "RRULE":
		e.Repeats = strings.ToLower(strings.ReplaceAll(value, ";", ", "))
	case "UID":
		e.UID = clip(value, 300)
	case "DESCRIPTION":
		e.Description = calendarText(value)
	case "URL":
		e.URL = clip(value, 500)
	}
}

// contentLine cuts "NAME;PARAM=x;PARAM="y":value" (RFC 5545 §3.1).
func contentLine(line string) (name string, params map[string]string, value string) {
	params = map[string]string{}
	quoted, start, parts := false, 0, []string{}
	for i := range len(line) {
		switch {
		case line[i] == '"':
			quoted = !quoted
		case quoted:
		case line[i] == ';':
			parts, start = append(parts, line[start:i]), i+1
		case line[i] == ':':
			parts = append(parts, line[start:i])
			for _, p := range parts[1:] {
				key, v, _ := strings.Cut(p, "=")
				params[strings.ToUpper(key)] = strings.Trim(v, `"`)
			}
			return strings.ToUpper(parts[0]), params, line[i+1:]
		}
	}
	return "", params, ""
}

func calendarText(value string) string {
	return clip(strings.NewReplacer(`\n`, "\n", `\N`, "\n", `\,`, ",", `\;`, ";", `\\`, `\`).Replace(value), 4000)
}

func calendarPerson(params map[string]string, value string) string {
	address := value
	if len(value) > 7 && strings.EqualFold(value[:7], "mailto:") {
		address = value[7:]
	}
	out := address
	if n := params["CN"]; n != "" && n != address {
		out = n + " <" + address + ">"
	}
	if s := params["PARTSTAT"]; s != "" {
		out += " (" + strings.ToLower(strings.ReplaceAll(s, "-", " ")) + ")"
	}
	return clip(out, 300)
}

// calendarTime writes a DATE or DATE-TIME as a person reads it (RFC 5545
// §3.3.4, §3.3.5).
func calendarTime(value, zone string) string {
	if t, err := time.Parse("20060102", value); err == nil {
		return t.Format("Mon 2 Jan 2006")
	}
	if t, err := time.Parse("20060102T150405Z", value); err == nil {
		return t.Format("Mon 2 Jan 2006 15:04 UTC")
	}
	if t, err := time.Parse("20060102T150405", value); err == nil {
		text := t.Format("Mon 2 Jan 2006 15:04")
		if zone != "" {
			text += " " + clip(zone, 60)
		}
		return text
	}
	return clip(value, 60)
}
