package lab

import (
	"paquebot/internal/mail"
	"paquebot/internal/provider"
)

// catalogue is who is on the internet.
func catalogue() []*provider.Provider {
	all := []provider.Port{{Number: 587, Mode: mail.Verify}, {Number: 465, Mode: mail.Implicit}, {Number: 2525, Mode: mail.Verify}, {Number: 25, Mode: mail.Verify}}
	return []*provider.Provider{
		{Name: "sendgrid", Regions: []provider.Region{{Host: "smtp.sendgrid.net"}}, Ports: all},
		{Name: "mailgun", Regions: []provider.Region{{Host: "smtp.mailgun.org"}}, Ports: all},
		{Name: "gmail", Regions: []provider.Region{{Host: "smtp.gmail.com"}}, Ports: all},
	}
}
