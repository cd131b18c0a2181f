package console

import (
	"net/http"
	"strings"

	"paquebot/internal/mail"
)

// deletePost deletes one message and goes to the next.
func (c *console) deletePost(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	_, older := c.needs.Store.Neighbours(m.ID)
	if _, err := c.needs.Store.Delete(m.ID); err != nil {
		fail(w, err)
		return
	}
	to := "/"
	if !older.IsZero() {
		to = "/m/" + older.String()
	}
	c.back(w, r, to)
}

// deleteManyPost deletes the messages that were ticked, at most a stretch of
// the list: the form says no more.
func (c *console) deleteManyPost(w http.ResponseWriter, r *http.Request) {
	ids, ok := ticked(w, r)
	if !ok {
		return
	}
	if _, err := c.needs.Store.Delete(ids...); err != nil {
		fail(w, err)
		return
	}
	c.back(w, r, "/")
}

func ticked(w http.ResponseWriter, r *http.Request) (ids []mail.ID, ok bool) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "This form cannot be read: "+err.Error(), http.StatusBadRequest)
		return nil, false
	}
	for _, text := range r.PostForm["id"] {
		if id, err := mail.ParseID(strings.TrimSpace(text)); err == nil {
			ids = append(ids, id)
		}
	}
	return ids, true
}

// readPost marks the messages that were ticked as read, or with ?unread=1 as
// not read.
func (c *console) readPost(w http.ResponseWriter, r *http.Request) {
	ids, ok := ticked(w, r)
	if !ok {
		return
	}
	if len(ids) > 0 { // none would mean all
		if _, err := c.needs.Store.MarkRead(r.URL.Query().Get("unread") == "", ids...); err != nil {
			fail(w, err)
			return
		}
	}
	c.back(w, r, "/")
}

// clearPost deletes what the list shows: all, or what mailbox and search leave.
func (c *console) clearPost(w http.ResponseWriter, r *http.Request) {
	if _, err := c.needs.Store.DeleteWhere(query(r)); err != nil {
		fail(w, err)
		return
	}
	http.Redirect(w, r, c.at("/"), http.StatusSeeOther)
}

func (c *console) clearSessionsPost(w http.ResponseWriter, r *http.Request) {
	c.needs.Store.ClearSessions()
	http.Redirect(w, r, c.at("/sessions"), http.StatusSeeOther)
}

// back goes to a page within what the list was narrowed to.
func (c *console) back(w http.ResponseWriter, r *http.Request, path string) {
	scope := c.frame(r, "", "").Scope()
	http.Redirect(w, r, c.at(path)+string(scope), http.StatusSeeOther)
}
