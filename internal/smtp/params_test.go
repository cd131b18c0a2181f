package smtp

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const allParams = ParamSize | ParamBody | ParamBinary | ParamUTF8 | ParamDSN | ParamAuth | ParamBy | ParamHold | ParamPriority | ParamRequireTLS

// SRV-27 and the rows of standards §7: what each parameter may be.
func TestMailParams(t *testing.T) {
	rows := []struct {
		in   string
		want MailParams
		code int // 0: accepted
	}{
		{"", MailParams{}, 0},
		{" SIZE=1000", MailParams{Size: 1000}, 0},
		{" size=0 Body=8bitmime", MailParams{Body: "8BITMIME"}, 0},
		{" SIZE=99999999999999999999", MailParams{Size: 1<<63 - 1}, 0},
		{" SIZE=1k", MailParams{}, 501},
		{" SIZE=", MailParams{}, 501},
		{" SIZE", MailParams{}, 501},
		{" SIZE=-1", MailParams{}, 501},
		{" BODY=9BIT", MailParams{}, 501},
		{" SMTPUTF8 SMTPUTF8", MailParams{UTF8: true}, 0}, // repeated: tolerated
		{" SMTPUTF8=1", MailParams{}, 501},
		{" SIZE=1 SIZE=1", MailParams{Size: 1}, 0},
		{" SIZE=1 SIZE=2", MailParams{}, 501},
		{" BODY=7BIT BODY=8BITMIME", MailParams{}, 501},
		{" RET=FULL ENVID=QQ+2B314159", MailParams{Return: "FULL", EnvelopeID: "QQ+314159"}, 0},
		{" RET=HALF", MailParams{}, 501},
		{" ENVID=a+2", MailParams{}, 501},
		{" ENVID=", MailParams{}, 501},
		{" ENVID=a+0Ab", MailParams{}, 501},
		{" ENVID=" + strings.Repeat("x", 100), MailParams{EnvelopeID: strings.Repeat("x", 100)}, 0},
		{" ENVID=" + strings.Repeat("x", 101), MailParams{}, 501},
		{" AUTH=<>", MailParams{Auth: "<>"}, 0},
		{" AUTH=e+3Dmc2@example.com", MailParams{Auth: "e=mc2@example.com"}, 0},
		{" AUTH=a=b", MailParams{}, 501},
		{" BY=120;R", MailParams{By: By{120, 'R', false}}, 0},
		{" BY=-5;nt", MailParams{By: By{-5, 'N', true}}, 0},
		{" BY=+5;N", MailParams{By: By{5, 'N', false}}, 0},
		{" BY=0;R", MailParams{}, 501},
		{" BY=-1;R", MailParams{}, 501},
		{" BY=1;X", MailParams{}, 501},
		{" BY=1;RX", MailParams{}, 501},
		{" BY=1", MailParams{}, 501},
		{" BY=1234567890;R", MailParams{}, 501},
		{" HOLDFOR=60", MailParams{HoldFor: time.Minute}, 0},
		{" HOLDUNTIL=2027-01-02T03:04:05Z", MailParams{HoldUntil: time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)}, 0},
		{" HOLDFOR=60 HOLDUNTIL=2027-01-02T03:04:05Z", MailParams{}, 501},
		{" HOLDUNTIL=2027-01-02T03:04:05Z HOLDFOR=60", MailParams{}, 501},
		{" HOLDUNTIL=tomorrow", MailParams{}, 501},
		{" MT-PRIORITY=0", MailParams{Priority: Priority{true, 0}}, 0},
		{" MT-PRIORITY=-9", MailParams{Priority: Priority{true, -9}}, 0},
		{" MT-PRIORITY=10", MailParams{}, 501},
		{" MT-PRIORITY=+1", MailParams{}, 501},
		{" REQUIRETLS", MailParams{RequireTLS: true}, 0},
		{" X-FOO=1", MailParams{}, 555},
		{" RRVS=2014-01-01T00:00:00Z", MailParams{}, 555}, // EXT-14
		{" NOTIFY=NEVER", MailParams{}, 555},              // belongs to RCPT
		{"SIZE=1", MailParams{}, 501},
	}
	for _, r := range rows {
		got, err := ParseMailParams(r.in, allParams)
		if !sameCode(err, r.code) || (err == nil && got != r.want) {
			t.Errorf("%q: %+v, %v", r.in, got, err)
		}
		if err != nil {
			continue
		}
		if back, err := ParseMailParams(string(got.Append(nil)), allParams); err != nil || back != got {
			t.Errorf("%q does not read back: %q, %v", r.in, got.Append(nil), err)
		}
	}
}

// SRV-27: a parameter of an extension that was not advertised does not exist.
func TestParamsNotAdvertised(t *testing.T) {
	for _, in := range []string{" SIZE=1", " BODY=8BITMIME", " SMTPUTF8", " RET=FULL", " ENVID=a", " AUTH=<>", " BY=1;N", " HOLDFOR=1", " HOLDUNTIL=x", " MT-PRIORITY=1", " REQUIRETLS"} {
		if _, err := ParseMailParams(in, 0); !sameCode(err, 555) {
			t.Errorf("%q: %v", in, err)
		}
	}
	if _, err := ParseMailParams(" BODY=BINARYMIME", ParamBody); !sameCode(err, 555) {
		t.Errorf("BINARYMIME: %v", err)
	}
	if _, err := ParseRcptParams(" NOTIFY=NEVER", 0, false); !sameCode(err, 555) {
		t.Errorf("NOTIFY: %v", err)
	}
}

// EXT-7.
func TestRcptParams(t *testing.T) {
	rows := []struct {
		in   string
		utf8 bool
		want RcptParams
		code int
	}{
		{"", false, RcptParams{}, 0},
		{" NOTIFY=NEVER", false, RcptParams{Notify: NotifyNever}, 0},
		{" notify=success,Delay", false, RcptParams{Notify: NotifySuccess | NotifyDelay}, 0},
		{" NOTIFY=NEVER,SUCCESS", false, RcptParams{}, 501},
		{" NOTIFY=", false, RcptParams{}, 501},
		{" NOTIFY=OFTEN", false, RcptParams{}, 501},
		{" NOTIFY=DELAY NOTIFY=DELAY", false, RcptParams{Notify: NotifyDelay}, 0},
		{" NOTIFY=DELAY NOTIFY=NEVER", false, RcptParams{}, 501},
		{" ORCPT=rfc822;a+2Bb@c.example", false, RcptParams{Original: "rfc822;a+b@c.example", OriginalType: "rfc822"}, 0},
		{" ORCPT=RFC822;a@b.example NOTIFY=DELAY", false, RcptParams{Notify: NotifyDelay, Original: "rfc822;a@b.example", OriginalType: "rfc822"}, 0},
		{" ORCPT=a@b.example", false, RcptParams{}, 501},
		{" ORCPT=rfc822;", false, RcptParams{}, 501},
		{" ORCPT=rfc822;a+0Db", false, RcptParams{}, 501},
		{" ORCPT=rfc822;" + strings.Repeat("a", 500), false, RcptParams{}, 501},
		{` ORCPT=utf-8;gr\x{FC}\x{2B}n@b.example`, false, RcptParams{Original: "utf-8;grü+n@b.example", OriginalType: "utf-8"}, 0},
		{` ORCPT=utf-8;grün@b.example`, true, RcptParams{Original: "utf-8;grün@b.example", OriginalType: "utf-8"}, 0},
		{` ORCPT=utf-8;grün@b.example`, false, RcptParams{}, 501},
		{` ORCPT=utf-8;gr\x{}n@b.example`, false, RcptParams{}, 501},
		{` ORCPT=utf-8;gr\x{0D}n@b.example`, false, RcptParams{}, 501},
		{` ORCPT=utf-8;` + "\xff", true, RcptParams{}, 501},
		{" SIZE=1", false, RcptParams{}, 555},
	}
	for _, r := range rows {
		got, err := ParseRcptParams(r.in, ParamDSN, r.utf8)
		if !sameCode(err, r.code) || (err == nil && got != r.want) {
			t.Errorf("%q: %+v, %v", r.in, got, err)
		}
		if err != nil {
			continue
		}
		for _, utf8 := range []bool{false, true} {
			if back, err := ParseRcptParams(string(got.Append(nil, utf8)), ParamDSN, utf8); err != nil || back != got {
				t.Errorf("%q does not read back: %q, %v", r.in, got.Append(nil, utf8), err)
			}
		}
	}
}

func sameCode(err error, code int) bool {
	var r Reply
	if err == nil {
		return code == 0
	}
	return errors.As(err, &r) && r.Code == code
}

func FuzzMailParams(f *testing.F) {
	for _, s := range []string{" SIZE=1 BODY=8BITMIME", " RET=FULL ENVID=a+2B", " AUTH=<> BY=1;RT", " HOLDUNTIL=2027-01-02T03:04:05+01:00 MT-PRIORITY=-4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseMailParams(s, allParams)
		if err != nil {
			if !errors.As(err, new(Reply)) {
				t.Fatalf("not a reply: %v", err)
			}
			return
		}
		if back, err := ParseMailParams(string(p.Append(nil)), allParams); err != nil || back != p {
			t.Fatalf("%q became %q: %v", s, p.Append(nil), err)
		}
	})
}

func FuzzRcptParams(f *testing.F) {
	for _, s := range []string{" NOTIFY=SUCCESS,DELAY", " ORCPT=rfc822;a+2Bb", ` ORCPT=utf-8;\x{FC}`, " ORCPT=utf-8;ü"} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		p, err := ParseRcptParams(s, ParamDSN, utf8)
		if err != nil {
			return
		}
		back, err := ParseRcptParams(string(p.Append(nil, utf8)), ParamDSN, utf8)
		// \x{..} may be longer than what it stands for, so the limit may strike.
		if len(p.Original) < 100 && (err != nil || back != p) {
			t.Fatalf("%q became %q: %v", s, p.Append(nil, utf8), err)
		}
	})
}
