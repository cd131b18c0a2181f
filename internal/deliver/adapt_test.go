package deliver

import (
	"bytes"
	"io"
	"testing"

	"paquebot/internal/mail"
)

// However a header looks, its fields lie one after the other within it, and a
// replaced beginning leaves what follows as it was.
func FuzzFields(f *testing.F) {
	for _, s := range []string{"A: b\r\n c\r\n\r\nbody", "A: b\n\nx", ": x\r\n", " a\r\nB: c\r\n", "A", "A: b\r\nno field\r\n", "A : b\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		all, end, _ := fields(text)
		at := 0
		for _, one := range all {
			if one.from < at || one.to <= one.from || one.to > end || len(one.name) == 0 {
				t.Fatalf("%q: %+v", text, all)
			}
			at = one.to
		}
		if end > len(text) {
			t.Fatalf("%q ends at %d", text, end)
		}
		body := adapted{mail.Bytes(text), []byte("X: y\r\n"), int64(end)}
		got, err := io.ReadAll(mail.Reader(body))
		if want := append([]byte("X: y\r\n"), text[end:]...); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q: %q, %v", text, got, err)
		}
		author(text, all)
		foreign(text, "a.example")
	})
}
