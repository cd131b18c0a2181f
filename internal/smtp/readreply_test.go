package smtp

import (
	"bufio"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

// CLI-34, TRAP-5: to the last line, codes of the last line, enhanced codes off.
func TestReadReply(t *testing.T) {
	rows := []struct {
		in   string
		want Reply
		rest string
	}{
		{"250 Ok\r\n", Reply{Code: 250, Text: "Ok"}, ""},
		{"250\r\n", Reply{Code: 250}, ""},
		{"250 \r\n", Reply{Code: 250}, ""},
		{"250 2.1.0 Ok\r\n354 go", Reply{Code: 250, Enhanced: Enhanced{2, 1, 0}, Text: "Ok"}, "354 go"},
		{"550-5.7.1 no\r\n550 5.7.1 way\r\n", Reply{Code: 550, Enhanced: Enhanced{5, 7, 1}, Text: "no\nway"}, ""},
		{"250-first\r\n451 last\r\n", Reply{Code: 451, Text: "first\nlast"}, ""},
		{"250 5.7.1 liar\r\n", Reply{Code: 250, Text: "5.7.1 liar"}, ""},
		{"550 5.7.1\r\n", Reply{Code: 550, Enhanced: Enhanced{5, 7, 1}}, ""},
		{"250-a\n250 b\n", Reply{Code: 250, Text: "a\nb"}, ""},
		{"421 4.3.2 bye\r\n", Reply{Code: 421, Enhanced: Enhanced{4, 3, 2}, Text: "bye", Close: true}, ""},
		{"250 gr\xc3\xbc\xff\r\n", Reply{Code: 250, Text: "grü\uFFFD"}, ""},
	}
	for _, r := range rows {
		br := bufio.NewReader(strings.NewReader(r.in))
		got, err := ReadReply(br, ReplyLimits{})
		rest, _ := io.ReadAll(br)
		if err != nil || !reflect.DeepEqual(got, r.want) || string(rest) != r.rest {
			t.Errorf("%q: %+v, %v, rest %q", r.in, got, err, rest)
		}
	}
}

func TestReadReplyErrors(t *testing.T) {
	rows := []struct {
		in   string
		want error
	}{
		{"", io.EOF},
		{"250", io.ErrUnexpectedEOF},
		{"250-a\r\n", io.ErrUnexpectedEOF},
		{"HTTP/1.1 400 Bad Request\r\n", ErrReplySyntax},
		{"250_a\r\n", ErrReplySyntax},
		{"199 a\r\n", ErrReplySyntax},
		{"\r\n", ErrReplySyntax},
		{"250 " + strings.Repeat("x", ReplyLineMax) + "\r\n", ErrReplyTooLong},
		{strings.Repeat("250-a\r\n", ReplyLinesMax) + "250 b\r\n", ErrReplyTooLong},
	}
	for _, r := range rows {
		_, err := ReadReply(bufio.NewReaderSize(strings.NewReader(r.in), ReplyLineMax), ReplyLimits{})
		if !errors.Is(err, r.want) {
			t.Errorf("%.20q: %v, want %v", r.in, err, r.want)
		}
	}
}

// What AppendWire writes, ReadReply reads.
func TestReplyRoundTrip(t *testing.T) {
	for _, want := range []Reply{TooBig, BadOrder, OK, NeedTLS.WithText("two\nlines")} {
		got, err := ReadReply(bufio.NewReader(strings.NewReader(string(want.AppendWire(nil)))), ReplyLimits{})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%v became %v, %v", want, got, err)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	for _, s := range []string{"250 Ok\r\n", "250-a\r\n250 b\r\n", "550 5.1.1 x\r\n", "220", "250-\r\n250 \r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r, err := ReadReply(bufio.NewReaderSize(strings.NewReader(in), 512), ReplyLimits{Line: 512, Lines: 5})
		if err == nil && (r.Code < 200 || r.Code > 599 || strings.Count(r.Text, "\n") > 4) {
			t.Fatalf("%+v", r)
		}
	})
}
