package supervision

import "strings"

// settle does with a child what its state asks for: it is stopped or started if
// that is due and may be done.
func (m *Machine) settle(c *child) {
	if c.nested != nil {
		m.advance(c.nested)
	}
	if c.sup == nil || c.sup.frozen {
		return
	}
	m.advance(c.sup)
	switch c.phase {
	case starting, up:
		if c.mustStop && !c.stuck && m.mayStop(c) {
			m.orderStop(c)
		}
	case stopping:
	case down:
		m.startIfDue(c)
	}
}

func (m *Machine) startIfDue(c *child) {
	s := c.sup
	switch {
	case !c.startable():
	case s.busy():
		s.late = append(s.late, c)
	case !c.mayStart():
		m.wait(c)
	case s.sequence():
		m.run(s, &operation{starts: s.startables()})
		m.advance(s)
	case m.takeSlot(c):
		m.orderStart(c)
	}
}

// startable tells whether c is to start.
func (c *child) startable() bool {
	return c.phase == down && c.rest == pending && c.unjudged == nil && !c.under && !c.later && c.sup.open()
}

// mayStart tells whether nothing holds the start of a child up.
func (c *child) mayStart() bool { return c.mayStartAfter(nil) }

// mayStartAfter tells whether nothing but others, which start before it, holds the
// start of a child up.
func (c *child) mayStartAfter(others map[*child]bool) bool {
	if c.gated() || !c.manual && c.sup.isPaused() || c.heldUp() && !others[c.lead] {
		return false
	}
	for _, l := range c.needs {
		if !l.child.meets(l.Condition) && !others[l.child] {
			return false
		}
	}
	return true
}

// mayStop tells whether nothing that is to stop before c is alive.
func (m *Machine) mayStop(c *child) bool {
	s := c.sup
	if s.self.mustStop && s.self.phase != stopping && s.ending == nil && !s.holdsOrders() {
		return false // its supervisor's turn has not come
	}
	return c.blockers == 0 && (!s.inTurn() || m.lastInWay(s) == c)
}

// standInWay has what c needs, directly or not, stop after it, and in sequence
// what stands before it.
func (m *Machine) standInWay(c *child) {
	if c.inWay || c.stuck {
		return
	}
	c.inWay = true
	c.sup.last = max(c.sup.last, c.index)
	if c.blockers == 0 {
		c.block()
	}
}

// block adds c, or what needs it, to what stands in the way of what it needs.
func (c *child) block() {
	for _, l := range c.needs {
		l.child.blockers++
		if l.child.blockers == 1 && !l.child.inWay {
			l.child.block()
		}
	}
}

func (m *Machine) getOutOfWay(c *child) {
	if !c.inWay {
		return
	}
	c.inWay = false
	if c.blockers == 0 {
		m.unblockNeeds(c)
	}
	if c.sup.inTurn() {
		m.touch(m.lastInWay(c.sup))
	}
}

// inTurn tells whether the children of s stop one after the other.
func (s *supervisor) inTurn() bool { return s.sequence() && !s.simple() }

// lastInWay is the last child that is to stop and is still there. What has died
// before its turn is reported when that comes.
func (m *Machine) lastInWay(s *supervisor) *child {
	for ; s.last >= 0; s.last-- {
		if s.last >= len(s.children) {
			continue
		}
		c := s.children[s.last]
		if c.inWay {
			return c
		}
		if e := c.obituary; e != nil {
			c.obituary = nil
			m.report(s, ReportShutdownError, c, *e)
		}
	}
	return nil
}

func (m *Machine) unblockNeeds(c *child) {
	for _, l := range c.needs {
		l.child.blockers--
		if l.child.blockers == 0 && !l.child.inWay {
			m.unblockNeeds(l.child)
		}
		m.touch(l.child)
	}
}

// unblock looks at a child that may start now, and at those that follow it.
func (m *Machine) unblock(c *child) {
	m.touch(c)
	for _, f := range c.followers {
		m.touch(f)
	}
}

// takeSlot tells whether one more start may be under way; if not, the child is
// looked at again when one is over.
func (m *Machine) takeSlot(c *child) bool {
	if c.nested != nil || m.opt.MaxParallelStarts == 0 {
		return true
	}
	if m.slots < m.opt.MaxParallelStarts {
		m.slots++
		c.slot = true
		return true
	}
	if !c.queued {
		c.queued = true
		m.waiting = append(m.waiting, c)
	}
	return false
}

// freeSlot ends a start that was under way.
func (m *Machine) freeSlot(c *child) {
	if c.slot {
		c.slot = false
		m.slots--
	}
}

// nextInQueue looks at the child that has waited longest for a slot, if there is
// one for it.
func (m *Machine) nextInQueue() bool {
	if len(m.waiting) == 0 || m.slots >= m.opt.MaxParallelStarts {
		return false
	}
	c := m.waiting[0]
	m.waiting = m.waiting[1:]
	c.queued = false
	m.touch(c)
	return true
}

func (m *Machine) orderStart(c *child) {
	c.inc++
	m.setPhase(c, starting)
	c.rest = pending
	c.pid, c.running, c.healthy, c.waits, c.manual, c.suspect = 0, false, false, false, false, suspicion{}
	c.gate, c.lead, c.stalled, c.ran = nil, nil, false, false
	c.sup.alive++
	m.release(c)
	if c.nested != nil {
		m.startSupervisor(c.nested)
		return
	}
	m.noteOf(c, ServiceStarting, c.cause, "")
	m.do(StartChild{ID: c.id(), Incarnation: c.inc})
}

// release lets the followers of c go on without it.
func (m *Machine) release(c *child) {
	for _, f := range c.followers {
		if f.lead == c {
			f.lead = nil
			m.touch(f)
		}
	}
	c.followers = nil
}

// follow has c start after lead.
func (m *Machine) follow(c, lead *child) {
	if c.lead == lead {
		return
	}
	for l := lead; l != nil; l = l.lead {
		if l == c {
			return
		}
	}
	c.lead = lead
	lead.followers = append(lead.followers, c)
}

func (m *Machine) orderStop(c *child) {
	m.freeSlot(c)
	m.setPhase(c, stopping)
	if c.nested != nil {
		m.stateOf(c, StateStopping, ChildExited{})
		m.stopSupervisor(c.nested, c.cause)
		return
	}
	m.noteOf(c, ServiceStopping, c.cause, "")
	m.do(StopChild{ID: c.id(), Incarnation: c.inc, Shutdown: c.spec().Shutdown, Reason: c.stopReason})
}

// wait tells, once a wait, what a child waits for.
func (m *Machine) wait(c *child) {
	if !c.stalled && (c.isStalled() || c.staysDown()) {
		m.recheck = true
	}
	if c.waits || c.nested != nil {
		return
	}
	if text := c.waitsFor(); text != "" {
		c.waits = true
		m.noteOf(c, ServiceWaiting, c.cause, text)
		for s := c.sup; s != nil; s = s.self.sup {
			s.waited = true
			m.touchLate(s) // it may not be busy any more
			m.touch(s.self)
		}
	}
}

// waitsFor names the dependencies whose conditions do not hold.
func (c *child) waitsFor() string {
	var names []string
	for _, l := range c.needs {
		if !l.child.meets(l.Condition) {
			names = append(names, string(l.child.id())+" ("+l.Condition.String()+")")
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "for " + strings.Join(names, ", ")
}

// String is the condition's configuration word.
func (c Condition) String() string {
	switch c {
	case WhenHealthy:
		return "healthy"
	case WhenStarted:
		return "started"
	case WhenCompleted:
		return "completed"
	}
	return "unknown"
}
