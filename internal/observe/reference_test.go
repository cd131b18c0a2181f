package observe

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

func TestMetricsPageIsCurrent(t *testing.T) {
	golden(t, "../../docs/reference/metrics.md", MetricsReference())
}

const eventsHead = `# Events

After this page you can read the log and ` + "`paquebot trace --json`" + `. Each event is said once; log lines, metrics and traces are made of it. Its name is the log line's ` + "`msg`" + ` and the trace's ` + "`type`" + `; its facts are the line's attributes and the trace's ` + "`facts`" + `. Empty facts are left out. Facts about who connected (` + "`session`, `role`, `listener`, `client`, `name`, `helo`, `tls`, `account`, `method`" + `) are written "origin" here, those about a message (` + "`id`, `sender`, `recipients`, `recipient_count`, `size_bytes`, `message_id`" + ` and its origin) "envelope", those about a try (` + "`result`, `stage`, `reply`, `cause`, `ours`, `host`, `addr`, `source`, `reach`, `tls`, `ambiguous`, `took_seconds`" + `) "outcome", and those about how a recipient stands (` + "`state`, `due`, `tries`, `site`, `host`, `stage`, `reply`" + `) "standing". A ` + "`reply`" + ` may come with its hidden ` + "`cause`" + `.

| event | what | facts |
|---|---|---|
`

// groups are the nouns whose facts the page names once.
var groups = map[string]string{
	"mail.Origin": "origin", "*mail.Envelope": "envelope", "mail.Outcome": "outcome", "mail.Standing": "standing",
}

// The page is read from the source of package event: its comments are the
// documentation.
func TestEventsPageIsCurrent(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../event/event.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	names := eventNames(file)
	var rows []string
	doc := ""
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			ts := s.(*ast.TypeSpec)
			st, ok := ts.Type.(*ast.StructType)
			if !ok || names[ts.Name.Name] == "" {
				continue
			}
			if g.Doc != nil {
				doc = g.Doc.Text()
			}
			_, words, _ := strings.Cut(strings.Join(strings.Fields(doc), " "), ": ")
			rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", names[ts.Name.Name], words, factNames(st)))
		}
	}
	if len(rows) != len(names) || len(rows) < 30 {
		t.Errorf("%d of %d events are described", len(rows), len(names))
	}
	slices.Sort(rows)
	golden(t, "../../docs/reference/events.md", eventsHead+strings.Join(rows, ""))
}

// eventNames maps types to what their Name returns.
func eventNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Recv == nil || f.Name.Name != "Name" {
			continue
		}
		ret, ok := f.Body.List[0].(*ast.ReturnStmt)
		if !ok {
			continue
		}
		if lit, ok := ret.Results[0].(*ast.BasicLit); ok {
			names[f.Recv.List[0].Type.(*ast.Ident).Name] = strings.Trim(lit.Value, `"`)
		}
	}
	return names
}

func factNames(st *ast.StructType) string {
	var out []string
	for _, f := range st.Fields.List {
		kind := typeName(f.Type)
		for _, n := range f.Names {
			if g := groups[kind]; g != "" {
				out = append(out, g)
			} else {
				out = append(out, "`"+snake(n.Name)+"`")
			}
		}
	}
	return strings.Join(out, ", ")
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return "*" + typeName(e.X)
	case *ast.SelectorExpr:
		return typeName(e.X) + "." + e.Sel.Name
	case *ast.Ident:
		return e.Name
	}
	return ""
}
