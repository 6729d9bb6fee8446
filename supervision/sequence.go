package supervision

import (
	"cmp"
	"slices"
)

// operation is what a supervisor with order Sequence is busy with: it stops
// children from the end of one list, one after the other, then starts those of
// the other from its beginning.
type operation struct {
	stops  []*child
	starts []*child
}

// message waits in the mailbox of a supervisor with order Sequence.
type message struct {
	child *child
	inc   uint64
	retry bool // a failed start is tried again; else an end is judged
}

// stopsInTurn tells whether the operation stops c when its turn comes.
func (o *operation) stopsInTurn(c *child) bool { return slices.Contains(o.stops, c) }

func byIndex(a, b *child) int { return cmp.Compare(a.node.Index, b.node.Index) }

// run gives a supervisor something to do; it is not busy.
func (m *Machine) run(s *supervisor, o *operation) {
	slices.SortFunc(o.stops, byIndex)
	slices.SortFunc(o.starts, byIndex)
	s.op = o
}

// withFollowers is c and those that start after it.
func (c *child) withFollowers() []*child {
	list := []*child{c}
	for _, f := range c.followers {
		if f.lead == c && f.sup == c.sup && !f.alive() {
			list = append(list, f)
		}
	}
	return list
}

// send puts a message into the mailbox of the child's supervisor.
func (m *Machine) send(c *child, retry bool) {
	c.sup.mailbox = append(c.sup.mailbox, message{child: c, inc: c.inc, retry: retry})
	m.touch(c)
}

// advance goes on with the operation of a supervisor, and with its mailbox when
// it is not busy.
func (m *Machine) advance(s *supervisor) {
	for {
		switch {
		case s.op != nil:
			if !m.stopNext(s) || !m.startNext(s) {
				return
			}
			if s.op != nil && len(s.op.stops)+len(s.op.starts) == 0 {
				s.op = nil
				m.checkStarted(s)
			}
			if s.op == nil {
				m.touchLate(s)
			}
		case len(s.mailbox) > 0:
			next := s.mailbox[0]
			s.mailbox = s.mailbox[1:]
			m.receive(next)
		default:
			return
		}
	}
}

// touchLate looks again at the children that were looked at while s was busy.
func (m *Machine) touchLate(s *supervisor) {
	for _, c := range s.late {
		m.touch(c)
	}
	s.late = nil
}

func (m *Machine) receive(msg message) {
	c := msg.child
	if c.inc != msg.inc || c.alive() {
		return // it lives again
	}
	switch {
	case msg.retry && c.rest == retrying:
		m.restart(c)
	case !msg.retry && c.unjudged != nil:
		e := *c.unjudged
		c.unjudged = nil
		m.judge(c, e)
	}
}

// stopNext tells whether all stops of the operation are done.
func (m *Machine) stopNext(s *supervisor) bool {
	for len(s.op.stops) > 0 {
		last := len(s.op.stops) - 1
		c := s.op.stops[last]
		if c.phase == starting || c.phase == up {
			if !m.mayStop(c) {
				return false
			}
			m.orderStop(c)
		}
		if c.alive() && !c.stuck {
			return false
		}
		if s.op == nil {
			return false // stopping c ended the supervisor
		}
		c.unjudged = nil // found dead at its turn: that end is part of the stop
		s.op.stops = s.op.stops[:last]
	}
	return true
}

// startNext tells whether all starts of the operation are done, or one has to
// wait for a back-off: then s is not busy any more.
func (m *Machine) startNext(s *supervisor) bool {
	for len(s.op.starts) > 0 {
		c := s.op.starts[0]
		switch {
		case c.phase == up || c.stuck || c.holds > 0 && !c.alive() || c.phase == down && c.unjudged != nil:
		case c.alive():
			return false
		case c.rest == backingOff:
			m.park(s, c)
			return true
		case c.lead != nil && !c.lead.alive() && c.lead.rest == backingOff:
			m.park(s, c.lead)
			return true
		case c.rest != pending && c.rest != retrying:
		case !s.open() || !m.mayStart(c):
			m.noteWaiting(c)
			return false
		case !m.takeSlot(c):
			return false
		default:
			m.orderStart(c)
			if c.phase == starting {
				return false
			}
		}
		if s.op == nil {
			return true
		}
		s.op.starts = s.op.starts[1:]
	}
	return true
}

// park ends the operation at a child whose start has to wait; the rest of the
// operation follows it.
func (m *Machine) park(s *supervisor, lead *child) {
	for _, f := range s.op.starts {
		if f != lead && !f.alive() {
			m.follow(f, lead)
		}
	}
	s.op = nil
}

func (m *Machine) follow(c, lead *child) {
	if c.lead != lead {
		c.lead = lead
		lead.followers = append(lead.followers, c)
	}
}
