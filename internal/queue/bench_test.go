package queue_test

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"paquebot/internal/mail"
	"paquebot/internal/queue"
	"paquebot/internal/shaping"
	"paquebot/internal/smtp"
)

// instant is a spool, router and courier that cost next to nothing: what is
// measured is the queue.
type instant struct {
	mu       sync.Mutex
	live     map[mail.ID]*mail.Envelope
	finished atomic.Int64
	done     chan struct{}
	want     int64
}

func (s *instant) Record(context.Context, []mail.Update) error               { return nil }
func (s *instant) Intend(context.Context, mail.ID, []int) error              { return nil }
func (s *instant) Put(context.Context, *mail.Envelope, []byte, []byte) error { return nil }
func (s *instant) Finish(_ context.Context, ids ...mail.ID) error {
	s.mu.Lock()
	delete(s.live, ids[0])
	s.mu.Unlock()
	if s.finished.Add(1) == s.want {
		close(s.done)
	}
	return nil
}
func (s *instant) Open(_ context.Context, id mail.ID) (*mail.Envelope, mail.Body, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.live[id]; e != nil {
		return e.Clone(), mail.Bytes(nil), nil
	}
	return nil, nil, mail.ErrNotFound
}
func (s *instant) Envelope(ctx context.Context, id mail.ID) (*mail.Envelope, error) {
	e, _, err := s.Open(ctx, id)
	return e, err
}
func (s *instant) Recover(context.Context) iter.Seq2[*mail.Envelope, error] {
	return func(func(*mail.Envelope, error) bool) {}
}
func (s *instant) Each(context.Context, mail.ID) iter.Seq2[*mail.Envelope, error] {
	return func(func(*mail.Envelope, error) bool) {}
}
func (s *instant) Lines(context.Context) iter.Seq2[mail.Line, error] {
	return func(func(mail.Line, error) bool) {}
}
func (s *instant) Waiting(context.Context, string, string, int, mail.Entry, int) ([]mail.Entry, error) {
	return nil, nil
}
func (s *instant) Held(context.Context, mail.Entry, int) ([]mail.Entry, error) { return nil, nil }
func (s *instant) Route(context.Context, *mail.Envelope, string) (mail.Route, error) {
	return mail.Route{Site: "sink", Transport: mail.SMTP, Hops: []mail.Hop{{Name: "127.0.0.1", Port: 2525}}}, nil
}
func (s *instant) Deliver(_ context.Context, a mail.Attempt) []mail.Outcome {
	out := make([]mail.Outcome, len(a.Recipients))
	for i := range out {
		out[i] = mail.Outcome{Result: mail.Accepted, Reply: smtp.OK, Stage: mail.StageDot}
	}
	return out
}

// BenchmarkOneRecipient is a message from Accept to Finish, all else free.
func BenchmarkOneRecipient(b *testing.B) {
	s := &instant{live: map[mail.ID]*mail.Envelope{}, done: make(chan struct{}), want: int64(b.N)}
	ids, _ := mail.NewIDs(zeros{})
	q := queue.New(queue.Config{}, queue.Needs{Spool: s, Router: s, Shaper: shaping.New(shaping.Config{}), Courier: s, Intake: s, IDs: ids})
	ctx, cancel := context.WithCancel(b.Context())
	go q.Run(ctx)
	defer cancel()
	time.Sleep(10 * time.Millisecond)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		env := &mail.Envelope{ID: ids.Next(time.Now()), Arrived: time.Now(), From: me, Recipients: []mail.Recipient{{Address: "a@sink.example"}}}
		s.mu.Lock()
		s.live[env.ID] = env
		s.mu.Unlock()
		q.Accept(env)
	}
	<-s.done
}
