package actors

import (
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// A service that reports itself gets finalLooks times finalTime beyond start_period,
// so that a report that waited for a bhnode that did not run is heard: of a bhnode
// that was stopped meanwhile one of them is used up.
const (
	finalTime  = 100 * time.Millisecond
	finalLooks = 10
)

func (w *worker) receiveProbe(c actor.Context) {
	switch m := c.Message().(type) {
	case probeDue:
		if m.incarnation == w.inc {
			w.probe(c)
		}
	case probed:
		if m.incarnation == w.inc {
			w.probed(c, m)
		}
	case latched:
		if m.incarnation == w.inc && w.stage == supervision.Starting {
			w.health.Observe(supervision.Good)
			w.signal(c, supervision.Ready)
		}
	case startTooLong:
		if m.incarnation == w.inc {
			w.startTooLong(c, m)
		}
	}
}

// watch begins with the checks of an incarnation whose process runs.
func (w *worker) watch(c actor.Context) {
	w.tell(c, supervision.ChildStarted{ID: w.spec.ID, Incarnation: w.inc, Pid: w.detail.Pid})
	w.check(c, 0)
}

// check begins with the checks of a process that has run for so long and is not ready.
func (w *worker) check(c actor.Context, ran time.Duration) {
	inc, p := w.inc, w.body.process
	if w.svc.Spec.Probe.Type == proc.ProbeNone {
		w.startDue.set(c, max(0, settleTime-ran), latched{inc})
		return
	}
	if period := w.svc.Health.StartPeriod; period > 0 {
		w.startDue.set(c, max(0, period-ran), startTooLong{incarnation: inc})
	}
	ready := w.latch()
	if ready == nil {
		w.probe(c)
		return
	}
	await(c, func() any {
		select {
		case <-ready:
			return latched{inc}
		case <-p.Exited():
			return nil
		}
	})
}

// latch returns the channel of a check that is one event, nil for one that is
// asked again and again.
func (w *worker) latch() <-chan struct{} {
	if m, ok := w.body.prober.(*proc.LogMatch); ok {
		return m.Ready()
	}
	return w.body.process.Ready()
}

// checked tells whether the incarnation is one that checks are about.
func (w *worker) checked() bool {
	return w.stage == supervision.Starting || w.stage == supervision.Running
}

// probe makes one check, unless one is under way or the incarnation is on its way
// out.
func (w *worker) probe(c actor.Context) {
	if w.checking || !w.checked() || w.body.prober == nil {
		return
	}
	w.checking = true
	w.probes++
	b := w.body
	b.checks.Add(1)
	await(c, func() any {
		defer b.checks.Done()
		begun := time.Now()
		err := b.check()
		return probed{b.incarnation, err, begun, time.Since(begun)}
	})
}

// probed takes the result of a check.
func (w *worker) probed(c actor.Context, m probed) {
	w.checking = false
	if !w.checked() {
		return // it failed because of the stop, if it did
	}
	w.node.metrics.Probed(string(w.spec.ID), m.took, m.err)
	w.detail.Probed, w.detail.LastCheck, w.detail.Latency, w.detail.LastError = true, m.at, m.took, ""
	verdict := supervision.Good
	switch _, unknown := errors.AsType[*proc.UnknownError](m.err); {
	case unknown:
		verdict = supervision.Unknown
		w.detail.Unknown++
		w.detail.LastError = fmt.Sprintf("could not be carried out (%d so far): %v", w.detail.Unknown, m.err)
	case m.err != nil:
		verdict = supervision.Bad
		w.detail.LastError = m.err.Error()
	}
	changed := w.health.Observe(verdict)
	w.detail.Failures = w.health.Failures()
	w.show()
	if w.latch() != nil {
		return // it was only asked what it waits for
	}
	if verdict == supervision.Bad && !w.overdue.IsZero() && w.stage == supervision.Starting {
		w.finalCheck(c, m.at)
		return
	}
	w.checkDue.set(c, w.health.Interval(w.probes), probeDue{w.inc})
	switch {
	case changed:
		w.healthChanged(c)
	case w.confirming && verdict == supervision.Good:
		w.tell(c, supervision.ChildHealth{ID: w.spec.ID, Incarnation: w.inc, Healthy: true})
	}
	w.confirming = w.confirming && verdict != supervision.Good
}

// finalCheck judges a start by a check that has failed after start_period, if it
// began after it too; else by another one.
func (w *worker) finalCheck(c actor.Context, begun time.Time) {
	if begun.Before(w.overdue) {
		w.probe(c)
		return
	}
	w.condemnStart(c)
}

func (w *worker) healthChanged(c actor.Context) {
	healthy := w.health.Healthy()
	if w.stage == supervision.Starting { // it is healthy for the first time
		w.signal(c, supervision.Ready)
		return
	}
	text := ""
	if !healthy {
		text = fmt.Sprintf("%d checks in a row failed: %s", w.detail.Failures, w.detail.LastError)
	}
	w.tell(c, supervision.ChildHealth{ID: w.spec.ID, Incarnation: w.inc, Healthy: healthy, Detail: text})
	if !healthy && !w.confirming && w.svc.Health.OnUnhealthy == supervision.RestartUnhealthy {
		w.condemn(c, supervision.ReasonProbe, text)
	}
}

// startTooLong: start_period is over. The incarnation is condemned by a check that
// begins after it and fails, never by the clock alone: bhnode may have been the one
// that was late.
func (w *worker) startTooLong(c actor.Context, m startTooLong) {
	if w.stage != supervision.Starting {
		return
	}
	w.overdue = time.Now()
	w.probe(c)
	switch {
	case w.latch() == nil:
	case m.looks == finalLooks:
		w.condemnStart(c)
	default:
		m.looks++
		w.startDue.set(c, finalTime, m)
	}
}

func (w *worker) condemnStart(c actor.Context) {
	text := fmt.Sprintf("not healthy within %v", w.svc.Health.StartPeriod)
	if w.detail.LastError != "" {
		text += ": " + w.detail.LastError
	}
	w.condemn(c, supervision.ReasonStartTimeout, text)
}

// condemn ends the incarnation for a reason of its own.
func (w *worker) condemn(c actor.Context, why supervision.Reason, text string) {
	w.verdict = &supervision.ChildExited{Kind: supervision.Abnormal, Reason: why, Detail: text}
	w.signal(c, w.stopSignal())
}
