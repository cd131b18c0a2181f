package smtpclient

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"
)

// startPlain is RFC 4616 without an authorization identity.
func startPlain(c *Client, _ string) (exchange, error) {
	l := c.opt.Login
	if strings.ContainsRune(l.User+l.Password, 0) {
		return nil, errors.New("NUL in credential")
	}
	return answers([]byte("\x00" + l.User + "\x00" + l.Password)), nil
}

// startLogin has no initial response: some servers take one for the user name,
// others do not (AUTH-6).
func startLogin(c *Client, _ string) (exchange, error) {
	return answers(nil, []byte(c.opt.Login.User), []byte(c.opt.Login.Password)), nil
}

// startCramMD5 is RFC 2195 §2: the user name, and the challenge keyed with the
// password.
func startCramMD5(c *Client, _ string) (exchange, error) {
	l, step := c.opt.Login, 0
	return func(challenge []byte) ([]byte, error) {
		step++
		switch step {
		case 1:
			return nil, nil // the server begins
		case 2:
			mac := hmac.New(md5.New, []byte(l.Password))
			mac.Write(challenge)
			return []byte(l.User + " " + hex.EncodeToString(mac.Sum(nil))), nil
		}
		return nil, errDone
	}, nil
}
