package deliver

import (
	"context"
	"errors"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
)

// toCatch gives the message to the catch store, for all recipients at once.
func (d *Deliverer) toCatch(ctx context.Context, a mail.Attempt) []mail.Outcome {
	err := errors.New("there is no catch store")
	if d.needs.Catcher != nil {
		err = d.needs.Catcher.Catch(ctx, a.Envelope, recipients(a), a.Body)
	}
	if err != nil {
		o := d.ownFault(mail.StageDot, smtp.AsReply(err))
		o.Reach, o.Host = mail.ThisSite, "catch"
		return d.all(a, o)
	}
	return d.all(a, mail.Outcome{Result: mail.Accepted, Ours: true, Host: "catch", Stage: mail.StageDot,
		Reply: smtp.OK.WithText("Caught")})
}
