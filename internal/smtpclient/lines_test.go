package smtpclient

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"paquebot/internal/mail"
)

// wide is text of n octets in words.
func wide(n int) string { return strings.Repeat("word ", n/5+1)[:n] }

const textHead = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"

// SRV-12, RFC 5321 §4.5.3.1.6: parts with long lines are encoded, and nothing
// else changes.
func TestShortLines(t *testing.T) {
	octets := strings.Repeat("A", 1000)
	signed := "--b\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n--c\r\n\r\nsigned\r\n--c--\r\n"
	mixed := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
	for name, c := range map[string]struct{ in, want string }{
		"nothing to do": {"DKIM-Signature: x\r\n\r\nGrüße\r\n", "DKIM-Signature: x\r\n\r\nGrüße\r\n"},
		"only parts with long lines": {
			mixed + signed + "--b\r\n\r\nGrüße\r\n--b\r\nContent-Type: image/svg+xml\r\n\r\n" + octets + "\r\n--b--\r\n",
			mixed + signed + "--b\r\n\r\nGrüße\r\n--b\r\nContent-Type: image/svg+xml\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64Lines(octets) + "\r\n--b--\r\n"},
		"long text": {textHead + "Content-Transfer-Encoding: 8bit\r\n\r\n" + octets + "ä\r\n",
			textHead + "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat(octets[:75]+"=\r\n", 13) + octets[:25] + "=C3=A4\r\n"},
		"base64 in one line": {textHead + "Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(octets)) + "\r\n",
			textHead + "Content-Transfer-Encoding: base64\r\n\r\n" + base64Lines(octets)},
		"quoted-printable in one line": {textHead + "Content-Transfer-Encoding: quoted-printable\r\n\r\nx" + strings.Repeat("=C3=A4", 200) + "\r\n",
			textHead + "Content-Transfer-Encoding: quoted-printable\r\n\r\nx" + quotedLines(1200)},
		"header": {"X: y\r\nReferences: " + octets[:900] + " " + octets[:900] + "\r\n\r\nx\r\n",
			"X: y\r\nReferences: " + octets[:900] + "\r\n " + octets[:900] + "\r\n\r\nx\r\n"},
		"header before its value": {"Subject: " + octets[:995] + "\r\n\r\nx\r\n", "Subject:\r\n " + octets[:995] + "\r\n\r\nx\r\n"},
		"header's fold":           {"Subject: x\r\n " + octets[:700] + "\t" + octets[:700] + "\r\n y\r\n\r\nx\r\n", "Subject: x\r\n " + octets[:700] + "\r\n\t" + octets[:700] + "\r\n y\r\n\r\nx\r\n"},
		"UTF-8 header":            {"Subject: ä " + octets[:990] + "\r\n\r\nx\r\n", "Subject: ä\r\n " + octets[:990] + "\r\n\r\nx\r\n"},
	} {
		got, err := converter{short: true}.convert(mail.Bytes(c.in))
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\ngot\n%q\nwant\n%q", name, err, got, c.want)
		}
	}
}

func base64Lines(s string) string {
	var out bytes.Buffer
	writeBase64(&out, []byte(s))
	return out.String()
}

// quotedLines cuts n octets of "=C3=A4" as breakQuoted does: after "x" and
// whole characters.
func quotedLines(n int) string {
	text, out, room := strings.Repeat("=C3=A4", n/6), "", 72 // and the x
	for len(text) > 75 {
		out, text, room = out+text[:room]+"=\r\n", text[room:], 75
	}
	return out + text + "\r\n"
}

// SRV-12, EXT-22: what must not or cannot be changed is not.
func TestShortLinesRefuses(t *testing.T) {
	long := strings.Repeat("A", 1000)
	for name, m := range map[string]struct {
		in  string
		why error
	}{
		"DKIM":            {"DKIM-Signature: x\r\n\r\n" + long + "\r\n", errSigned},
		"DKIM, header":    {"DKIM-Signature: x\r\nSubject: " + wide(1200) + "\r\n\r\nx\r\n", errSigned},
		"ARC":             {"ARC-Message-Signature: x\r\n\r\n" + long + "\r\n", errSigned},
		"S/MIME":          {"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n" + long + "\r\n--b--\r\n", errSigned},
		"S/MIME, opaque":  {"Content-Type: application/pkcs7-mime\r\n\r\n" + long + "\r\n", errSigned},
		"PGP inline":      {"\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n" + long + "\r\n", errSigned},
		"no white space":  {"Subject: " + long + "\r\n\r\nx\r\n", errLong},
		"blank line":      {"Subject: x" + strings.Repeat(" ", 1000) + "\r\n\r\nx\r\n", errLong},
		"name alone":      {long + " : x\r\n\r\nx\r\n", errLong},
		"delivery status": {"MIME-Version: 1.0\r\nContent-Type: message/delivery-status\r\n\r\nX: " + long + "\r\n", errLong},
		"uuencode":        {textHead + "Content-Transfer-Encoding: x-uuencode\r\n\r\n" + long + "\r\n", errLong},
		"preamble":        {"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + long + "\r\n--b\r\n\r\nx\r\n--b--\r\n", errLong},
	} {
		if got, err := (converter{short: true}).convert(mail.Bytes(m.in)); err != m.why {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// SRV-12: what is a long line, wherever the pieces of a body end and whatever
// ends it.
func TestLongLine(t *testing.T) {
	for _, c := range []struct {
		line int
		end  string
		long bool
	}{
		{998, "\r\n", false}, {999, "\r\n", true}, {998, "", false}, {999, "", true}, {1000, "", true},
		{998, "\n", false}, {999, "\n", true}, {998, "\r", false}, {999, "\r", true},
	} {
		for _, before := range []int{0, 1, pieceSize - 1000, pieceSize - 999, pieceSize - 998, pieceSize - 500, pieceSize, 2 * pieceSize} {
			text := strings.Repeat("a\r\n", before/3) + strings.Repeat("\n", before%3) + strings.Repeat("a", c.line) + c.end
			got, err := examine(mail.Bytes(text), false)
			if err != nil || got.long != c.long || hasLongLine([]byte(text)) != c.long {
				t.Errorf("%d%q after %d: %t %t %v", c.line, c.end, before, got.long, hasLongLine([]byte(text)), err)
			}
		}
	}
}
