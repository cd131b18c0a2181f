package console

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

// apiPart serves one part of a message, decoded. Only images of safe kinds are
// shown by a browser; all else is a download whatever it says it is.
func (c *console) apiPart(w http.ResponseWriter, r *http.Request) {
	m, err := c.find(r)
	if err != nil {
		fail(w, err)
		return
	}
	n, err := strconv.Atoi(r.PathValue("n"))
	if err != nil {
		http.Error(w, "Parts are named by number.", http.StatusBadRequest)
		return
	}
	root, err := c.parse(r, m.ID)
	if err != nil {
		fail(w, err)
		return
	}
	p := root.Find(n)
	if p == nil {
		http.Error(w, "This message has no such part.", http.StatusNotFound)
		return
	}
	servePart(w, r, m.ID, p)
}

func servePart(w http.ResponseWriter, r *http.Request, id mail.ID, p *message.Part) {
	body := p.Bytes()
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin") // the mail's frame has an origin of its own
	name := p.FileName
	if name == "" {
		name = id.String() + "-" + itoa(p.Number) + extension(p.Type)
	}
	kind, way := "application/octet-stream", "attachment"
	if safeImage(p.Type) && r.URL.Query().Get("dl") == "" {
		if tooManyPoints(body) {
			http.Error(w, "This picture is too large to be shown; download it.", http.StatusUnprocessableEntity)
			return
		}
		kind, way = p.Type, "inline"
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType(way, map[string]string{"filename": name}))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body)
}

// safeImage reports the kinds that are pictures and nothing else.
func safeImage(t string) bool {
	switch t {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp":
		return true
	}
	return false
}

// extension gives a part without a name one that opens with what it is for.
func extension(t string) string {
	switch t {
	case "text/plain":
		return ".txt"
	case "text/html":
		return ".html"
	case "text/calendar":
		return ".ics"
	case "message/rfc822":
		return ".eml"
	case "image/png", "image/gif", "image/webp":
		return "." + strings.TrimPrefix(t, "image/")
	case "image/jpeg":
		return ".jpg"
	case "application/pdf":
		return ".pdf"
	}
	return ".bin"
}
