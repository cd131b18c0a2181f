package smtp

import (
	"reflect"
	"testing"
)

func TestExtensions(t *testing.T) {
	e := ParseExtensions(Reply{Code: 250, Text: "dsn.example pleased\nPIPELINING\nsize 1000\nAUTH PLAIN\nAUTH=LOGIN plain\n8bitmime\nLIMITS MAILMAX=20 rcptmax=0100 RCPTDOMAINMAX=5 X=1\n-BAD\nDELIVERBY 240\nX_Y"})
	if e.Domain != "dsn.example" || e.Has("DSN") || e.Has("dsn.example") { // TRAP-8, EH-4
		t.Errorf("the server's name was taken for a keyword: %+v", e)
	}
	if !e.Has("pipelining") || !e.Has("8BITMIME") || e.Has("PIPE") || e.Has("-BAD") || e.Has("X_Y") || e.Keywords() != 6 {
		t.Errorf("keywords: %+v", e)
	}
	if e.Size() != 1000 || e.DeliverByMin() != 240 {
		t.Errorf("SIZE %d, DELIVERBY %d", e.Size(), e.DeliverByMin())
	}
	if got := e.Auth(); !reflect.DeepEqual(got, []string{"PLAIN", "LOGIN"}) {
		t.Errorf("AUTH %v", got)
	}
	if got := e.Limits(); got != (SessionLimits{MailMax: 20, RcptDomainMax: 5}) { // EXT-12
		t.Errorf("LIMITS %+v", got)
	}
}

func TestExtensionsOfNothing(t *testing.T) {
	var e Extensions
	if e.Has("SIZE") || e.Size() != 0 || e.Auth() != nil || e.Limits() != (SessionLimits{}) {
		t.Error("the zero value offers something")
	}
	if ParseExtensions(Reply{Code: 250, Text: "mx.example\nSIZE x"}).Size() != 0 {
		t.Error("SIZE x")
	}
}
