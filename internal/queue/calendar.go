package queue

import (
	"container/heap"
	"time"

	"paquebot/internal/mail"
)

// calendar says when to look at what. Alarms are not taken back: whoever is
// woken looks whether it still matters.
type calendar []alarm

type alarm struct {
	at    time.Time
	line  *line   // load it
	site  *site   // its gate may be open
	id    mail.ID // look at this message again
	rules bool    // a rule ends
	holds bool    // a hold ends
}

func (c calendar) Len() int           { return len(c) }
func (c calendar) Less(i, j int) bool { return c[i].at.Before(c[j].at) }
func (c calendar) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *calendar) Push(x any)        { *c = append(*c, x.(alarm)) }
func (c *calendar) Pop() any {
	old := *c
	a := old[len(old)-1]
	old[len(old)-1] = alarm{}
	*c = old[:len(old)-1]
	return a
}

func (c *calendar) set(a alarm) { heap.Push(c, a) }

// ring returns the next alarm that is due.
func (c *calendar) ring(now time.Time) (alarm, bool) {
	if len(*c) == 0 || (*c)[0].at.After(now) {
		return alarm{}, false
	}
	return heap.Pop(c).(alarm), true
}

// next is when the next alarm is due.
func (c calendar) next() (time.Time, bool) {
	if len(c) == 0 {
		return time.Time{}, false
	}
	return c[0].at, true
}
