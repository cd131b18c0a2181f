package smtpclient

import (
	"encoding/json"
	"net"
	"strings"

	"paquebot/internal/smtp"
)

// startOAuthBearer is RFC 7628 §3.1; a lone ^A ends a failed exchange (AUTH-9).
func startOAuthBearer(c *Client, token string) (exchange, error) {
	host, port, _ := net.SplitHostPort(c.conn.RemoteAddr().String())
	if c.opt.TLS.ServerName != "" {
		host = c.opt.TLS.ServerName
	}
	user := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.opt.Login.User)
	return bearer("n,a="+user+",\x01host="+host+"\x01port="+port+"\x01auth=Bearer "+token+"\x01\x01", []byte{1}), nil
}

// startXOAuth2: an empty line ends a failed exchange (AUTH-10).
func startXOAuth2(c *Client, token string) (exchange, error) {
	return bearer("user="+c.opt.Login.User+"\x01auth=Bearer "+token+"\x01\x01", []byte{}), nil
}

// bearer says a token; a challenge can only be the reason of a refusal.
func bearer(first string, end []byte) exchange {
	step := 0
	return func(challenge []byte) ([]byte, error) {
		step++
		switch step {
		case 1:
			return []byte(first), nil
		case 2:
			return nil, refused{why: bearerError(challenge), answer: end}
		}
		return nil, errDone
	}
}

// bearerError reads the JSON of a refusal (RFC 7628 §3.2.2). Google writes the
// status as text, others as a number.
func bearerError(challenge []byte) string {
	var e struct {
		Status any    `json:"status"`
		Scope  string `json:"scope"`
	}
	if json.Unmarshal(challenge, &e) != nil || e.Status == nil {
		return "host refused the token"
	}
	status, _ := e.Status.(string)
	if n, ok := e.Status.(float64); ok {
		b, _ := json.Marshal(n)
		status = string(b)
	}
	why := "host refused the token: status " + status
	if e.Scope != "" {
		why += ", it wants the scope " + e.Scope
	}
	return smtp.Printable(why)
}
