package actors

import (
	"context"
	"errors"
	"fmt"

	"github.com/blackhole/bhnode/proc/logstore"
)

// merge reads the logs of several services as one, by time. Within a service the
// order of the log stays.
type merge struct {
	sources []*source
	errs    []error // of those that ended badly
}

type source struct {
	entries chan logstore.Entry
	err     chan error // has one when entries is closed
	head    *logstore.Entry
	done    bool
}

// newMerge begins to read what query says of each service; ctx ends it.
func newMerge(ctx context.Context, logs Logs, services []string, query func(service string) logstore.Query) *merge {
	m := &merge{}
	for _, name := range services {
		s := &source{entries: make(chan logstore.Entry, 64), err: make(chan error, 1)}
		m.sources = append(m.sources, s)
		o, q := logs.options(name), query(name)
		q.Among = len(services)
		aside(func() {
			defer close(s.entries)
			s.err <- read(ctx, o, q, s.entries)
		})
	}
	return m
}

// read sends what is on disk. A panic is an error: a node does not end since
// somebody wants to see a log.
func read(ctx context.Context, o logstore.Options, q logstore.Query, to chan<- logstore.Entry) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("cannot read the log of %s: %v", o.Service, reason)
		}
	}()
	return logstore.Read(ctx, o, q, func(e logstore.Entry) bool {
		select {
		case to <- e:
			return true
		case <-ctx.Done():
			return false
		}
	})
}

// next returns the earliest entry that is left. What could not be read of one log
// hides no other; the error comes at the end.
func (m *merge) next() (logstore.Entry, bool, error) {
	var first *source
	for _, s := range m.sources {
		if err := s.fill(); err != nil {
			m.errs = append(m.errs, err)
		}
		if s.head != nil && (first == nil || s.head.Time.Before(first.head.Time)) {
			first = s
		}
	}
	if first == nil {
		return logstore.Entry{}, false, errors.Join(m.errs...)
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

// latestBytes is how much of what was read latest is kept, about.
const latestBytes = 4 << 20

// latest holds the last entries of a merge.
type latest struct {
	want    int
	found   int // all
	bytes   int
	many    bool // they are too many to be kept: entries has none
	entries []logstore.Entry
}

func (l *latest) add(e logstore.Entry) error {
	l.found++
	if l.many {
		return nil
	}
	l.entries = append(l.entries, e)
	l.bytes += e.InMemory()
	if len(l.entries) > l.want {
		l.bytes -= l.entries[0].InMemory()
		l.entries[0] = logstore.Entry{}
		l.entries = l.entries[1:]
	}
	if l.bytes > latestBytes {
		l.many, l.entries = true, nil
	}
	return nil
}
