package config

import (
	"fmt"
	"reflect"
	"strings"
)

// Explain says what a key means, for people. ok is false for an unknown key,
// and then near is the one probably meant.
func Explain(path string) (text, near string, ok bool) {
	k, found := FindKey(path)
	if !found {
		var all []string
		for _, k := range keys {
			all = append(all, k.Path)
		}
		return "", Nearest(path, all), false
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s   (%s)\n", k.Path, k.Kind())
	for _, l := range wrap(k.Doc, screen-2) {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	b.WriteByte('\n')
	for _, row := range k.rows() {
		fmt.Fprintf(&b, "%-8s  %s\n", row[0], strings.ReplaceAll(row[1], "\n", "\n          "))
	}
	if inside := k.inside(); len(inside) > 0 {
		b.WriteString("\nKeys in it:\n")
		for _, in := range inside {
			first, _, _ := strings.Cut(in.Doc, ". ")
			for i, l := range wrap(strings.TrimSuffix(first, "."), screen-22) {
				name := ""
				if i == 0 {
					name = in.Path[strings.LastIndexByte(in.Path, '.')+1:]
				}
				fmt.Fprintf(&b, "  %-18s  %s\n", name, l)
			}
		}
	}
	return b.String(), "", true
}

// rows are the facts beside the explanation.
func (k Key) rows() [][2]string {
	var rows [][2]string
	if k.Values != "" {
		rows = append(rows, [2]string{"one of", strings.ReplaceAll(k.Values, "|", ", ")})
	}
	switch {
	case k.Auto != "":
		rows = append(rows, [2]string{"default", k.Auto})
	case k.Default != "" && k.Path != "listener":
		rows = append(rows, [2]string{"default", k.Default})
	}
	if k.Example != "" {
		rows = append(rows, [2]string{"example", k.sample()})
	}
	if k.Restart {
		rows = append(rows, [2]string{"change", "needs a restart"})
	}
	return rows
}

// sample is the example as it would stand in a file, without the header of a
// key's table.
func (k Key) sample() string {
	if k.isTable() {
		return k.Header() + "\n" + k.Example
	}
	return k.Path[strings.LastIndexByte(k.Path, '.')+1:] + " = " + k.Example
}

// Header is how a table's header is written: "[tls]", "[[listener]]",
// "[smarthost.NAME]"; "" for a key that is no table.
func (k Key) Header() string {
	switch t := k.typeOf(); {
	case t == nil || !k.isTable():
		return ""
	case t.Kind() == reflect.Slice:
		return "[[" + k.Path + "]]"
	case t.Kind() == reflect.Map:
		return "[" + k.Path + ".NAME]"
	}
	return "[" + k.Path + "]"
}

// isTable: an example of several keys, not of one value.
func (k Key) isTable() bool {
	t := k.typeOf()
	return t != nil && isTable(reflect.New(t).Elem()) && !strings.HasPrefix(k.Example, "{")
}

// inside lists the keys of a table.
func (k Key) inside() []Key {
	var out []Key
	prefix := k.Path + "."
	for _, in := range keys {
		rest, ok := strings.CutPrefix(in.Path, prefix)
		rest = strings.TrimPrefix(rest, "NAME.")
		if ok && !strings.Contains(rest, ".") {
			out = append(out, in)
		}
	}
	return out
}

// typeOf finds the Go type of a key in the tree.
func (k Key) typeOf() reflect.Type {
	t := reflect.TypeFor[Config]()
	for part := range strings.SplitSeq(k.Path, ".") {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() == reflect.Map {
			t = t.Elem()
			if part == "NAME" {
				continue
			}
		}
		if t.Kind() != reflect.Struct {
			return nil
		}
		i, ok := fields(t)[part]
		if !ok {
			return nil
		}
		t = t.Field(i).Type
	}
	return t
}

// kindWords name types as an operator would.
var kindWords = map[string]string{
	"string": "text", "int": "number", "bool": "true or false", "config.Size": "size",
	"config.Rate": "rate", "time.Duration": "duration", "netip.Prefix": "network",
	"netip.Addr": "IP address", "config.Secret": "secret, by reference",
	"config.Recipients": "text or list", "config.Aliases": "table or file",
}

// Kind names the type of value a key takes.
func (k Key) Kind() string {
	t := k.typeOf()
	if t == nil {
		return "?"
	}
	if k.isTable() {
		return "table " + k.Header()
	}
	if w, ok := kindWords[t.String()]; ok {
		return w
	}
	if t.Kind() == reflect.Slice {
		if w, ok := kindWords[t.Elem().String()]; ok {
			return "list of " + strings.TrimSuffix(w, "s")
		}
		return "list of tables"
	}
	return "table"
}

// Reference writes docs/reference/config.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	for _, k := range keys {
		if strings.Contains(k.Path, ".") && !k.isTable() {
			fmt.Fprintf(&b, "### %s\n\n", k.Path)
		} else {
			fmt.Fprintf(&b, "## %s\n\n", k.Path)
		}
		fmt.Fprintf(&b, "%s\n\n", k.Doc)
		facts := []string{k.Kind()}
		for _, row := range k.rows() {
			switch row[0] {
			case "one of":
				facts = append(facts, "one of "+row[1])
			case "default":
				facts = append(facts, "default: "+code(k, row[1]))
			case "change":
				facts = append(facts, row[1])
			}
		}
		fmt.Fprintf(&b, "*%s*\n\n", strings.Join(facts, "; "))
		fmt.Fprintf(&b, "```toml\n%s\n```\n\n", k.sample())
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func code(k Key, text string) string {
	if k.Auto != "" {
		return text
	}
	return "`" + text + "`"
}

const referenceHead = `# The configuration, key by key

After this page you can write any configuration. It is made from the table in ` + "`internal/config/keys.go`" + `; the same words come from ` + "`paquebot config explain KEY`" + `.

The file is TOML and strict: an unknown key is an error. Everything has a default; an empty file is a correct server that relays nothing for strangers. Check a file with ` + "`paquebot config check -c FILE`" + `, see what is in force with ` + "`paquebot config show`" + `. Sending SIGHUP (or ` + "`systemctl reload paquebot`" + `) reads it again without dropping a connection; a wrong file changes nothing.

Durations are written "30s", "5m", "4h", "5d"; sizes "256KiB", "50MiB", "4GiB"; rates "600/min". Secrets stand in files of their own or in the environment, never here: ` + "`{ file = \"/path\" }` or `{ env = \"NAME\" }`" + `. File names are relative to the configuration.

`
