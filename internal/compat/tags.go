package compat

import (
	"errors"
	"net/http"

	"paquebot/internal/catch"
)

// TagRequest gives messages tags.
type TagRequest struct {
	Tags []string
	IDs  []string
}

// TagName is a tag's new name.
type TagName struct{ Name string }

func (a *API) tags(w http.ResponseWriter, _ *http.Request) { writeJSON(w, a.tagNames()) }

func (a *API) setTags(w http.ResponseWriter, r *http.Request) {
	var t TagRequest
	if err := readJSON(r, &t, false); err != nil {
		refuse(w, err.Error())
		return
	}
	for _, id := range known(t.IDs) {
		if err := a.needs.Store.SetTags(id, t.Tags); err != nil && !errors.Is(err, catch.ErrNotFound) {
			refuse(w, err.Error())
			return
		}
	}
	ok(w)
}

func (a *API) renameTag(w http.ResponseWriter, r *http.Request) {
	var to TagName
	if err := readJSON(r, &to, false); err != nil {
		refuse(w, err.Error())
		return
	}
	from := r.PathValue("tag")
	switch err := a.needs.Store.RenameTag(from, to.Name); {
	case errors.Is(err, catch.ErrBadTag):
		refuse(w, "invalid tag name: "+to.Name)
	case errors.Is(err, catch.ErrNoSuchTag):
		refuse(w, "tag not found: "+from)
	case errors.Is(err, catch.ErrTagExists):
		refuse(w, "tag already exists: "+to.Name)
	case err != nil:
		refuse(w, err.Error())
	default:
		ok(w)
	}
}

func (a *API) deleteTag(w http.ResponseWriter, r *http.Request) {
	tag := r.PathValue("tag")
	switch err := a.needs.Store.DeleteTag(tag); {
	case errors.Is(err, catch.ErrNoSuchTag):
		refuse(w, "tag not found: "+tag)
	case err != nil:
		refuse(w, err.Error())
	default:
		ok(w)
	}
}
