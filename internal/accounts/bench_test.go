package accounts

import (
	"testing"
)

func benchAccounts(b *testing.B) *Accounts {
	a, err := Open(Config{}, Needs{Accounts: newTable(), Usage: newTable()})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := a.Add(New{Name: "anna@example.org", Password: "s3cret"}, "bench"); err != nil {
		b.Fatal(err)
	}
	return a
}

// What one message of a client that logs in for each costs here.
func BenchmarkRememberedLogin(b *testing.B) {
	a := benchAccounts(b)
	for b.Loop() {
		x, err := a.Begin("PLAIN", inTLS(home))
		if err != nil {
			b.Fatal(err)
		}
		if _, done, err := x.Next(b.Context(), []byte("\x00anna@example.org\x00s3cret")); !done || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	a := benchAccounts(b)
	for b.Loop() {
		if err := a.Allow("anna@example.org", 1, 4096); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMaySend(b *testing.B) {
	a := benchAccounts(b)
	for b.Loop() {
		if ok, err := a.MaySend("anna@example.org", "anna@example.org"); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

// 25 ms is the goal (DefaultCost).
func BenchmarkFirstLogin(b *testing.B) {
	a := benchAccounts(b)
	set := a.current.Load()
	for b.Loop() {
		if ok, err := a.compute(b.Context(), set, set.dummy, "x"); ok || err != nil {
			b.Fatal(err)
		}
	}
}
