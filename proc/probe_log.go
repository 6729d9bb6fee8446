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
	matched atomic.Bool // for Observe, which sees every line
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

// Observe takes in one line, or a part of one too long to come whole; it may be
// called from several goroutines.
func (m *LogMatch) Observe(line []byte) {
	if m.matched.Load() || !m.expr.Match(line) {
		return
	}
	m.once.Do(func() {
		m.matched.Store(true)
		close(m.ready)
	})
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
