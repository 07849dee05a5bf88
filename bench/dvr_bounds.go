package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Bounds that recording is held to: beyond them a run fails.
const (
	mostP99    = 20.0 // ms that players' p99 may be above that without recording
	mostRatio  = 2.0  // of recording's CPU time to dd's
	leastDD    = 0.05 // CPU s: of less the ratio says nothing
	ratioRule  = "2 x of dd"
	playerRule = "20 ms more than without"
)

// judge says whether what recording costs is within the bounds.
func (b *dvrBench) judge(w io.Writer) error {
	return errors.Join(b.judgeRatio(w), b.judgePlayers(w))
}

// judgeRatio compares with the yardstick, which writes one file: where recordings
// begin and end meanwhile there is nothing to compare.
func (b *dvrBench) judgeRatio(w io.Writer) error {
	yardstick := median(b.yardstick)
	if yardstick <= 0 {
		return nil
	}
	ratio := median(b.recording) / yardstick
	text := fmt.Sprintf("ratio                %6.2f", ratio)
	switch {
	case b.directives != "":
		fmt.Fprintf(w, "%s; with -dvr not held to the bound of %s\n", text, ratioRule)
	case yardstick < leastDD:
		fmt.Fprintf(w, "%s; not held to the bound of %s, for which dd must take %.2f CPU s\n", text, ratioRule, leastDD)
	case ratio > mostRatio:
		fmt.Fprintf(w, "%s; OVER the bound of %s\n", text, ratioRule)
		return fmt.Errorf("recording takes %.2f x the CPU time of dd, the bound is %.2f", ratio, mostRatio)
	default:
		fmt.Fprintf(w, "%s; within the bound of %s\n", text, ratioRule)
	}
	return nil
}

func (b *dvrBench) judgePlayers(w io.Writer) error {
	if len(b.plainP99) == 0 {
		return nil
	}
	with, without := median(b.recordedP99), median(b.plainP99)
	beside := ", on the same processors and disk"
	if b.apart {
		beside = ""
	}
	verdict := "within"
	if with > without+mostP99 {
		verdict = "OVER"
	}
	fmt.Fprintf(w, "players' p99         %6.1f ms beside recordings, %.1f ms without%s; %s the bound of %s\n", with, without, beside, verdict, playerRule)
	if verdict == "OVER" {
		return fmt.Errorf("players' p99 is %.1f ms beside recordings and %.1f ms without, the bound is %s", with, without, playerRule)
	}
	return nil
}

// An ended is a file whose recording has ended.
type ended struct {
	name string // STREAM.TIMESTAMP.flv
	at   time.Time
}

// cutTogether says how many streams at most began another file within one second.
func cutTogether(files []ended) (most int) {
	slices.SortFunc(files, func(a, b ended) int { return a.at.Compare(b.at) })
	last := map[string]time.Time{} // of the streams' files, which end with the streams
	stream := func(e ended) string { name, _, _ := strings.Cut(e.name, "."); return name }
	for _, e := range files {
		last[stream(e)] = e.at
	}
	cuts := slices.DeleteFunc(files, func(e ended) bool { return last[stream(e)].Equal(e.at) })
	first := 0
	for i, e := range cuts {
		for e.at.Sub(cuts[first].at) > time.Second {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
