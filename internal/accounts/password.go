package accounts

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
	"golang.org/x/crypto/argon2"
)

// Cost is the price of one password check.
type Cost struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8
}

// DefaultCost takes about 25 ms of one core and 19 MiB, the first choice of
// OWASP's list and within RFC 9106 §4's reasoning for many logins at once.
var DefaultCost = Cost{Memory: 19 << 10, Time: 2, Threads: 1}

const (
	saltBytes = 16 // RFC 9106 §3.1
	hashBytes = 32
	// The bounds of a declared hash: what one check may cost us.
	costMemoryMax = 1 << 20 // KiB
	costTimeMax   = 64
	// passwordMax bounds what is hashed. RFC 4616 §2 asks for 255 octets at least.
	passwordMax = 1024
	// iterationsMin is AUTH-7's floor for operators; ours is higher.
	iterationsMin     = 4096
	iterationsDefault = 15000
	iterationsMax     = 10_000_000 // a client would refuse to compute more
)

// Secret is what is kept of a password: never the password.
type Secret struct {
	Password string `json:"password,omitempty"` // $argon2id$v=19$m=..,t=..,p=..$salt$hash
	SCRAM    string `json:"scram,omitempty"`    // SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, as PostgreSQL writes it
}

// HashPassword makes a Secret for the configuration. The password is prepared
// with SASLprep, as SCRAM clients do (RFC 5802 §2.2).
func HashPassword(password string) (Secret, error) {
	return hashPassword(password, DefaultCost, iterationsDefault)
}

func hashPassword(password string, c Cost, iterations int) (Secret, error) {
	if err := checkPassword(password); err != nil {
		return Secret{}, err
	}
	p := []byte(prepared(password))
	h := phc{Cost: c, salt: randomBytes(saltBytes)}
	h.hash = argon2.IDKey(p, h.salt, c.Time, c.Memory, c.Threads, hashBytes)
	s := Secret{Password: h.String()}
	if iterations > 0 {
		keys, err := scramKeys(string(p), randomBytes(saltBytes), iterations)
		if err != nil {
			return Secret{}, err
		}
		s.SCRAM = formatSCRAM(keys)
	}
	return s, nil
}

func checkPassword(p string) error {
	switch {
	case p == "":
		return errors.New("the password is empty")
	case len(p) > passwordMax:
		return fmt.Errorf("the password is longer than %d octets", passwordMax)
	case strings.ContainsAny(p, "\x00\r\n"):
		return errors.New("the password holds a line end or a NUL, which no client can send")
	case isToken(p):
		return errors.New("the password looks like a token")
	}
	return nil
}

func (s Secret) check() error {
	if s.Password != "" {
		if _, err := parsePHC(s.Password); err != nil {
			return err
		}
	}
	if s.SCRAM != "" {
		if _, err := parseSCRAM(s.SCRAM); err != nil {
			return err
		}
	}
	return nil
}

// phc is an argon2id hash in the PHC string format.
type phc struct {
	Cost
	salt, hash []byte
}

var b64 = base64.RawStdEncoding.Strict()

func (h phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.Memory, h.Time, h.Threads,
		b64.EncodeToString(h.salt), b64.EncodeToString(h.hash))
}

var errHash = errors.New("not an argon2id hash ($argon2id$v=19$m=..,t=..,p=..$salt$hash)")

func parsePHC(s string) (h phc, err error) {
	part := strings.Split(s, "$")
	if len(part) != 6 || part[0] != "" || part[1] != "argon2id" || part[2] != "v=19" {
		return h, errHash
	}
	var m, t, p uint64
	for i, field := range strings.Split(part[3], ",") {
		if i > 2 {
			return h, errHash
		}
		to := []*uint64{&m, &t, &p}[i]
		digits, ok := strings.CutPrefix(field, []string{"m=", "t=", "p="}[i])
		if *to, err = strconv.ParseUint(digits, 10, 32); !ok || err != nil || *to == 0 {
			return h, errHash
		}
	}
	if m == 0 || t == 0 || p == 0 || m > costMemoryMax || t > costTimeMax || p > 64 || m < 8*p {
		return h, fmt.Errorf("%w: cost out of bounds (m at most %d, t at most %d)", errHash, costMemoryMax, costTimeMax)
	}
	h.Cost = Cost{Memory: uint32(m), Time: uint32(t), Threads: uint8(p)}
	h.salt, err = b64.DecodeString(part[4])
	if err != nil || len(h.salt) < 8 || len(h.salt) > 64 {
		return h, errHash
	}
	h.hash, err = b64.DecodeString(part[5])
	if err != nil || len(h.hash) < 16 || len(h.hash) > 64 {
		return h, errHash
	}
	return h, nil
}

// matches computes the hash of password, whatever the outcome, and compares
// in constant time.
func (h phc) matches(password string) bool {
	got := argon2.IDKey([]byte(password), h.salt, h.Time, h.Memory, h.Threads, uint32(len(h.hash)))
	return subtle.ConstantTimeCompare(got, h.hash) == 1
}

// scramKeys derives what the server keeps (RFC 5802 §3).
func scramKeys(password string, salt []byte, iterations int) (scram.StoredCredentials, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return scram.StoredCredentials{}, err
	}
	client := hmacSum(salted, "Client Key")
	stored := sha256.Sum256(client)
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(salt), Iters: iterations},
		StoredKey:  stored[:],
		ServerKey:  hmacSum(salted, "Server Key"),
	}, nil
}

func formatSCRAM(c scram.StoredCredentials) string {
	std := base64.StdEncoding
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", c.Iters, std.EncodeToString([]byte(c.Salt)),
		std.EncodeToString(c.StoredKey), std.EncodeToString(c.ServerKey))
}

var errSCRAM = errors.New("not a SCRAM verifier (SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey)")

func parseSCRAM(s string) (c scram.StoredCredentials, err error) {
	rest, ok := strings.CutPrefix(s, "SCRAM-SHA-256$")
	factors, keys, ok2 := strings.Cut(rest, "$")
	iterations, salt, ok3 := strings.Cut(factors, ":")
	stored, server, ok4 := strings.Cut(keys, ":")
	if !ok || !ok2 || !ok3 || !ok4 {
		return c, errSCRAM
	}
	if c.Iters, err = strconv.Atoi(iterations); err != nil || c.Iters < iterationsMin || c.Iters > iterationsMax {
		return c, fmt.Errorf("%w: %d to %d iterations", errSCRAM, iterationsMin, iterationsMax) // RFC 7677 §4
	}
	std := base64.StdEncoding.Strict()
	rawSalt, err1 := std.DecodeString(salt)
	c.StoredKey, err = std.DecodeString(stored)
	serverKey, err2 := std.DecodeString(server)
	if errors.Join(err, err1, err2) != nil || len(rawSalt) < 8 || len(rawSalt) > 64 ||
		len(c.StoredKey) != sha256.Size || len(serverKey) != sha256.Size {
		return c, errSCRAM
	}
	c.Salt, c.ServerKey = string(rawSalt), serverKey
	return c, nil
}

// Tokens look like "pqt_" and 32 letters and digits: 160 random bits. The
// form alone decides that a password is tried as a token, never the user, so
// that the time taken tells nothing about users.
const (
	tokenPrefix   = "pqt_"
	tokenAlphabet = "abcdefghijklmnopqrstuvwxyz234567"
	tokenChars    = 32
)

func newToken() string { return tokenPrefix + randomText(tokenChars) }

func isToken(s string) bool {
	rest, ok := strings.CutPrefix(s, tokenPrefix)
	return ok && len(rest) == tokenChars && strings.Trim(rest, tokenAlphabet) == ""
}

func hashToken(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// generatedChars makes 120 bits: nobody guesses it, and it can be typed.
const generatedChars = 24

func randomText(n int) string {
	out := randomBytes(n)
	for i, c := range out {
		out[i] = tokenAlphabet[c&31]
	}
	return string(out)
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // never fails: it ends the process rather (crypto/rand)
	return b
}
