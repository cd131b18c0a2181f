package mail

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"
)

// ID names a message from its acceptance to its end, in logs, in the reply to
// the final dot and in the spool. IDs are ordered by time of making: 44 bits of
// milliseconds since 1970, then 36 bits that differ.
type ID [10]byte

// idAlphabet is Crockford's base 32: no I, L, O, U, so an ID can be read aloud.
const idAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// String returns the 16 characters that people and commands use.
func (id ID) String() string {
	var out [16]byte
	for half := range 2 {
		n := uint64(id[half*5])<<32 | uint64(binary.BigEndian.Uint32(id[half*5+1:]))
		for i := 7; i >= 0; i-- {
			out[half*8+i] = idAlphabet[n&31]
			n >>= 5
		}
	}
	return string(out[:])
}

// ErrBadID means that a text is not an ID.
var ErrBadID = errors.New("not a message ID (16 letters and digits)")

// ParseID reads what String wrote; lower case is understood.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 16 {
		return id, ErrBadID
	}
	for half := range 2 {
		var n uint64
		for _, c := range []byte(s[half*8 : half*8+8]) {
			v := idValue(c)
			if v < 0 {
				return ID{}, ErrBadID
			}
			n = n<<5 | uint64(v)
		}
		id[half*5] = byte(n >> 32)
		binary.BigEndian.PutUint32(id[half*5+1:], uint32(n))
	}
	return id, nil
}

func idValue(c byte) int {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	for i := range len(idAlphabet) {
		if idAlphabet[i] == c {
			return i
		}
	}
	return -1
}

// Time returns when the ID was made, to the millisecond.
func (id ID) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(id[:8]) >> 20))
}

// IsZero reports whether the ID names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// MarshalText makes an ID a plain string in JSON.
func (id ID) MarshalText() ([]byte, error) {
	if id.IsZero() {
		return nil, nil
	}
	return []byte(id.String()), nil
}

// UnmarshalText is the inverse of MarshalText.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	got, err := ParseID(string(b))
	if err == nil {
		*id = got
	}
	return err
}

// IDs makes message IDs. It is safe for concurrent use.
type IDs struct {
	mu   sync.Mutex
	last uint64 // the 36 bits used last
	ms   int64  // the newest time used: a clock set back must not break the order
}

// NewIDs starts a maker at a random point, so that two processes that work in
// the same millisecond do not meet.
func NewIDs(random io.Reader) (*IDs, error) {
	var seed [8]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, err
	}
	return &IDs{last: binary.BigEndian.Uint64(seed[:]) & idLowMask}, nil
}

const idLowMask = 1<<36 - 1

// Next returns a new ID for the time given.
func (g *IDs) Next(now time.Time) ID {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ms := now.UnixMilli(); ms > g.ms {
		g.ms = ms
	}
	g.last++
	if g.last > idLowMask {
		g.last = 0
		g.ms++ // keeps the order when the counter wraps within a millisecond
	}
	var id ID
	high := uint64(g.ms)<<20 | g.last>>16
	binary.BigEndian.PutUint64(id[:8], high)
	binary.BigEndian.PutUint16(id[8:], uint16(g.last))
	return id
}
