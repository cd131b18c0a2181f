package message

import (
	"mime"
	"path"
	"strconv"
	"strings"
)

// readContentFields settles what a part is from its Content- fields.
func readContentFields(n *Part, fallback string) {
	n.Type, n.Params = mediaType(n, n.Header.Get("Content-Type"))
	if n.Type == "" {
		n.Type = fallback
	}
	encoding := stripComments(n.Header.Get("Content-Transfer-Encoding"))
	n.Encoding = strings.ToLower(strings.TrimRight(strings.TrimSpace(encoding), "; "))
	switch n.Encoding {
	case "", "7bit", "8bit", "binary", "quoted-printable", "base64":
	default:
		n.note("the transfer encoding %q is unknown: shown as it is", printable(n.Encoding, 40))
	}
	id := strings.TrimSpace(stripComments(n.Header.Get("Content-ID")))
	n.ContentID = printable(strings.TrimSuffix(strings.TrimPrefix(id, "<"), ">"), LineMax)
	readDisposition(n)
}

func readDisposition(n *Part) {
	value := n.Header.Get("Content-Disposition")
	if value != "" {
		kind, params := mediaType(n, value)
		n.FileName = fileName(params["filename"])
		switch kind {
		case "inline", "":
			n.Disposition = "inline"
		default:
			n.Disposition = "attachment"
		}
	}
	if n.FileName == "" {
		n.FileName = fileName(n.Params["name"])
	}
}

// fileName makes a name to show and to save under: decoded, without any path,
// never hidden (RFC 2183 §2.3, §5).
func fileName(s string) string {
	s = printable(DecodeWords(s), 255)
	s = path.Base(strings.ReplaceAll(s, `\`, "/"))
	s = strings.TrimLeft(s, ". ")
	if s == "/" {
		return ""
	}
	return s
}

// mediaType reads "type/subtype; name=value" and "inline; name=value" alike.
// What the strict reader of the library refuses is read leniently, with a note.
func mediaType(n *Part, value string) (string, map[string]string) {
	if strings.TrimSpace(value) == "" {
		return "", nil
	}
	clean := strings.TrimSpace(stripComments(value))
	if t, params, err := mime.ParseMediaType(clean); err == nil && t != "" {
		return plausibleType(n, t), decodeParams(params)
	}
	t, rest, _ := strings.Cut(clean, ";")
	n.note("a content field is malformed: %q", printable(value, 80))
	return plausibleType(n, strings.ToLower(strings.TrimSpace(t))), lenientParams(rest)
}

// plausibleType keeps a type to the characters of a token (RFC 2045 §5.1): it
// is shown and, for a few types, served.
func plausibleType(n *Part, t string) string {
	if first := strings.Fields(t); len(first) > 1 {
		t = first[0]
	}
	for _, c := range []byte(t) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"[]?=`, c) >= 0 {
			return "application/octet-stream"
		}
	}
	if len(t) > 127 || strings.Count(t, "/") > 1 {
		return "application/octet-stream"
	}
	return t
}

func decodeParams(params map[string]string) map[string]string {
	for k, v := range params {
		if k != "boundary" { // compared by octets
			params[k] = DecodeWords(v)
		}
	}
	return params
}

// paramsMax bounds the parameters of one content field.
const paramsMax = 50

// lenientParams reads parameters as they come in the wild: unquoted specials,
// missing quotes, the same name twice (the first counts).
func lenientParams(s string) map[string]string {
	params := map[string]string{}
	for s != "" && len(params) < paramsMax {
		var one string
		one, s = cutParam(s)
		name, value, ok := strings.Cut(one, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		value = strings.TrimSpace(value)
		if !ok || name == "" {
			continue
		}
		if strings.HasPrefix(value, `"`) {
			if end, text := quotedEnd(value, 0); end > 0 {
				value = text
			} else {
				value = value[1:]
			}
		}
		if base, extended := strings.CutSuffix(name, "*"); extended {
			name, value = base, extendedValue(value)
		}
		if _, twice := params[name]; !twice {
			params[name] = value
		}
	}
	return decodeParams(params)
}

// cutParam takes what is before the next ";" outside quotes.
func cutParam(s string) (one, rest string) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ';':
			return s[:i], s[i+1:]
		case '"':
			if end, _ := quotedEnd(s, i); end > 0 {
				i = end - 1
			}
		}
	}
	return s, ""
}

// extendedValue reads charset'language'percent-encoded (RFC 2231 §4).
func extendedValue(s string) string {
	charset, rest, ok := strings.Cut(s, "'")
	_, text, ok2 := strings.Cut(rest, "'")
	if !ok || !ok2 {
		return s
	}
	octets := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if v, err := strconv.ParseUint(text[i+1:i+3], 16, 8); err == nil {
				octets = append(octets, byte(v))
				i += 2
				continue
			}
		}
		octets = append(octets, text[i])
	}
	if out, known := fromCharset(charset, octets); known {
		return out
	}
	return text
}
