package mail

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"paquebot/internal/smtp"
)

// fullEnvelope has every field set, so that a forgotten one shows.
func fullEnvelope() *Envelope {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	tls := &TLS{Version: "TLS 1.3", Cipher: "TLS_AES_128_GCM_SHA256", Group: "X25519MLKEM768", SNI: "mx.example", Verified: "pkix", Resumed: true}
	return &Envelope{
		ID: ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, Arrived: at, From: "a@example.com", Size: 4711,
		Subject: "Grüße", MessageID: "x@y",
		Params: Params{EnvelopeID: "QQ314159", Return: ReturnHeaders, Body: Body8Bit, UTF8: true, RequireTLS: true,
			TLSNotReq: true, By: &DeliverBy{Deadline: at.Add(time.Hour), Return: true, Trace: true},
			ReleaseAt: at.Add(time.Minute), Priority: -3, Auth: "e+3Dmc2@example.com"},
		Origin: Origin{Session: "S1", Role: RoleSubmission, Listener: ":587",
			Client: netip.MustParseAddrPort("192.0.2.1:4321"), Local: netip.MustParseAddrPort("[2001:db8::1%eth0]:587"),
			Helo: "client.example", ESMTP: true, Name: "client.example", TLS: tls, Account: "alice", Method: "PLAIN", Trusted: true},
		Recipients: []Recipient{
			{Address: "b@example.net", Original: "rfc822;b@example.org", Notify: NotifyFailure | NotifyDelay, Alias: "list@example.com",
				Standing: Standing{State: Held, Due: at.Add(2 * time.Hour), Tries: 7, Site: "google", Noticed: true, Reported: true,
					Last: Outcome{Result: Deferred, RemoteID: "x@mail.example", Hint: "wait an hour", Reply: smtp.Reply{Code: 451, Enhanced: smtp.Enhanced{Class: 4, Subject: 7, Detail: 500}, Text: "later\nplease", Close: true, Cause: errors.New("why")},
						Ours: true, Host: "mx1.example.net", Addr: netip.MustParseAddrPort("198.51.100.7:25"), Source: netip.MustParseAddr("2001:db8::25"),
						Stage: StageRcpt, Reach: ThisSite, At: at, Took: 1500 * time.Millisecond, TLS: tls, Ambiguous: true, NoDSN: true}}},
			{Address: `"@ quoted"@example.net`},
		},
	}
}

func TestEnvelopeSurvivesItsEncoding(t *testing.T) {
	for name, e := range map[string]*Envelope{"full": fullEnvelope(), "zero": {Recipients: []Recipient{}}} {
		got, rest, err := DecodeEnvelope(append(AppendEnvelope(nil, e), "rest"...))
		if err != nil || string(rest) != "rest" {
			t.Fatalf("%s: rest %q, error %v", name, rest, err)
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, e)
		}
	}
}

func TestNoFieldIsForgotten(t *testing.T) {
	var check func(path string, v reflect.Value)
	check = func(path string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			check(path, v.Elem())
		case reflect.Struct:
			if v.Type().PkgPath() != reflect.TypeFor[Envelope]().PkgPath() && v.Type() != reflect.TypeFor[smtp.Reply]() {
				if v.IsZero() {
					t.Errorf("%s is zero in fullEnvelope, so its encoding is not tested", path)
				}
				return
			}
			for i := range v.NumField() {
				check(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		default:
			if v.IsZero() {
				t.Errorf("%s is zero in fullEnvelope, so its encoding is not tested", path)
			}
		}
	}
	e := fullEnvelope()
	check("Envelope", reflect.ValueOf(e))
	check("Recipient", reflect.ValueOf(&e.Recipients[0]))
}

func TestUpdateSurvivesItsEncoding(t *testing.T) {
	u := Update{Message: ID{9}, Recipient: 300, Standing: fullEnvelope().Recipients[0].Standing}
	got, rest, err := DecodeUpdate(append(AppendUpdate(nil, &u), 'x'))
	if err != nil || string(rest) != "x" || !reflect.DeepEqual(got, u) {
		t.Fatalf("got %+v, rest %q, error %v", got, rest, err)
	}
}

func TestOlderAndNewerEncodingsAreRead(t *testing.T) {
	u := Update{Message: ID{9}, Standing: Standing{State: Waiting, Site: "x"}}
	newer := AppendUpdate(nil, &u)
	newer = append(newer, "a field of tomorrow"...)
	closeLength(newer, 1)
	if got, rest, err := DecodeUpdate(newer); err != nil || len(rest) != 0 || !reflect.DeepEqual(got, u) {
		t.Errorf("newer: got %+v, rest %q, error %v", got, rest, err)
	}
	older := append([]byte{encodingVersion, 0, 0, 0, 0}, u.Message[:]...)
	closeLength(older, 1)
	if got, _, err := DecodeUpdate(older); err != nil || got.Message != u.Message {
		t.Errorf("older: got %+v, error %v", got, err)
	}
	if _, _, err := DecodeEnvelope([]byte{encodingVersion + 1, 0, 0, 0, 0}); !errors.Is(err, ErrEncoding) {
		t.Errorf("unknown version: %v", err)
	}
}

func TestUnknownStateIsAnError(t *testing.T) { // P2: it must not pass for a final one
	u := Update{Standing: Standing{State: Deleted + 1}}
	if _, _, err := DecodeUpdate(AppendUpdate(nil, &u)); !errors.Is(err, ErrEncoding) {
		t.Errorf("got %v", err)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	e := fullEnvelope()
	c := e.Clone()
	c.Recipients[0].State, c.Params.By.Return = Failed, false
	if !reflect.DeepEqual(e, fullEnvelope()) {
		t.Error("changing the clone changed the original")
	}
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add(AppendEnvelope(nil, fullEnvelope()))
	f.Add(AppendEnvelope(nil, &Envelope{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, _, err := DecodeEnvelope(b)
		if err != nil {
			return
		}
		once := AppendEnvelope(nil, e)
		again, rest, err := DecodeEnvelope(once)
		if err != nil || len(rest) != 0 {
			t.Fatalf("cannot read own writing: %v, rest %d", err, len(rest))
		}
		if !bytes.Equal(once, AppendEnvelope(nil, again)) {
			t.Fatal("encoding is not stable")
		}
	})
}

func FuzzDecodeUpdate(f *testing.F) {
	f.Add(AppendUpdate(nil, &Update{Recipient: 3, Standing: fullEnvelope().Recipients[0].Standing}))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, _, err := DecodeUpdate(b)
		if err != nil {
			return
		}
		if _, _, err := DecodeUpdate(AppendUpdate(nil, &u)); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkAppendEnvelope(b *testing.B) {
	e := fullEnvelope()
	buf := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendEnvelope(buf[:0], e)
	}
}
