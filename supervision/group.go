package supervision

import (
	"cmp"
	"fmt"
	"slices"
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
		if c.gate == nil {
			c.gate = g
			g.members = append(g.members, c)
		} else if old := c.gate.find(); old != g {
			g.stops += old.stops
			g.members = append(g.members, old.members...)
			old.into, old.members = g, nil
		}
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
		slices.SortStableFunc(g.members, byRank)
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

// addNeeds adds what c needs, directly or not.
func (s *set) addNeeds(c *child) {
	for _, l := range c.needs {
		if s.add(l.child) {
			s.addNeeds(l.child)
		}
	}
}

func acts(l link) bool { return l.Acts }

// dependentsOf is what a restart of c takes with it for the edges' sake.
func dependentsOf(c *child) *set {
	s := &set{}
	c.services(func(x *child) { s.addDependents(x, acts) })
	return s
}

func byRank(a, b *child) int { return cmp.Compare(a.rank, b.rank) }

// affected is what a restart of c takes with it, c first and then in start order:
// what the strategy of its supervisor says, and of every supervisor above the
// services that reach one of those.
func (m *Machine) affected(c *child) []*child {
	s := &set{}
	s.add(c)
	switch {
	case c.sup.spec.Strategy == OneForAll:
		for _, k := range c.sup.children {
			s.add(k)
		}
	case c.sup.spec.Strategy == RestForOne && c.sup.sequence():
		for _, k := range c.sup.children[c.index+1:] {
			s.add(k)
		}
	}
	for _, k := range slices.Clip(s.list) {
		k.services(func(x *child) { s.addDependents(x, func(l link) bool { return l.Acts && !c.above(l.child) }) })
	}
	slices.SortStableFunc(s.list[1:], byRank)
	return s.list
}

// above tells whether x lives below the supervisor c, whose end it shares.
func (c *child) above(x *child) bool {
	if c.nested == nil {
		return false
	}
	for s := x.sup; s != nil; s = s.self.sup {
		if s == c.nested {
			return true
		}
	}
	return false
}

// mark has a child, and what is below it, go down. again: it starts again then
// even if it is temporary.
func (m *Machine) mark(c *child, cause uint64, why Reason, again bool) {
	m.touch(c)
	if !c.alive() {
		return
	}
	if c.nested != nil && !c.nested.holdsOrders() {
		for _, k := range slices.Backward(c.nested.children) {
			m.mark(k, cause, why, again)
		}
	}
	if c.phase != stopping {
		c.cause = cause
	}
	if !c.mustStop {
		c.mustStop, c.stopReason, c.stopAgain = true, why, again
		m.standInWay(c)
	}
	c.stopAgain = c.stopAgain || again
}

// markAll marks the members of a group, in reverse start order.
func (m *Machine) markAll(set []*child, cause uint64, why func(*child) Reason) {
	for _, k := range slices.Backward(set) {
		m.mark(k, cause, why(k), false)
	}
}

// usedUp says why c is not restarted once more: how it ended, and the limit.
func (c *child) usedUp(limit Intensity) string {
	text := fmt.Sprintf("it was restarted %s within %s already", plural(limit.Max, "time"), FormatDuration(limit.Period))
	if limit.Max == 0 {
		text = "no restart is allowed"
	}
	if c.detail == "" {
		return text
	}
	return c.detail + "; " + text
}

// restart decides about a child that ended, or could not start, and is to be
// restarted: it counts that, and gives up where the limit says so.
func (m *Machine) restart(c *child) {
	s := c.sup
	last := false
	if own := c.spec().Intensity; own != nil {
		if !c.window.allow(m.now, *own) {
			text := c.usedUp(*own)
			switch c.spec().OnExhausted {
			case Fail:
				m.fail(c, text)
				return
			case Escalate:
				m.giveUp(s, c, fmt.Sprintf("%s: %s", c.id(), text))
				return
			case Keep:
				last = true
			}
		}
	} else if !s.window.allow(m.now, s.spec.Intensity) {
		m.giveUp(s, c, fmt.Sprintf("more than %s within %s; the last straw was %s", plural(s.spec.Intensity.Max, "restart"), FormatDuration(s.spec.Intensity.Period), c.id()))
		return
	}
	c.total++
	c.row++
	delay := c.spec().Backoff.Delay(c.row, m.spread.next())
	if last {
		delay = max(delay, c.spec().Backoff.Max)
	}
	c.lead = nil
	set := m.affected(c)
	m.noteRestarting(c, set[1:], delay)
	cause := c.cause // of the stops, which the back-off does not bring about
	m.schedule(c, delay)
	m.takeDown(c, set, cause)
}

// takeDown stops the rest of a set and has it start after its lead.
func (m *Machine) takeDown(lead *child, set []*child, cause uint64) {
	op := &operation{starts: []*child{lead}, group: true}
	for _, k := range set[1:] {
		if k.sup == lead.sup && k.sup.sequence() {
			m.absorb(k)
			m.revive(k)
			op.starts = append(op.starts, k)
		}
		m.follow(k, lead)
	}
	reach := dependentsOf(lead)
	m.markAll(set[1:], cause, func(k *child) Reason {
		if reach.in[k] {
			return ReasonDependency
		}
		return ReasonStrategy
	})
	m.join(set)
	if lead.sup.sequence() {
		m.lastInWay(lead.sup)
		m.run(lead.sup, op)
	}
	m.touch(lead)
}

// revive makes a child that is down for good startable again: in OTP a restart
// of a group starts all of it. What has failed, or is needed as completed, stays.
func (m *Machine) revive(c *child) {
	if c.alive() || c.spec().Restart == Temporary || c.latched() {
		return
	}
	switch c.rest {
	case finished, ignored, retired:
		m.setRest(c, pending)
		m.recheck = true
	case pending, backingOff, retrying, recorded, exhausted, abandoned, dismissed:
	}
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

// backoffOver: the delay before a start is over, if that start still waits for it.
func (m *Machine) backoffOver(e BackoffOver) {
	if c := m.children[e.ID]; c != nil && c.rest == backingOff && !c.alive() && c.token == e.Token {
		m.setRest(c, pending)
		m.unblock(c)
	}
}

// noteRestarting names what a restart takes with it. The back-off of a service is a
// notice of its own, that of a supervisor is told here.
func (m *Machine) noteRestarting(c *child, others []*child, delay time.Duration) {
	names := make([]string, 0, len(others))
	for _, k := range others {
		if k.alive() || !k.latched() { // else it has completed, and stays so
			names = append(names, string(k.id()))
		}
	}
	if len(names) == 0 && c.nested == nil {
		return
	}
	text := "restarts " + string(c.id())
	if len(names) > 0 {
		text += " and with it " + strings.Join(names, ", ")
	}
	attrs := []Attr{{"strategy", c.sup.spec.Strategy.String()}, {"child", string(c.id())}, {"with", names}}
	if c.nested != nil && delay > 0 {
		text += ", in " + delay.Round(time.Millisecond).String()
		attrs = append(attrs, Attr{"delay_seconds", delay.Seconds()})
	}
	c.cause = m.noteSupervisor(c.sup, SupervisorRestarting, c.cause, text, attrs...)
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
