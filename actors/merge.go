package actors

import (
	"context"

	"github.com/blackhole/bhnode/proc/logstore"
)

// merge reads the logs of several services as one, by time. Within a service the
// order of the log stays.
type merge struct {
	sources []*source
}

type source struct {
	entries chan logstore.Entry
	err     chan error
	head    *logstore.Entry
	done    bool
}

// newMerge begins to read; ctx ends it.
func newMerge(ctx context.Context, logs Logs, services []string, q logstore.Query) *merge {
	m := &merge{}
	for _, name := range services {
		s := &source{entries: make(chan logstore.Entry, 64), err: make(chan error, 1)}
		m.sources = append(m.sources, s)
		o := logs.options(name)
		detach(func() {
			defer close(s.entries)
			s.err <- logstore.Read(ctx, o, q, func(e logstore.Entry) bool {
				select {
				case s.entries <- e:
					return true
				case <-ctx.Done():
					return false
				}
			})
		})
	}
	return m
}

// next returns the earliest entry that is left.
func (m *merge) next() (logstore.Entry, bool, error) {
	var first *source
	for _, s := range m.sources {
		if err := s.fill(); err != nil {
			return logstore.Entry{}, false, err
		}
		if s.head != nil && (first == nil || s.head.Time.Before(first.head.Time)) {
			first = s
		}
	}
	if first == nil {
		return logstore.Entry{}, false, nil
	}
	e := *first.head
	first.head = nil
	return e, true, nil
}

func (s *source) fill() error {
	if s.head != nil || s.done {
		return nil
	}
	e, ok := <-s.entries
	if !ok {
		s.done = true
		return <-s.err
	}
	s.head = &e
	return nil
}
