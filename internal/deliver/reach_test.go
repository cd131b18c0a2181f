package deliver

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"paquebot/internal/mail"
	"paquebot/internal/smtp"
	"paquebot/internal/smtpclient"
)

func TestReachTable(t *testing.T) {
	text, err := os.ReadFile("testdata/reach.txt")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for n, line := range strings.Split(string(text), "\n") {
		left, right, ok := strings.Cut(line, "=>")
		if strings.HasPrefix(line, "#") || !ok {
			continue
		}
		rows++
		a, s := readRow(t, strings.Fields(left))
		v := judge(a, s)
		got := fmt.Sprintf("%v %v %v", v.step, v.result, v.reach)
		if v.reply.Code != a.Reply.Code || v.reply.Enhanced != a.Reply.Enhanced {
			got += fmt.Sprintf(" %d %s", v.reply.Code, v.reply.Enhanced)
		}
		if want := strings.Join(strings.Fields(right), " "); strings.TrimSpace(got) != want {
			t.Errorf("line %d: %s\ngot %s", n+1, line, got)
		}
		if v.step == otherHost && !s.more {
			t.Errorf("line %d: another host, where there is none", n+1)
		}
		if v.step == clearly && s.security != mail.Opportunistic {
			t.Errorf("line %d: security was lowered (P4)", n+1)
		}
	}
	if rows < 70 {
		t.Errorf("only %d rows were read", rows)
	}
}

func readRow(t *testing.T, f []string) (smtpclient.Answer, situation) {
	kind, ok := smtpclient.ParseKind(f[0])
	if !ok {
		t.Fatalf("no such kind: %q", f)
	}
	a := smtpclient.Answer{Kind: kind, Stage: mail.Stage(f[1]), Reply: smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 4, Detail: 2}}}
	if f[2] != "-" {
		code, enhanced, _ := strings.Cut(f[2], ".")
		a.Reply = smtp.Reply{}
		fmt.Sscan(code, &a.Reply.Code)
		a.Reply.Enhanced, _ = smtp.ParseEnhanced(enhanced)
	}
	s := situation{security: mail.Opportunistic, number: 1}
	for _, word := range f[3:] {
		if flag := map[string]*bool{
			"more": &s.more, "unanimous": &s.unanimous, "closed": &s.closed, "smarthost": &s.smarthost, "reused": &s.reused, "lmtp": &s.lmtp,
			"timely": &s.timely, "silent": &s.silent, "classic": &s.classic,
			"virgin": &a.Virgin, "ambiguous": &a.Ambiguous, "chunked": &a.Chunked,
		}[word]; flag != nil {
			*flag = true
			continue
		}
		switch {
		case strings.HasPrefix(word, "number="):
			fmt.Sscan(word[7:], &s.number)
		case word == "verify" || word == "encrypt" || word == "implicit":
			s.security = mail.Security(word)
		default:
			t.Fatalf("no such word: %q", word)
		}
	}
	return a, s
}

// No situation whatever lowers what is demanded, tries another endpoint of a
// smart host after a security failure, or goes on to another host when a peer
// may have the message (P4, SH-3, CLI-29).
func TestJudgeNeverBreaksItsPromises(t *testing.T) {
	stages := []mail.Stage{mail.StageConnect, mail.StageGreeting, mail.StageEhlo, mail.StageStartTLS, mail.StageAuth,
		mail.StageMail, mail.StageRcpt, mail.StageData, mail.StageContent, mail.StageDot}
	for kind := smtpclient.Said; kind <= smtpclient.Local; kind++ {
		for _, stage := range stages {
			for _, code := range []int{250, 354, 421, 450, 451, 452, 500, 502, 503, 521, 535, 550, 552, 554} {
				for bits := range 1 << 12 {
					bit := func(n int) bool { return bits>>n&1 == 1 }
					a := smtpclient.Answer{Kind: kind, Stage: stage, Reply: smtp.Reply{Code: code}, Virgin: bit(0), Ambiguous: bit(1) && kind >= smtpclient.Lost && kind <= smtpclient.Confused, Chunked: bit(2)}
					s := situation{security: mail.Opportunistic, smarthost: bit(3), reused: bit(4), classic: bit(5), timely: bit(6), more: bit(7), unanimous: bit(8), closed: bit(10), silent: bit(11), number: 1}
					if bit(9) {
						s.security = mail.Verify
					}
					v := judge(a, s)
					switch {
					case v.step == clearly && s.security != mail.Opportunistic,
						v.step == otherHost && !s.more,
						v.step == otherHost && s.smarthost && (kind == smtpclient.Untrusted || kind == smtpclient.NoTLS || kind == smtpclient.Injected),
						v.step == otherHost && a.Ambiguous,
						v.step == otherHost && stage == mail.StageAuth && code == 535 && kind == smtpclient.Said,
						v.result == mail.Refused && kind != smtpclient.Said && kind != smtpclient.Unfit && kind != smtpclient.RequireTLS,
						v.result == mail.Refused && kind == smtpclient.Said && code < 500,
						v.result == mail.Refused && stage == mail.StageAuth && kind == smtpclient.Said,
						v.result == mail.Accepted && !a.Good():
						t.Fatalf("%v in %+v: %+v", a, s, v)
					}
				}
			}
		}
	}
}
