package supervision

import (
	"fmt"
	"strings"
	"time"
)

// gate holds the members of a restart back until the last of them is gone.
// Restarts that touch share one gate.
type gate struct {
	stops   int // members that are to go and are still there
	members []*child
	into    *gate // the gate it was joined with
}

func (g *gate) find() *gate {
	for g.into != nil {
		g = g.into
	}
	return g
}

// join puts the children behind one gate, together with all that already share a
// gate with one of them.
func (m *Machine) join(set []*child) {
	g := &gate{}
	for _, c := range set {
		if c.gate != nil {
			if old := c.gate.find(); old != g {
				g.stops += old.stops
				g.members = append(g.members, old.members...)
				old.into, old.members = g, nil
			}
			continue
		}
		c.gate = g
		g.members = append(g.members, c)
	}
	for _, c := range set {
		if c.alive() && !c.stuck && !c.counted {
			c.counted = true
			g.stops++
		}
	}
}

// leave tells the gate of c that c is gone, or stuck.
func (m *Machine) leave(c *child) {
	if !c.counted {
		return
	}
	c.counted = false
	g := c.gate.find()
	g.stops--
	if g.stops == 0 {
		for _, k := range g.members {
			m.touch(k)
		}
	}
}

// set is a list of children without repetition.
type set struct {
	list []*child
	in   map[*child]bool
}

func (s *set) add(c *child) bool {
	if s.in[c] {
		return false
	}
	if s.in == nil {
		s.in = map[*child]bool{}
	}
	s.in[c] = true
	s.list = append(s.list, c)
	return true
}

// addDependents adds the services that reach c through edges that follow says to
// follow, wherever they live.
func (s *set) addDependents(c *child, follow func(link) bool) {
	for _, l := range c.neededBy {
		if follow(l) && s.add(l.child) {
			s.addDependents(l.child, follow)
		}
	}
}

func acts(l link) bool { return l.Acts }

// affected is what a restart of c takes with it, c first: what the strategy of
// its supervisor says, and of every supervisor above the services that reach one
// of those.
func (m *Machine) affected(c *child) []*child {
	s := &set{}
	s.add(c)
	switch {
	case c.sup.spec.Strategy == OneForAll:
		for _, k := range c.sup.children {
			s.add(k)
		}
	case c.sup.spec.Strategy == RestForOne && c.sup.sequence():
		for _, k := range c.sup.children[c.node.Index+1:] {
			s.add(k)
		}
	}
	for _, k := range s.list[:len(s.list):len(s.list)] {
		k.services(func(x *child) { s.addDependents(x, acts) })
	}
	return s.list
}

// mark has a child, and what is below it, go down. again: it starts again then
// even if it is temporary.
func (m *Machine) mark(c *child, cause uint64, why Reason, again bool) {
	if c.nested != nil && c.alive() {
		for _, k := range c.nested.children {
			m.mark(k, cause, why, again)
		}
	}
	if c.alive() && c.phase != stopping {
		c.cause = cause
	}
	if c.alive() && !c.mustStop {
		c.mustStop, c.stopReason, c.stopAgain = true, why, again
	}
	m.touch(c)
}

// restart decides about a child that ended, or could not start, and is to be
// restarted: it counts that, and gives up where the limit says so.
func (m *Machine) restart(c *child) {
	s := c.sup
	last := false
	if own := c.spec().Intensity; own != nil {
		if !c.window.allow(m.now, *own) {
			switch c.spec().OnExhausted {
			case Fail:
				m.fail(c, fmt.Sprintf("%s within %v, the limit is %d", plural(own.Max+1, "restart"), own.Period, own.Max))
				return
			case Escalate:
				m.giveUp(s, c)
				return
			case Keep:
				last = true
			}
		}
	} else if !s.window.allow(m.now, s.spec.Intensity) {
		m.giveUp(s, c)
		return
	}
	c.restarts++
	c.row++
	delay := c.spec().Backoff.Delay(c.row, m.spread.next())
	if last {
		delay = max(delay, c.spec().Backoff.Max)
	}
	set := m.affected(c)
	m.noteRestarting(c, set[1:])
	m.schedule(c, delay)
	m.takeDown(c, set)
}

// takeDown stops the rest of a set and has it start after its lead.
func (m *Machine) takeDown(lead *child, set []*child) {
	op := &operation{starts: []*child{lead}}
	for _, k := range set[1:] {
		inTurn := k.sup == lead.sup && k.sup.sequence()
		if inTurn && k.alive() {
			op.stops = append(op.stops, k)
		}
		if inTurn {
			m.revive(k)
			op.starts = append(op.starts, k)
		}
		why := ReasonStrategy
		if lead.nested == nil && k.reaches(lead) {
			why = ReasonDependency
		}
		m.mark(k, lead.cause, why, false)
		m.follow(k, lead)
	}
	m.join(set)
	if lead.sup.sequence() {
		m.run(lead.sup, op)
	}
	m.touch(lead)
}

// revive makes a child that is down for good startable again: in OTP a restart
// of a group starts all of it.
func (m *Machine) revive(c *child) {
	if c.alive() || c.spec().Restart == Temporary {
		return
	}
	switch c.rest {
	case finished, exhausted, ignored, retired:
		m.setRest(c, pending)
	case pending, backingOff, retrying, recorded, abandoned, dismissed:
	}
}

// reaches tells whether c depends on p, directly or not, through edges that
// restart.
func (c *child) reaches(p *child) bool {
	s := &set{}
	s.addDependents(p, acts)
	return s.in[c]
}

// schedule has a child start after a delay.
func (m *Machine) schedule(c *child, delay time.Duration) {
	if delay <= 0 {
		m.setRest(c, pending)
		return
	}
	m.setRest(c, backingOff)
	m.tokens++
	c.token = m.tokens
	c.nextStart = m.now.Add(delay)
	if c.nested == nil {
		m.noteOf(c, ServiceBackoff, c.cause, "next start in "+delay.Round(time.Millisecond).String(),
			Attr{"delay_seconds", delay.Seconds()}, Attr{"restart", c.row})
	}
	m.do(Wake{ID: c.id(), Token: c.token, After: delay})
}

// noteRestarting names what a restart takes with it.
func (m *Machine) noteRestarting(c *child, others []*child) {
	if len(others) == 0 && c.nested == nil {
		return
	}
	names := make([]string, len(others))
	for i, k := range others {
		names[i] = string(k.id())
	}
	text := "restarts " + string(c.id())
	if len(names) > 0 {
		text += " and with it " + strings.Join(names, ", ")
	}
	c.cause = m.noteSupervisor(c.sup, SupervisorRestarting, c.cause, text,
		Attr{"strategy", c.sup.spec.Strategy.String()}, Attr{"child", string(c.id())}, Attr{"with", names})
}

// String is the strategy's configuration word.
func (s Strategy) String() string {
	switch s {
	case OneForOne:
		return "one_for_one"
	case RestForOne:
		return "rest_for_one"
	case OneForAll:
		return "one_for_all"
	case SimpleOneForOne:
		return "simple_one_for_one"
	}
	return "unknown"
}

// String is the order's configuration word.
func (o Order) String() string {
	if o == Graph {
		return "graph"
	}
	return "sequence"
}
