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
		m.operatorRestart(c, named, e, ReasonOperator)
	case OpPause, OpResume:
		m.setPaused(c, named, e)
	case OpPark:
		m.operatorPark(c, named, e.Cause)
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
			if all.add(x) {
				c.targets = append(c.targets, target{x, x.inc})
			}
		})
	}
	asked := len(all.list)
	for _, x := range slices.Clip(all.list) {
		all.addNeeds(x)
	}
	for i, x := range all.list {
		x.hold = nil
		m.reviveByHand(x, i < asked, cause)
	}
	m.reckonHolds(cause)
	m.keepHolds()
}

// reviveByHand makes a service that is down startable, whatever it is down for,
// and the supervisors above it. A dependency that has completed stays completed.
func (m *Machine) reviveByHand(c *child, asked bool, cause uint64) {
	if asked {
		c.row = 0
		c.window.clear()
	}
	if c.alive() && !c.mustStop {
		return
	}
	c.manual, c.stopAgain, c.lead, c.later = true, true, nil, false
	if !c.alive() && (asked || c.rest != finished) {
		c.cause, c.unjudged = cause, nil
		m.forgive(c)
	}
	for s := c.sup.self; s.sup != nil; s = s.sup.self {
		if s.alive() && !s.mustStop {
			continue
		}
		s.manual, s.stopAgain = true, true
		if !s.alive() && s.rest != pending {
			s.cause, s.unjudged = cause, nil
			m.forgive(s)
		}
	}
}

// operatorStop holds services: they and what depends on them go down and stay
// down.
func (m *Machine) operatorStop(c *call, named []*child, e Operate) {
	reached := &set{}
	for _, n := range named {
		n.services(func(x *child) {
			reached.add(x)
			if !e.Only {
				reached.addDependents(x, func(link) bool { return true })
			}
			if x.hold == nil || !e.Only {
				x.hold = &Hold{ID: x.id(), Only: e.Only}
			}
			m.layDown(x, e.Cause)
			if !x.alive() && x.rest != finished {
				m.forgive(x)
			}
		})
	}
	slices.SortFunc(reached.list, byRank)
	for _, x := range slices.Backward(reached.list) {
		c.targets = append(c.targets, target{x, x.inc})
		m.mark(x, e.Cause, ReasonHeld, true)
		m.layDown(x, e.Cause)
	}
	m.reckonHolds(e.Cause)
	m.keepHolds()
}

// layDown has a child that is under a hold stay down, and nobody wait for it.
func (m *Machine) layDown(c *child, cause uint64) {
	m.release(c)
	if c.alive() {
		return
	}
	c.cause, c.manual = cause, false
	m.leaveAtThat(c)
}

// leaveAtThat forgets that a child which is down was to be restarted, or judged.
func (m *Machine) leaveAtThat(c *child) {
	c.unjudged = nil
	if c.rest == backingOff || c.rest == retrying || c.rest == recorded {
		m.setRest(c, pending)
	}
}

// reckonHolds finds the services under a hold: those that have one, and all that
// need them by any edge. A hold of one alone does not reach the others.
func (m *Machine) reckonHolds(cause uint64) {
	for _, c := range m.starts {
		c.plain = c.hold != nil && !c.hold.Only
		for _, l := range c.needs {
			c.plain = c.plain || l.child.plain
		}
		was := c.under
		c.under = c.plain || c.hold != nil
		if was && !c.under {
			c.waits = false
			if !c.alive() {
				c.cause = cause
			}
			m.unblock(c)
		}
	}
	m.recheck = true
}

func (m *Machine) keepHolds() {
	var holds []Hold
	for _, c := range m.all() {
		if c.hold != nil {
			holds = append(holds, *c.hold)
		}
	}
	m.do(Held{holds})
}

// operatorRestart stops services and what depends on them through edges that
// restart, and starts them again; nothing of it counts.
func (m *Machine) operatorRestart(c *call, named []*child, e Operate, why Reason) {
	all := &set{}
	for _, n := range named {
		n.services(func(x *child) {
			if !x.under {
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
		for _, x := range slices.Clip(all.list) {
			all.addDependents(x, func(l link) bool { return l.Restart })
		}
	}
	for i, x := range all.list {
		if i < asked || x.alive() {
			c.targets = append(c.targets, target{x, x.inc + 1})
		}
	}
	byHand := map[*child]bool{}
	for i, x := range all.list {
		byHand[x] = i < asked
	}
	slices.SortFunc(all.list, byRank)
	for _, x := range slices.Backward(all.list) {
		m.mark(x, e.Cause, why, true)
		if byHand[x] || x.alive() {
			m.reviveByHand(x, byHand[x], e.Cause)
		}
	}
	m.join(all.list)
}

func (o Operation) stops() bool { return o == OpStop || o == OpPark }

// operatorPark stops services, and nothing else, until another tree comes that lacks them.
func (m *Machine) operatorPark(c *call, named []*child, cause uint64) {
	slices.SortFunc(named, byRank)
	for _, x := range slices.Backward(named) {
		x.later = true
		c.targets = append(c.targets, target{x, x.inc})
		m.mark(x, cause, ReasonReload, true)
		m.layDown(x, cause)
	}
}

func (m *Machine) setPaused(c *call, named []*child, e Operate) {
	for _, n := range named {
		if n.nested == nil {
			c.err = &OperationError{n.id(), "is a service; only a supervisor can be paused"}
			return
		}
	}
	kind, pause := SupervisorPaused, e.Op == OpPause
	if !pause {
		kind = SupervisorResumed
	}
	for _, n := range named {
		if n.nested.paused == pause {
			continue
		}
		n.nested.paused = pause
		cause := m.noteSupervisor(n.nested, kind, e.Cause, "")
		m.recheck = true
		if !pause {
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
		if c.rest == recorded && !c.alive() && !s.isPaused() {
			e := *c.unjudged
			c.unjudged, c.cause = nil, cause
			m.setRest(c, pending)
			m.ended(c, e)
		}
	}
}

// failCalls ends the commands that cannot be finished any more.
func (m *Machine) failCalls(why string) {
	for _, c := range m.calls {
		if !c.op.stops() && c.err == nil {
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
	if c.stuck && (!op.stops() || c.inc == t.inc) {
		return true, &OperationError{c.id(), "is stuck: " + c.detail}
	}
	if op.stops() {
		return !c.alive() || c.inc > t.inc, nil
	}
	switch {
	case c.inc >= t.inc && c.phase == up && !c.mustStop:
		return true, nil
	case c.alive(), c.inc < t.inc && c.gated():
		return false, nil
	case c.under:
		return true, &OperationError{c.id(), "was stopped meanwhile by another command"}
	case c.stalled:
		return true, &OperationError{c.id(), "waits " + c.waitsFor() + ", which is down for good"}
	}
	switch c.rest {
	case exhausted, abandoned:
		return true, &OperationError{c.id(), "failed: " + c.detail}
	case recorded:
		return true, &OperationError{c.id(), "has ended while its supervisor is paused: " + c.detail}
	case retired:
		return true, &OperationError{c.id(), "was the last straw: its supervisor gave up"}
	case finished, dismissed, ignored:
		return true, nil
	case pending, backingOff, retrying:
	}
	switch {
	case !c.staysDown():
		return false, nil
	case c.heldUp():
		return true, &OperationError{c.id(), "waits for " + string(c.lead.id()) + ", which is down for good"}
	case c.sup.isPaused():
		return true, &OperationError{c.id(), "waits for its supervisor to be resumed"}
	}
	return true, &OperationError{c.id(), "was not started: its supervisor has ended"}
}
