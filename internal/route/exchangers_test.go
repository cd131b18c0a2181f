package route

import (
	"strings"
	"testing"
	"testing/synctest"

	"paquebot/internal/mail"
)

// SH-8: a smart host's name means its addresses, its MX only when asked for; then
// only hosts within its domain may get the password.
func TestSmarthostByMX(t *testing.T) {
	ports := []mail.Hop{{Name: "plain.example", Port: 587}, {Name: "plain.example", Port: 465, Security: mail.Implicit}}
	outside := []mail.Hop{{Name: "many.example", Port: 587}}
	for _, row := range []struct {
		host Smarthost
		want string
	}{
		{Smarthost{Endpoints: ports}, "smtp plain.example:587 plain.example:465/implicit verify as a"},
		{Smarthost{Endpoints: ports, MX: true}, "smtp mx1.plain.example:587 mx1.plain.example:465/implicit mx2.plain.example:587 mx2.plain.example:465/implicit verify as a"},
		{Smarthost{Endpoints: outside, MX: true}, "451 4.7.5"},
		{Smarthost{Endpoints: outside, MX: true, Security: mail.Encrypt}, "smtp a.mx.big.co.uk:587 b.mx.big.co.uk:587 c.mx.big.co.uk:587 encrypt as a"},
		{Smarthost{Endpoints: []mail.Hop{{Name: "nowhere.example", Port: 587}}, MX: true}, "451 4.4.3"},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRouter(t, Config{Rules: []Rule{{Via: "a"}}, Smarthosts: map[string]Smarthost{"a": row.host}})
			got, err := r.Route(t.Context(), &mail.Envelope{}, "x@anywhere.example")
			said := words(got)
			if err != nil {
				said = err.Error()
			}
			if !strings.HasPrefix(said, row.want) {
				t.Errorf("%+v\ngot %s\nwant %s", row.host, said, row.want)
			}
		})
	}
}
