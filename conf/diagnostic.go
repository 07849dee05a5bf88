package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxDiagnostics bounds how many errors, and how many warnings, one load
// collects: a file of garbage must not turn into gigabytes of complaints.
const maxDiagnostics = 1000

// A Diagnostic is one problem at one place of a configuration file. Line and
// Col count from 1; Col counts bytes, as the Go compiler does, without a BOM.
type Diagnostic struct {
	File string
	Line int
	Col  int
	Text string // "directive: what was expected"
}

// String gives the problem as file:line:col: text, without a line where it has none.
func (d Diagnostic) String() string {
	if d.Line == 0 {
		return d.File + ": " + d.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", d.File, d.Line, d.Col, d.Text)
}

// Errors is everything wrong with one configuration, in the order of the text.
type Errors []Diagnostic

// Error gives one line for each problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, d := range e {
		lines[i] = d.String()
	}
	return strings.Join(lines, "\n")
}

// A log collects the errors and warnings of one load.
type log struct {
	errors, warnings []Diagnostic
}

// full reports that so many errors were found that looking on is pointless.
func (l *log) full() bool { return len(l.errors) >= maxDiagnostics }

func (l *log) errorf(f *file, at place, format string, args ...any) {
	l.errors = note(l.errors, f, at, format, args)
}

func (l *log) warnf(f *file, at place, format string, args ...any) {
	l.warnings = note(l.warnings, f, at, format, args)
}

func note(list []Diagnostic, f *file, at place, format string, args []any) []Diagnostic {
	if len(list) >= maxDiagnostics {
		return list
	}
	return append(list, Diagnostic{f.name, int(at.line), int(at.col), fmt.Sprintf(format, args...)})
}

// inOrder sorts problems by their place, whichever step found them, and says
// so where there may be more.
func inOrder(list []Diagnostic) []Diagnostic {
	slices.SortStableFunc(list, func(a, b Diagnostic) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Col-b.Col)
	})
	if len(list) == maxDiagnostics {
		last := list[len(list)-1]
		last.Text = fmt.Sprintf("there may be more; only the first %d are shown", maxDiagnostics)
		list = append(list, last)
	}
	return list
}
