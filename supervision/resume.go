package supervision

import "slices"

// resume orders again what was under way: lives are taken over, those that were to stop
// are told so once more, back-offs run on. Nobody waits for an answer any more.
func (m *Machine) resume(e Resume) {
	if !m.root.alive() {
		return
	}
	m.calls, m.resumed = nil, e.Cause
	for _, c := range m.all() {
		switch {
		case c.nested != nil && c.alive():
		case c.alive():
			m.do(AdoptChild{ID: c.id(), Incarnation: c.inc, Started: c.running || c.pid != 0, Ready: c.ran, Healthy: c.healthy})
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
}

// adopted: c runs on under this life of the node.
func (m *Machine) adopted(c *child, e ChildAdopted) {
	cause := c.cause
	c.pid = e.Pid
	m.noteOf(c, ServiceAdopted, m.resumed, "", Attr{"pid", e.Pid})
	c.cause = cause // of what is done to it next
}
