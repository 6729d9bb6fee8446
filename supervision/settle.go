package supervision

import "strings"

// settle does with a child what its state asks for: it is stopped or started if
// that is due and may be done.
func (m *Machine) settle(c *child) {
	if c.nested != nil {
		m.advance(c.nested)
	}
	if c.sup == nil {
		return
	}
	m.advance(c.sup)
	if c.sup.op != nil {
		c.sup.late = append(c.sup.late, c)
		if !c.sup.op.stopsInTurn(c) {
			m.stopIfDue(c)
		}
		return
	}
	switch c.phase {
	case starting, up:
		m.stopIfDue(c)
	case stopping:
	case down:
		m.startIfDue(c)
	}
}

func (m *Machine) stopIfDue(c *child) {
	if c.mustStop && (c.phase == starting || c.phase == up) && m.mayStop(c) {
		m.orderStop(c)
	}
}

func (m *Machine) startIfDue(c *child) {
	switch {
	case c.rest != pending || c.holds > 0 || !c.sup.open():
	case !m.mayStart(c):
		m.noteWaiting(c)
	case c.sup.sequence():
		m.run(c.sup, &operation{starts: c.withFollowers()})
		m.advance(c.sup)
	case m.takeSlot(c):
		m.orderStart(c)
	}
}

// mayStop tells whether nothing that is to stop before c is alive.
func (m *Machine) mayStop(c *child) bool {
	if s := c.sup.self; s.mustStop && s.phase != stopping {
		return false // its supervisor's turn has not come
	}
	for _, l := range c.neededBy {
		if d := l.child; d.alive() && d.mustStop && !d.stuck {
			return false
		}
	}
	return true
}

// mayStart tells whether nothing holds the start of a wanted child up.
func (m *Machine) mayStart(c *child) bool {
	if c.sup.isPaused() && !c.manual || c.gate != nil && c.gate.find().stops > 0 || c.heldUp() {
		return false
	}
	for _, l := range c.needs {
		if !l.child.meets(l.Condition) {
			return false
		}
	}
	return true
}

// heldUp tells whether the lead of c must come first: while its back-off runs, or
// it is `failed`. In sequence c also waits for a lead that stands before it.
func (c *child) heldUp() bool {
	l := c.lead
	if l == nil || l.alive() {
		return false
	}
	switch l.rest {
	case backingOff, retrying, exhausted, recorded:
		return true
	case pending:
		return l.holds == 0 && c.sup == l.sup && c.sup.sequence() && l.node.Index < c.node.Index
	case abandoned, finished, dismissed, retired, ignored:
	}
	return false
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
	if c.nested != nil || m.opt.MaxParallelStarts == 0 || m.slots < m.opt.MaxParallelStarts {
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
	if c.nested != nil || c.phase != starting {
		return
	}
	m.slots--
	if len(m.waiting) > 0 {
		next := m.waiting[0]
		m.waiting = m.waiting[1:]
		next.queued = false
		m.touch(next)
	}
}

func (m *Machine) orderStart(c *child) {
	c.inc++
	m.setPhase(c, starting)
	c.rest = pending
	c.pid, c.running, c.healthy, c.waits, c.manual = 0, false, false, false, false
	c.gate, c.lead, c.unjudged = nil, nil, nil
	c.sup.alive++
	m.release(c)
	if c.nested != nil {
		m.startSupervisor(c.nested)
		return
	}
	m.slots++
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

func (m *Machine) orderStop(c *child) {
	m.freeSlot(c)
	m.setPhase(c, stopping)
	if c.nested != nil {
		m.stopSupervisor(c.nested)
		return
	}
	m.noteOf(c, ServiceStopping, c.cause, "")
	m.do(StopChild{ID: c.id(), Incarnation: c.inc, Shutdown: c.spec().Shutdown, Reason: c.stopReason})
}

// noteWaiting tells, once a wait, what a child waits for.
func (m *Machine) noteWaiting(c *child) {
	if c.waits || c.nested != nil {
		return
	}
	if text := c.waitsFor(); text != "" {
		c.waits = true
		m.noteOf(c, ServiceWaiting, c.cause, text)
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
