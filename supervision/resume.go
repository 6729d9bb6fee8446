package supervision

import (
	"cmp"
	"slices"
)

// resume orders again what was under way: lives are taken over, those that were to stop
// are told so once more, back-offs run on. Nobody waits for an answer any more.
func (m *Machine) resume(e Resume) {
	if !m.root.alive() {
		return
	}
	m.calls, m.resumed = nil, e.Cause
	if m.bootCause == 0 {
		m.bootCause = e.Cause // the boot itself is not known any more
	}
	if e.Changed {
		m.goOnStopping(e.Cause)
		m.begin(e.Rollout, e.Cause)
	} else {
		m.goOnRolling()
	}
	for _, c := range m.all() {
		if e.Changed {
			m.lookAnew(c, e.Cause)
		}
		switch {
		case c.nested != nil && c.alive():
		case c.alive():
			m.do(AdoptChild{ID: c.id(), Incarnation: c.inc, Started: c.running || c.pid != 0, Ready: c.ran, Healthy: c.healthy, Confirm: e.Presumed || m.confirms(c)})
		case c.rest == recorded && e.Changed && !c.sup.isPaused(): // that supervisor is another one now
			end := *c.unjudged
			c.unjudged = nil
			m.setRest(c, pending)
			m.ended(c, end)
		case c.rest == backingOff:
			m.do(Wake{ID: c.id(), Token: c.token, After: max(0, c.nextStart.Sub(m.now))})
		}
	}
	for _, c := range slices.Backward(m.starts) {
		if c.phase == stopping {
			m.do(StopChild{ID: c.id(), Incarnation: c.inc, Shutdown: c.spec().Shutdown, Reason: c.stopReason})
		}
	}
	if !m.booting {
		_, bad := m.cameUp()
		m.do(Booted{Failed: bad})
	}
	if e.Changed {
		m.roll() // before anything starts that is to restart
	}
}

// lookAnew has c looked at under what may be another tree.
func (m *Machine) lookAnew(c *child, cause uint64) {
	m.touch(c)
	m.recheck = true
	if c.cause == 0 {
		c.cause = cause // it is new
	}
}

// Runs tells whether the node is up, or on its way: neither ended nor ending.
func (m *Machine) Runs() bool {
	c := m.root
	return !m.over && c.alive() && c.phase != stopping && !c.mustStop && c.nested.ending == nil
}

// Lives are the incarnations that are alive, by service.
func (m *Machine) Lives() map[ChildID]uint64 {
	lives := map[ChildID]uint64{}
	for _, c := range m.starts {
		if c.alive() {
			lives[c.id()] = c.inc
		}
	}
	return lives
}

// Onto returns the memory of a machine for another tree, or for other processes: who is on
// its way down goes on with that, the rest of what was under way is given up. What failed
// and is changed in any way is tried again; what is done, where it is to run otherwise.
func (mem Memory) Onto(changed, replaced func(ChildID) bool) Memory {
	for i := range mem.Children {
		c := &mem.Children[i]
		c.Gate = 0
		if s := c.Supervisor; s != nil {
			s.Settled = 0
			if phase(c.Phase) == stopping { // it is ordered to once more
				c.Phase, c.MustStop = uint8(up), true
			}
			continue
		}
		switch {
		case phase(c.Phase) != down:
		case rest(c.Rest) == exhausted && changed(c.ID), rest(c.Rest) == retrying,
			(rest(c.Rest) == recorded || rest(c.Rest) == finished || rest(c.Rest) == abandoned || rest(c.Rest) == dismissed) && replaced(c.ID):
			c.Rest, c.Unjudged = uint8(pending), nil
		}
	}
	return mem
}

// goOnStopping has those go down that were to under another tree, and nobody start until
// they are gone: more is not known of what hung together.
func (m *Machine) goOnStopping(cause uint64) {
	var marked, waiting []*child
	for _, c := range append(slices.Clone(m.starts), m.supervisors()...) {
		switch {
		case c.alive() && (c.mustStop || c.phase == stopping || c.under):
			marked = append(marked, c)
			c.mustStop = false
			if c.under {
				c.stopReason = ReasonHeld
			}
		case !c.alive():
			waiting = append(waiting, c)
		}
	}
	for _, c := range slices.Backward(marked) {
		m.mark(c, cmp.Or(c.cause, cause), c.stopReason, c.stopAgain)
	}
	if len(marked) > 0 {
		m.join(append(marked, waiting...))
	}
}

// supervisors are those below the root, in list order.
func (m *Machine) supervisors() []*child {
	var list []*child
	for _, c := range m.all() {
		if c.nested != nil && c.sup != nil {
			list = append(list, c)
		}
	}
	return list
}

// adopted: c runs on under this life of the node.
func (m *Machine) adopted(c *child, e ChildAdopted) {
	cause := c.cause
	c.pid = e.Pid
	m.noteOf(c, ServiceAdopted, m.resumed, "", Attr{"pid", e.Pid})
	c.cause = cause // of what is done to it next
}
