package smtpclient

import (
	"strings"
	"testing"

	"paquebot/internal/mail"
)

// TRAP-14: the last CRLF counts once, wherever the pieces of a body end.
func TestSizeWhereverPiecesEnd(t *testing.T) {
	for over := -3; over <= 3; over++ {
		for _, end := range []string{"\r\n", "", "\r", "\n"} {
			text := strings.Repeat("a", 2*pieceSize+over-len(end)) + end
			got, err := examine(mail.Bytes(text), false)
			want := int64(len(strings.TrimRight(text, "\r\n"))) + 2
			if err != nil || got.size != want || got.addCRLF != (end == "") {
				t.Errorf("%+d %q: size %d, want %d, addCRLF %t, %v", over, end, got.size, want, got.addCRLF, err)
			}
		}
	}
}
