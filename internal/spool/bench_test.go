package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"paquebot/internal/mail"
)

func benchID(n uint64) (id mail.ID) {
	id[0] = 1
	binary.BigEndian.PutUint64(id[2:], n)
	return id
}

// spread runs f for each of b.N messages from some writers at once.
func spread(b *testing.B, writers int, f func(n uint64, env *mail.Envelope)) {
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Uint64
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			env := &mail.Envelope{From: "sender@example.com", Subject: "benchmark", MessageID: "x@example.com",
				Recipients: []mail.Recipient{{Address: "recipient@example.net"}}}
			env.Origin = mail.Origin{Role: mail.RoleSubmission, Listener: ":587", Helo: "client.example.com", ESMTP: true, Account: "alice"}
			for {
				n := next.Add(1)
				if n > uint64(b.N) {
					return
				}
				env.ID = benchID(n)
				f(n, env)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

func openBench(b *testing.B) *Journal {
	j, err := Open(Options{FS: vfs.Default, Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { j.Close() })
	return j
}

var benchHead = bytes.Repeat([]byte("Header: of some length\r\n"), 20)

func commitOne(b *testing.B, j *Journal, env *mail.Envelope, body []byte) {
	d := j.NewDraft()
	if _, err := d.Write(body); err != nil {
		b.Error(err)
	}
	if err := d.Commit(context.Background(), env, benchHead); err != nil {
		b.Error(err)
	}
	d.Discard()
}

func BenchmarkCommit(b *testing.B) {
	for _, size := range []int{4 << 10, 100 << 10} {
		body := bytes.Repeat([]byte("x"), size-len(benchHead))
		for _, writers := range []int{1, 20, 64} {
			b.Run(fmt.Sprintf("%dKiB/writers=%d", size>>10, writers), func(b *testing.B) {
				j := openBench(b)
				b.SetBytes(int64(size))
				spread(b, writers, func(_ uint64, env *mail.Envelope) { commitOne(b, j, env, body) })
			})
		}
	}
}

// BenchmarkLife is a message that is delivered at once.
func BenchmarkLife(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 4<<10)
	for _, writers := range []int{1, 20, 64} {
		b.Run(fmt.Sprintf("4KiB/writers=%d", writers), func(b *testing.B) {
			j := openBench(b)
			spread(b, writers, func(_ uint64, env *mail.Envelope) {
				commitOne(b, j, env, body)
				_, content, err := j.Open(context.Background(), env.ID)
				if err != nil {
					b.Error(err)
					return
				}
				content.Close()
				u := mail.Update{Message: env.ID, Standing: mail.Standing{State: mail.Delivered, Reported: true}}
				if err := j.Record(context.Background(), []mail.Update{u}); err != nil {
					b.Error(err)
				}
				if err := j.Finish(context.Background(), env.ID); err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkDefer is a message that goes to the index.
func BenchmarkDefer(b *testing.B) {
	body := bytes.Repeat([]byte("x"), 4<<10)
	b.Run("4KiB/writers=64", func(b *testing.B) {
		j := openBench(b)
		spread(b, 64, func(n uint64, env *mail.Envelope) {
			commitOne(b, j, env, body)
			u := mail.Update{Message: env.ID, Standing: mail.Standing{State: mail.Waiting, Site: "example.net", Due: testStart}}
			if err := j.Record(context.Background(), []mail.Update{u}); err != nil {
				b.Error(err)
			}
		})
	})
}
