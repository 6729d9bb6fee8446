package supervision

import (
	"slices"
	"time"
)

// started: the process of c runs.
func (m *Machine) started(c *child, e ChildStarted) {
	c.running, c.pid = true, e.Pid
	m.noteOf(c, ServiceStarted, c.cause, "", Attr{"pid", e.Pid})
	m.wakeDependents(c)
}

// ready: the start of c has succeeded.
func (m *Machine) ready(c *child) {
	if c.phase != starting || c.stuck {
		return
	}
	m.freeSlot(c)
	m.setPhase(c, up)
	c.running, c.healthy, c.ran, c.cameUp, c.healthySince = true, true, true, true, m.now
	c.reason, c.detail = ReasonNone, ""
	m.noteOf(c, ServiceReady, c.cause, "")
	for _, l := range c.neededBy {
		if d := l.child; l.Restart && d.rest == exhausted && !d.alive() {
			d.cause = c.cause
			m.forgive(d)
		}
	}
	m.wakeDependents(c)
	m.touch(c)
	m.checkStarted(c.sup)
}

// forgive clears the failure of a child and its counters.
func (m *Machine) forgive(c *child) {
	c.row = 0
	c.window.clear()
	if !c.alive() {
		m.setRest(c, pending)
		c.waits = false
		m.recheck = true
	}
	m.unblock(c)
}

// wakeDependents looks at what may start now; what has waited starts because of
// the last notice about c.
func (m *Machine) wakeDependents(c *child) {
	for _, l := range c.neededBy {
		if d := l.child; d.waits && c.meets(l.Condition) {
			d.cause = c.cause
		}
		m.touch(l.child)
	}
}

func (m *Machine) healthChanged(c *child, e ChildHealth) {
	if m.confirm(c, e) || c.phase != up || c.stuck || c.healthy == e.Healthy {
		return
	}
	if !e.Healthy {
		m.creditHealth(c)
		c.healthy, c.since = false, m.now
		c.reason, c.detail = ReasonProbe, e.Detail
		m.noteOf(c, ServiceUnhealthy, 0, e.Detail)
		c.suspect = suspicion{notice: c.cause}
		return
	}
	c.healthy, c.since, c.healthySince = true, m.now, m.now
	c.reason, c.detail = ReasonNone, ""
	m.noteOf(c, ServiceHealthy, c.cause, "")
	c.suspect = suspicion{}
	m.wakeDependents(c)
}

// creditHealth begins a new row of restarts if c was healthy for long enough; it
// is asked when that health is over.
func (m *Machine) creditHealth(c *child) {
	if c.healthy && m.now.Sub(c.healthySince) >= c.spec().Backoff.ResetAfter {
		c.row = 0
	}
}

// declined: the start of c said that there is nothing to run.
func (m *Machine) declined(c *child) {
	if c.phase == up {
		return
	}
	asked := c.phase == stopping || c.mustStop
	m.gone(c)
	if asked {
		m.stopped(c, false)
	} else {
		m.setRest(c, ignored)
		m.forget(c)
		m.recheck = true
		m.checkStarted(c.sup)
	}
	m.checkGone(c.sup)
}

func (m *Machine) gotStuck(c *child, e ChildStuck) {
	if c.stuck {
		return
	}
	m.creditHealth(c)
	m.freeSlot(c)
	c.stuck, c.healthy, c.running = true, false, false
	c.sup.alive--
	c.reason, c.detail = ReasonStuck, e.Detail
	m.noteOf(c, ServiceStuck, c.cause, e.Detail, e.Attrs...)
	m.leave(c)
	m.getOutOfWay(c)
	m.touch(c)
	m.recheck = true
	m.checkGone(c.sup)
}

// gone makes c a child without an incarnation.
func (m *Machine) gone(c *child) {
	m.creditHealth(c)
	m.freeSlot(c)
	if c.stuck {
		m.recheck = true
	} else {
		c.sup.alive--
	}
	m.setPhase(c, down)
	c.running, c.healthy, c.stuck, c.mustStop, c.pid = false, false, false, false, 0
	m.leave(c)
	m.getOutOfWay(c)
	m.touch(c)
}

// exited: nothing of that life of c is left.
func (m *Machine) exited(c *child, e ChildExited) {
	ordered, marked := c.phase == stopping, c.mustStop
	if c.phase == up && e.Kind == Abnormal {
		e.Hopeless = false // it has run
	}
	m.noteExit(c, e, ordered)
	if ordered || marked {
		m.reportStop(c, e, ordered)
	}
	m.gone(c)
	if ordered || marked {
		m.stopped(c, !ordered && e.Kind == Normal)
	} else {
		c.reason, c.detail = e.Reason, e.Detail
		m.ended(c, e)
	}
	m.checkGone(c.sup)
}

// ended: c is gone though nobody ordered it to stop.
func (m *Machine) ended(c *child, e ChildExited) {
	switch {
	case !c.sup.open():
	case m.spoils(c, e):
	case !c.sup.sequence():
		m.judge(c, e)
	case c.sup.starts(c) && c.failedToStart(e) && c.sup.dealsWith(c, e):
		m.startFailed(c, e)
	default:
		c.unjudged = &e
		m.send(c, false)
	}
}

// failedToStart tells whether the end of c is that of a start. A supervisor that
// ends since it is done has not failed.
func (c *child) failedToStart(e ChildExited) bool {
	return !c.ran && (e.Kind == Abnormal || c.nested != nil && c.nested.ended == EndIntensity)
}

// starts tells whether c, which has ended, was being started by s.
func (s *supervisor) starts(c *child) bool {
	return s.op != nil && slices.Contains(s.op.starts, c)
}

// dealsWith tells whether s does something about a failed start of c at once: it
// fails itself, answers the call that asked for it, or tries again.
func (s *supervisor) dealsWith(c *child, e ChildExited) bool {
	return s.self.phase == starting || s.op.call != nil || c.spec().Restart.After(e.Kind)
}

// signalTime is how long after an operator's signal an end is put down to it, unless
// it is that signal which ended the process.
const signalTime = 10 * time.Second

// suspicion is a notice that an end by itself will be put down to: the verdict that
// the child is unhealthy, or an operator's signal.
type suspicion struct {
	notice uint64
	signal any       // the name of the signal; nil: none
	since  time.Time // when it was sent
}

// sent are the signals that a process dies of since somebody has sent them; of others it dies
// since it has gone wrong, for which another signal may be the reason.
var sent = []any{"SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"}

// of is the notice that an end is put down to, 0 if there is none.
func (s suspicion) of(now time.Time, e ChildExited) uint64 {
	if s.signal == nil {
		return s.notice
	}
	var died any
	for _, a := range e.Attrs {
		if a.Key == "signal" {
			died = a.Value
		}
	}
	if died != s.signal && (slices.Contains(sent, died) || now.Sub(s.since) > signalTime) {
		return 0
	}
	return s.notice
}

// noteExit notes the end of a life. What nobody asked for has no cause but the
// verdict that the child is unhealthy, or a signal that an operator sent.
func (m *Machine) noteExit(c *child, e ChildExited, ordered bool) {
	kind, cause := ServiceExited, c.suspect.of(m.now, e)
	switch {
	case ordered:
		kind, cause = ServiceStopped, c.cause
	case c.mustStop, c.stuck:
		cause = c.cause
	}
	attrs := append([]Attr{{"reason", string(e.Reason)}}, e.Attrs...)
	if ordered && e.Unexpected {
		attrs = append(attrs, Attr{"unexpected", true})
	}
	m.noteOf(c, kind, cause, e.Detail, attrs...)
}

// stopped: c is gone as it was to be. finishedItself: it ended normally before it
// was ordered to stop.
func (m *Machine) stopped(c *child, finishedItself bool) {
	c.reason, c.detail = c.stopReason, ""
	// In OTP what is found dead at its turn is started again with its group.
	member := c.sup.sequence() && c.sup.open() && c.gate != nil
	switch {
	case finishedItself && c.spec().Restart != Permanent && !member && !c.manual:
		m.complete(c)
	case c.spec().Restart == Temporary && !c.stopAgain:
		m.setRest(c, dismissed)
		m.recheck = true
	default:
		m.setRest(c, pending)
	}
	if c.staysDown() {
		m.recheck = true
	}
}

// judge decides what follows an end that nobody ordered.
func (m *Machine) judge(c *child, e ChildExited) {
	if c.sup.isPaused() {
		c.unjudged = &e
		m.setRest(c, recorded)
		m.recheck = true
		return
	}
	m.reportEnd(c, e)
	lasting := !c.spec().Restart.After(e.Kind)
	switch {
	case m.booting && c.failedToStart(e) && (e.Hopeless || lasting):
		m.fail(c, e.Detail)
	case lasting:
		m.retire(c, e)
	default:
		m.restart(c)
	}
}

// retire leaves c down for good.
func (m *Machine) retire(c *child, e ChildExited) {
	switch {
	case c.nested != nil:
		m.setRest(c, retired)
	case e.Kind == Abnormal:
		m.setRest(c, abandoned)
		c.reason = ReasonTemporary
		m.noteOf(c, ServiceFailed, c.cause, "it is temporary and is not restarted: "+e.Detail, Attr{"reason", string(ReasonTemporary)})
	default:
		m.complete(c)
	}
	m.release(c)
	m.forget(c)
	m.recheck = true
	m.checkAutoShutdown(c)
	m.checkStarted(c.sup)
}

func (m *Machine) complete(c *child) {
	m.setRest(c, finished)
	c.reason, c.detail = ReasonNone, ""
	m.noteOf(c, ServiceCompleted, c.cause, "")
	m.wakeDependents(c)
	m.recheck = true
}

// fail leaves c `failed`; what its strategy would restart with it stops and
// waits.
func (m *Machine) fail(c *child, why string) {
	m.setRest(c, exhausted)
	c.detail = why
	if c.spec().Restart == Temporary {
		m.setRest(c, abandoned)
		c.reason = ReasonTemporary
	}
	if c.nested == nil {
		m.noteOf(c, ServiceFailed, c.cause, why, Attr{"reason", string(c.reason)})
	}
	set := m.affected(c)
	for _, k := range set[1:] {
		m.follow(k, c)
	}
	m.markAll(set[1:], c.cause, func(*child) Reason { return ReasonDependency })
	m.recheck = true
	if m.booting && !m.opt.BestEffort {
		m.end(m.root.nested, Ended{Why: EndBootFailed, ID: c.id(), Detail: why}, c.cause)
		return
	}
	m.checkAutoShutdown(c)
	m.checkStarted(c.sup)
}

// checkAutoShutdown ends the supervisor of c if the end of c asks for that.
func (m *Machine) checkAutoShutdown(c *child) {
	s := c.sup
	if !c.spec().Significant || s.spec.AutoShutdown == Never || !s.open() {
		return
	}
	normal := true
	for _, k := range s.children {
		if !k.spec().Significant {
			continue
		}
		if s.spec.AutoShutdown == AllSignificant && k.goesOn() {
			return
		}
		normal = normal && (k.alive() || k.rest == finished || k.rest == pending || k.nested != nil && k.nested.well)
	}
	m.end(s, Ended{Why: EndAutoShutdown, ID: c.id(), AllNormal: normal}, c.cause)
}

// goesOn tells whether c has not ended: it lives, or is to live again.
func (c *child) goesOn() bool {
	if c.alive() {
		return true
	}
	switch c.rest {
	case pending:
		return !c.under
	case backingOff, retrying, recorded:
		return true
	case exhausted, abandoned, finished, dismissed, retired, ignored:
	}
	return false
}
