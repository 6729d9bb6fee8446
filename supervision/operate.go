package supervision

import "slices"

// call is an operator's command whose work goes on.
type call struct {
	id      uint64
	op      Operation
	targets []target
	err     error
}

// target is one service that a call waits for, and its incarnation when the
// command came.
type target struct {
	child *child
	inc   uint64
}

func (m *Machine) operate(e Operate) {
	c := &call{id: e.Call, op: e.Op}
	m.calls = append(m.calls, c)
	named, err := m.resolve(e)
	if err == nil && m.over {
		err = &OperationError{m.root.id(), "is stopping"}
	}
	if err != nil {
		c.err = err
		return
	}
	switch e.Op {
	case OpStart:
		m.operatorStart(c, named, e.Cause)
	case OpStop:
		m.operatorStop(c, named, e)
	case OpRestart:
		m.operatorRestart(c, named, e)
	case OpPause, OpResume:
		m.setPaused(c, named, e)
	}
}

// resolve finds the children that an operator named.
func (m *Machine) resolve(e Operate) ([]*child, error) {
	if e.All {
		return []*child{m.root}, nil
	}
	var named []*child
	for _, id := range e.IDs {
		c := m.children[id]
		if c == nil {
			return nil, &UnknownChildError{id}
		}
		named = append(named, c)
	}
	return named, nil
}

// operatorStart lifts the holds of the services and of what they need, and clears
// their failures.
func (m *Machine) operatorStart(c *call, named []*child, cause uint64) {
	all := &set{}
	for _, n := range named {
		n.services(func(x *child) {
			all.add(x)
			c.targets = append(c.targets, target{x, x.inc})
		})
	}
	asked := len(all.list)
	for i := 0; i < len(all.list); i++ {
		for _, l := range all.list[i].needs {
			all.add(l.child)
		}
	}
	for i, x := range all.list {
		m.unhold(x)
		m.reviveByHand(x, i < asked, cause)
	}
	m.keepHolds()
}

// reviveByHand makes a service that is down startable, whatever it is down for,
// and the supervisors above it. A dependency that has completed stays completed.
func (m *Machine) reviveByHand(c *child, asked bool, cause uint64) {
	if c.alive() && !c.mustStop {
		return
	}
	c.cause, c.manual = cause, true
	c.stopAgain = true
	c.lead = nil
	if !c.alive() && (asked || c.rest != finished) {
		c.unjudged = nil
		m.forgive(c)
	}
	for s := c.sup; s.self.sup != nil; s = s.self.sup {
		if !s.self.alive() && (s.self.rest == retired || s.self.rest == backingOff) {
			m.setRest(s.self, pending)
			m.touch(s.self)
		}
	}
}

// operatorStop holds services: they and what depends on them go down and stay
// down.
func (m *Machine) operatorStop(c *call, named []*child, e Operate) {
	reached := &set{}
	for _, n := range named {
		n.services(func(x *child) {
			m.hold(x, e.Only)
			reached.add(x)
			if !e.Only {
				reached.addDependents(x, func(link) bool { return true })
			}
			if !x.alive() && x.rest != finished {
				m.forgive(x)
			}
		})
	}
	for _, x := range reached.list {
		c.targets = append(c.targets, target{x, x.inc})
		m.mark(x, e.Cause, ReasonHeld, true)
		if !x.alive() {
			x.cause = e.Cause
		}
		m.release(x)
	}
	m.keepHolds()
	m.recheck = true
}

// hold puts a service under a hold of its own. Without only the hold reaches
// everything that depends on it.
func (m *Machine) hold(c *child, only bool) {
	if c.hold != nil {
		if c.hold.Only == only || only {
			return
		}
		m.unhold(c)
	}
	c.hold = &Hold{ID: c.id(), Only: only}
	m.eachHeldBy(c, func(x *child) { x.holds++ })
}

func (m *Machine) unhold(c *child) {
	if c.hold == nil {
		return
	}
	m.eachHeldBy(c, func(x *child) {
		x.holds--
		x.waits = false
		m.touch(x)
	})
	c.hold = nil
}

func (m *Machine) eachHeldBy(c *child, f func(*child)) {
	reached := &set{}
	reached.add(c)
	if !c.hold.Only {
		reached.addDependents(c, func(link) bool { return true })
	}
	for _, x := range reached.list {
		f(x)
	}
}

func (m *Machine) keepHolds() {
	var holds []Hold
	for _, c := range m.order {
		if c.hold != nil {
			holds = append(holds, *c.hold)
		}
	}
	m.do(Held{holds})
}

// operatorRestart stops services and what depends on them through edges that
// restart, and starts them again; nothing of it counts.
func (m *Machine) operatorRestart(c *call, named []*child, e Operate) {
	all := &set{}
	for _, n := range named {
		n.services(func(x *child) {
			if x.holds == 0 {
				all.add(x)
			} else if n == x {
				c.err = &OperationError{x.id(), "is under a hold; start it instead"}
			}
		})
	}
	if c.err != nil {
		return
	}
	asked := len(all.list)
	if !e.Only {
		for _, x := range all.list[:asked:asked] {
			all.addDependents(x, func(l link) bool { return l.Restart })
		}
	}
	for i, x := range all.list {
		wasUp := x.alive()
		if i < asked || wasUp {
			c.targets = append(c.targets, target{x, x.inc + 1})
		}
		m.mark(x, e.Cause, ReasonOperator, true)
		if i < asked {
			x.row = 0
			x.window.clear()
			m.reviveByHand(x, true, e.Cause)
		}
	}
	m.join(all.list)
}

func (m *Machine) setPaused(c *call, named []*child, e Operate) {
	for _, n := range named {
		if n.nested == nil {
			c.err = &OperationError{n.id(), "is a service; only a supervisor can be paused"}
			return
		}
		kind, paused := SupervisorPaused, e.Op == OpPause
		if !paused {
			kind = SupervisorResumed
		}
		if n.nested.paused == paused {
			continue
		}
		n.nested.paused = paused
		cause := m.noteSupervisor(n.nested, kind, e.Cause, "")
		if !paused {
			m.judgeRecorded(n.nested, cause)
		}
	}
}

// judgeRecorded deals with the ends that were recorded during a pause.
func (m *Machine) judgeRecorded(s *supervisor, cause uint64) {
	for _, c := range s.children {
		if c.nested != nil {
			m.judgeRecorded(c.nested, cause)
		}
		m.touch(c)
		if c.rest == recorded && !s.isPaused() {
			e := *c.unjudged
			c.unjudged = nil
			c.cause = cause
			m.setRest(c, pending)
			m.ended(c, e)
		}
	}
}

// failCalls ends the commands that cannot be finished any more.
func (m *Machine) failCalls(why string) {
	for _, c := range m.calls {
		if c.op != OpStop && c.err == nil {
			c.err = &OperationError{"command", "was given up: " + why}
		}
	}
}

// answerCalls answers the commands whose work is done.
func (m *Machine) answerCalls() {
	m.calls = slices.DeleteFunc(m.calls, func(c *call) bool {
		if c.err == nil && !c.done() {
			return false
		}
		m.do(Reply{Call: c.id, Err: c.err})
		return true
	})
}

// done tells whether nothing is left to wait for; it sets err where the work
// cannot succeed any more.
func (c *call) done() bool {
	for len(c.targets) > 0 {
		done, err := c.targets[0].reached(c.op)
		if err != nil {
			c.err = err
			return true
		}
		if !done {
			return false
		}
		c.targets = c.targets[1:]
	}
	return true
}

func (t target) reached(op Operation) (bool, error) {
	c := t.child
	if op == OpStop {
		if c.stuck && c.inc == t.inc {
			return true, &OperationError{c.id(), "is stuck: " + c.detail}
		}
		return !c.alive() || c.inc > t.inc, nil
	}
	switch {
	case c.inc >= t.inc && c.phase == up && !c.mustStop:
		return true, nil
	case c.stuck:
		return true, &OperationError{c.id(), "is stuck: " + c.detail}
	case c.alive():
		return false, nil
	case c.holds > 0:
		return true, &OperationError{c.id(), "was stopped meanwhile by another command"}
	case c.rest == exhausted || c.rest == abandoned:
		return true, &OperationError{c.id(), "failed: " + c.detail}
	case c.rest == retired:
		return true, &OperationError{c.id(), "was not started: its supervisor has ended"}
	case c.rest == finished, c.rest == dismissed, c.rest == ignored:
		return true, nil
	case c.rest == pending && c.blocked():
		return true, &OperationError{c.id(), "waits " + c.waitsFor() + ", which is down for good"}
	}
	return false, nil
}
