package deliver

import (
	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

// step is what to try now, in this attempt.
type step uint8

const (
	stop      step = iota // nothing: the outcome stands
	otherHost             // another address, host or endpoint
	afresh                // the same address on a new connection (CLI-42)
	simply                // the same, without CHUNKING (MIS-13)
	classic               // the same, with a smaller ClientHello (TLS-3)
	clearly               // the same, without TLS (TLS-8)
)

var stepNames = [...]string{"stop", "other-host", "afresh", "simply", "classic", "clearly"}

func (s step) String() string { return stepNames[s] }

// situation is what must be known to judge an answer beside the answer itself.
type situation struct {
	security  mail.Security // demanded at this hop
	smarthost bool          // the hops are endpoints of one smart host (SH-3)
	reused    bool          // the session had carried a message before
	classic   bool          // the ClientHello was the small one already
	timely    bool          // the handshake failed by silence or reset, which may pass
	lmtp      bool
	more      bool   // another address or host is left
	unanimous bool   // each host so far refused us with 5xx before MAIL (CLI-21)
	closed    bool   // and each said 521: it takes no mail at all (RFC 7504)
	number    uint32 // of the attempt, 1 first
	silent    bool   // lost by silence, not by an end of the connection
}

// verdict is what an answer means for the recipients it is about.
type verdict struct {
	result mail.Result
	reach  mail.Reach
	step   step
	reply  smtp.Reply
	ours   bool
}

// judge says what an answer means and what else to try now (standards §13.2,
// SH-3, TLS-8). It is pure; testdata/reach.txt is its specification.
func judge(a smtpclient.Answer, s situation) verdict {
	v := verdict{result: mail.Deferred, reply: a.Reply, ours: a.Kind != smtpclient.Said}
	switch {
	case a.Good():
		v.result = mail.Accepted
	case a.Virgin && s.reused && !(a.Ambiguous && s.silent): // before ambiguity: a session that idled away took nothing
		v.step, v.reach = afresh, mail.ThisHost
	case a.Ambiguous:
		v.reach = mail.ThisMessage // the host may have it; the site is not to blame
	case a.Kind == smtpclient.Said:
		v.said(a, s)
	default:
		v.trouble(a, s)
	}
	if v.step == otherHost && !s.more {
		v.step = stop
		if v.reach == mail.ThisHost {
			v.reach = mail.ThisSite
		}
	}
	return v
}

// elsewhere is for trouble that is the host's own.
func (v *verdict) elsewhere() { v.step, v.reach = otherHost, mail.ThisHost }

// said judges what a peer said.
func (v *verdict) said(a smtpclient.Answer, s situation) {
	switch a.Stage {
	case mail.StageConnect, mail.StageGreeting, mail.StageEhlo, mail.StageStartTLS:
		v.unwelcome(a.Reply, s)
	case mail.StageAuth:
		v.stranger(a.Reply)
	case mail.StageMail:
		v.sender(a.Reply)
	case mail.StageRcpt:
		v.recipient(a.Reply)
	default:
		v.content(a, s)
	}
}

// unwelcome: refused before MAIL. Other hosts may be friendlier (CLI-21,
// CLI-22, MX-17); if all refuse for good it is believed at the second attempt.
func (v *verdict) unwelcome(r smtp.Reply, s situation) {
	v.elsewhere()
	if s.more || !r.Permanent() || !s.unanimous {
		return
	}
	switch {
	case r.Code == 521 && s.closed: // MX-17: all of them say so
		v.result = mail.Refused
		v.reply.Enhanced = smtp.Enhanced{Class: 5, Subject: 3, Detail: 2}
	case s.number > 1:
		v.result = mail.Refused
	}
}

// stranger: our credential was refused. That never bounces mail (AUTH-17) and
// is never tried on another port (SH-3); a fault of theirs is just later.
func (v *verdict) stranger(r smtp.Reply) {
	if r.Code == 421 {
		v.elsewhere()
		return
	}
	v.reach = mail.ThisSite
	if r.Permanent() {
		v.reply = smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 8},
			Text: "Our credential was refused: " + smtp.Printable(r.String())}
		v.ours = true
	}
}

// sender judges a refusal of MAIL: it is about the message, unless the host
// says that it is about itself (4.3.x, or closing) or about us (421 4.7.x).
func (v *verdict) sender(r smtp.Reply) {
	switch {
	case r.Permanent():
		v.result, v.reach = mail.Refused, mail.ThisMessage // CLI-25
	case throttled(r):
		v.reach = mail.ThisSite
	case r.Code == 421 || r.Enhanced.Subject == 3:
		v.elsewhere()
	default:
		v.reach = mail.ThisMessage
	}
}

// throttled: 421 4.7.x is how large receivers say "not so much from you".
func throttled(r smtp.Reply) bool { return r.Code == 421 && r.Enhanced.Subject == 7 }

// recipient judges a refusal of RCPT. 552 is the old "too many recipients" and
// passes (RFC 5321 §4.5.3.1.10; CLI-26).
func (v *verdict) recipient(r smtp.Reply) {
	switch {
	case r.Code == 552:
		v.reply.Code = 452
		if v.reply.Enhanced.Class == 5 {
			v.reply.Enhanced.Class = 4
		}
	case r.Permanent():
		v.result = mail.Refused
	case throttled(r):
		v.reach = mail.ThisSite
	case r.Code == 421:
		v.reach = mail.ThisHost
	}
}

// content judges a refusal of DATA, of the content or of its end (CLI-27 to
// CLI-29): it is about the message, in LMTP about the recipient.
func (v *verdict) content(a smtpclient.Answer, s situation) {
	r := a.Reply
	v.reach = mail.ThisMessage
	if s.lmtp && a.Stage == mail.StageDot {
		v.reach = mail.ThisRecipient
	}
	switch {
	case a.Chunked && (r.Code == 500 || r.Code == 502): // MIS-13
		v.step, v.reach = simply, mail.ThisHost
	case r.Permanent():
		v.result = mail.Refused
	case throttled(r):
		v.reach = mail.ThisSite
	case r.Code == 421:
		v.reach = mail.ThisHost
	}
}

// trouble judges what no peer said.
func (v *verdict) trouble(a smtpclient.Answer, s situation) {
	switch a.Kind {
	case smtpclient.Untrusted, smtpclient.NoTLS:
		v.insecure(s)
	case smtpclient.Handshake:
		v.handshake(s)
	case smtpclient.Injected: // MIS-4: somebody is on the line; nothing is said on it again
		v.reach = mail.ThisHost
	case smtpclient.NoLogin:
		v.reach = mail.ThisSite // AUTH-17
	case smtpclient.Unfit:
		v.result, v.reach = mail.Refused, mail.ThisMessage
		if a.Stage == mail.StageRcpt {
			v.reach = mail.ThisRecipient
		}
	case smtpclient.RequireTLS: // RTLS-3: another host may qualify
		v.elsewhere()
		if !s.more {
			v.result, v.reach = mail.Refused, mail.ThisMessage
		}
	case smtpclient.Local:
		v.reach = mail.ThisMessage
	default:
		v.lost(a)
	}
}

// insecure: what is demanded is not to be had. Of several MX another may be
// sound (MIS-1); the endpoints of a smart host are one host, and whoever stands
// between us and one of its ports must not choose the next (SH-3, TRAP-28).
func (v *verdict) insecure(s situation) {
	v.elsewhere()
	if s.smarthost {
		v.step, v.reach = stop, mail.ThisSite
	}
}

// handshake: TLS failed, but not for want of trust. Old middleboxes choke on
// large ClientHellos (TLS-3). In clear only where policy never asked for TLS,
// at once if the peer's TLS is plainly broken, later if it may have been chance
// (TLS-8).
func (v *verdict) handshake(s situation) {
	v.elsewhere()
	may := s.security == mail.Opportunistic
	switch {
	case s.timely && !s.classic:
		v.step = classic
	case may && (!s.timely || s.number > 1):
		v.step = clearly
	}
}

// lost: EOF, reset, silence or babble. Up to MAIL another host may do better;
// later the recipients wait (§13.2, last column).
func (v *verdict) lost(a smtpclient.Answer) {
	v.elsewhere()
	switch a.Stage {
	case mail.StageRcpt, mail.StageData, mail.StageContent, mail.StageDot:
		v.step = stop
	}
	if a.Kind == smtpclient.Confused {
		v.step = stop // MIS-5: it may have done anything
	}
}
