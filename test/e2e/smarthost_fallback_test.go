package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"syscall"
	"testing"
	"time"
)

// send submits numbered messages over one session and returns their IDs.
func (s *server) send(t *testing.T, from, to int) map[string]string {
	t.Helper()
	ids := map[string]string{}
	k, err := s.session("anna")
	check(t, err)
	defer k.close()
	for n := from; n < to; n++ {
		if n > from && (n-from)%50 == 0 { // a session takes so many
			_, _ = k.ask("QUIT")
			k.close()
			k, err = s.session("anna")
			check(t, err)
		}
		number := fmt.Sprintf("m%04d", n)
		text := strings.Replace(s.note("anna", "run "+number), "\r\n\r\n", "\r\nX-Load: "+number+"\r\n\r\n", 1)
		reply, err := k.transaction("<"+s.at("anna")+">", text, "somebody@elsewhere.test")
		check(t, err)
		id, err := queuedAs(reply)
		check(t, err)
		ids[number] = id
	}
	return ids
}

// within is eventually with a time of its own.
func within(t *testing.T, limit time.Duration, f func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := until(ctx, f); err != nil {
		t.Fatal(err)
	}
}

// 587 vanishes in the middle of a queue of 1,000: it leaves by 465 or 2525 and
// nobody did anything, nothing comes twice, and when 587 is back it is used
// again (SH-3, SH-5, SH-6).
func TestSmarthostFallsBackAndReturns(t *testing.T) {
	t.Parallel()
	const all = 1000
	r := startRelay(t, 587, 465, 2525)
	s := startServer(t, settings{queue: "retry = [\"1s\"]", more: r.smarthost(t, "recheck = \"1s\"\nconnections = 5")})
	s.must(t, "queue", "hold", "--site", "provider", "--for", "1h", "--yes")
	ids := map[string]string{}
	done := make(chan map[string]string)
	for part := range 4 {
		go func() { done <- s.send(t, part*all/4, (part+1)*all/4) }()
	}
	for range 4 {
		maps.Copy(ids, <-done)
	}
	s.must(t, "queue", "release", "--site", "provider", "--yes")
	within(t, 30*time.Second, func() error {
		if _, total, _ := r.by(); total < all/10 {
			return fmt.Errorf("%d came", total)
		}
		return nil
	})
	back := r.drops(t, 587)
	// A message whose last reply was lost waits for half an hour (SH-6): the
	// relay may have it. All others leave.
	doubtful := 0
	within(t, 90*time.Second, func() error {
		ports, total, twice := r.by()
		if twice > 0 {
			t.Fatalf("%d came twice", twice)
		}
		doubtful = strings.Count(s.log(), "ambiguous=true")
		if total+doubtful < all || ports["465"]+ports["2525"] == 0 {
			return fmt.Errorf("%d of %d came, %v, %d in doubt", total, all, ports, doubtful)
		}
		return nil
	})
	ports, total, twice := r.by()
	t.Logf("%d came: by port %v; %d in doubt wait", total, ports, doubtful)
	if twice > 0 || doubtful > 5 {
		t.Errorf("%d came twice, %d in doubt with 5 connections", twice, doubtful)
	}
	logged(t, s, "smarthost.changed", r.host()+":587", r.host()+":465", "is silent")
	back()
	logged(t, s, "smarthost.changed", "to="+r.host()+":587", "answers again")
	before, _, _ := r.by()
	s.send(t, all, all+20)
	eventually(t, func() error {
		now, _, _ := r.by()
		if now["587"] < before["587"]+20 {
			return fmt.Errorf("by port %v, before %v", now, before)
		}
		return nil
	})
	// One that left by 465 says why.
	for number, id := range ids {
		r.mu.Lock()
		by := r.taken[number]
		r.mu.Unlock()
		if len(by) == 1 && by[0] == "465" {
			mustContain(t, "the trace", s.must(t, "trace", id), "left by "+r.host()+":465", r.host()+":587 is silent")
			break
		}
	}
}

// The certificate is exchanged for a wrong one: nothing leaves by any port, the
// alarm says why, mail waits; mended, it flows by itself (P4, SH-3).
func TestSmarthostWithAWrongCertificateStopsAll(t *testing.T) {
	t.Parallel()
	r := startRelay(t, 587, 465, 2525)
	s := startServer(t, settings{queue: "retry = [\"1s\"]", more: r.smarthost(t, "")})
	s.send(t, 0, 5)
	eventually(t, func() error {
		if _, total, _ := r.by(); total < 5 {
			return fmt.Errorf("%d came", total)
		}
		return nil
	})
	r.shows(t, "mail.shield.test")
	r.mu.Lock()
	auths := r.auths
	r.mu.Unlock()
	ids := s.send(t, 5, 15)
	logged(t, s, "level=alarm", "msg=smarthost.alarm", "stopped=true", "does not prove it is "+r.host())
	for _, id := range ids {
		s.happens(t, id, "recipient.settled", "waiting", "4.7.5")
	}
	eventually(t, func() error {
		summary := s.must(t, "queue", "summary", "--json")
		if !containsAll(summary, []string{"stopped: ", "does not prove it is " + r.host()}) {
			return fmt.Errorf("the summary does not say why:\n%s", summary)
		}
		return nil
	})
	_, metrics, err := s.get(t.Context(), "/metrics")
	check(t, err)
	mustContain(t, "metrics", metrics, `paquebot_smarthost_alarm{smarthost="provider"} 1`)
	if status, _, err := s.get(t.Context(), "/readyz"); err != nil || status != 200 {
		t.Errorf("/readyz: %d %v: mail is accepted all the same", status, err)
	}
	r.mu.Lock()
	if r.auths != auths {
		t.Errorf("the password was shown to whoever has the wrong certificate")
	}
	r.mu.Unlock()
	if ports, total, _ := r.by(); total != 5 {
		t.Errorf("%d messages left, %v", total, ports)
	}
	r.shows(t, r.host())
	within(t, 60*time.Second, func() error {
		if _, total, twice := r.by(); total != 15 || twice != 0 {
			return fmt.Errorf("%d came, %d twice", total, twice)
		}
		return nil
	})
	logged(t, s, "msg=smarthost.mended")
	_, metrics, err = s.get(t.Context(), "/metrics")
	check(t, err)
	mustContain(t, "metrics", metrics, `paquebot_smarthost_alarm{smarthost="provider"} 0`)
}

// A host with an IPv6 address at which nobody is heard: IPv4 carries the mail at
// once, and a host whose IPv4 is dead leaves by the other way round.
func TestSmarthostWithADeadFamily(t *testing.T) {
	t.Parallel()
	r := startRelay(t, 587)
	s := startServer(t, settings{queue: "retry = [\"1h\"]", more: strings.Replace(r.smarthost(t, "ports = [587]"), `"mx.`, `"both.`, 1)})
	r.shows(t, "both."+r.place.domain)
	began := time.Now()
	s.send(t, 0, 3)
	eventually(t, func() error {
		if _, total, _ := r.by(); total < 3 {
			return fmt.Errorf("%d came", total)
		}
		return nil
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// A second provider stands in by the operator's rule when the first is in
// trouble for long enough, and gives back when that takes mail again (SH-10).
func TestSmarthostFailsOver(t *testing.T) {
	t.Parallel()
	first, second := startRelay(t, 587, 465, 2525), startRelay(t, 587)
	s := startServer(t, settings{queue: "retry = [\"1s\"]",
		more: first.smarthost(t, "failover = \"second\"\nfailover_after = \"3s\"") + second.table(t, "second", "ports = [587]")})
	var back []func()
	for _, port := range []int{587, 465, 2525} {
		back = append(back, first.drops(t, port))
	}
	s.send(t, 0, 5)
	within(t, 120*time.Second, func() error {
		if _, total, _ := second.by(); total < 4 { // one may be on trial at the first
			return fmt.Errorf("%d came", total)
		}
		return nil
	})
	logged(t, s, "msg=smarthost.failed_over", "smarthost=provider", "to=second")
	for _, f := range back {
		f()
	}
	within(t, 60*time.Second, func() error {
		s.send(t, 5, 6)
		if _, total, _ := first.by(); total == 0 {
			return fmt.Errorf("none came to the first")
		}
		return nil
	})
	logged(t, s, "msg=smarthost.failed_over", "ended=true")
}

// The day's quota is used up: mail waits and is not refused, the summary says
// until when, and a restart does not forget (SH-11).
func TestSmarthostQuota(t *testing.T) {
	t.Parallel()
	r := startRelay(t, 587)
	s := startServer(t, settings{queue: "retry = [\"1s\"]", more: r.smarthost(t, "ports = [587]\nquota_per_day = 3")})
	ids := s.send(t, 0, 5)
	full := func() error {
		_, total, _ := r.by()
		summary := s.must(t, "queue", "summary", "--json")
		if total != 3 || !containsAll(summary, []string{"quota: 452 4.7.1 3 recipients in 24 hours are used up"}) {
			return fmt.Errorf("%d came\n%s", total, summary)
		}
		return nil
	}
	eventually(t, full)
	s.signal(t, syscall.SIGTERM)
	check(t, s.ends(t, 30*time.Second))
	s.start(t)
	eventually(t, full)
	for number, id := range ids {
		r.mu.Lock()
		came := len(r.taken[number]) > 0
		r.mu.Unlock()
		if !came {
			mustContain(t, "the trace", s.must(t, "trace", id), "WAITING", "quota: ")
		}
	}
}
