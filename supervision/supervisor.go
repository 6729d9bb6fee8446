package supervision

import "fmt"

// boot starts the root supervisor.
func (m *Machine) boot(e Boot) {
	if m.root.alive() || m.over {
		return
	}
	m.booting = true
	c := m.root
	c.inc++
	c.cause = e.Cause
	m.setPhase(c, starting)
	m.startSupervisor(c.nested)
}

// startSupervisor begins a life of a supervisor: an empty window, and every child
// is to start that is not down for good.
func (m *Machine) startSupervisor(s *supervisor) {
	s.window.clear()
	s.ending, s.failed, s.hopeless, s.settled, s.op, s.mailbox = nil, false, false, 0, nil, nil
	for _, c := range s.children {
		if c.cause == 0 || !m.booting {
			c.cause = s.self.cause
		}
		c.row = 0
		c.window.clear()
		if !s.latched(c) {
			m.setRest(c, pending)
		}
		m.touch(c)
	}
	if s.sequence() {
		m.run(s, &operation{starts: append([]*child(nil), s.children...)})
	}
	m.touch(s.self)
	m.checkStarted(s)
}

// latched tells whether a new life of s leaves c as it is: what has ended by
// itself runs again only when a person says so, which is how one-shots stay done.
// In sequence it starts everything, as OTP does.
func (s *supervisor) latched(c *child) bool {
	return !s.sequence() && (c.rest == finished || c.rest == abandoned)
}

// checkStarted ends the start of a supervisor once each child has come up or
// stays down.
func (m *Machine) checkStarted(s *supervisor) {
	for s.settled < len(s.children) && s.children[s.settled].hasSettled() {
		s.settled++
	}
	if s.settled < len(s.children) || s.op != nil || s.self.phase != starting {
		return
	}
	m.setPhase(s.self, up)
	s.self.healthy, s.self.healthySince = true, m.now
	m.touch(s.self)
	if s.self.sup != nil {
		m.checkStarted(s.self.sup)
	}
}

// hasSettled tells whether c is up, or stays down as things are.
func (c *child) hasSettled() bool {
	if c.alive() {
		return c.phase == up || c.stuck
	}
	return c.holds > 0 || c.rest != backingOff && c.rest != retrying && (c.rest != pending || c.blocked())
}

// blocked tells whether a dependency that stays down keeps c from starting.
func (c *child) blocked() bool {
	for _, l := range c.needs {
		d := l.child
		if d.alive() || d.meets(l.Condition) {
			continue
		}
		if d.hasSettled() {
			return true
		}
	}
	return false
}

// finishBoot says, once, that the node has come up as far as it can.
func (m *Machine) finishBoot() {
	if m.recheck {
		m.recheck = false
		for i := len(m.nested) - 1; i >= 0; i-- {
			m.checkStarted(m.nested[i])
		}
		m.settleAll()
	}
	if !m.booting || m.root.phase != up {
		return
	}
	m.booting = false
	var bad []ChildID
	wanted := 0
	m.root.services(func(c *child) {
		if c.holds > 0 {
			return
		}
		wanted++
		if !(c.phase == up && c.healthy) && c.rest != finished {
			bad = append(bad, c.id())
		}
	})
	if len(bad) == 0 {
		m.note(Notice{Cause: m.root.cause, Type: NodeReady, Message: plural(wanted, "service") + " healthy"})
	}
	m.do(Booted{Failed: bad})
}

// startFailed: c could not start while its supervisor, which works in sequence,
// was busy starting it.
func (m *Machine) startFailed(c *child, e ChildExited) {
	s := c.sup
	if s.self.phase == starting && !(m.booting && m.opt.BestEffort) {
		s.failed, s.hopeless = true, e.Hopeless
		m.end(s, Ended{Why: EndBootFailed, ID: c.id(), Detail: e.Detail})
		return
	}
	op := s.op
	s.op = nil
	if s.self.phase == starting {
		m.setRest(c, exhausted)
		m.noteOf(c, ServiceFailed, c.cause, e.Detail, Attr{"reason", string(e.Reason)})
		m.run(s, &operation{starts: op.starts[1:]})
		return
	}
	for _, f := range op.starts[1:] {
		m.follow(f, c)
	}
	m.setRest(c, retrying)
	m.send(c, true)
}

// giveUp: one restart too many. The supervisor stops its children and ends; c is
// not restarted.
func (m *Machine) giveUp(s *supervisor, c *child) {
	m.setRest(c, retired)
	text := fmt.Sprintf("more than %s within %v; the last straw was %s", plural(s.spec.Intensity.Max, "restart"), s.spec.Intensity.Period, c.id())
	cause := m.noteSupervisor(s, SupervisorGaveUp, c.cause, text, Attr{"child", string(c.id())})
	if s.self.sup != nil {
		m.noteSupervisor(s.self.sup, SupervisorEscalated, cause, string(s.self.id())+" gave up", Attr{"child", string(s.self.id())})
	}
	m.end(s, Ended{Why: EndIntensity, ID: c.id(), Detail: text})
}

// end has a supervisor stop its children in reverse order and end by itself.
func (m *Machine) end(s *supervisor, why Ended) {
	if s.ending != nil || !s.self.alive() {
		return
	}
	s.ending = &why
	cause := s.self.cause
	if c := m.children[why.ID]; c != nil {
		cause = max(cause, c.cause)
	}
	if s.self == m.root {
		m.over = true
		cause = m.note(Notice{Cause: cause, Type: NodeStopping, Message: why.text()})
		m.failCalls("the node is stopping")
	}
	m.stopChildren(s, cause)
}

func (e Ended) text() string {
	switch e.Why {
	case EndOrdered:
		return "ordered to stop"
	case EndIntensity:
		return e.Detail
	case EndBootFailed:
		return fmt.Sprintf("%s could not be started: %s", e.ID, e.Detail)
	case EndAutoShutdown:
		return fmt.Sprintf("significant service %s has ended", e.ID)
	}
	return ""
}

// stopChildren stops all children of a supervisor that ends or was ordered to.
func (m *Machine) stopChildren(s *supervisor, cause uint64) {
	s.op, s.mailbox = nil, nil
	var stops []*child
	for _, c := range s.children {
		m.mark(c, cause, ReasonStrategy, true)
		c.unjudged = nil
		if c.alive() {
			stops = append(stops, c)
		}
	}
	if s.sequence() {
		m.run(s, &operation{stops: stops})
	}
	m.checkGone(s)
}

// stopSupervisor: the turn of a nested supervisor to stop has come.
func (m *Machine) stopSupervisor(s *supervisor) {
	m.stopChildren(s, s.self.cause)
}

// checkGone ends a supervisor that is to end once none of its children is left.
func (m *Machine) checkGone(s *supervisor) {
	c := s.self
	if s.alive > 0 || !c.alive() || s.ending == nil && c.phase != stopping {
		return
	}
	why := s.ending
	s.op, s.mailbox = nil, nil
	if c == m.root {
		m.setPhase(c, down)
		m.note(Notice{Cause: c.cause, Type: NodeStopped, Message: why.text()})
		m.do(*why)
		return
	}
	s.ending = nil
	ordered, marked := c.phase == stopping, c.mustStop
	m.gone(c)
	e := ChildExited{ID: c.id(), Incarnation: c.inc, Kind: ShutdownExit, Reason: ReasonStrategy}
	if s.failed {
		e.Kind, e.Detail, e.Hopeless = Abnormal, why.text(), s.hopeless
	}
	if ordered || marked {
		m.stopped(c, false)
	} else {
		m.ended(c, e)
	}
	m.checkGone(c.sup)
}

// supervisorCrashed: whatever carries out a nested supervisor is gone, with all
// processes below it.
func (m *Machine) supervisorCrashed(c *child, e SupervisorCrashed) {
	exit := ChildExited{ID: c.id(), Incarnation: c.inc, Kind: Abnormal, Reason: ReasonStrategy, Detail: e.Detail}
	m.buryAll(c.nested, e.Detail)
	ordered := c.phase == stopping || c.mustStop
	c.nested.ending, c.nested.op, c.nested.mailbox = nil, nil, nil
	m.gone(c)
	if ordered {
		m.stopped(c, false)
	} else {
		m.ended(c, exit)
	}
	m.checkGone(c.sup)
}

// buryAll takes everything below a supervisor as ended.
func (m *Machine) buryAll(s *supervisor, detail string) {
	for _, c := range s.children {
		if !c.alive() {
			continue
		}
		if c.nested != nil {
			m.buryAll(c.nested, detail)
		} else {
			m.noteExit(c, ChildExited{Reason: ReasonStrategy, Detail: detail}, false)
		}
		m.gone(c)
		c.mustStop = false
		m.setRest(c, pending)
		c.reason = ReasonStrategy
	}
}

// shutDown is the order to the root supervisor to stop.
func (m *Machine) shutDown(cause uint64) {
	if !m.root.alive() {
		if !m.over {
			m.over = true
			m.do(Ended{Why: EndOrdered})
		}
		return
	}
	m.root.cause = cause
	m.end(m.root.nested, Ended{Why: EndOrdered})
}

// killAll kills what is alive.
func (m *Machine) killAll(cause uint64) {
	m.shutDown(cause)
	for _, c := range m.order {
		if c.nested == nil && c.alive() {
			if c.phase != stopping {
				m.orderStop(c)
			}
			m.do(KillChild{ID: c.id(), Incarnation: c.inc})
		}
	}
}
