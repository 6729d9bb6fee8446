package supervision

import (
	"cmp"
	"slices"
)

// operation is what a supervisor with order Sequence is busy with: it starts
// children in the order of its list, one after the other.
type operation struct {
	starts []*child
	group  bool // they belong together: one that has to wait keeps those behind it
	// call is the management call that asked for it, of is the child that it is about.
	call *Manage
	of   *child
}

// message waits in the mailbox of a supervisor with order Sequence: the end of a
// child, the retry of its start, a management call, or the order to stop.
type message struct {
	child *child
	inc   uint64
	retry bool
	call  *Manage
	stop  bool
	cause uint64
}

func byIndex(a, b *child) int { return cmp.Compare(a.index, b.index) }

// send puts a message into the mailbox of the child's supervisor.
func (m *Machine) send(c *child, retry bool) {
	c.sup.mailbox = append(c.sup.mailbox, message{child: c, inc: c.inc, retry: retry})
	m.touch(c)
}

// advance goes on with the operation of a supervisor, and with its mailbox when
// it is not busy. One that is to stop does neither: the order overtakes them.
func (m *Machine) advance(s *supervisor) {
	for !s.frozen && s.open() {
		if s.op != nil && m.startNext(s) {
			op := s.op
			s.op = nil
			m.finish(s, op)
			s.awaitStarts()
			m.touchLate(s)
			m.checkStarted(s)
			continue
		}
		if len(s.mailbox)+len(s.late) == 0 || s.busy() {
			return
		}
		m.touchLate(s)
		if len(s.mailbox) == 0 {
			return
		}
		next := s.mailbox[0]
		s.mailbox = s.mailbox[1:]
		m.receive(s, next)
	}
}

// busy tells whether s has something under way. What it starts is not, while that
// is a supervisor with a child that waits: for what s itself may have to start.
func (s *supervisor) busy() bool {
	switch {
	case s.frozen, s.op != nil && s.op.call != nil:
		return true
	case s.op == nil || len(s.op.starts) == 0:
		return false
	}
	head := s.op.starts[0]
	return head.gated() || head.nested == nil || !head.nested.waits()
}

// waits tells whether a child anywhere below s waits for a condition.
func (s *supervisor) waits() bool {
	if !s.waited {
		return false
	}
	for _, c := range s.children {
		if c.waits && !c.alive() && c.rest == pending || c.nested != nil && c.alive() && c.nested.waits() {
			return true
		}
	}
	return false
}

// run gives a supervisor children to start, besides those it is starting.
func (m *Machine) run(s *supervisor, op *operation) {
	if s.op != nil {
		for _, c := range s.op.starts {
			if !slices.Contains(op.starts, c) {
				op.starts = append(op.starts, c)
			}
		}
		op.group = true
	}
	slices.SortFunc(op.starts, byIndex)
	s.op = op
}

// touchLate looks again at the children that were looked at while s was busy.
func (m *Machine) touchLate(s *supervisor) {
	for _, c := range s.late {
		m.touch(c)
	}
	s.late = nil
}

func (m *Machine) receive(s *supervisor, msg message) {
	c := msg.child
	switch {
	case msg.call != nil:
		m.serve(s, msg.call)
	case msg.stop:
		m.serveStop(s, msg.cause)
	case c.inc != msg.inc || c.alive(): // it lives again
	case msg.retry && c.rest == retrying:
		m.restart(c)
	case !msg.retry && c.unjudged != nil:
		e := *c.unjudged
		c.unjudged = nil
		m.judge(c, e)
	}
}

// freeze holds the mailbox of a supervisor, or has it served.
func (m *Machine) freeze(id ChildID, on bool) {
	c := m.children[id]
	if c == nil || c.nested == nil || !c.nested.sequence() {
		return
	}
	c.nested.frozen = on
	m.touch(c)
	for _, k := range c.nested.children {
		m.touch(k)
	}
}

// startNext tells whether all starts of the operation are done, or one has to
// wait for more than the end of what is under way: then s is not busy any more.
func (m *Machine) startNext(s *supervisor) bool {
	if c := s.op.of; c != nil && c.mustStop && !c.stuck {
		return false // it was asked to stop that child
	}
	for len(s.op.starts) > 0 {
		c := s.op.starts[0]
		switch {
		case c.gated(), c.phase == starting && !c.stuck:
			return false
		case c.alive(), c.under, c.unjudged != nil:
		case c.rest == backingOff:
			m.park(s)
			return true
		case c.rest != pending && c.rest != retrying:
		case !c.mayStart():
			m.wait(c)
			m.park(s)
			return true
		case !m.takeSlot(c):
			return false
		default:
			m.orderStart(c)
			continue
		}
		s.op.starts = s.op.starts[1:]
	}
	return true
}

// park ends the operation at a child whose start has to wait; what belongs to it
// follows it.
func (m *Machine) park(s *supervisor) {
	first, others := s.op.starts[0], s.op.starts[1:]
	for _, f := range others {
		if s.op.group && !f.alive() {
			m.follow(f, first)
		}
		m.touch(f)
	}
}

// startables are the children that can start, at once or after one of them, in
// the order of the list.
func (s *supervisor) startables() []*child {
	var list []*child
	chosen := map[*child]bool{}
	for _, c := range s.children {
		if c.startable() && c.mayStartAfter(chosen) {
			chosen[c] = true
			list = append(list, c)
		}
	}
	return list
}

// absorb takes what still waits in the mailbox about a child as part of the restart
// of its group: the retry of its start, or its end, where OTP finds it dead at its
// turn.
func (m *Machine) absorb(c *child) {
	if c.rest == retrying && !c.alive() {
		m.setRest(c, pending)
	}
	if c.unjudged == nil {
		return
	}
	m.outlive(c)
	c.unjudged = nil
	m.setRest(c, pending)
	if c.spec().Restart == Temporary {
		m.setRest(c, dismissed)
		m.recheck = true
	}
}

// outlive has the end of a child that nobody has judged reported at its turn.
func (m *Machine) outlive(c *child) {
	if e := c.unjudged; e != nil && e.Unexpected {
		c.obituary = e
		c.sup.last = max(c.sup.last, c.index)
	}
}

// startFailed: c could not start while its supervisor, which works in sequence,
// was busy starting it.
func (m *Machine) startFailed(c *child, e ChildExited) {
	s := c.sup
	if s.op.call != nil {
		m.managedStartFailed(c, e)
		return
	}
	m.report(s, ReportStartError, c, e)
	if s.self.phase == starting {
		m.firstStartFailed(c, e)
		return
	}
	others := s.op.starts
	s.op = nil
	group := &set{}
	for _, k := range m.affected(c) {
		group.add(k)
	}
	for _, f := range others {
		if group.in[f] && f != c && !f.alive() {
			m.follow(f, c)
		}
		m.touch(f)
	}
	m.touchLate(s)
	m.setRest(c, retrying)
	m.send(c, true)
}

// firstStartFailed: the supervisor of c is starting itself. Its start fails with
// that of c, as in OTP, unless the node boots as well as it can.
func (m *Machine) firstStartFailed(c *child, e ChildExited) {
	s := c.sup
	if !m.booting || !m.opt.BestEffort {
		s.failed, s.hopeless = true, e.Hopeless
		m.end(s, Ended{Why: EndBootFailed, ID: c.id(), Detail: e.Detail}, c.cause)
		return
	}
	m.setRest(c, exhausted)
	if c.spec().Restart == Temporary {
		m.setRest(c, abandoned)
		c.reason = ReasonTemporary
	}
	if c.nested == nil {
		m.noteOf(c, ServiceFailed, c.cause, e.Detail, Attr{"reason", string(c.reason)})
	}
	m.recheck = true
}
