package actors

import (
	"bytes"
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/logstore"
)

// capture carries the output of the incarnation to its log.
func (w *worker) capture() {
	done := make(chan struct{})
	w.output = done
	p, service, pid := w.process, w.svc.Spec.Name, w.process.Pid()
	match, _ := w.prober.(*proc.LogMatch)
	sinks := w.node.logSinks(service)
	detach(func() {
		defer close(done)
		p.Capture(func(stream string, at time.Time, lines []proc.Line) {
			entries := make([]logstore.Entry, len(lines))
			for i, l := range lines {
				if match != nil {
					match.Observe(l.Data)
				}
				entries[i] = logstore.Entry{
					Time: at, Service: service, Stream: stream, Pid: pid,
					Line: bytes.Clone(l.Data), Partial: l.Partial, NoNewline: l.NoNewline,
				}
			}
			sinks[stream].write(entries)
		})
	})
}

// awaitAll waits until nothing is left of the incarnation and its last line was
// handed over, runs the post_stop hooks and gives up what was held for it.
func (w *worker) awaitAll(c actor.Context) {
	p, inc, output, spec, log := w.process, w.inc, w.output, w.svc.Spec, w.log
	reason := w.endReason()
	if prober, checks := w.prober, w.checks; prober != nil {
		detach(func() {
			checks.Wait()
			_ = prober.Close() // nothing is kept that matters
		})
	}
	await(c, func() any {
		_ = p.AwaitGone(context.Background()) // ends only when all are gone
		drain(p, output)
		if err := p.PostStop(context.Background(), spec, reason); err != nil {
			log.Warn().Err(err).Uint64("incarnation", inc).Msg("post_stop hook ended badly")
		}
		p.Release()
		return allGone{inc}
	})
}

func drain(p Process, output <-chan struct{}) {
	if output == nil {
		return
	}
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case <-output:
		return
	case <-timer.C:
		p.CutOutput()
		<-output
	}
}

// logSink hands the lines of one stream to the service's log.
type logSink struct {
	to      *actor.PID
	root    *actor.RootContext
	timeout time.Duration
	behind  <-chan struct{} // of lines that were not waited for to their end
}

// logSinks returns a sink for each stream of a service.
func (n *nodeContext) logSinks(service string) map[string]*logSink {
	sinks := map[string]*logSink{}
	for _, stream := range []string{"stdout", "stderr"} {
		sinks[stream] = &logSink{to: n.logPID(service), root: n.system.Root, timeout: n.cfg.Logs.BlockTimeout}
	}
	return sinks
}

// write returns when the lines are written, or after the time that a service may
// be kept waiting.
func (s *logSink) write(entries []logstore.Entry) {
	done := make(chan struct{})
	s.root.Send(s.to, writeLines{entries: entries, late: s.isBehind(), done: done})
	timer := time.NewTimer(s.timeout)
	defer timer.Stop()
	select {
	case <-done:
		s.behind = nil
	case <-timer.C:
		s.behind = done
	}
}

func (s *logSink) isBehind() bool {
	if s.behind == nil {
		return false
	}
	select {
	case <-s.behind:
		return false
	default:
		return true
	}
}
