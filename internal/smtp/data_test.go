package smtp

import (
	"bytes"
	"strings"
	"testing"
)

// decodeIn cuts in into pieces of the size given and decodes it.
func decodeIn(in string, size int, policy BarePolicy) (out string, rest string, done bool, f ContentFacts) {
	d := DotDecoder{Policy: policy}
	var dst []byte
	for at := 0; at < len(in); {
		end := min(len(in), at+size)
		var n int
		dst, n, done = d.Decode(dst, []byte(in[at:end]))
		at += n
		if done {
			return string(dst), in[at:], true, d.Facts
		}
	}
	return string(dst), "", false, d.Facts
}

// SRV-2, SRV-6: what ends the content and what a leading dot means.
func TestDotDecoder(t *testing.T) {
	rows := []struct {
		name, in       string
		reject, normal string // content under BareReject and BareNormalise
		rest           string
		done           bool
	}{
		{"plain", "a\r\n.\r\nNOOP\r\n", "a\r\n", "a\r\n", "NOOP\r\n", true},
		{"empty", ".\r\n", "", "", "", true},
		{"dot doubled", "..\r\n.\r\n", ".\r\n", ".\r\n", "", true},
		{"three dots", "...\r\n.\r\n", "..\r\n", "..\r\n", "", true},
		{"dot and text", ".x\r\n.\r\n", "x\r\n", "x\r\n", "", true},
		{"dot within", "a.b\r\n.\r\n", "a.b\r\n", "a.b\r\n", "", true},
		{"no end", "a\r\n.", "a\r\n", "a\r\n", "", false},
		{"no line end before dot", "a.\r\n", "a.\r\n", "a.\r\n", "", false},
		{"LF . LF", "a\n.\nb\r\n.\r\n", "a\n.\nb\r\n", "a\r\n.\r\nb\r\n", "", true},
		{"LF . CRLF", "a\n.\r\nb\r\n.\r\n", "a\n.\r\nb\r\n", "a\r\n.\r\nb\r\n", "", true},
		{"CRLF . LF", "a\r\n.\nb\r\n.\r\n", "a\r\n\nb\r\n", "a\r\n\r\nb\r\n", "", true},
		{"CR . CR", "a\r.\rb\r\n.\r\n", "a\r.\rb\r\n", "a\r\n.\r\nb\r\n", "", true},
		{"CR . CRLF", "a\r.\r\nb\r\n.\r\n", "a\r.\r\nb\r\n", "a\r\n.\r\nb\r\n", "", true},
		{"CRLF . CR", "a\r\n.\rb\r\n.\r\n", "a\r\n\rb\r\n", "a\r\n\r\nb\r\n", "", true},
		{"CRLF . CR CR LF", "a\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\r\nb\r\n", "a\r\n\r\n\r\nb\r\n", "", true},
		{"CR CR LF . CR LF", "a\r\r\n.\r\nb", "a\r\r\n", "a\r\n\r\n", "b", true},
		{"NUL between", "a\r\n\x00.\r\n.\x00\r\n.\r\n", "a\r\n\x00.\r\n\x00\r\n", "a\r\n\x00.\r\n\x00\r\n", "", true},
		{"LF LF . LF", "a\n\n.\nb\r\n.\r\n", "a\n\n.\nb\r\n", "a\r\n\r\n.\r\nb\r\n", "", true},
	}
	for _, r := range rows {
		for size := 1; size <= len(r.in); size++ {
			out, rest, done, _ := decodeIn(r.in, size, BareReject)
			if out != r.reject || rest != r.rest || done != r.done {
				t.Errorf("%s, reject, pieces of %d: %q rest %q done %v", r.name, size, out, rest, done)
			}
			out, rest, done, _ = decodeIn(r.in, size, BareNormalise)
			if out != r.normal || rest != r.rest || done != r.done {
				t.Errorf("%s, normalise, pieces of %d: %q rest %q done %v", r.name, size, out, rest, done)
			}
		}
	}
}

func TestContentFacts(t *testing.T) {
	_, _, _, f := decodeIn("ab\r\nc\rd\ne\x00\xff\r\n.\r\n", 3, BareReject)
	want := ContentFacts{Octets: 13, BareCR: 1, BareLF: 1, NUL: true, EightBit: true, Longest: 9}
	want.Octets = int64(len("ab\r\nc\rd\ne\x00\xff\r\n"))
	if f != want {
		t.Errorf("got %+v, want %+v", f, want)
	}
}

// SRV-4, SRV-6: what is encoded decodes to the same, and holds no bare CR or LF.
func TestDotEncoder(t *testing.T) {
	rows := []struct{ in, out string }{
		{"", ".\r\n"},
		{"a", "a\r\n.\r\n"},
		{"a\r\n", "a\r\n.\r\n"},
		{".", "..\r\n.\r\n"},
		{".\r\n", "..\r\n.\r\n"},
		{"a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"},
		{"a\r.\rb", "a\r\n..\r\nb\r\n.\r\n"},
		{"a\r\r\n.", "a\r\n\r\n..\r\n.\r\n"},
		{"\n\n", "\r\n\r\n.\r\n"},
		{"a\r", "a\r\n.\r\n"},
	}
	for _, r := range rows {
		for size := 1; size <= len(r.in)+1; size++ {
			var b bytes.Buffer
			w := NewDotWriter(&b)
			for rest := r.in; rest != ""; {
				n := min(size, len(rest))
				w.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			w.Close()
			if b.String() != r.out {
				t.Errorf("%q in pieces of %d: %q, want %q", r.in, size, b.String(), r.out)
			}
		}
	}
}

func TestLineEnds(t *testing.T) {
	rows := []struct{ in, normal string }{
		{"a\r\n.\r\n", "a\r\n.\r\n"},
		{"a\nb\rc\r\r\nd\r", "a\r\nb\r\nc\r\n\r\nd\r\n"},
	}
	for _, r := range rows {
		for size := 1; size <= len(r.in); size++ {
			for _, policy := range []BarePolicy{BareReject, BareNormalise, BareAllow} {
				l := LineEnds{Policy: policy}
				var out []byte
				for rest := r.in; rest != ""; {
					n := min(size, len(rest))
					out = l.Convert(out, []byte(rest[:n]))
					rest = rest[n:]
				}
				out = l.Finish(out)
				want := r.in
				if policy == BareNormalise {
					want = r.normal
				}
				if string(out) != want {
					t.Errorf("%q policy %d pieces of %d: %q", r.in, policy, size, out)
				}
			}
		}
	}
}

// The pieces never matter, the end is found exactly where CRLF "." CRLF first
// stands, and normalised content has no bare CR or LF.
func FuzzDotDecoder(f *testing.F) {
	for _, s := range []string{"a\r\n.\r\n", "..\r\n.\r\nQUIT\r\n", "\n.\n\r\n.\r\n", "a\r\r\n.\r\n", ".\r\n", "\r.\r\n.\r", "\x00\r\n.\r\n"} {
		f.Add(s, byte(1))
		f.Add(s, byte(3))
	}
	f.Fuzz(func(t *testing.T, in string, size byte) {
		for _, policy := range []BarePolicy{BareReject, BareNormalise, BareAllow} {
			whole, rest, done, facts := decodeIn(in, len(in)+1, policy)
			cut, rest2, done2, facts2 := decodeIn(in, int(size)%16+1, policy)
			if whole != cut || rest != rest2 || done != done2 || facts != facts2 {
				t.Fatalf("pieces matter: %q %q", whole, cut)
			}
			at := strings.Index("\r\n"+in, "\r\n.\r\n")
			if done != (at >= 0) || done && rest != in[at+3:] {
				t.Fatalf("end at %d, rest %q", at, rest)
			}
			if int64(len(whole)) != facts.Octets {
				t.Fatalf("%d octets counted, %d came", facts.Octets, len(whole))
			}
			if policy == BareNormalise && hasBare(whole) {
				t.Fatalf("bare octet in %q", whole)
			}
		}
	})
}

// What a client sends, a server gets, line ends settled.
func FuzzDotEncoder(f *testing.F) {
	for _, s := range []string{"", ".", "a\r\n.\r\nb", "\n.\n", "\r\r\n."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		var enc DotEncoder
		half := len(in) / 2
		wire := enc.Append(nil, []byte(in[:half]))
		wire = enc.End(enc.Append(wire, []byte(in[half:])))
		if hasBare(string(wire)) {
			t.Fatalf("bare octet on the wire: %q", wire)
		}
		got, rest, done, _ := decodeIn(string(wire), len(wire), BareReject)
		if !done || rest != "" {
			t.Fatalf("smuggled: %q leaves %q", wire, rest)
		}
		l := LineEnds{Policy: BareNormalise}
		want := string(l.Finish(l.Convert(nil, []byte(in))))
		if want != "" && !strings.HasSuffix(want, "\r\n") {
			want += "\r\n"
		}
		if got != want {
			t.Fatalf("sent %q, got %q", want, got)
		}
	})
}

func hasBare(s string) bool {
	return strings.ContainsAny(strings.ReplaceAll(s, "\r\n", ""), "\r\n")
}

func BenchmarkDotDecoder(b *testing.B) {
	line := strings.Repeat("x", 76) + "\r\n"
	src := []byte(strings.Repeat(line, 50) + ".\r\n")
	dst := make([]byte, 0, 2*len(src))
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		var d DotDecoder
		if _, _, done := d.Decode(dst[:0], src); !done {
			b.Fatal("no end")
		}
	}
}

// A message of bare line ends costs time in proportion to its size: the octets
// looked at are counted by how long the work takes to grow.
func BenchmarkLineEndsOfBareLF(b *testing.B) {
	src := bytes.Repeat([]byte("\n"), 64<<10)
	b.SetBytes(int64(len(src)))
	var dst []byte
	for b.Loop() {
		l := LineEnds{Policy: BareNormalise}
		dst = l.Convert(dst[:0], src)
	}
}
