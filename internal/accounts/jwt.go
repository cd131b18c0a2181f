package accounts

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256.New
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"
)

// A verifier of signed JWTs (RFC 7519, 7515, 7518) that knows only asymmetric
// signatures: "none" and the HMACs do not exist here, so a token cannot choose
// them (RFC 8725 §3.1). It is ours, and not go-oidc's, because a server on the
// open Internet must bound how often a stranger's "kid" makes it fetch keys,
// which that library does on every unknown one; see keys.go.

var (
	errJWT       = errors.New("token is not a signed JWT")
	errSignature = errors.New("token signature invalid")
	errClaims    = errors.New("token claims not acceptable")
)

// claims are a token's, whoever vouched for them.
type claims map[string]any

func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// words is a claim that is one string or a list of them.
func (c claims) words(name string) []string {
	switch v := c[name].(type) {
	case string:
		return []string{v}
	case []any:
		var list []string
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

func (c claims) time(name string) (t time.Time, ok bool) {
	f, ok := c[name].(float64)
	if !ok || f < 0 || f > 1e12 {
		return t, false
	}
	return time.Unix(int64(f), 0), true
}

// jwt is a token taken apart, its signature not yet verified.
type jwt struct {
	alg, kid  string
	signed    []byte
	signature []byte
	payload   []byte
}

func parseJWT(token string) (t jwt, err error) {
	part := strings.Split(token, ".")
	if len(part) != 3 {
		return t, errJWT
	}
	head, err1 := base64.RawURLEncoding.DecodeString(part[0])
	payload, err2 := base64.RawURLEncoding.DecodeString(part[1])
	signature, err3 := base64.RawURLEncoding.DecodeString(part[2])
	if err1 != nil || err2 != nil || err3 != nil {
		return t, errJWT
	}
	var h struct {
		Alg  string          `json:"alg"`
		Kid  string          `json:"kid"`
		Crit json.RawMessage `json:"crit"`
	}
	if json.Unmarshal(head, &h) != nil || h.Crit != nil { // RFC 7515 §4.1.11: crit must be understood
		return t, errJWT
	}
	return jwt{h.Alg, h.Kid, []byte(part[0] + "." + part[1]), signature, payload}, nil
}

// verify checks the signature by one key. The key's type and the algorithm
// must fit each other.
func (t jwt) verify(key crypto.PublicKey) error {
	var hash crypto.Hash
	switch t.alg {
	case "RS256", "PS256", "ES256":
		hash = crypto.SHA256
	case "RS384", "PS384", "ES384":
		hash = crypto.SHA384
	case "RS512", "PS512", "ES512":
		hash = crypto.SHA512
	case "EdDSA":
		if k, ok := key.(ed25519.PublicKey); ok && ed25519.Verify(k, t.signed, t.signature) {
			return nil
		}
		return errSignature
	default:
		return errSignature
	}
	h := hash.New()
	h.Write(t.signed)
	if t.verifyDigest(key, hash, h.Sum(nil)) {
		return nil
	}
	return errSignature
}

func (t jwt) verifyDigest(key crypto.PublicKey, hash crypto.Hash, sum []byte) bool {
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch t.alg[:2] {
		case "RS":
			return rsa.VerifyPKCS1v15(k, hash, sum, t.signature) == nil
		case "PS":
			return rsa.VerifyPSS(k, hash, sum, t.signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
	case *ecdsa.PublicKey:
		size := (k.Curve.Params().BitSize + 7) / 8
		curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[t.alg]
		if curve != k.Curve || len(t.signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(t.signature[:size]), new(big.Int).SetBytes(t.signature[size:])
		return ecdsa.Verify(k, sum, r, s)
	}
	return false
}

// leeway is how far clocks may differ.
const leeway = time.Minute

// check judges the claims (RFC 7519 §4.1, RFC 9068 §4).
func (c claims) check(issuer string, audiences []string, now time.Time) error {
	if issuer != "" && c.text("iss") != issuer {
		return fmt.Errorf("%w: another issuer", errClaims)
	}
	if !slices.ContainsFunc(c.words("aud"), func(a string) bool { return slices.Contains(audiences, a) }) {
		return fmt.Errorf("%w: another audience", errClaims)
	}
	exp, ok := c.time("exp")
	if !ok || !now.Before(exp.Add(leeway)) {
		return fmt.Errorf("%w: expired", errClaims)
	}
	if nbf, ok := c.time("nbf"); ok && now.Before(nbf.Add(-leeway)) {
		return fmt.Errorf("%w: not yet valid", errClaims)
	}
	return nil
}

// hasScope looks into "scope" (RFC 8693 §4.2, words in one string) and "scp"
// (as Microsoft and Okta write it).
func (c claims) hasScope(want string) bool {
	if want == "" {
		return true
	}
	for _, name := range []string{"scope", "scp"} {
		for _, w := range c.words(name) {
			if slices.Contains(strings.Fields(w), want) {
				return true
			}
		}
	}
	return false
}

// jwk is one key of a set (RFC 7517, 7518 §6, 8037).
type jwk struct {
	Kty, Kid, Use, Crv string
	N, E, X, Y         string
}

// public returns the key, nil for one we cannot or will not use.
func (k jwk) public() crypto.PublicKey {
	if k.Use != "" && k.Use != "sig" {
		return nil
	}
	n, x, y := decodeURL(k.N), decodeURL(k.X), decodeURL(k.Y)
	switch {
	case k.Kty == "RSA":
		e := new(big.Int).SetBytes(decodeURL(k.E))
		key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(e.Int64())}
		// RFC 8725 §3.2, RFC 7518 §3.3: 2048 bits at least. Above 8192 one
		// check would cost milliseconds.
		if bits := key.N.BitLen(); bits < 2048 || bits > 8192 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil
		}
		return key
	case k.Kty == "EC":
		curve := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[k.Crv]
		if curve == nil {
			return nil
		}
		key, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil
		}
		return key
	case k.Kty == "OKP" && k.Crv == "Ed25519" && len(x) == ed25519.PublicKeySize:
		return ed25519.PublicKey(x)
	}
	return nil
}

func decodeURL(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil
	}
	return b
}
