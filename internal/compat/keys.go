package compat

import (
	"bufio"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Keys are the users who may use the page, as Mailpit's MP_UI_AUTH and its file
// name them: "user:password" a line, the password in clear, as bcrypt ("$2y$…")
// or as SHA-1 ("{SHA}…").
type Keys struct {
	users map[string]string

	mu    sync.Mutex
	known map[[32]byte]bool // pairs that fitted: bcrypt is slow, and each request asks
}

const (
	keysMax  = 100 // users
	knownMax = 100 // pairs that fitted
)

// ParseKeys reads lines of "user:password". Errors never tell a password.
func ParseKeys(text string) (*Keys, error) {
	k := &Keys{users: map[string]string{}, known: map[[32]byte]bool{}}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		user, password, found := strings.Cut(line, ":")
		if !found || user == "" || password == "" {
			return nil, fmt.Errorf("line %d is not user:password", n)
		}
		if strings.HasPrefix(password, "$apr1$") || strings.HasPrefix(password, "$1$") {
			return nil, fmt.Errorf("the password of %q is MD5; make it anew with htpasswd -B", user)
		}
		if k.users[user] = password; len(k.users) > keysMax {
			return nil, fmt.Errorf("more than %d users", keysMax)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(k.users) == 0 {
		return nil, errors.New("no user is named")
	}
	return k, nil
}

// Fit reports whether user and password are one of the keys. How long it takes
// tells nothing of a password in clear.
func (k *Keys) Fit(user, password string) bool {
	pair := sha256.Sum256([]byte(user + "\x00" + password))
	k.mu.Lock()
	known := k.known[pair]
	k.mu.Unlock()
	if known {
		return true
	}
	want, found := k.users[user]
	if !fits(want, password) || !found {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.known) < knownMax {
		k.known[pair] = true
	}
	return true
}

func fits(want, password string) bool {
	if strings.HasPrefix(want, "$2") {
		return bcrypt.CompareHashAndPassword([]byte(want), []byte(password)) == nil
	}
	if sum, hashed := strings.CutPrefix(want, "{SHA}"); hashed {
		b := sha1.Sum([]byte(password))
		return subtle.ConstantTimeCompare([]byte(sum), []byte(base64.StdEncoding.EncodeToString(b[:]))) == 1
	}
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password)) // of one length, whatever theirs
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
