package console

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"paquebot/internal/catch"
	"paquebot/internal/critique"
	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// Judged makes what says of a caught message what production would have said.
func Judged(store *catch.Store) func(context.Context, mail.ID) ([]Finding, error) {
	return func(_ context.Context, id mail.ID) ([]Finding, error) {
		m, err := store.Get(id)
		if err != nil {
			return nil, err
		}
		body, err := store.Raw(id)
		if err != nil {
			return nil, err
		}
		defer body.Close()
		raw, err := io.ReadAll(io.LimitReader(mail.Reader(body), critique.RawMax))
		if err != nil {
			return nil, err
		}
		root, err := message.Parse(bytes.NewReader(raw), message.Limits{Bytes: critique.RawMax})
		if err != nil {
			return nil, err
		}
		lines, _ := store.Dialogue(id) // without it, what was mended is not known
		var out []Finding
		for _, f := range critique.Judge(critique.Letter{Raw: raw, Size: m.Size, Root: root, From: m.From, Repaired: catch.Repairs(lines), Arrived: m.Arrived}) {
			out = append(out, Finding{ID: f.ID, Level: Level(f.Level), Title: f.Title, Detail: f.Detail, Fix: f.Fix, Who: f.Who})
		}
		return out, nil
	}
}

// Findings are what production would have said of a message.
type Findings struct {
	ID       mail.ID   `json:"id"`
	Findings []Finding `json:"findings"`
}

func (c *console) apiFindings(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	if c.needs.Critique == nil {
		http.Error(w, "This instance does not judge mail.", http.StatusNotFound)
		return
	}
	found, err := c.needs.Critique(r.Context(), m.ID)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, Findings{m.ID, append([]Finding{}, found...)})
}
