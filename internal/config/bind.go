package config

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// binder moves generic values into the tree, and says everything that does not
// fit, not only the first thing.
type binder struct {
	*report
}

// own is implemented by values that read themselves.
type own interface{ bindTOML(v any) error }

// bindStruct fills dst, a struct, from the table at path; given may be nil.
func (b *binder) bindStruct(dst reflect.Value, given map[string]any, path string) {
	known := fields(dst.Type())
	names := make([]string, 0, len(given))
	for name := range given {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, ok := known[name]; !ok {
			b.unknown(path, name, keysOf(known))
		}
	}
	for i := range dst.NumField() {
		name := dst.Type().Field(i).Tag.Get("toml")
		if name == "-" || name == "" {
			continue
		}
		v, ok := given[name]
		if !ok {
			v, ok = defaultOf(join(path, name))
		}
		b.field(dst.Field(i), v, ok, join(path, name))
	}
}

// field fills one field; a table that was left out still has defaults inside.
func (b *binder) field(dst reflect.Value, v any, given bool, path string) {
	switch {
	case given:
		b.value(dst, v, path)
	case dst.Kind() == reflect.Struct && !isOwn(dst) && !isScalar(dst):
		b.bindStruct(dst, nil, path)
	}
}

func isOwn(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(own)
	return ok
}

// isScalar: structs that are written as text.
func isScalar(v reflect.Value) bool {
	switch v.Interface().(type) {
	case netip.Prefix, netip.Addr:
		return true
	}
	return false
}

// value puts one given value into dst.
func (b *binder) value(dst reflect.Value, v any, path string) {
	if o, ok := dst.Addr().Interface().(own); ok {
		if err := o.bindTOML(v); err != nil {
			b.fault(path, "%s: %v", keyName(path), err)
		}
		return
	}
	if done, err := bindScalar(dst, v); done {
		if err != nil {
			b.fault(path, "%s: %v", keyName(path), err)
		}
		return
	}
	switch dst.Kind() {
	case reflect.Struct:
		table, ok := v.(map[string]any)
		if !ok {
			b.shapeless(path, "%s is a table, so write %s above its keys", keyName(path), section(path))
			return
		}
		b.bindStruct(dst, table, path)
	case reflect.Pointer:
		dst.Set(reflect.New(dst.Type().Elem()))
		b.value(dst.Elem(), v, path)
	case reflect.Slice:
		b.slice(dst, v, path)
	case reflect.Map:
		b.table(dst, v, path)
	}
}

// bindScalar reads text, numbers and true/false; done is false for tables and
// lists.
func bindScalar(dst reflect.Value, v any) (done bool, err error) {
	text, isText := v.(string)
	if parse := textParser(dst); parse != nil {
		if !isText {
			// Its refusal names the form, such as "5m" for a duration.
			return true, cmp.Or(parse(fmt.Sprint(v)), errNotText)
		}
		return true, parse(text)
	}
	switch dst.Kind() {
	case reflect.String:
		if !isText {
			return true, errNotText
		}
		dst.SetString(text)
	case reflect.Bool:
		t, ok := v.(bool)
		if !ok {
			return true, fmt.Errorf("must be true or false, without quotes")
		}
		dst.SetBool(t)
	case reflect.Int:
		n, ok := v.(int64)
		if !ok || n < 0 || n > math.MaxInt32 {
			return true, fmt.Errorf("must be a whole number, 0 or more, without quotes")
		}
		dst.SetInt(n)
	default:
		return false, nil
	}
	return true, nil
}

// textParser returns how text becomes dst, nil if dst is no such type.
func textParser(dst reflect.Value) func(string) error {
	switch p := dst.Addr().Interface().(type) {
	case *time.Duration:
		return func(s string) (err error) { *p, err = ParseDuration(s); return }
	case *Rate:
		return func(s string) (err error) { *p, err = ParseRate(s); return }
	case *netip.Prefix:
		return func(s string) (err error) { *p, err = parsePrefix(s); return }
	case *netip.Addr:
		return func(s string) (err error) {
			if *p, err = netip.ParseAddr(s); err != nil {
				err = fmt.Errorf("%q is not an IP address", s)
			}
			return
		}
	}
	return nil
}

// parsePrefix reads a network; a single address is a network of one.
func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is not a network; write one like \"10.0.0.0/8\" or \"192.0.2.7\"", s)
	}
	return p.Masked(), nil
}

// slice fills a list; where a list of texts is wanted, one text is a list too.
func (b *binder) slice(dst reflect.Value, v any, path string) {
	var items []any
	switch t := v.(type) {
	case []any:
		items = t
	case []map[string]any:
		for _, m := range t {
			items = append(items, m)
		}
	case string:
		items = []any{t}
	case map[string]any:
		b.shapeless(path, "%s may be repeated, so write [[%s]] with two brackets", keyName(path), keyName(path))
		return
	default:
		b.fault(path, "%s must be a list in square brackets", keyName(path))
		return
	}
	out := reflect.MakeSlice(dst.Type(), len(items), len(items))
	for i, item := range items {
		b.value(out.Index(i), item, fmt.Sprintf("%s[%d]", path, i))
	}
	dst.Set(out)
}

// table fills a map from names to structs.
func (b *binder) table(dst reflect.Value, v any, path string) {
	given, ok := v.(map[string]any)
	if !ok {
		b.fault(path, "%s needs a name: write [%s.NAME]", path, path)
		return
	}
	out := reflect.MakeMap(dst.Type())
	for name, item := range given {
		e := reflect.New(dst.Type().Elem()).Elem()
		if _, isTable := item.(map[string]any); !isTable {
			b.fault(join(path, name), "%s needs a name: write [%s.NAME] above its keys", path, path)
			continue
		}
		b.value(e, item, join(path, name))
		out.SetMapIndex(reflect.ValueOf(name), e)
	}
	dst.Set(out)
}

// fields maps the names of a struct's keys to their place in it.
func fields(t reflect.Type) map[string]int {
	m := map[string]int{}
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("toml"); name != "-" && name != "" {
			m[name] = i
		}
	}
	return m
}

func keysOf(m map[string]int) []string {
	var names []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// defaultOf returns the table's default for a key.
func defaultOf(path string) (any, bool) {
	k, ok := FindKey(path)
	if !ok || k.Default == "" {
		return nil, false
	}
	var doc map[string]any
	if _, err := toml.Decode("v = "+k.Default, &doc); err != nil {
		return nil, false // TestEveryDefaultParses forbids it
	}
	return doc["v"], true
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// schemaPath turns a path in a file into the path in the table of keys.
func schemaPath(path string) string {
	parts := strings.Split(indexes.ReplaceAllString(path, ""), ".")
	if len(parts) > 1 && (parts[0] == "smarthost" || parts[0] == "pool") {
		rest := parts[len(parts)-1]
		// A name may hold dots, so the key is what comes last.
		for n := 2; n < len(parts); n++ {
			tail := strings.Join(parts[n:], ".")
			for _, k := range keys {
				if k.Path == parts[0]+".NAME."+tail {
					return k.Path
				}
			}
		}
		return parts[0] + ".NAME." + rest
	}
	return strings.Join(parts, ".")
}

// keyName is a path without the positions in lists.
func keyName(path string) string { return indexes.ReplaceAllString(path, "") }

// ---- values that read themselves ----

func (s *Size) bindTOML(v any) (err error) {
	switch t := v.(type) {
	case int64:
		if t < 0 {
			return fmt.Errorf("a size cannot be negative")
		}
		*s = Size(t)
	case string:
		*s, err = ParseSize(t)
	default:
		err = fmt.Errorf("must be a size like \"50MiB\"")
	}
	return err
}

// bindTOML refuses the secret itself: a file that is shown, mailed and kept in
// version control is no place for it.
func (s *Secret) bindTOML(v any) error {
	t, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("a secret does not stand in this file; put it into a file of its own and write { file = \"/path\" }, or { env = \"NAME\" }")
	}
	file, _ := t["file"].(string)
	env, _ := t["env"].(string)
	if len(t) != 1 || (file == "") == (env == "") {
		return fmt.Errorf("write either { file = \"/path\" } or { env = \"NAME\" }")
	}
	*s = Secret{File: file, Env: env}
	return nil
}

func (r *Recipients) bindTOML(v any) error {
	switch t := v.(type) {
	case string:
		switch t {
		case "any":
			*r = Recipients{Any: true}
			return nil
		case "verify":
			*r = Recipients{Verify: true}
			return nil
		}
	case []any:
		list, err := texts(t)
		*r = Recipients{List: list}
		return err
	case map[string]any:
		if file, ok := t["file"].(string); ok && len(t) == 1 && file != "" {
			*r = Recipients{File: file}
			return nil
		}
	}
	return fmt.Errorf("must be \"any\", \"verify\", a list like [\"anna\", \"bo\"], or { file = \"/path\" }")
}

func (a *Aliases) bindTOML(v any) error {
	t, ok := v.(map[string]any)
	if file, isText := v.(string); isText && file != "" {
		*a = Aliases{File: file}
		return nil
	}
	if file, isText := t["file"].(string); isText && len(t) == 1 && !strings.Contains(file, "@") {
		*a = Aliases{File: file}
		return nil
	}
	if !ok {
		return fmt.Errorf("must be a table like { postmaster = [\"anna@example.org\"] }, or { file = \"/path\" }")
	}
	out := Aliases{Table: map[string][]string{}}
	for name, to := range t {
		list, isList := to.([]any)
		if one, isText := to.(string); isText {
			list, isList = []any{one}, true
		}
		targets, err := texts(list)
		if !isList || err != nil || len(targets) == 0 {
			return fmt.Errorf("%q must stand for an address or a list of them", name)
		}
		out.Table[name] = targets
	}
	*a = out
	return nil
}

func texts(list []any) ([]string, error) {
	out := []string{} // an empty list is not none: recipients = [] means nobody
	for _, v := range list {
		s, ok := v.(string)
		if !ok || s == "" {
			return nil, fmt.Errorf("every item must be text in quotes")
		}
		out = append(out, s)
	}
	return out, nil
}
