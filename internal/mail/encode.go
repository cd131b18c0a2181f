package mail

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"slices"
	"time"

	"paquebot/internal/smtp"
)

// The binary form of an Envelope and of a Standing, as the spool keeps it.
//
// It is made to be extended without a conversion: whatever may grow carries its
// length, a reader takes missing trailing fields as zero and skips those it
// does not know. A change that this does not cover takes a new version byte.
const (
	encodingVersion = 1
	// recipientsCodecMax bounds what a damaged count may make us allocate. A
	// session allows far fewer (RFC 5321 §4.5.3.1.8); aliases may expand to more.
	recipientsCodecMax = 1 << 20
)

// ErrEncoding means that octets are not the encoding of an Envelope or a
// Standing, or come from a version of the program that is newer than this one.
var ErrEncoding = errors.New("mail: not an envelope's encoding")

// AppendEnvelope appends the binary form of e, without any of its Reply.Cause
// beyond their texts.
func AppendEnvelope(b []byte, e *Envelope) []byte {
	b = append(b, encodingVersion)
	b, mark := openLength(b)
	b = append(b, e.ID[:]...)
	b = appendTime(b, e.Arrived)
	b = appendString(b, e.From)
	b = binary.AppendVarint(b, e.Size)
	b = appendString(b, e.Subject)
	b = appendString(b, e.MessageID)
	b = appendParams(b, &e.Params)
	b = appendOrigin(b, &e.Origin)
	b = closeLength(b, mark)
	b = binary.AppendUvarint(b, uint64(len(e.Recipients)))
	for i := range e.Recipients {
		b = appendRecipient(b, &e.Recipients[i])
	}
	return b
}

// DecodeEnvelope reads what AppendEnvelope wrote and returns what follows it.
// The result shares no memory with b.
func DecodeEnvelope(b []byte) (*Envelope, []byte, error) {
	if len(b) == 0 || b[0] != encodingVersion {
		return nil, nil, ErrEncoding
	}
	d := decoder{b: b[1:]}
	e := new(Envelope)
	in := d.nested()
	copy(e.ID[:], in.take(len(e.ID)))
	e.Arrived = in.time()
	e.From = in.string()
	e.Size = in.varint()
	e.Subject = in.string()
	e.MessageID = in.string()
	in.params(&e.Params)
	in.origin(&e.Origin)
	n := d.uvarint()
	if in.bad || n > recipientsCodecMax || n > uint64(len(d.b)/4) { // each has a length
		return nil, nil, ErrEncoding
	}
	e.Recipients = make([]Recipient, n)
	for i := range e.Recipients {
		d.recipient(&e.Recipients[i])
	}
	if d.bad {
		return nil, nil, ErrEncoding
	}
	return e, d.b, nil
}

// AppendUpdate appends the binary form of u.
func AppendUpdate(b []byte, u *Update) []byte {
	b = append(b, encodingVersion)
	b, mark := openLength(b)
	b = append(b, u.Message[:]...)
	b = binary.AppendUvarint(b, uint64(u.Recipient))
	b = appendStanding(b, &u.Standing)
	return closeLength(b, mark)
}

// DecodeUpdate reads what AppendUpdate wrote and returns what follows it.
func DecodeUpdate(b []byte) (Update, []byte, error) {
	var u Update
	if len(b) == 0 || b[0] != encodingVersion {
		return u, nil, ErrEncoding
	}
	d := decoder{b: b[1:]}
	in := d.nested()
	copy(u.Message[:], in.take(len(u.Message)))
	n := in.uvarint()
	in.standing(&u.Standing)
	if d.bad || in.bad || n >= recipientsCodecMax {
		return Update{}, nil, ErrEncoding
	}
	u.Recipient = int(n)
	return u, d.b, nil
}

// Clone returns a copy that shares nothing that anybody changes.
func (e *Envelope) Clone() *Envelope {
	c := *e
	c.Recipients = slices.Clone(e.Recipients)
	if e.Params.By != nil {
		by := *e.Params.By
		c.Params.By = &by
	}
	return &c
}

// ---- writing ----

// openLength leaves room for a length of four octets; closeLength fills it in.
func openLength(b []byte) ([]byte, int) { return append(b, 0, 0, 0, 0), len(b) }

func closeLength(b []byte, mark int) []byte {
	binary.LittleEndian.PutUint32(b[mark:], uint32(len(b)-mark-4))
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendTime keeps the zero time apart from every other.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 0)
	}
	b = append(b, 1)
	b = binary.AppendVarint(b, t.Unix())
	return binary.AppendUvarint(b, uint64(t.Nanosecond()))
}

func appendAddr(b []byte, a netip.Addr) []byte {
	mark := len(b)
	b, _ = a.AppendBinary(append(b, 0)) // cannot fail
	if len(b)-mark-1 > math.MaxUint8 {  // an absurd zone: the address without it
		return appendAddr(b[:mark], a.WithZone(""))
	}
	b[mark] = byte(len(b) - mark - 1)
	return b
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	return binary.LittleEndian.AppendUint16(appendAddr(b, a.Addr()), a.Port())
}

// appendFlags packs up to eight booleans, the first into the lowest bit.
func appendFlags(b []byte, flags ...bool) []byte {
	var v byte
	for i, f := range flags {
		if f {
			v |= 1 << i
		}
	}
	return append(b, v)
}

func appendParams(b []byte, p *Params) []byte {
	b, mark := openLength(b)
	b = appendString(b, p.EnvelopeID)
	b = appendString(b, string(p.Return))
	b = appendString(b, string(p.Body))
	b = appendFlags(b, p.UTF8, p.RequireTLS, p.TLSNotReq, p.By != nil, p.By != nil && p.By.Return, p.By != nil && p.By.Trace)
	if p.By != nil {
		b = appendTime(b, p.By.Deadline)
	}
	b = appendTime(b, p.ReleaseAt)
	b = binary.AppendVarint(b, int64(p.Priority))
	b = appendString(b, p.Auth)
	return closeLength(b, mark)
}

func appendOrigin(b []byte, o *Origin) []byte {
	b, mark := openLength(b)
	b = appendString(b, o.Session)
	b = appendString(b, string(o.Role))
	b = appendString(b, o.Listener)
	b = appendAddrPort(b, o.Client)
	b = appendAddrPort(b, o.Local)
	b = appendString(b, o.Helo)
	b = appendFlags(b, o.ESMTP, o.Trusted, o.TLS != nil)
	b = appendString(b, o.Name)
	b = appendTLS(b, o.TLS)
	b = appendString(b, o.Account)
	b = appendString(b, o.Method)
	return closeLength(b, mark)
}

// appendTLS writes nothing for nil; the caller keeps a flag.
func appendTLS(b []byte, t *TLS) []byte {
	if t == nil {
		return b
	}
	b, mark := openLength(b)
	b = appendString(b, t.Version)
	b = appendString(b, t.Cipher)
	b = appendString(b, t.Group)
	b = appendString(b, t.SNI)
	b = appendString(b, t.Verified)
	b = appendFlags(b, t.Resumed)
	return closeLength(b, mark)
}

func appendRecipient(b []byte, r *Recipient) []byte {
	b, mark := openLength(b)
	b = appendString(b, r.Address)
	b = appendString(b, r.Original)
	b = append(b, byte(r.Notify))
	b = appendString(b, r.Alias)
	b = appendStanding(b, &r.Standing)
	return closeLength(b, mark)
}

func appendStanding(b []byte, s *Standing) []byte {
	b, mark := openLength(b)
	told := !s.Last.isZero()
	b = append(b, byte(s.State))
	b = appendFlags(b, s.Noticed, s.Reported, told)
	b = appendTime(b, s.Due)
	b = binary.AppendUvarint(b, uint64(s.Tries))
	b = appendString(b, s.Site)
	if told {
		b = appendOutcome(b, &s.Last)
	}
	return closeLength(b, mark)
}

func (o Outcome) isZero() bool {
	cause := o.Reply.Cause
	o.Reply.Cause = nil // an error of any type: not comparable in general
	return cause == nil && o == Outcome{}
}

func appendOutcome(b []byte, o *Outcome) []byte {
	b, mark := openLength(b)
	b = append(b, byte(o.Result), byte(o.Reach))
	b = appendFlags(b, o.Ours, o.Ambiguous, o.NoDSN, o.TLS != nil, o.Reply.Close, o.Reply.Cause != nil)
	b = appendReply(b, &o.Reply)
	b = appendString(b, o.Host)
	b = appendAddrPort(b, o.Addr)
	b = appendAddr(b, o.Source)
	b = appendString(b, string(o.Stage))
	b = appendTime(b, o.At)
	b = binary.AppendVarint(b, int64(o.Took))
	b = appendTLS(b, o.TLS)
	if o.RemoteID != "" || o.Hint != "" {
		b = appendString(b, o.RemoteID)
		b = appendString(b, o.Hint)
	}
	return closeLength(b, mark)
}

func appendReply(b []byte, r *smtp.Reply) []byte {
	b = binary.AppendVarint(b, int64(r.Code))
	for _, n := range [...]uint16{r.Enhanced.Class, r.Enhanced.Subject, r.Enhanced.Detail} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	b = appendString(b, r.Text)
	if r.Cause != nil {
		b = appendString(b, r.Cause.Error())
	}
	return b
}

// ---- reading ----

// decoder takes fields from the front of b. An empty b gives zero values: they
// are fields an older version did not know. A field that is cut is an error.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() {
	d.bad, d.b = true, nil
}

// nested returns the decoder of what openLength and closeLength enclose.
func (d *decoder) nested() decoder {
	if len(d.b) == 0 {
		return decoder{}
	}
	if len(d.b) < 4 {
		d.fail()
		return decoder{bad: true}
	}
	n := uint64(binary.LittleEndian.Uint32(d.b))
	if n > uint64(len(d.b)-4) {
		d.fail()
		return decoder{bad: true}
	}
	in := decoder{b: d.b[4 : 4+n]}
	d.b = d.b[4+n:]
	return in
}

// join takes over the verdict of a nested decoder.
func (d *decoder) join(in *decoder) {
	if in.bad {
		d.fail()
	}
}

func (d *decoder) take(n int) []byte {
	if len(d.b) == 0 {
		return nil
	}
	if n > len(d.b) {
		d.fail()
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) byte() byte {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	if len(d.b) == 0 {
		return 0
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	if len(d.b) == 0 {
		return 0
	}
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n == 0 {
		return ""
	}
	if n > uint64(len(d.b)) {
		d.fail()
		return ""
	}
	return string(d.take(int(n)))
}

func (d *decoder) time() time.Time {
	if d.byte() == 0 {
		return time.Time{}
	}
	sec := d.varint()
	nsec := d.uvarint()
	if nsec >= uint64(time.Second) {
		d.fail()
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

func (d *decoder) addr() netip.Addr {
	var a netip.Addr
	if n := d.byte(); n > 0 {
		raw := d.take(int(n))
		if len(raw) != int(n) || a.UnmarshalBinary(raw) != nil {
			d.fail()
		}
	}
	return a
}

func (d *decoder) addrPort() netip.AddrPort {
	a := d.addr()
	p := d.take(2)
	if len(p) < 2 {
		return netip.AddrPortFrom(a, 0)
	}
	return netip.AddrPortFrom(a, binary.LittleEndian.Uint16(p))
}

func (d *decoder) params(p *Params) {
	in := d.nested()
	p.EnvelopeID = in.string()
	p.Return = ReturnWhat(in.string())
	p.Body = BodyType(in.string())
	flags := in.byte()
	p.UTF8, p.RequireTLS, p.TLSNotReq = flags&1 != 0, flags&2 != 0, flags&4 != 0
	if flags&8 != 0 {
		p.By = &DeliverBy{Deadline: in.time(), Return: flags&16 != 0, Trace: flags&32 != 0}
	}
	p.ReleaseAt = in.time()
	p.Priority = int(in.varint())
	p.Auth = in.string()
	d.join(&in)
}

func (d *decoder) origin(o *Origin) {
	in := d.nested()
	o.Session = in.string()
	o.Role = Role(in.string())
	o.Listener = in.string()
	o.Client = in.addrPort()
	o.Local = in.addrPort()
	o.Helo = in.string()
	flags := in.byte()
	o.ESMTP, o.Trusted = flags&1 != 0, flags&2 != 0
	o.Name = in.string()
	if flags&4 != 0 {
		o.TLS = in.tls()
	}
	o.Account = in.string()
	o.Method = in.string()
	d.join(&in)
}

func (d *decoder) tls() *TLS {
	in := d.nested()
	t := &TLS{Version: in.string(), Cipher: in.string(), Group: in.string(), SNI: in.string(), Verified: in.string()}
	t.Resumed = in.byte()&1 != 0
	d.join(&in)
	return t
}

func (d *decoder) recipient(r *Recipient) {
	in := d.nested()
	r.Address = in.string()
	r.Original = in.string()
	r.Notify = Notify(in.byte())
	r.Alias = in.string()
	in.standing(&r.Standing)
	d.join(&in)
}

func (d *decoder) standing(s *Standing) {
	in := d.nested()
	s.State = State(in.byte())
	flags := in.byte()
	s.Noticed, s.Reported = flags&1 != 0, flags&2 != 0
	s.Due = in.time()
	tries := in.uvarint()
	s.Tries = uint32(min(tries, math.MaxUint32))
	s.Site = in.string()
	if flags&4 != 0 {
		in.outcome(&s.Last)
	}
	if s.State > Deleted {
		in.fail() // a state we cannot serve must not be taken for a final one (P2)
	}
	d.join(&in)
}

func (d *decoder) outcome(o *Outcome) {
	in := d.nested()
	o.Result, o.Reach = Result(in.byte()), Reach(in.byte())
	flags := in.byte()
	o.Ours, o.Ambiguous, o.NoDSN = flags&1 != 0, flags&2 != 0, flags&4 != 0
	in.reply(&o.Reply, flags&32 != 0)
	o.Reply.Close = flags&16 != 0
	o.Host = in.string()
	o.Addr = in.addrPort()
	o.Source = in.addr()
	o.Stage = Stage(in.string())
	o.At = in.time()
	o.Took = time.Duration(in.varint())
	if flags&8 != 0 {
		o.TLS = in.tls()
	}
	o.RemoteID, o.Hint = in.string(), in.string()
	d.join(&in)
}

func (d *decoder) reply(r *smtp.Reply, caused bool) {
	r.Code = int(d.varint())
	for _, n := range [...]*uint16{&r.Enhanced.Class, &r.Enhanced.Subject, &r.Enhanced.Detail} {
		v := d.uvarint()
		*n = uint16(min(v, math.MaxUint16))
	}
	r.Text = d.string()
	if caused {
		r.Cause = errors.New(d.string())
	}
}
