package server

import (
	"container/heap"
	"time"
)

// appointment is when something is due: a group's sending or a session's timeout.
type appointment struct {
	group   *group
	session *session

	due   time.Time // in the timetable, unless zero
	place int       // there
}

// timetable has what is due at some time, the first in front.
type timetable []*appointment

func (t timetable) Len() int           { return len(t) }
func (t timetable) Less(i, j int) bool { return t[i].due.Before(t[j].due) }
func (t timetable) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i, j
}

func (t *timetable) Push(v any) {
	a := v.(*appointment)
	a.place = len(*t)
	*t = append(*t, a)
}

func (t *timetable) Pop() any {
	last := len(*t) - 1
	a := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	return a
}

// set puts an appointment in, or moves it.
func (t *timetable) set(a *appointment, due time.Time) {
	was := a.due
	if a.due = due; was.IsZero() {
		heap.Push(t, a)
	} else {
		heap.Fix(t, a.place)
	}
}

// cancel takes an appointment out, if it is in.
func (t *timetable) cancel(a *appointment) {
	if !a.due.IsZero() {
		heap.Remove(t, a.place)
		a.due = time.Time{}
	}
}

// next is when the first is due; zero: none is in.
func (t timetable) next() time.Time {
	if len(t) == 0 {
		return time.Time{}
	}
	return t[0].due
}

// due takes out an appointment whose time has come, or returns nil.
func (t *timetable) due(now time.Time) *appointment {
	if len(*t) == 0 || now.Before((*t)[0].due) {
		return nil
	}
	a := (*t)[0]
	t.cancel(a)
	return a
}

// queue is first in, first out.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) add(v T) {
	if q.head > 0 && len(q.items) == cap(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, v)
}

func (q *queue[T]) take() T {
	var none T
	v := q.items[q.head]
	q.items[q.head] = none
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return v
}
