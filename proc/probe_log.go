package proc

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"sync/atomic"
)

// LogMatch is the log probe: good from the first line on that its expression
// matches. It is a Prober.
type LogMatch struct {
	expr    *regexp.Regexp
	matched atomic.Bool // for those who see every line
	once    sync.Once
	ready   chan struct{}
}

// NewLogMatch returns a log probe for an RE2 expression.
func NewLogMatch(expr string) (*LogMatch, error) {
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("cannot use %q as a regular expression: %w", expr, err)
	}
	return &LogMatch{expr: re, ready: make(chan struct{})}, nil
}

// look takes in one line, or as much of it as there is; it may be called from several goroutines.
func (m *LogMatch) look(line []byte) {
	if m.matched.Load() || !m.expr.Match(line) {
		return
	}
	m.once.Do(func() {
		m.matched.Store(true)
		close(m.ready)
	})
}

// Observer returns what takes in the lines of one stream. One that comes in parts is looked at as
// far as it has come, up to 1 MiB.
func (m *LogMatch) Observer() func(Line) {
	var begun []byte
	return func(l Line) {
		switch {
		case m.matched.Load():
			begun = nil
		case len(begun) == 0 && !l.Partial:
			m.look(l.Data)
		default:
			if len(begun)+len(l.Data) > lineMost {
				begun = begun[:0]
			}
			begun = append(begun, l.Data...)
			m.look(begun)
			if !l.Partial {
				begun = nil
			}
		}
	}
}

// Ready returns a channel that is closed once a line has matched.
func (m *LogMatch) Ready() <-chan struct{} { return m.ready }

// Check implements Prober.
func (m *LogMatch) Check(context.Context) error {
	if m.matched.Load() {
		return nil
	}
	return fmt.Errorf("no line has matched %q yet", m.expr)
}

// Close implements Prober.
func (*LogMatch) Close() error { return nil }
