package supervision

// started: the process of c runs.
func (m *Machine) started(c *child, e ChildStarted) {
	c.running, c.pid = true, e.Pid
	m.noteOf(c, ServiceStarted, c.cause, "", Attr{"pid", e.Pid})
	m.wakeDependents(c)
}

// ready: the start of c has succeeded.
func (m *Machine) ready(c *child) {
	if c.phase != starting {
		return
	}
	m.freeSlot(c)
	m.setPhase(c, up)
	c.running, c.healthy, c.healthySince = true, true, m.now
	c.reason, c.detail = ReasonNone, ""
	m.noteOf(c, ServiceReady, c.cause, "")
	for _, l := range c.neededBy {
		if d := l.child; l.Restart && d.rest == exhausted && !d.alive() {
			m.forgive(d)
			d.cause = c.cause
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
	}
	m.unblock(c)
}

func (m *Machine) wakeDependents(c *child) {
	for _, l := range c.neededBy {
		m.touch(l.child)
	}
}

func (m *Machine) healthChanged(c *child, e ChildHealth) {
	if c.phase != up || c.healthy == e.Healthy {
		return
	}
	c.healthy, c.since = e.Healthy, m.now
	if !e.Healthy {
		c.reason, c.detail = ReasonProbe, e.Detail
		m.noteOf(c, ServiceUnhealthy, c.cause, e.Detail)
		return
	}
	c.healthySince = m.now
	c.reason, c.detail = ReasonNone, ""
	m.noteOf(c, ServiceHealthy, c.cause, "")
	m.wakeDependents(c)
}

// declined: the start of c said that there is nothing to run.
func (m *Machine) declined(c *child) {
	if c.phase != starting {
		return
	}
	m.gone(c)
	m.setRest(c, ignored)
	m.checkStarted(c.sup)
}

func (m *Machine) gotStuck(c *child, e ChildStuck) {
	if c.stuck {
		return
	}
	c.stuck = true
	c.sup.alive--
	c.reason, c.detail = ReasonStuck, e.Detail
	m.noteOf(c, ServiceStuck, c.cause, e.Detail, e.Attrs...)
	m.leave(c)
	m.touchNeeds(c)
	m.touch(c)
	m.checkGone(c.sup)
}

// touchNeeds looks at what may stop now that c is no longer in the way.
func (m *Machine) touchNeeds(c *child) {
	for _, l := range c.needs {
		m.touch(l.child)
	}
}

// gone makes c a child without an incarnation.
func (m *Machine) gone(c *child) {
	m.freeSlot(c)
	if !c.stuck {
		c.sup.alive--
	}
	if c.healthy && c.spec().Backoff.ResetAfter > 0 && m.now.Sub(c.healthySince) >= c.spec().Backoff.ResetAfter {
		c.row = 0
	}
	c.ran = c.phase == up
	m.setPhase(c, down)
	c.running, c.healthy, c.stuck, c.pid = false, false, false, 0
	m.leave(c)
	m.touchNeeds(c)
	m.touch(c)
}

// exited: nothing of that life of c is left.
func (m *Machine) exited(c *child, e ChildExited) {
	ordered, marked := c.phase == stopping, c.mustStop
	if c.phase == up && e.Kind == Abnormal {
		e.Hopeless = false // it has run
	}
	m.noteExit(c, e, ordered)
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
	case !c.sup.sequence():
		m.judge(c, e)
	case m.startsNow(c) && !c.ran && e.Kind == Abnormal:
		m.startFailed(c, e)
	default:
		c.unjudged = &e
		m.send(c, false)
	}
}

// startsNow tells whether c is the child that its busy supervisor starts.
func (m *Machine) startsNow(c *child) bool {
	op := c.sup.op
	return op != nil && len(op.stops) == 0 && len(op.starts) > 0 && op.starts[0] == c
}

func (m *Machine) noteExit(c *child, e ChildExited, ordered bool) {
	kind := ServiceExited
	if ordered {
		kind = ServiceStopped
	}
	attrs := append([]Attr{{"reason", string(e.Reason)}}, e.Attrs...)
	m.noteOf(c, kind, c.cause, e.Detail, attrs...)
}

// stopped: c is gone as it was to be. finishedItself: it ended normally before it
// was ordered to stop.
func (m *Machine) stopped(c *child, finishedItself bool) {
	c.mustStop = false
	c.reason, c.detail = c.stopReason, ""
	switch {
	case finishedItself && c.spec().Restart != Permanent:
		m.complete(c)
	case c.spec().Restart == Temporary && !c.stopAgain:
		m.setRest(c, dismissed)
	default:
		m.setRest(c, pending)
	}
	if c.nested != nil {
		c.nested.mailbox, c.nested.op = nil, nil
	}
}

// judge decides what follows an end that nobody ordered.
func (m *Machine) judge(c *child, e ChildExited) {
	failedStart := e.Kind == Abnormal && !c.ran
	switch {
	case c.sup.isPaused():
		c.unjudged = &e
		m.setRest(c, recorded)
	case m.booting && failedStart && (e.Hopeless || c.spec().Restart == Temporary):
		m.fail(c, e.Detail)
	case c.spec().Restart.After(e.Kind):
		m.restart(c)
	default:
		m.retire(c, e)
	}
}

// retire leaves c down for good.
func (m *Machine) retire(c *child, e ChildExited) {
	switch {
	case e.Kind == Abnormal:
		m.setRest(c, abandoned)
		c.reason = ReasonTemporary
		m.noteOf(c, ServiceFailed, c.cause, "it is temporary and is not restarted: "+e.Detail, Attr{"reason", string(ReasonTemporary)})
	case c.nested != nil:
		m.setRest(c, retired)
		for _, k := range c.nested.children {
			k.services(func(x *child) { m.setRest(x, retired) })
		}
	default:
		m.complete(c)
	}
	m.release(c)
	m.recheck = true
	m.checkAutoShutdown(c)
	m.checkStarted(c.sup)
}

func (m *Machine) complete(c *child) {
	m.setRest(c, finished)
	c.reason, c.detail = ReasonNone, ""
	m.noteOf(c, ServiceCompleted, c.cause, "")
	m.wakeDependents(c)
}

// fail leaves c `failed`; what its strategy would restart with it stops and
// waits.
func (m *Machine) fail(c *child, why string) {
	rest := exhausted
	if c.spec().Restart == Temporary {
		rest, c.reason = abandoned, ReasonTemporary
	}
	m.setRest(c, rest)
	c.detail = why
	m.noteOf(c, ServiceFailed, c.cause, why, Attr{"reason", string(c.reason)})
	set := m.affected(c)
	for _, k := range set[1:] {
		m.mark(k, c.cause, ReasonDependency, false)
		m.follow(k, c)
	}
	m.recheck = true
	if m.booting && !m.opt.BestEffort {
		m.end(m.root.nested, Ended{Why: EndBootFailed, ID: c.id(), Detail: why})
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
		if s.spec.AutoShutdown == AllSignificant && (k.alive() || k.rest == pending && k.holds == 0 || k.rest == backingOff || k.rest == retrying) {
			return
		}
		normal = normal && (k.alive() || k.rest == finished || k.rest == pending)
	}
	m.end(s, Ended{Why: EndAutoShutdown, ID: c.id(), AllNormal: normal})
}
