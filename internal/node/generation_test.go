package node

import (
	"sync"
	"testing"

	"paquebot/internal/deliver"
	"paquebot/internal/dns"
	"paquebot/internal/mail"
)

// A generation is retired when the last delivery in it is over, and none begins
// in it afterwards, however often the configuration changes meanwhile.
func TestNothingBeginsInARetiredGeneration(t *testing.T) {
	newGeneration := func() *generation {
		return &generation{names: dns.New(dns.Config{}, nil), courier: deliver.New(deliver.Config{}, deliver.Needs{})}
	}
	var c current
	c.generation.Store(newGeneration())
	var busy, retiring sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					c.Deliver(t.Context(), mail.Attempt{})
				}
			}
		})
	}
	for range 200 {
		old := c.generation.Swap(newGeneration())
		retiring.Go(old.retire)
	}
	close(stop)
	busy.Wait()
	retiring.Wait()
	c.generation.Swap(nil).retire()
	if out := c.Deliver(t.Context(), mail.Attempt{Recipients: []int{0, 1}}); len(out) != 2 || out[0].Result != mail.Untried {
		t.Errorf("after the end: %+v", out)
	}
}
