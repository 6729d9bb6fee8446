package supervision

import (
	"fmt"
	"slices"
)

// boot starts the root supervisor.
func (m *Machine) boot(e Boot) {
	if m.root.alive() || m.over {
		return
	}
	m.booting, m.bootCause = true, e.Cause
	c := m.root
	c.inc++
	c.cause = e.Cause
	m.setPhase(c, starting)
	m.startSupervisor(c.nested)
}

// startSupervisor begins a life of a supervisor: an empty window, and every child
// is to start that is not down for good.
func (m *Machine) startSupervisor(s *supervisor) {
	m.restoreChildren(s)
	s.window.clear()
	s.ending, s.ended, s.well, s.failed, s.hopeless = nil, EndOrdered, false, false, false
	s.settled, s.unclean, s.closing, s.waited = 0, nil, false, false
	m.dropWork(s)
	for _, c := range s.children {
		if c.alive() {
			continue // stuck
		}
		c.cause = s.self.cause
		c.row = 0
		c.window.clear()
		c.unjudged, c.lead, c.waits = nil, nil, false
		if !s.keepsDown(c) {
			m.setRest(c, pending)
			m.recheck = true
		}
		m.touch(c)
	}
	if s.sequence() {
		s.op = &operation{starts: slices.Clone(s.children), group: true}
	}
	m.touch(s.self)
	m.checkStarted(s)
}

// keepsDown tells whether a new life of s leaves c as it is: what has ended by
// itself runs again only when a person says so, which is how one-shots stay done.
// In sequence it starts everything else, as OTP does.
func (s *supervisor) keepsDown(c *child) bool {
	return c.latched() || !s.sequence() && (c.rest == finished || c.rest == abandoned)
}

// checkStarted ends the start of a supervisor once each child has come up or
// stays down.
func (m *Machine) checkStarted(s *supervisor) {
	if s.self.phase != starting || !s.open() || s.op != nil {
		return
	}
	for s.settled < len(s.children) && s.children[s.settled].hasSettled() {
		s.settled++
	}
	if s.settled < len(s.children) {
		return
	}
	m.setPhase(s.self, up)
	s.self.healthy, s.self.ran, s.self.cameUp, s.self.healthySince = true, true, true, m.now
	m.stateOf(s.self, StateRunning, ChildExited{})
	m.touch(s.self)
	if s.self.sup != nil {
		m.checkStarted(s.self.sup)
	}
}

// reckonStalls finds the children that stay down since a dependency does, and
// ends the starts that waited for them.
func (m *Machine) reckonStalls() {
	for _, c := range m.starts {
		was := c.stalled
		c.stalled = c.isStalled()
		if c.stalled && !was {
			m.unblock(c)
		}
	}
	for _, s := range slices.Backward(m.nested) {
		m.checkStarted(s)
	}
}

// finishBoot says, once, that the node has come up as far as it can.
func (m *Machine) finishBoot() {
	if !m.booting || m.root.phase != up {
		return
	}
	m.booting = false
	wanted, bad := m.cameUp()
	if len(bad) == 0 {
		m.note(Notice{Cause: m.bootCause, Type: NodeReady, Message: plural(wanted, "service") + " healthy"})
	}
	m.do(Booted{Failed: bad})
}

// cameUp counts the wanted services and names those that were never up.
func (m *Machine) cameUp() (wanted int, bad []ChildID) {
	m.root.services(func(c *child) {
		if c.under {
			return
		}
		wanted++
		if !c.cameUp && c.rest != finished {
			bad = append(bad, c.id())
		}
	})
	return wanted, bad
}

// giveUp: one restart too many. The supervisor stops its children and ends; c is
// not restarted.
func (m *Machine) giveUp(s *supervisor, c *child, text string) {
	m.setRest(c, retired)
	m.report(s, ReportShutdown, c, ChildExited{Kind: Abnormal, Detail: text})
	cause := m.noteSupervisor(s, SupervisorGaveUp, c.cause, text, Attr{"child", string(c.id())})
	if s.self.sup != nil {
		cause = m.noteSupervisor(s.self.sup, SupervisorEscalated, cause, string(s.self.id())+" gave up", Attr{"child", string(s.self.id())})
	}
	m.end(s, Ended{Why: EndIntensity, ID: c.id(), Detail: text}, cause)
}

// end has a supervisor stop its children in reverse order and end by itself.
func (m *Machine) end(s *supervisor, why Ended, cause uint64) {
	if s.ending != nil || !s.self.alive() {
		return
	}
	s.ending = &why
	if s.self == m.root {
		m.over = true
		cause = m.note(Notice{Cause: cause, Type: NodeStopping, Message: why.text()})
		m.failCalls("the node is stopping")
	}
	s.self.cause = cause
	m.stopChildren(s, cause)
	m.checkGone(s)
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
	m.dropWork(s)
	s.closing = true
	for _, c := range slices.Backward(s.children) {
		m.mark(c, cause, ReasonStrategy, true)
		m.outlive(c)
		m.leaveAtThat(c)
	}
	if s.inTurn() {
		m.lastInWay(s)
	}
	m.touch(s.self)
}

// dropWork has a supervisor forget what it is busy with and what it was to do.
func (m *Machine) dropWork(s *supervisor) {
	if s.op != nil {
		m.refuse(s.op.call)
	}
	for _, msg := range s.mailbox {
		m.refuse(msg.call)
	}
	s.op, s.mailbox, s.late, s.ordered = nil, nil, nil, false
}

// stopSupervisor is the order to a supervisor to stop. It overtakes what is under
// way, unless it has to wait in the mailbox.
func (m *Machine) stopSupervisor(s *supervisor, cause uint64) {
	if !s.holdsOrders() {
		m.serveStop(s, cause)
		return
	}
	s.ordered = true
	s.mailbox = append(s.mailbox, message{stop: true, cause: cause})
	m.touch(s.self)
}

func (m *Machine) serveStop(s *supervisor, cause uint64) {
	if s.self == m.root {
		m.end(s, Ended{Why: EndOrdered}, cause)
		return
	}
	m.stopChildren(s, cause)
	m.checkGone(s)
}

// checkGone ends a supervisor that is to end once none of its children is left.
func (m *Machine) checkGone(s *supervisor) {
	c := s.self
	if s.alive > 0 || !c.alive() || !s.closing {
		return
	}
	e := ChildExited{ID: c.id(), Incarnation: c.inc, Kind: ShutdownExit, Reason: ReasonStrategy}
	if why := s.ending; why != nil {
		s.ended, s.well = why.Why, why.AllNormal
		if s.failed || why.Why == EndBootFailed {
			e.Kind, e.Detail, e.Hopeless = Abnormal, why.text(), s.hopeless
		}
		if c == m.root {
			m.setPhase(c, down)
			m.stateOf(c, StateStopped, e)
			m.note(Notice{Cause: c.cause, Type: NodeStopped, Message: why.text()})
			m.do(*why)
			return
		}
	}
	m.supervisorGone(c, e)
}

// supervisorGone: a nested supervisor has ended, and nothing below it is alive.
func (m *Machine) supervisorGone(c *child, e ChildExited) {
	asked := c.phase == stopping || c.mustStop
	c.nested.ending, c.nested.frozen = nil, false
	m.dropWork(c.nested)
	m.stateOf(c, StateStopped, e)
	m.gone(c)
	m.recheck = true
	if asked {
		m.stopped(c, false)
	} else {
		m.ended(c, e)
	}
	m.checkGone(c.sup)
}

// supervisorCrashed: whatever carries out a nested supervisor is gone, with all
// processes below it.
func (m *Machine) supervisorCrashed(e SupervisorCrashed) {
	c := m.children[e.ID]
	if c == nil || c.nested == nil || c.sup == nil || !c.alive() {
		return
	}
	m.bury(c, e.Detail)
	m.supervisorGone(c, ChildExited{ID: c.id(), Incarnation: c.inc, Kind: Abnormal, Reason: ReasonStrategy, Detail: e.Detail})
}

// bury takes everything below a supervisor as ended, but for what is stuck.
func (m *Machine) bury(c *child, detail string) {
	s := c.nested
	s.ending = nil
	m.dropWork(s)
	for _, k := range s.children {
		m.leaveAtThat(k)
		if !k.alive() || k.stuck {
			continue
		}
		if k.nested != nil {
			m.bury(k, detail)
		} else {
			m.noteExit(k, ChildExited{Reason: ReasonStrategy, Detail: detail}, false)
		}
		m.gone(k)
		m.setRest(k, pending)
		k.reason = ReasonStrategy
	}
}

// shutDown is the order to the root supervisor to stop.
func (m *Machine) shutDown(cause uint64) {
	if m.root.alive() {
		m.stopSupervisor(m.root.nested, cause)
	} else if !m.over {
		m.over = true
		m.do(Ended{Why: EndOrdered})
	}
}

// killAll kills what is alive.
func (m *Machine) killAll(cause uint64) {
	m.shutDown(cause)
	for _, c := range m.all() {
		if c.nested == nil && c.alive() && !c.stuck {
			if c.phase != stopping {
				m.freeSlot(c)
				m.setPhase(c, stopping)
				m.noteOf(c, ServiceStopping, cause, "")
			}
			m.do(KillChild{ID: c.id(), Incarnation: c.inc})
		}
	}
}
