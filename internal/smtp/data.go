package smtp

import (
	"bytes"
	"io"
)

// BarePolicy is what becomes of a CR or LF in content that is not part of a
// CRLF (SRV-3). Whatever it is, such an octet never takes part in the end of
// data nor in dot transparency (SRV-2).
type BarePolicy uint8

const (
	BareReject    BarePolicy = iota // counted and kept; the caller refuses the message at its end
	BareNormalise                   // each becomes CRLF before anything else looks at it
	BareAllow                       // kept as it is
)

// ContentFacts is what a decoder noticed of the octets it passed on.
type ContentFacts struct {
	Octets   int64 // decoded, dots removed
	BareCR   int64
	BareLF   int64
	NUL      bool
	EightBit bool  // an octet above 127
	Longest  int64 // the longest line with its CRLF
}

// Bare reports a CR or LF outside a CRLF.
func (f ContentFacts) Bare() bool { return f.BareCR > 0 || f.BareLF > 0 }

// DotDecoder undoes dot transparency in what follows DATA and finds its end:
// exactly CRLF "." CRLF (RFC 5321 §4.1.1.4 and §4.5.2; SRV-2, SRV-6). Decode
// takes the octets in pieces of any size; the result does not depend on how
// they were cut. The zero value stands at the beginning of the content and
// rejects.
type DotDecoder struct {
	Policy BarePolicy
	Facts  ContentFacts
	state  dotState
	line   int64 // octets of the current line so far
}

type dotState uint8

const (
	atLine  dotState = iota // after CRLF or at the beginning
	inLine                  // anywhere else
	atCR                    // after a CR that is not yet passed on
	atDot                   // after "." at a line's beginning, not passed on
	atDotCR                 // after "." CR at a line's beginning
)

// Decode reads src, appends the content found to dst and returns it, with how
// many octets of src were used. When done, the end of data was among them and
// the rest of src belongs to the next command. dst may grow by up to twice
// len(src), plus 4 octets.
func (d *DotDecoder) Decode(dst, src []byte) (out []byte, used int, done bool) {
	for used < len(src) {
		if d.state == inLine || (d.state == atLine && src[used] != '.') {
			var n int
			dst, n = d.run(dst, src[used:])
			used += n
			continue
		}
		c := src[used]
		used++
		if d.state == atDotCR && c == '\n' {
			return dst, used, true
		}
		dst = d.step(dst, c)
	}
	return dst, used, false
}

// run passes on what lies between line ends at once and stops before or after an octet that
// needs a decision. It uses at least one octet.
func (d *DotDecoder) run(dst, src []byte) ([]byte, int) {
	n := bytes.IndexByte(src, '\r')
	whole := src
	if n >= 0 {
		whole = src[:n]
	}
	if lf := bytes.IndexByte(whole, '\n'); lf >= 0 {
		dst = d.pass(dst, whole[:lf])
		return d.bare(dst, '\n'), lf + 1
	}
	dst = d.pass(dst, whole)
	if n < 0 {
		if len(whole) > 0 {
			d.state = inLine
		}
		return dst, len(whole)
	}
	if n+1 < len(src) && src[n+1] == '\n' {
		return d.endLine(dst), n + 2
	}
	d.state = atCR
	return dst, n + 1
}

// step decides one octet after a CR or a dot held back.
func (d *DotDecoder) step(dst []byte, c byte) []byte {
	switch d.state {
	case atLine: // c is "."
		d.state = atDot
		return dst
	case atDot:
		if c == '\r' {
			d.state = atDotCR
			return dst
		}
	case atDotCR:
		dst = d.bare(dst, '\r')
	case atCR:
		if c == '\n' {
			return d.endLine(dst)
		}
		dst = d.bare(dst, '\r')
	}
	// The dot of atDot is removed: more follows on its line (SRV-6).
	switch c {
	case '\r':
		d.state = atCR
		return dst
	case '\n':
		return d.bare(dst, '\n')
	}
	d.state = inLine
	return d.pass(dst, []byte{c})
}

func (d *DotDecoder) pass(dst, text []byte) []byte {
	d.Facts.note(text)
	d.line += int64(len(text))
	d.Facts.Octets += int64(len(text))
	return append(dst, text...)
}

func (d *DotDecoder) endLine(dst []byte) []byte {
	d.line += 2
	d.Facts.Longest = max(d.Facts.Longest, d.line)
	d.Facts.Octets += 2
	d.line, d.state = 0, atLine
	return append(dst, '\r', '\n')
}

// bare handles a CR or LF on its own. What follows is never at a line's
// beginning in the sense of dots: "LF . LF" is content (SRV-2).
func (d *DotDecoder) bare(dst []byte, c byte) []byte {
	if c == '\r' {
		d.Facts.BareCR++
	} else {
		d.Facts.BareLF++
	}
	if d.Policy == BareNormalise {
		dst = d.endLine(dst)
		d.state = inLine
		return dst
	}
	d.state = inLine
	d.line++
	d.Facts.Octets++
	return append(dst, c)
}

// note looks for octets that need a decision elsewhere.
func (f *ContentFacts) note(text []byte) {
	if !f.NUL && bytes.IndexByte(text, 0) >= 0 {
		f.NUL = true
	}
	if !f.EightBit && hasEightBit(text) {
		f.EightBit = true
	}
}

func hasEightBit(b []byte) bool {
	const high = 0x8080808080808080
	for len(b) >= 8 {
		w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		if w&high != 0 {
			return true
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// LineEnds looks at content that has no dot transparency, what follows BDAT
// (SRV-5): it counts and normalises bare CR and LF, in pieces of any size. The
// zero value stands at the beginning and rejects.
type LineEnds struct {
	Policy BarePolicy
	Facts  ContentFacts
	cr     bool // a CR is held back
	line   int64
}

// Convert appends src to dst under the policy. A CR at its end is held back
// until the next piece or Finish. dst may grow by up to twice len(src), plus 2.
func (l *LineEnds) Convert(dst, src []byte) []byte {
	// Where the next CR and the next LF are is kept until they are passed, so
	// that content full of one and without the other costs no more than any.
	cr, lf := -1, -1
	for at := 0; at < len(src); {
		if l.cr {
			l.cr = false
			if src[at] == '\n' {
				dst, at = l.endLine(dst), at+1
				continue
			}
			dst = l.bare(dst, '\r')
		}
		if cr < at {
			cr = nextByte(src, at, '\r')
		}
		if lf < at {
			lf = nextByte(src, at, '\n')
		}
		end := min(cr, lf)
		dst = l.pass(dst, src[at:end])
		switch {
		case end == len(src):
		case end == lf:
			dst = l.bare(dst, '\n')
		default:
			l.cr = true
		}
		at = end + 1
	}
	return dst
}

// nextByte is where c next stands at or after from, len(b) if nowhere.
func nextByte(b []byte, from int, c byte) int {
	if i := bytes.IndexByte(b[from:], c); i >= 0 {
		return from + i
	}
	return len(b)
}

// Finish appends what was held back at the end of the content.
func (l *LineEnds) Finish(dst []byte) []byte {
	if l.cr {
		l.cr = false
		dst = l.bare(dst, '\r')
	}
	l.Facts.Longest = max(l.Facts.Longest, l.line)
	return dst
}

func (l *LineEnds) pass(dst, text []byte) []byte {
	l.Facts.note(text)
	l.line += int64(len(text))
	l.Facts.Octets += int64(len(text))
	return append(dst, text...)
}

func (l *LineEnds) endLine(dst []byte) []byte {
	l.Facts.Longest = max(l.Facts.Longest, l.line+2)
	l.Facts.Octets += 2
	l.line = 0
	return append(dst, '\r', '\n')
}

func (l *LineEnds) bare(dst []byte, c byte) []byte {
	if c == '\r' {
		l.Facts.BareCR++
	} else {
		l.Facts.BareLF++
	}
	if l.Policy == BareNormalise {
		return l.endLine(dst)
	}
	l.line++
	l.Facts.Octets++
	return append(dst, c)
}

// DotEncoder makes content fit to follow DATA: it doubles the dot that begins
// a line, and makes each bare CR and each bare LF a CRLF, whatever the source
// was (SRV-4, SRV-6). Append takes the content in pieces of any size. The zero
// value stands at the beginning.
type DotEncoder struct {
	mid bool // not at a line's beginning
	cr  bool // after a CR, whose CRLF is already written
}

// Append appends src to dst as it goes over the wire. dst may grow by up to
// twice len(src).
func (e *DotEncoder) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		if e.cr {
			e.cr = false
			if src[0] == '\n' {
				src = src[1:]
				continue
			}
		}
		if !e.mid && src[0] == '.' {
			dst = append(dst, '.')
		}
		n := bytes.IndexByte(src, '\n')
		if n < 0 {
			n = len(src)
		}
		if cr := bytes.IndexByte(src[:n], '\r'); cr >= 0 {
			n = cr
		}
		dst = append(dst, src[:n]...)
		e.mid = true
		if n < len(src) {
			dst = append(dst, '\r', '\n')
			e.mid, e.cr = false, src[n] == '\r'
			n++
		}
		src = src[n:]
	}
	return dst
}

// End appends the end of data: CRLF where the last line has none, then
// "." CRLF. The encoder stands at the beginning again.
func (e *DotEncoder) End(dst []byte) []byte {
	if e.mid {
		dst = append(dst, '\r', '\n')
	}
	*e = DotEncoder{}
	return append(dst, '.', '\r', '\n')
}

// DotWriter is a DotEncoder before a writer; Close writes the end of data and
// does not close or flush the writer below.
type DotWriter struct {
	w   io.Writer
	enc DotEncoder
	buf []byte
}

// NewDotWriter returns a DotWriter before w, which should be buffered.
func NewDotWriter(w io.Writer) *DotWriter { return &DotWriter{w: w} }

// dotPiece is how much is encoded at a time, in octets: enough to make the
// call cheap, small enough to stay in the processor's cache.
const dotPiece = 16 << 10

// Write implements io.Writer.
func (d *DotWriter) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		piece := p[done:min(len(p), done+dotPiece)]
		d.buf = d.enc.Append(d.buf[:0], piece)
		if _, err := d.w.Write(d.buf); err != nil {
			return done, err
		}
		done += len(piece)
	}
	return len(p), nil
}

// Close writes the end of data.
func (d *DotWriter) Close() error {
	d.buf = d.enc.End(d.buf[:0])
	_, err := d.w.Write(d.buf)
	return err
}
