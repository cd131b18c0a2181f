package doctor

import (
	"fmt"
	"net"
	"strconv"

	"paquebot/internal/smtpclient"
)

// confided is the credential as an endpoint of the target may hear it; nil: it
// may not. What a domain publishes is as good as DNS, which anybody on the way
// can forge, so a certificate proves a host of the domain's own, but no other
// host it names (RFC 6186 §6, RFC 8314 §5.1): that one is for the user to name.
func (t *Target) confided(e Endpoint, l *smtpclient.Login) *smtpclient.Login {
	if l == nil || e.Role == Exchange || t.Kind == KindSelf {
		return nil
	}
	if t.Kind == KindDomain && !within(e.Host, t.Title) {
		return nil
	}
	return l
}

// withheld says where the credential was not tried, and how to try it there.
func (t *Target) withheld(l *smtpclient.Login) (out []Check) {
	for _, e := range t.Endpoints {
		if l == nil || t.Kind != KindDomain || e.Role == Exchange || within(e.Host, t.Title) {
			continue
		}
		where := net.JoinHostPort(e.Host, strconv.Itoa(int(e.Port)))
		return []Check{{Name: "credential", Word: Unsure, Text: fmt.Sprintf(
			"not tried at %s: only DNS says that it is %s's; if you know it is: paquebot doctor %s --auth …", where, t.Title, where)}}
	}
	return nil
}
