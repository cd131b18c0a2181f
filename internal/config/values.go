package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Size is a number of octets, written "50MiB", "256KiB" or as a plain number.
type Size int64

// sizeUnits from the largest; decimal ones are understood and mean powers of 1000.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

// ParseSize reads what String wrote.
func ParseSize(s string) (Size, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is not a size; write one like \"50MiB\"", s)
	}
	return Size(n * unit), nil
}

// String is exact: "50MiB", "1000B".
func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Rate is so many in a time, written "600/min". The zero Rate is no limit.
type Rate struct {
	N   int
	Per time.Duration
}

var rateUnits = []struct {
	names []string
	per   time.Duration
}{
	{[]string{"s", "sec", "second"}, time.Second},
	{[]string{"min", "m", "minute"}, time.Minute},
	{[]string{"h", "hour"}, time.Hour},
	{[]string{"d", "day"}, 24 * time.Hour},
}

// ParseRate reads "600/min"; the units are s, min, h and d. "" is no limit.
func ParseRate(s string) (Rate, error) {
	if s == "" {
		return Rate{}, nil
	}
	number, unit, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if ok && err == nil && n > 0 {
		for _, u := range rateUnits {
			if slices.Contains(u.names, strings.TrimSpace(unit)) {
				return Rate{n, u.per}, nil
			}
		}
	}
	return Rate{}, fmt.Errorf("%q is not a rate; write one like \"600/min\" (s, min, h, d)", s)
}

// String is "600/min", "" for no limit.
func (r Rate) String() string {
	if r == (Rate{}) {
		return ""
	}
	for _, u := range rateUnits {
		if u.per == r.Per {
			return strconv.Itoa(r.N) + "/" + u.names[0]
		}
	}
	return fmt.Sprintf("%d per %s", r.N, r.Per)
}

// ParseDuration reads Go's durations and, alone or before them, days and weeks:
// "90s", "4h", "5d", "1d12h", "2w".
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration; write one like \"30s\", \"5m\", \"4h\" or \"5d\"", s)
	rest, total := s, time.Duration(0)
	for _, u := range []struct {
		letter string
		unit   time.Duration
	}{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}} {
		number, after, ok := strings.Cut(rest, u.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || n < 0 || n > int64(durationMax/u.unit) {
			return 0, bad
		}
		total, rest = total+time.Duration(n)*u.unit, after
	}
	if total > durationMax {
		return 0, bad
	}
	if rest == "" && total > 0 || s == "0" {
		return total, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || d > durationMax || total+d > durationMax {
		return 0, bad
	}
	return total + d, nil
}

// durationMax is a hundred years: far beyond any setting's use, and two of them
// still fit a time.Duration.
const durationMax = 36500 * 24 * time.Hour

// FormatDuration writes a duration as ParseDuration reads it: "5d", "1h30m".
func FormatDuration(d time.Duration) string {
	const day = 24 * time.Hour
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	if d >= day {
		fmt.Fprintf(&b, "%dd", d/day)
		d %= day
	}
	if d == 0 {
		return b.String()
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return b.String() + s
}

// Secret is something that is read from a file or the environment and never
// printed: every way of formatting it gives its reference or stars.
type Secret struct {
	File, Env string // where it comes from; both empty: not given
	value     string
}

// NewSecret makes a Secret that comes from nowhere but the program.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the secret itself. Whoever calls it must not print it.
func (s Secret) Reveal() string { return s.value }

// IsZero reports that no secret was given.
func (s Secret) IsZero() bool { return s == Secret{} }

const hidden = "(secret)"

// String tells where the secret comes from, never what it is.
func (s Secret) String() string {
	switch {
	case s.File != "":
		return "(secret from file " + s.File + ")"
	case s.Env != "":
		return "(secret from environment " + s.Env + ")"
	case s.value != "":
		return hidden
	}
	return ""
}

// Format keeps the value from every verb of fmt, %#v included.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText keeps it from JSON and other encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps it from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Recipients is who exists in a domain: any, those verified at the next hop, or
// those listed here or in a file.
type Recipients struct {
	Any    bool
	Verify bool
	List   []string // local parts or whole addresses
	File   string   // one per line
}

// Aliases maps addresses to those they stand for, in the file or beside it.
type Aliases struct {
	Table map[string][]string
	File  string // lines "name: target, target"
}

var errNotText = errors.New("must be text in quotes")
