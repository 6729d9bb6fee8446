package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// lookTime lies between two looks for what does not die.
const lookTime = time.Second

func (w *worker) askLeft(c actor.Context) {
	p, sig := w.body.process, w.svc.Spec.StopSignal
	await(c, func() any {
		_ = p.SignalLeft(sig) // what does not hear is killed
		return nil
	})
}

func (w *worker) killLeft(c actor.Context) {
	p := w.body.process
	await(c, func() any {
		_ = p.Kill() // AwaitGone sees whether it worked
		return nil
	})
}

// awaitAll waits until nothing of the incarnation is alive, and kills that first if told to.
func (w *worker) awaitAll(c actor.Context, kill bool) {
	if w.awaited {
		return // its predecessor's goroutines told the same
	}
	w.awaited = true
	w.body.closeProber(w.node)
	s, b, inc := w.svc, w.body, w.inc
	p := b.process
	await(c, func() any {
		if kill {
			_ = p.Kill() // AwaitGone sees whether it worked
		}
		if kill && p.Gone() && b.isDrained() && len(s.Spec.Hooks.PostStop) == 0 {
			b.end(s, "") // which nobody is told
			return allGone{inc}
		}
		for p.AwaitGone(context.Background()) != nil { // as where bhnode can open nothing more
			time.Sleep(lookTime)
			if kill {
				_ = p.Kill()
			}
		}
		return emptied{inc}
	})
}

// emptied has the last lines handed over and the post_stop hooks run.
func (w *worker) emptied(c actor.Context) {
	w.empty = true
	w.stopDue.cancel()
	s, b, reason := w.svc, w.body, string(w.outcome().Reason)
	await(c, func() any {
		b.end(s, reason)
		return allGone{b.incarnation}
	})
}

// over reports the end of the incarnation, of which nothing is left.
func (w *worker) over(c actor.Context) {
	ended := w.ending()
	if p := w.body.process; p != nil {
		exit := p.Exit()
		w.detail.Exit = &exit
	}
	w.body.closeProber(w.node)
	w.cancelAlarms()
	w.detail.Pid = 0
	w.body, w.svc.body = nil, nil
	w.show()
	w.tell(c, ended)
	next := w.next
	w.next = nil
	switch {
	case next == nil:
	case next.ended != nil:
		w.tell(c, *next.ended)
	default:
		w.start(c, next.incarnation)
	}
}

// ending is what the end of the incarnation is to supervision.
func (w *worker) ending() supervision.Event {
	if errors.Is(w.body.err, ErrDeclined) && w.verdict == nil {
		return supervision.ChildIgnored{ID: w.spec.ID, Incarnation: w.inc}
	}
	e := w.outcome()
	e.ID, e.Incarnation = w.spec.ID, w.inc
	return e
}

// outcome is how the incarnation ended, for its restart.
func (w *worker) outcome() supervision.ChildExited {
	p := w.body.process
	if p == nil {
		return w.failedStart()
	}
	exit := p.Exit()
	counted := p.Counters()
	attrs := exitAttrs(exit, counted)
	if w.verdict != nil {
		e := *w.verdict
		e.Attrs = attrs
		return e
	}
	e := supervision.ChildExited{Detail: endText(exit, counted, w.svc.Spec.Limits), Attrs: attrs, Reason: supervision.ReasonExit, Kind: supervision.Abnormal}
	switch {
	case w.ordered:
		e.Kind, e.Reason = supervision.ShutdownExit, w.why
	case w.succeeded(exit):
		e.Kind = supervision.Normal
	}
	e.Unexpected = !w.asTold(exit, e.Kind)
	switch {
	case w.ordered:
	case exit.OOMKilled:
		e.Reason = supervision.ReasonOOM
	case exit.Signal != 0:
		e.Reason = supervision.ReasonSignal
	}
	return e
}

// failedStart is the outcome of a life without a process.
func (w *worker) failedStart() supervision.ChildExited {
	switch {
	case w.verdict != nil:
		return *w.verdict
	case w.ordered:
		return supervision.ChildExited{Kind: supervision.ShutdownExit, Reason: w.why, Detail: "stopped before it ran"}
	}
	e := supervision.ChildExited{Kind: supervision.Abnormal, Reason: supervision.ReasonSpawnError, Detail: w.body.err.Error()}
	if start, ok := errors.AsType[*proc.StartError](w.body.err); ok {
		e.Hopeless = start.Hopeless
		e.Attrs = []supervision.Attr{{Key: "stage", Value: string(start.Stage)}}
	}
	return e
}

// asTold tells whether an order to stop explains that end: a clean one, or death by
// the ordered signal. A permanent one that ends by itself just then must say that it
// was asked to, by a code of its own (OTP supervisor, shutdown/1).
func (w *worker) asTold(exit proc.Exit, kind supervision.ExitKind) bool {
	switch {
	case w.shutdown.Mode == supervision.BrutalKill && exit.Signal == syscall.SIGKILL:
		return true
	case !w.ordered:
		return kind == supervision.Normal && (w.spec.Restart != supervision.Permanent || exit.Code != 0)
	}
	return w.succeeded(exit) || exit.Signal == w.svc.Spec.StopSignal
}

func (w *worker) succeeded(exit proc.Exit) bool {
	if exit.Signal != 0 {
		return slices.Contains(w.svc.Spec.SuccessSignals, exit.Signal)
	}
	return exit.Known && (exit.Code == 0 || slices.Contains(w.svc.Spec.SuccessCodes, exit.Code))
}

// endText says how it ended, and which limit may be why: "SIGKILL, out of memory, memory_mb 64".
func endText(exit proc.Exit, counted proc.Counters, l proc.Limits) string {
	text := exit.String()
	if exit.OOMKilled && l.MemoryMB > 0 {
		text += fmt.Sprintf(", memory_mb %d", l.MemoryMB)
	}
	if counted.PidsRefused > 0 && (exit.Code > 0 || exit.Signal != 0) {
		text += fmt.Sprintf(", forks refused: %d, processes %d", counted.PidsRefused, l.Processes)
	}
	return text
}

// How an end is told in attributes.
const (
	attrCode   = "code"
	attrSignal = "signal"
	attrOOM    = "oom_killed"
)

func exitAttrs(exit proc.Exit, counted proc.Counters) []supervision.Attr {
	var code, sig any
	switch {
	case exit.Signal != 0:
		sig = proc.SignalName(exit.Signal)
	case exit.Known:
		code = exit.Code
	}
	attrs := []supervision.Attr{{Key: attrCode, Value: code}, {Key: attrSignal, Value: sig}, {Key: attrOOM, Value: exit.OOMKilled}}
	if counted.PidsRefused > 0 {
		attrs = append(attrs, supervision.Attr{Key: "forks_refused", Value: counted.PidsRefused})
	}
	if counted.Throttled > 0 {
		attrs = append(attrs, supervision.Attr{Key: "throttled_seconds", Value: counted.Throttled.Seconds()})
	}
	return attrs
}

// lookForLeft looks for what does not die.
func (w *worker) lookForLeft(c actor.Context) {
	p, inc := w.body.process, w.inc
	await(c, func() any {
		left, _ := p.Left() // an error finds nothing: it looks again
		return stuck{inc, left}
	})
}

// tellStuck reports an incarnation that does not die. Where nobody is found it is
// about to be told so: bhnode did not run for a while.
func (w *worker) tellStuck(c actor.Context, m stuck) {
	if m.incarnation != w.inc || w.empty || w.stage != supervision.Stuck {
		return
	}
	if len(m.left) == 0 {
		w.stopDue.set(c, lookTime, lookAgain{w.inc})
		return
	}
	names := make([]string, len(m.left))
	for i, r := range m.left {
		names[i] = r.String()
	}
	e := supervision.ChildStuck{
		ID: w.spec.ID, Incarnation: w.inc, Detail: fmt.Sprintf("alive %v after SIGKILL: %s", killTime, strings.Join(names, ", ")),
		Attrs: []supervision.Attr{{Key: "processes", Value: names}},
	}
	w.tell(c, e)
	if next := w.next; next != nil { // supervision knows of that one only
		if next.ended == nil {
			ended := w.panicked(next.incarnation)
			next.ended = &ended
		}
		e.Incarnation = next.incarnation
		w.tell(c, e)
	}
}
