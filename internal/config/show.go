package config

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// entry is one key of the tree with its value as TOML.
type entry struct {
	path  string // "listener[1].role"
	table string // the header it stands under: "[[listener]]", "" at the top
	group string // the table's own path, so that two [[listener]] differ
	key   string
	value string
	empty bool // nothing given and no default: not worth showing
}

// flatten lists every key of the tree in the order of the file.
func flatten(c *Config) []entry {
	var f flattener
	f.fields(reflect.ValueOf(c).Elem(), "", "")
	return f.out
}

type flattener struct{ out []entry }

// fields lists the plain keys of a table first, then the tables inside, as TOML
// demands.
func (f *flattener) fields(v reflect.Value, path, header string) {
	for _, tables := range []bool{false, true} {
		for i := range v.NumField() {
			name := v.Type().Field(i).Tag.Get("toml")
			if name == "" || name == "-" || isTable(v.Field(i)) != tables {
				continue
			}
			f.field(v.Field(i), path, header, name)
		}
	}
}

func (f *flattener) field(v reflect.Value, path, header, name string) {
	at := join(path, name)
	switch {
	case !isTable(v):
		f.out = append(f.out, entry{path: at, table: header, group: path, key: name, value: tomlValue(v), empty: isEmpty(v)})
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			f.fields(v.Elem(), at, "["+keyPath(at)+"]")
		}
	case v.Kind() == reflect.Struct:
		f.fields(v, at, "["+keyPath(at)+"]")
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			f.fields(v.Index(i), fmt.Sprintf("%s[%d]", at, i), "[["+keyPath(at)+"]]")
		}
	case v.Kind() == reflect.Map:
		for _, k := range sortedKeys(v) {
			f.fields(v.MapIndex(reflect.ValueOf(k)), join(at, k), "["+at+"."+quoteKey(k)+"]")
		}
	}
}

// keyPath is a path as it stands in a header: a nested table of a list belongs
// to the list's last item.
func keyPath(path string) string { return keyName(path) }

// isTable: shown under a header of its own. Sources of a pool are short and
// stand inline.
func isTable(v reflect.Value) bool {
	switch v.Interface().(type) {
	case Secret, Size, Rate, Recipients, Aliases, netip.Addr, netip.Prefix, time.Duration, []Source, []Endpoint:
		return false
	}
	switch v.Kind() {
	case reflect.Struct, reflect.Map, reflect.Pointer:
		return true
	case reflect.Slice:
		return v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem() != reflect.TypeFor[netip.Prefix]()
	}
	return false
}

// isEmpty: a value that means "not given".
func isEmpty(v reflect.Value) bool {
	switch t := v.Interface().(type) {
	case Recipients:
		return !t.Any && !t.Verify && t.File == "" && t.List == nil
	case Aliases:
		return t.File == "" && len(t.Table) == 0
	case time.Duration, bool:
		return false
	}
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

// tomlValue writes a value as it would stand in the file; secrets stay
// references.
func tomlValue(v reflect.Value) string {
	switch t := v.Interface().(type) {
	case Secret:
		return t.toml()
	case Size:
		return strconv.Quote(t.String())
	case Rate:
		return strconv.Quote(t.String())
	case time.Duration:
		return strconv.Quote(FormatDuration(t))
	case netip.Addr:
		return strconv.Quote(t.String())
	case netip.Prefix:
		return strconv.Quote(t.String())
	case Recipients:
		return t.toml()
	case Aliases:
		return t.toml()
	case Endpoint:
		return t.toml()
	case Source:
		if t.Ehlo == "" {
			return fmt.Sprintf("{ address = %q }", t.Address)
		}
		return fmt.Sprintf("{ address = %q, ehlo = %s }", t.Address, quote(t.Ehlo))
	}
	switch v.Kind() {
	case reflect.String:
		return quote(v.String())
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = tomlValue(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

func (s Secret) toml() string {
	switch {
	case s.File != "":
		return "{ file = " + quote(s.File) + " }"
	case s.Env != "":
		return "{ env = " + quote(s.Env) + " }"
	}
	return `""`
}

func (r Recipients) toml() string {
	switch {
	case r.Any:
		return `"any"`
	case r.Verify:
		return `"verify"`
	case r.File != "":
		return "{ file = " + quote(r.File) + " }"
	}
	return tomlValue(reflect.ValueOf(r.List))
}

func (a Aliases) toml() string {
	if a.File != "" {
		return "{ file = " + quote(a.File) + " }"
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(a.Table)) {
		parts = append(parts, quoteKey(name)+" = "+tomlValue(reflect.ValueOf(a.Table[name])))
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString("\\" + string(r))
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04X", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

func quoteKey(k string) string {
	for _, c := range []byte(k) {
		if !isBare(c) {
			return quote(k)
		}
	}
	if k == "" {
		return `""`
	}
	return k
}

func sortedKeys(m reflect.Value) []string {
	var names []string
	for _, k := range m.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return names
}

func keysIn[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// Show writes the configuration in force, defaults included, as a file that
// means the same. Secrets stay references; password hashes are hidden.
func Show(c *Config) string {
	var b strings.Builder
	group := ""
	for _, e := range flatten(c) {
		if e.empty {
			continue
		}
		if e.group != group {
			fmt.Fprintf(&b, "\n%s\n", e.table)
			group = e.group
		}
		fmt.Fprintf(&b, "%s = %s\n", e.key, e.shown())
	}
	return b.String()
}

// shown hides a password's hash, which can be guessed at offline, but lets two
// of them be told apart.
func (e entry) shown() string {
	sum := sha256.Sum256([]byte(e.value))
	switch e.key {
	case "password_hash":
		return quote(fmt.Sprintf("$argon2id$hidden-%x", sum[:4]))
	case "scram":
		return quote(fmt.Sprintf("SCRAM-SHA-256$hidden-%x", sum[:4]))
	}
	return e.value
}

// Value is one key with its value in force.
type Value struct {
	Path    string `json:"path"`
	Value   string `json:"value"` // as TOML
	Default bool   `json:"default"`
}

// Values lists every key that has a value, as Show does.
func Values(c *Config) []Value {
	var out []Value
	four := reflect.DeepEqual(c.Listeners, Default().Listeners)
	for _, e := range flatten(c) {
		if e.empty {
			continue
		}
		out = append(out, Value{e.path, e.shown(), isDefault(e) || four && strings.HasPrefix(e.path, "listener[")})
	}
	return out
}

// isDefault compares with the table, whose texts may be spaced otherwise.
func isDefault(e entry) bool {
	k, ok := FindKey(e.path)
	return ok && k.Default != "" && strings.Join(strings.Fields(k.Default), "") == strings.Join(strings.Fields(e.value), "")
}

// Change is one difference between two configurations.
type Change struct {
	Path    string `json:"path"`
	Old     string `json:"old,omitempty"` // as TOML; "" when it was not there
	New     string `json:"new,omitempty"`
	Restart bool   `json:"restart"` // a reload does not bring it into force
}

// Diff lists what differs, in the order of the file.
func Diff(old, now *Config) []Change {
	was := map[string]string{}
	for _, v := range Values(old) {
		was[v.Path] = v.Value
	}
	var out []Change
	is := map[string]bool{}
	for _, v := range Values(now) {
		is[v.Path] = true
		if was[v.Path] != v.Value {
			out = append(out, change(v.Path, was[v.Path], v.Value))
		}
	}
	for _, v := range Values(old) {
		if !is[v.Path] {
			out = append(out, change(v.Path, v.Value, ""))
		}
	}
	return out
}

func change(path, old, now string) Change {
	k, _ := FindKey(path)
	return Change{Path: path, Old: old, New: now, Restart: k.Restart}
}
