package message

import (
	"errors"
	netmail "net/mail"
	"time"
)

// FormatDate writes a date-time with a numeric zone (RFC 5322 §3.3; RCV-7).
func FormatDate(t time.Time) string { return t.Format("Mon, 02 Jan 2006 15:04:05 -0700") }

// dateMax is far above any date with a comment, in octets.
const dateMax = 200

// ErrBadDate means that a text is no RFC 5322 date-time.
var ErrBadDate = errors.New("not a date of RFC 5322")

// ParseDate reads the value of a Date field, obsolete zones and two-digit
// years included (RFC 5322 §4.3).
func ParseDate(s string) (time.Time, error) {
	if len(s) > dateMax {
		return time.Time{}, ErrBadDate
	}
	t, err := netmail.ParseDate(s)
	if err != nil {
		return time.Time{}, ErrBadDate
	}
	return t, nil
}
