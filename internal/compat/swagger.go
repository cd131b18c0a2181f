package compat

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// describe serves the OpenAPI description of all routes, made of the table they
// are served from.
func (a *API) describe(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.description()) }

func (a *API) description() *huma.OpenAPI {
	types := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI:    "3.1.0",
		Info:       &huma.Info{Title: "Paquebot as Mailpit and MailHog", Version: a.config.Version},
		Paths:      map[string]*huma.PathItem{},
		Components: &huma.Components{Schemas: types},
	}
	if a.config.BasePath != "" {
		doc.Servers = []*huma.Server{{URL: a.config.BasePath}}
	}
	for _, r := range a.routes() {
		method, path, _ := strings.Cut(r.pattern, " ")
		doc.AddOperation(r.operation(method, path, types))
	}
	return doc
}

func (r route) operation(method, path string, types huma.Registry) *huma.Operation {
	op := &huma.Operation{Method: method, Path: path, Summary: r.summary, Tags: []string{r.of}, OperationID: r.pattern}
	for piece := range strings.SplitSeq(path, "/") {
		if name := strings.Trim(piece, "{}"); name != piece {
			op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "path", Required: true, Schema: &huma.Schema{Type: "string"}})
		}
	}
	for name := range strings.FieldsSeq(r.query) {
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "query", Schema: &huma.Schema{Type: "string"}})
	}
	if r.request != nil {
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: types.Schema(reflect.TypeOf(r.request), true, "")}}}
	}
	good := &huma.Response{Description: "OK"}
	switch t := r.answer.(type) {
	case nil:
	case string:
		if t != "" {
			good.Content = map[string]*huma.MediaType{t: {Schema: &huma.Schema{Type: "string"}}}
		}
	default:
		good.Content = map[string]*huma.MediaType{"application/json": {Schema: types.Schema(reflect.TypeOf(t), true, "")}}
	}
	op.Responses = map[string]*huma.Response{"200": good, "400": {Description: "Refused; the text says why."}}
	return op
}
