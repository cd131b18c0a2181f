package catch_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"paquebot/internal/catch"
	"paquebot/internal/mail"
)

func tagged(t *testing.T, s *catch.Store, n int) string {
	t.Helper()
	m, err := s.Get(id(n))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(m.Tags, ",")
}

func TestTagsAMessageBrings(t *testing.T) {
	s := open(t, catch.Config{})
	for n, row := range []struct{ account, to, xtags, want string }{
		{"", "a@b.example", "", ""},
		{"app", "a@b.example", "", "app"}, // the user name is the mailbox, and a tag
		{"", "a+one+two@b.example", "", "one,two"},
		{"", "a@b.example", "Beta, alpha,beta, <no>", "Beta,alpha"}, // once whatever the case
		{"", "a@b.example", "=?utf-8?q?gr=C3=BC=C3=9Fe?=", "grüße"},
	} {
		e := envelope(n, row.account, row.to)
		body := mail.Bytes("X-Tags: " + row.xtags + "\r\n\r\nx\r\n")
		if err := s.Catch(context.Background(), e, e.Recipients, body); err != nil {
			t.Fatal(err)
		}
		if got := tagged(t, s, n); got != row.want {
			t.Errorf("%+v: tags %q", row, got)
		}
	}
}

func TestMarksSurviveRestartAndCompaction(t *testing.T) {
	dir := t.TempDir()
	s := open(t, catch.Config{Dir: dir})
	for n := range 4 {
		put(t, s, n, "")
	}
	if n, err := s.MarkRead(true, id(1), id(2), id(99)); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.MarkRead(false, id(2)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := s.SetTags(id(3), []string{"later", "first"}); err != nil {
		t.Fatal(err)
	}
	put(t, s, 3, "", "another@example.com") // caught again: what readers made of it stays
	check := func(when string) {
		t.Helper()
		var read []string
		for _, m := range s.Newest(0, -1) {
			if m.Read {
				read = append(read, m.ID.String())
			}
		}
		if len(read) != 1 || read[0] != id(1).String() || s.Unread() != 3 || tagged(t, s, 3) != "first,later" {
			t.Errorf("%s: read %v, unread %d, tags %q", when, read, s.Unread(), tagged(t, s, 3))
		}
	}
	check("at once")
	s.Close()
	s = open(t, catch.Config{Dir: dir})
	check("reopened")

	// Much that comes and goes makes the store move what lives to new segments.
	big := strings.Repeat("x", 16<<20)
	before, _ := filepath.Glob(filepath.Join(dir, "*.catch"))
	for n := 100; n < 112; n++ {
		e := envelope(n, "", "a@b.example")
		if err := s.Catch(context.Background(), e, e.Recipients, mail.Bytes("Subject: big\r\n\r\n"+big)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Delete(id(n)); err != nil {
			t.Fatal(err)
		}
	}
	after, _ := filepath.Glob(filepath.Join(dir, "*.catch"))
	if slices.Contains(after, before[0]) {
		t.Fatal("nothing was moved: the test proves nothing")
	}
	check("compacted")
	s.Close()
	s = open(t, catch.Config{Dir: dir})
	check("compacted and reopened")
}

func TestRenameAndDeleteTag(t *testing.T) {
	s := open(t, catch.Config{})
	put(t, s, 1, "", "a+x@b.example")
	put(t, s, 2, "", "a+x+y@b.example")
	for _, row := range []struct {
		from, to string
		want     error
	}{
		{"none", "z", catch.ErrNoSuchTag}, {"x", "", catch.ErrBadTag}, {"x", "<z>", catch.ErrBadTag},
		{"x", "y", catch.ErrTagExists}, {"x", "x", nil}, {"x", "z", nil},
	} {
		if err := s.RenameTag(row.from, row.to); !errors.Is(err, row.want) {
			t.Errorf("%+v: %v", row, err)
		}
	}
	if got := fmt.Sprint(s.Tags()); got != "map[y:1 z:2]" {
		t.Error(got)
	}
	if err := s.DeleteTag("z"); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(s.Tags()); got != "map[y:1]" {
		t.Error(got)
	}
	if _, err := s.Clear(); err != nil || len(s.Tags()) != 0 || s.Unread() != 0 {
		t.Error(err, s.Tags(), s.Unread())
	}
}

func TestWatchHearsOfMarks(t *testing.T) {
	s := open(t, catch.Config{})
	put(t, s, 1, "")
	w, _ := s.Subscribe()
	defer w.Close()
	s.MarkRead(true)
	s.SetTags(id(1), []string{"t"})
	s.Clear()
	read, tags, gone := <-w.C, <-w.C, <-w.C
	if read.Kind != catch.Marked || !read.Message.Read || read.Tagged ||
		tags.Kind != catch.Marked || !tags.Tagged || len(tags.Message.Tags) != 1 || gone.Kind != catch.Deleted || !gone.All {
		t.Errorf("%+v\n%+v\n%+v", read, tags, gone)
	}
}
