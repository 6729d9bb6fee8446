package actors

import (
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/logstore"
)

// logSink hands the lines of one stream of an incarnation to the service's log.
// While the log is behind, lines are still handed over, and lost if the disk is
// busy, but the service does not wait for them.
type logSink struct {
	to      *actor.PID
	root    *actor.RootContext
	like    logstore.Entry // what its lines have in common
	timeout time.Duration
	timer   *time.Timer
	done    chan receipt
	behind  bool
}

func newLogSink(n *nodeContext, s *service, stream string, pid int) *logSink {
	return &logSink{
		to: s.logPID, root: n.system.Root, timeout: n.cfg.Logs.BlockTimeout,
		like: logstore.Entry{Service: s.Spec.Name, Stream: stream, Pid: pid},
	}
}

// write returns when the lines are written or lost, or after the time that a
// service may be kept waiting.
//
// What it reports as false nobody waits for any more; else it has landed in the log.
func (s *logSink) write(at time.Time, lines []proc.Line, upTo uint64) (landed bool) {
	if s.done == nil {
		s.done = make(chan receipt, 1)
	}
	l := lots.Get().(*lot) //nolint:forcetypeassert // nothing else is in there
	l.pack(s.like, at, lines, upTo)
	s.root.Send(s.to, writeLines{entries: l.entries, bytes: len(l.text), late: s.behind, done: s.done})
	if s.timer == nil {
		s.timer = time.NewTimer(s.timeout)
	} else {
		s.timer.Reset(s.timeout)
	}
	select {
	case r := <-s.done:
		s.timer.Stop()
		s.behind = s.behind && !r.written
		if r.free && cap(l.text) <= lotBytes && cap(l.entries) <= lotLines {
			lots.Put(l)
		}
		return r.landed
	case <-s.timer.C:
		s.behind, s.done = true, nil // its receipt is still to come
		return false
	}
}

// lot is the memory of a batch of lines.
type lot struct {
	entries []logstore.Entry
	text    []byte
}

// A lot that is larger is not used again.
const (
	lotBytes = 512 << 10
	lotLines = 4096
)

// lots are shared by all sinks, most of which are idle.
var lots = sync.Pool{New: func() any { return new(lot) }}

// pack copies lines, their texts into one piece.
func (l *lot) pack(like logstore.Entry, at time.Time, lines []proc.Line, upTo uint64) {
	size := 0
	for _, line := range lines {
		size += len(line.Data)
	}
	like.Time = at
	l.text = slices.Grow(l.text[:0], size)
	l.entries = slices.Grow(l.entries[:0], len(lines))[:len(lines)]
	for i, line := range lines {
		begin := len(l.text)
		l.text = append(l.text, line.Data...)
		e := &l.entries[i]
		*e = like
		e.Partial, e.NoNewline, e.Joined = line.Partial, line.NoNewline, line.Joined
		e.Line = l.text[begin:len(l.text):len(l.text)]
	}
	if n := len(l.entries); n > 0 {
		l.entries[n-1].UpTo = upTo
	}
}
