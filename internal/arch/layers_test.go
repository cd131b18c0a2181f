package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layers is the single rule: a package imports only from lines above its own in
// this table. Within words and standards the order of the line counts as well:
// a package may import those named left of it. A room never imports a room.
var layers = []struct {
	name    string
	pkgs    []string
	ordered bool // packages may import those left of them
}{
	{"words", []string{"smtp", "mail", "message", "event"}, true},
	{"standards", []string{"provider", "dns", "spf", "dkim", "dmarc", "tlspolicy", "oauth", "smtpclient", "probe", "report", "critique"}, true},
	{"rooms", []string{"listen", "smtpserver", "policy", "accounts", "spool", "queue", "shaping", "route", "deliver", "store", "catch", "mishap", "pop3", "cluster"}, false},
	{"windows", []string{"config", "observe", "doctor", "api", "compat", "console"}, true},
	{"node", []string{"node"}, false},
	{"cmd", []string{"cmd/paquebot"}, false},
}

// testOnly may be imported by tests alone, and may import anything below node.
var testOnly = []string{"sim", "arch"}

const module = "paquebot/"

func position(pkg string) (layer, at int) {
	for i, l := range layers {
		if j := slices.Index(l.pkgs, pkg); j >= 0 {
			return i, j
		}
	}
	return -1, -1
}

// allowed says whether a package may import another one of the house.
func allowed(from, to string) bool {
	if slices.Contains(testOnly, to) {
		return false
	}
	fl, fa := position(from)
	tl, ta := position(to)
	if slices.Contains(testOnly, from) {
		return tl >= 0 && tl < 4
	}
	if fl < 0 || tl < 0 {
		return false
	}
	return tl < fl || tl == fl && layers[fl].ordered && ta < fa
}

type source struct {
	path string // from the project's root
	pkg  string // as in layers
	test bool
	file *ast.File
	fset *token.FileSet
}

// root is the project's folder, seen from this package.
const root = "../.."

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, top := range []string{"internal", "cmd", "test"} {
		base := filepath.Join(root, top)
		if _, err := os.Stat(base); err != nil {
			continue
		}
		err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.Contains(path, "/testdata/") {
				return err
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(root, path)
			all = append(all, source{
				path: rel,
				pkg:  strings.TrimPrefix(filepath.Dir(rel), "internal/"),
				test: strings.HasSuffix(path, "_test.go"),
				file: f,
				fset: fset,
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(all) < 20 {
		t.Fatalf("found only %d source files: the walk is broken", len(all))
	}
	return all
}

func TestPackagesImportOnlyFromLayersBelow(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.pkg, "test/") {
			continue
		}
		for _, imp := range s.file.Imports {
			path := strings.Trim(imp.Path.Value, `"`)
			if !strings.HasPrefix(path, module) {
				continue
			}
			to := strings.TrimPrefix(strings.TrimPrefix(path, module), "internal/")
			if !allowed(s.pkg, to) {
				t.Errorf("%s: %s may not import %s", s.path, s.pkg, to)
			}
		}
	}
}

func TestTheRuleItself(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"mail", "smtp", true},
		{"smtp", "mail", false},
		{"queue", "mail", true},
		{"queue", "spool", false}, // a room never imports a room
		{"spool", "queue", false},
		{"smtpclient", "queue", false},
		{"node", "queue", true},
		{"api", "queue", true},
		{"queue", "api", false},
		{"queue", "sim", false},
		{"cmd/paquebot", "node", true},
		{"unheard-of", "mail", false},
	} {
		if got := allowed(c.from, c.to); got != c.want {
			t.Errorf("allowed(%s, %s) = %v, want %v", c.from, c.to, got, c.want)
		}
	}
}

// Rooms say what happened as events; they write no log themselves.
func TestRoomsImportNoLogger(t *testing.T) {
	for _, s := range sources(t) {
		layer, _ := position(s.pkg)
		if s.test || layer < 0 || layer > 2 {
			continue
		}
		for _, imp := range s.file.Imports {
			switch path := strings.Trim(imp.Path.Value, `"`); {
			case path == "log", path == "log/slog", strings.HasPrefix(path, "github.com/prometheus/"):
				t.Errorf("%s imports %s: emit an event instead", s.path, path)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	docs := map[string]string{}
	seen := map[string]bool{}
	for _, s := range sources(t) {
		if strings.HasPrefix(s.path, "test/") {
			continue
		}
		seen[s.pkg] = true
		if s.file.Doc != nil && filepath.Base(s.path) == "doc.go" {
			docs[s.pkg] = s.file.Doc.Text()
		}
	}
	for pkg := range seen {
		if len(docs[pkg]) < 80 {
			t.Errorf("%s: needs a doc.go that says what it is for, what it may not know, and which file to read first", pkg)
		}
	}
}

func TestNothingHappensBehindTheScenes(t *testing.T) {
	all := sources(t)
	vars := map[string]map[string]bool{} // by package
	for _, s := range all {
		if vars[s.pkg] == nil {
			vars[s.pkg] = map[string]bool{}
		}
		if !s.test {
			packageVars(s.file, vars[s.pkg])
		}
	}
	for _, s := range all {
		if s.test || strings.HasPrefix(s.path, "test/") {
			continue
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: init() wires behind the reader's back; do it in node", s.path)
			}
			if f.Body == nil {
				continue
			}
			local := declared(f)
			ast.Inspect(f.Body, func(n ast.Node) bool {
				for _, id := range assigned(n) {
					if vars[s.pkg][id.Name] && !local[id.Name] {
						t.Errorf("%s: package variable %s is changed; pass state in", s.fset.Position(id.Pos()), id.Name)
					}
				}
				return true
			})
		}
	}
}

func packageVars(f *ast.File, into map[string]bool) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				into[name.Name] = name.Name != "_"
			}
		}
	}
}

// declared returns the names a function declares itself: receiver, parameters,
// results and everything in its body. One of these that shares its name with a
// package variable hides it, as far as this test looks.
func declared(f *ast.FuncDecl) map[string]bool {
	local := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			for _, name := range n.Names {
				local[name.Name] = true
			}
		case *ast.ValueSpec:
			for _, name := range n.Names {
				local[name.Name] = true
			}
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				for _, e := range n.Lhs {
					if id, ok := e.(*ast.Ident); ok {
						local[id.Name] = true
					}
				}
			}
		case *ast.RangeStmt:
			for _, e := range []ast.Expr{n.Key, n.Value} {
				if id, ok := e.(*ast.Ident); ok && n.Tok == token.DEFINE {
					local[id.Name] = true
				}
			}
		}
		return true
	})
	return local
}

// assigned returns the identifiers a statement changes: x = 1, x[i] = 1, x.f = 1, x++.
func assigned(n ast.Node) []*ast.Ident {
	var exprs []ast.Expr
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			exprs = n.Lhs
		}
	case *ast.IncDecStmt:
		exprs = []ast.Expr{n.X}
	}
	var ids []*ast.Ident
	for _, e := range exprs {
		if id := baseOf(e); id != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func baseOf(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.IndexExpr:
		return baseOf(e.X)
	case *ast.SelectorExpr:
		return baseOf(e.X)
	case *ast.StarExpr:
		return baseOf(e.X)
	case *ast.ParenExpr:
		return baseOf(e.X)
	}
	return nil
}
