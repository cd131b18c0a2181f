package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// fileMax bounds the file: what is larger is not a configuration.
const fileMax = 16 << 20

// Load reads the file, checks it against this machine (certificates, secrets,
// folders), and returns the configuration ready for use. With an error among
// the problems the configuration is nil. An empty path is an empty file: all
// defaults.
func Load(path string) (*Config, []Problem) {
	text, problem := read(path)
	if problem != nil {
		return nil, []Problem{*problem}
	}
	c, r := parse(path, text)
	if c != nil {
		c.lookAround(r)
	}
	sortProblems(r.problems)
	if c == nil || Failed(r.problems) {
		return nil, r.problems
	}
	return c, r.problems
}

// Parse does what Load does as far as that depends on the text alone: no file
// is opened, secrets stay references. With an error the configuration is nil.
func Parse(name, text string) (*Config, []Problem) {
	c, r := parse(name, text)
	sortProblems(r.problems)
	if Failed(r.problems) {
		return nil, r.problems
	}
	return c, r.problems
}

// DataDir returns the data directory the file names, so that tools find a
// server's socket and spool even while the rest of the file is wrong.
func DataDir(path string) (string, []Problem) {
	text, problem := read(path)
	if problem != nil {
		return "", []Problem{*problem}
	}
	c, r := parse(path, text)
	if c == nil {
		return "", r.problems
	}
	return c.DataDir, nil
}

// Hostname returns the name the file gives the server, "" when it gives none or
// cannot be read; the rest of the file may be wrong.
func Hostname(path string) string {
	text, problem := read(path)
	if problem != nil {
		return ""
	}
	c, _ := parse(path, text)
	if c == nil || !isDomain(c.Hostname) {
		return ""
	}
	return c.Hostname
}

// WaysOut returns the smart hosts of the file, ready for use, and its DNS
// settings, so that a program that is no server can send by them: folders,
// listeners and certificates are not looked at. With an error among the problems
// the configuration is nil.
func WaysOut(path string) (*Config, []Problem) {
	text, problem := read(path)
	if problem != nil {
		return nil, []Problem{*problem}
	}
	c, r := parse(path, text)
	if c != nil {
		c.equipAll(r)
	}
	sortProblems(r.problems)
	if c == nil || Failed(r.problems) {
		return nil, r.problems
	}
	return &Config{Smarthosts: c.Smarthosts, DNS: c.DNS}, r.problems
}

// Default is the configuration of an empty file.
func Default() *Config {
	c, _ := parse("", "")
	return c
}

func read(path string) (string, *Problem) {
	if path == "" {
		return "", nil
	}
	text, err := readBounded(path)
	if err != nil {
		remedy := "name another file with -c FILE or PAQUEBOT_CONFIG"
		if errors.Is(err, fs.ErrPermission) {
			remedy = "run this as the server's user, or change the file's owner or mode"
		}
		return "", &Problem{Severity: Error, File: path, Message: "cannot read the configuration: " + reason(err), Remedy: remedy}
	}
	return string(text), nil
}

// readBounded reads at most fileMax octets, whatever the file says its size is:
// a device or a pipe says 0.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	if err == nil && len(text) > fileMax {
		err = fmt.Errorf("larger than %s", Size(fileMax))
	}
	return text, err
}

// parse returns nil only when the text is not TOML or does not fit the tree.
func parse(name, text string) (*Config, *report) {
	r := &report{file: name, text: text}
	var given map[string]any
	if !utf8.ValidString(text) {
		r.notUTF8()
		return nil, r
	}
	if _, err := toml.Decode(text, &given); err != nil {
		r.syntax(err)
		return nil, r
	}
	r.places = positions(text)
	c := &Config{File: name}
	b := binder{r}
	b.bindStruct(reflect.ValueOf(c).Elem(), given, "")
	c.check(r)
	return c, r
}

// notUTF8 points at the first line that is something else.
func (r *report) notUTF8() {
	p := Problem{Severity: Error, Message: "the file is not UTF-8 text",
		Remedy: "save it as UTF-8; from Latin-1: iconv -f latin1 -t utf-8 OLD > NEW"}
	for i, l := range strings.Split(r.text, "\n") {
		if !utf8.ValidString(l) {
			p.Line = i + 1
			break
		}
	}
	r.add(p)
}

// report collects problems and knows where keys stand.
type report struct {
	file      string
	text      string
	places    map[string]place
	problems  []Problem
	misshapen []string // keys that hold a value where a table belongs
}

// problemsMax bounds what is told of one file.
const problemsMax = 100

func (r *report) add(p Problem) {
	p.File = r.file
	if len(r.problems) < problemsMax {
		r.problems = append(r.problems, p)
	}
}

// at makes a Problem at a key, or at the nearest table around it.
func (r *report) at(path string, s Severity, message, remedy string) {
	if len(r.problems) >= problemsMax || s == Error && r.blamed(path) || r.consequence(path) {
		return
	}
	p := Problem{Severity: s, Key: path, Message: message, Remedy: remedy}
	for q := path; q != ""; q = parent(q) {
		if where, ok := r.places[q]; ok {
			r.locate(&p, where)
			break
		}
	}
	r.add(p)
}

// blamed: something at this key or inside it is wrong already, so what else is
// said of it is most likely a consequence.
func (r *report) blamed(path string) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool {
		rest, ok := strings.CutPrefix(p.Key, path)
		return ok && p.Severity == Error && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// consequence: the key itself could not be read, or a table around it, so that
// it seems to be left out.
func (r *report) consequence(path string) bool {
	inside := func(key string) bool {
		rest, ok := strings.CutPrefix(path, key)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	}
	return slices.ContainsFunc(r.misshapen, inside) ||
		slices.ContainsFunc(r.problems, func(p Problem) bool { return p.Severity == Error && p.Key == path })
}

// shapeless reports a key that is no table, though one belongs there.
func (r *report) shapeless(path, format string, args ...any) {
	r.fault(path, format, args...)
	r.misshapen = append(r.misshapen, path)
}

func (r *report) locate(p *Problem, where place) {
	p.Line, p.Column, p.Width = where.line, where.col, where.width
	lines := strings.Split(r.text, "\n")
	for n := where.line - 1; n <= where.line; n++ {
		if n >= 1 && n <= len(lines) {
			l := strings.TrimRight(lines[n-1], "\r")
			if n == where.line || strings.TrimSpace(l) != "" {
				p.Source = append(p.Source, masked(l))
			}
		}
	}
}

// secretLine finds what somebody may have written where only a reference
// belongs; complaining about it must not print it.
var secretLine = regexp.MustCompile(`(?i)(pass|secret|token|credential)`)

func masked(line string) string {
	if !secretLine.MatchString(line) {
		return line
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok || isReference.MatchString(value) {
		return line
	}
	return key + "= \"***\""
}

var isReference = regexp.MustCompile(`^\s*\{\s*(file|env)\s*=`)

func parent(path string) string {
	cut := strings.LastIndexAny(path, ".[")
	return path[:max(cut, 0)]
}

func (r *report) fault(path, format string, args ...any) {
	r.at(path, Error, fmt.Sprintf(format, args...), "")
}

func (r *report) faultDo(path, remedy, format string, args ...any) {
	r.at(path, Error, fmt.Sprintf(format, args...), remedy)
}

func (r *report) warn(path, remedy, format string, args ...any) {
	r.at(path, Warn, fmt.Sprintf(format, args...), remedy)
}

// syntax reports what the TOML reader could not read.
func (r *report) syntax(err error) {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		r.add(Problem{Severity: Error, Message: "not TOML: " + err.Error()})
		return
	}
	p := Problem{Severity: Error, Message: "not TOML: " + strings.TrimSpace(pe.Message), Remedy: syntaxRemedy(pe.Message)}
	if pe.Position.Line > 0 {
		r.locate(&p, place{pe.Position.Line, max(pe.Position.Col, 1), max(pe.Position.Len, 1)})
		if slices.ContainsFunc(p.Source, secretLine.MatchString) {
			p.Message = "not TOML"
		}
	}
	r.add(p)
}

func syntaxRemedy(message string) string {
	switch {
	case strings.Contains(message, "already been defined"), strings.Contains(message, "already defined"):
		return "delete one of the two; tables that repeat are written [[name]]"
	case strings.Contains(message, "expected value"):
		return "text stands in quotes: key = \"value\""
	}
	return ""
}

// unknown reports a key that does not exist, with what was probably meant.
func (r *report) unknown(table, name string, known []string) {
	where := "the file's top"
	if table != "" {
		where = section(table)
	}
	r.faultDo(join(table, name), unknownRemedy(table, name, known), "unknown key %q in %s", name, where)
}

// section writes a path as the header it stands under.
func section(path string) string {
	if strings.HasSuffix(path, "]") && strings.Count(path, "[") == 1 {
		return "[[" + keyName(path) + "]]"
	}
	return "[" + keyName(path) + "]"
}

func unknownRemedy(table, name string, known []string) string {
	schema := schemaPath(join(table, name))
	for _, m := range misnomers {
		if m.path == schema || m.path == "*."+name {
			return m.remedy
		}
	}
	if n := Nearest(name, known); n != "" {
		return "Did you mean " + n + "?"
	}
	for _, k := range keys {
		if last := k.Path[strings.LastIndexByte(k.Path, '.')+1:]; last == name {
			return "There is such a key elsewhere: " + k.Path
		}
	}
	return "Known here: " + strings.Join(known, ", ")
}

// misnomers are keys that people know from elsewhere.
var misnomers = []struct{ path, remedy string }{
	{"listener.starttls", "a submission port always demands STARTTLS; say role = \"submission\" and delete this line"},
	{"listener.tls", "the role decides: submissions is TLS from the first byte, submission is STARTTLS; delete this line"},
	{"listener.ssl", "TLS from the first byte is role = \"submissions\"; delete this line"},
	{"listener.port", "write address = \":587\""},
	{"listener.listen", "write address = \":587\""},
	{"listener.auth", "the role decides: submission and submissions demand AUTH, mx has none; delete this line"},
	{"tls.acme", "this version has no ACME client; let certbot or lego renew and name its files in cert and key, they are read again when they change"},
	{"tls.certificate", "write cert = \"…\""},
	{"smarthost.NAME.port", "write ports = [587]"},
	{"smarthost.NAME.user", "write username = \"…\""},
	{"relayhost", "write [smarthost.NAME] with host = \"…\" and a [[route]] with via = \"NAME\""},
	{"smtp", "ports are [[listener]] tables, smart hosts [smarthost.NAME]"},
	{"myhostname", "write hostname = \"…\""},
	{"listeners", "write [[listener]] for each"},
	{"domains", "write [[domain]] for each"},
	{"routes", "write [[route]] for each"},
	{"accounts", "write [[account]] for each, or use `paquebot account add`"},
	{"users", "write [[account]] for each, or use `paquebot account add`"},
	{"suppress", "use `paquebot suppress`"},
}

// reason is an error without the path that is named beside it anyway.
func reason(err error) string {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}
