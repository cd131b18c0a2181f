package smtpclient

import (
	"bytes"
	"strings"
	"testing"

	"paquebot/internal/mail"
	"paquebot/internal/message"
)

const multipart8 = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" +
	"preamble\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße\r\n" +
	"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n\x89PNG\x00\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\n\r\n<p>ä</p>\r\n" +
	"--b\r\n\r\nplain\r\n--b--\r\nepilogue\r\n"

// RFC 6152 §3, RFC 2045 §6, EXT-2.
func TestToSevenBitConvertsEachPart(t *testing.T) {
	got, err := ToSevenBit(mail.Bytes(multipart8))
	if err != nil {
		t.Fatal(err)
	}
	want := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" +
		"preamble\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=C3=BC=C3=9Fe\r\n" +
		"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORwA=\r\n\r\n" +
		"--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 7bit\r\n\r\nSubject: inner\r\nMIME-Version: 1.0\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=C3=A4</p>\r\n" +
		"--b\r\n\r\nplain\r\n--b--\r\nepilogue\r\n"
	if string(got) != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	// And what people see is the same.
	before, after := readText(t, []byte(multipart8)), readText(t, got)
	if before != after || !strings.Contains(after, "Grüße") {
		t.Errorf("%q became %q", before, after)
	}
}

func readText(t *testing.T, b []byte) string {
	t.Helper()
	p, err := message.Parse(bytes.NewReader(b), message.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return texts(p)
}

func texts(p *message.Part) string {
	if len(p.Children) == 0 {
		return strings.TrimSpace(p.Text())
	}
	var all []string
	for _, c := range p.Children {
		all = append(all, texts(c))
	}
	return strings.Join(all, "|")
}

// RFC 1428: 8-bit text of which nobody said what it is.
func TestToSevenBitUnlabelled(t *testing.T) {
	got, err := ToSevenBit(mail.Bytes("Subject: x\r\n\r\n\xe4\r\n"))
	want := "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=E4\r\n"
	if err != nil || string(got) != want {
		t.Errorf("%q %v", got, err)
	}
}

// EXT-22: better no conversion than a broken message.
func TestToSevenBitRefuses(t *testing.T) {
	for name, m := range map[string]string{
		"DKIM":         "DKIM-Signature: x\r\n\r\n\xe4\r\n",
		"ARC":          "ARC-Seal: x\r\n\r\n\xe4\r\n",
		"S/MIME":       "Content-Type: multipart/signed; boundary=b\r\n\r\n\xe4\r\n",
		"S/MIME part":  "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n\xe4\r\n--b--\r\n",
		"PGP inline":   "\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n\xe4\r\n",
		"raw header":   "Subject: \xe4\r\n\r\n\xe4\r\n",
		"part header":  "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX: \xe4\r\n\r\n\xe4\r\n--b--\r\n",
		"no boundary":  "MIME-Version: 1.0\r\nContent-Type: multipart/mixed\r\n\r\n\xe4\r\n",
		"preamble":     "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\xe4\r\n--b\r\n\r\nx\r\n--b--\r\n",
		"lie":          "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n\xe4\r\n",
		"partial":      "MIME-Version: 1.0\r\nContent-Type: message/partial\r\n\r\n\xe4\r\n",
		"deep nesting": deep(partsDeepMax + 2),
	} {
		if got, err := ToSevenBit(mail.Bytes(m)); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func deep(n int) string {
	return "MIME-Version: 1.0\r\n" + strings.Repeat("Content-Type: message/rfc822\r\n\r\n", n) + "\r\n\xe4\r\n"
}

// Whatever comes, what leaves is 7-bit or in short lines, as asked for, or
// nothing.
func FuzzToSevenBit(f *testing.F) {
	f.Add([]byte(multipart8))
	f.Add([]byte("Subject: x\r\n\r\n\xe4\r\n"))
	f.Add([]byte(deep(3)))
	f.Add([]byte("Subject: " + wide(1200) + "\r\n\r\n" + wide(1200) + "\xe4\r\n"))
	f.Add([]byte("MIME-Version: 1.0\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("=C3", 400) + "\r\n"))
	f.Add([]byte("MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat("QUJD", 300) + "\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ToSevenBit(mail.Bytes(b))
		if err == nil && !ascii(got) {
			t.Errorf("%q became %q", b, got)
		}
		for _, to := range []converter{{short: true}, {short: true, sevenBit: true}} {
			got, err := to.convert(mail.Bytes(b))
			if err == nil && (hasLongLine(got) || to.sevenBit && !ascii(got)) {
				t.Errorf("%+v: %q became %q", to, b, got)
			}
			if err == nil && !to.sevenBit && !hasLongLine(b) && !bytes.Equal(got, b) {
				t.Errorf("%q has no long line and became %q", b, got)
			}
		}
	})
}
