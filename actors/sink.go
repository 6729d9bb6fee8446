package actors

import (
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
	done    chan bool
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
func (s *logSink) write(at time.Time, lines []proc.Line) {
	m := s.pack(at, lines)
	if s.done == nil {
		s.done = make(chan bool, 1)
	}
	m.done, m.late = s.done, s.behind
	s.root.Send(s.to, m)
	if s.timer == nil {
		s.timer = time.NewTimer(s.timeout)
	} else {
		s.timer.Reset(s.timeout)
	}
	select {
	case written := <-s.done:
		s.timer.Stop()
		s.behind = s.behind && !written
	case <-s.timer.C:
		s.behind, s.done = true, nil // its answer is still to come
	}
}

// pack copies lines, their texts into one piece.
func (s *logSink) pack(at time.Time, lines []proc.Line) writeLines {
	size := 0
	for _, l := range lines {
		size += len(l.Data)
	}
	text := make([]byte, 0, size)
	entries := make([]logstore.Entry, len(lines))
	for i, l := range lines {
		begin := len(text)
		text = append(text, l.Data...)
		e := &entries[i]
		*e = s.like
		e.Time, e.Partial, e.NoNewline = at, l.Partial, l.NoNewline
		e.Line = text[begin:len(text):len(text)]
	}
	return writeLines{entries: entries, bytes: size}
}
