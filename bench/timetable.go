package main

import "container/heap"

// A timetable says which client of a crowd is to be woken next. Each stands in
// it once at most. The crowd's loop owns it.
type timetable []*client

func (t timetable) Len() int           { return len(t) }
func (t timetable) Less(i, j int) bool { return t[i].wake < t[j].wake }
func (t timetable) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i, j
}

// Push and Pop are for container/heap.
func (t *timetable) Push(x any) {
	c := x.(*client)
	c.place = len(*t)
	*t = append(*t, c)
}

func (t *timetable) Pop() any {
	last := len(*t) - 1
	c := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	return c
}

// set wakes a client at a time (ns since 1970), and not when it was to be
// woken before; at 0: never.
func (t *timetable) set(c *client, at int64) {
	was := c.wake
	c.wake = at
	switch {
	case was == 0 && at != 0:
		heap.Push(t, c)
	case was != 0 && at != 0:
		heap.Fix(t, c.place)
	case was != 0:
		heap.Remove(t, c.place)
	}
}

// next is when the first one is to be woken; 0: there is none.
func (t timetable) next() int64 {
	if len(t) == 0 {
		return 0
	}
	return t[0].wake
}
