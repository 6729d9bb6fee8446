package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// finalTime is what a start gets beyond start_period so that a verdict that was
// under way, or waited for a bhnode that did not run, can still arrive.
const finalTime = time.Second

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
	w.tell(c, supervision.ChildStarted{ID: w.spec.ID, Incarnation: w.inc, Pid: w.process.Pid()})
	inc := w.inc
	if period := w.svc.Health.StartPeriod; period > 0 && w.svc.Spec.Probe.Type != proc.ProbeNone {
		sendAfter(c, period, startTooLong{incarnation: inc, due: time.Now().Add(period)})
	}
	switch ready := w.latch(); {
	case w.svc.Spec.Probe.Type == proc.ProbeNone:
		sendAfter(c, settleTime, latched{inc})
	case ready != nil:
		over := w.output
		await(c, func() any {
			select {
			case <-ready:
				return latched{inc}
			case <-over:
				return nil
			}
		})
	default:
		w.probe(c)
	}
}

// latch returns the channel of a check that is one event, nil for one that is
// asked again and again.
func (w *worker) latch() <-chan struct{} {
	if m, ok := w.prober.(*proc.LogMatch); ok {
		return m.Ready()
	}
	return w.process.Ready()
}

// probe makes one check, unless one is under way or the incarnation is on its way
// out.
func (w *worker) probe(c actor.Context) {
	if w.checking || w.prober == nil || w.stage != supervision.Starting && w.stage != supervision.Running {
		return
	}
	w.checking = true
	w.probes++
	prober, inc, checks := w.prober, w.inc, w.checks
	checks.Add(1)
	await(c, func() any {
		defer checks.Done()
		begun := time.Now()
		err := prober.Check(context.Background())
		return probed{inc, err, begun, time.Since(begun)}
	})
}

// probed takes the result of a check.
func (w *worker) probed(c actor.Context, m probed) {
	w.checking = false
	w.detail.Probed, w.detail.LastCheck, w.detail.Latency, w.detail.LastError = true, m.at, m.took, ""
	verdict := supervision.Good
	var unknown *proc.UnknownError
	switch {
	case errors.As(m.err, &unknown):
		verdict = supervision.Unknown
		w.detail.Unknown++
		w.detail.LastError = "could not be carried out: " + m.err.Error()
	case m.err != nil:
		verdict = supervision.Bad
		w.lastBad = m.at
		w.detail.LastError = m.err.Error()
	}
	changed := w.health.Observe(verdict)
	w.detail.Failures = w.health.Failures()
	w.show()
	sendAfter(c, w.health.Interval(w.probes), probeDue{w.inc})
	if changed {
		w.healthChanged(c)
	}
}

func (w *worker) healthChanged(c actor.Context) {
	healthy := w.health.Healthy()
	if w.stage == supervision.Starting {
		if healthy {
			w.signal(c, supervision.Ready)
		}
		return
	}
	if w.stage != supervision.Running {
		return
	}
	text := fmt.Sprintf("%d checks in a row failed: %s", w.detail.Failures, w.detail.LastError)
	w.tell(c, supervision.ChildHealth{ID: w.spec.ID, Incarnation: w.inc, Healthy: healthy, Detail: text})
	if !healthy && w.svc.Health.OnUnhealthy == supervision.RestartUnhealthy {
		w.condemn(c, supervision.ReasonProbe, text)
	}
}

// startTooLong: start_period is over. The incarnation is condemned by a check that
// fails after it, never by the clock alone: bhnode may have been the one that was
// late. One that reports itself gets finalTime from when bhnode sees this, so that
// a report that waited for bhnode is heard.
func (w *worker) startTooLong(c actor.Context, m startTooLong) {
	if w.stage != supervision.Starting {
		return
	}
	now, polled := time.Now(), w.latch() == nil
	if m.last.IsZero() {
		m.last = now.Add(finalTime)
	}
	if polled && !w.lastBad.After(m.due) || !polled && now.Before(m.last) {
		w.probe(c)
		sendAfter(c, finalTime/10, m)
		return
	}
	text := fmt.Sprintf("not healthy within %v", w.svc.Health.StartPeriod)
	if w.detail.LastError != "" {
		text += ": " + w.detail.LastError
	}
	w.condemn(c, supervision.ReasonStartTimeout, text)
}

// condemn ends the incarnation for a reason of its own.
func (w *worker) condemn(c actor.Context, why supervision.Reason, text string) {
	w.verdict = &supervision.ChildExited{Kind: supervision.Abnormal, Reason: why, Detail: text}
	sig := supervision.Stop
	if w.shutdown.Mode == supervision.BrutalKill {
		sig = supervision.Kill
	}
	w.signal(c, sig)
}
