package chaos

import (
	"maps"
	"math"
	"slices"
	"time"
)

// judgeStart: a service is ordered to start.
func (m *model) judgeStart(s *service, st *state, e event) {
	if st.phase != isDown {
		m.blame("at most one life at a time", e, "%s/%d is %s", s.name, st.inc, st.phase)
	}
	if e.Incarnation != st.inc+1 {
		m.blame("incarnations count from 1", e, "the last was %d", st.inc)
	}
	for _, need := range s.needs {
		if on := m.of[need.on]; !on.meets(need.when) {
			m.blame("no start before its conditions hold", e, "%s is not %s: %+v", need.on.name, need.when, *on)
		}
	}
	if m.under(s) {
		m.blame("a held service never runs", e, "holds: %v", m.holdNames())
	}
	for d, inc := range st.mustGo {
		if on := m.of[d]; on.inc == inc && on.phase != isDown {
			m.blame("what a restart takes with it is gone before the restarted starts", e, "%s/%d is %s", d.name, inc, on.phase)
		}
	}
	switch {
	case m.down:
		m.blame("nothing starts while the node stops", e, "")
	case st.failed && !st.renewed, st.abandoned && !st.revived:
		m.blame("failed stays failed until somebody or a dependency ends it", e, "")
	case st.completed && !st.revived, st.dismissed == yes:
		m.blame("what has ended for good starts only by hand", e, "")
	case m.paused(s) && !st.manual:
		m.blame("nothing is restarted while a supervisor is paused", e, "")
	}
	if early := st.earliest.Sub(e.Time); early > time.Millisecond {
		m.blame("a back-off is waited for", e, "it had %v to go", early)
	}
	m.judgeTurn(s, e)
	m.judgeQuietRestart(s, st, e)
}

// judgeTurn: in sequence the services of a supervisor start one after the other.
func (m *model) judgeTurn(s *service, e event) {
	if !s.sup.sequence {
		return
	}
	for _, k := range s.sup.children {
		if other, ok := k.(*service); ok && other != s && m.of[other].phase == isStarting {
			m.blame("in sequence starts come one after the other", e, "%s is starting", other.name)
		}
	}
}

func (st *state) meets(when string) bool {
	switch when {
	case "healthy":
		return st.phase == isUp && st.healthy
	case "started":
		return st.running && (st.phase == isUp || st.phase == isStarting)
	}
	return st.phase == isDown && st.completed
}

func (m *model) holdNames() []string {
	var names []string
	for s := range m.holds {
		names = append(names, s.name)
	}
	slices.Sort(names)
	return names
}

// judgeStop: a service is ordered to stop. For one cause dependents go first, and
// in sequence what stands later.
func (m *model) judgeStop(s *service, e event) {
	goesBefore := func(p *service) bool {
		on := m.of[p]
		return on.stopCause == e.Cause && (on.phase == isStopping || on.phase == isDown)
	}
	for _, need := range s.needs {
		if goesBefore(need.on) {
			m.blame("stop order respects edges", e, "%s, which it needs, was ordered to stop before it for the same cause", need.on.name)
		}
	}
	for _, other := range m.p.services {
		top := common(s.sup, other.sup)
		if other == s || !top.sequence || placeUnder(top, other) > placeUnder(top, s) || !goesBefore(other) {
			continue
		}
		if m.of[other].orders > 1 {
			continue // it was on its way for an earlier reason
		}
		if why := m.event(e.Cause); m.takesWhole(why, top, s) && m.takesWhole(why, top, other) {
			m.blame("in sequence stops come in reverse order", e, "%s stands before it and was ordered to stop before it", other.name)
		}
	}
	if !m.explains(s, m.event(e.Cause)) {
		m.blame("only what an event is about stops for it", e, "the cause is %v", m.event(e.Cause))
	}
}

// takesWhole tells whether an event stops the child of a supervisor that a service
// is, or is below, as a whole, and not only services below it.
func (m *model) takesWhole(why event, top *supervisor, s *service) bool {
	if s.sup == top {
		return true
	}
	sup := s.sup
	for sup.parent != top {
		sup = sup.parent
	}
	switch why.Type {
	case "service.backoff":
		return m.takesWhole(m.event(why.Cause), top, s)
	case "node.stopping", "supervisor.gave_up", "supervisor.escalated":
		return true
	case "supervisor.restarting":
		with, _ := why.Attrs["with"].([]any)
		for _, name := range with {
			name, _ := name.(string)
			if whole := m.p.supByName[name]; whole != nil && sup.isBelow(whole) {
				return true
			}
		}
	}
	return false
}

// placeUnder is where the child above a service, or itself, stands in a supervisor.
func placeUnder(top *supervisor, s *service) int {
	if s.sup == top {
		return s.index
	}
	sup := s.sup
	for sup.parent != top {
		sup = sup.parent
	}
	return sup.index
}

// explains tells whether an event can be why a service is ordered to stop.
func (m *model) explains(s *service, why event) bool {
	switch why.Type {
	case "service.backoff":
		return m.explains(s, m.event(why.Cause))
	case "node.stopping":
		return true
	case "operator.command":
		c := m.command(why)
		return (c.verb == "stop" || c.verb == "restart") && c.reached()[s]
	case "supervisor.restarting":
		return m.takenBy(why)[s]
	case "supervisor.gave_up":
		return s.sup.isBelow(m.p.supByName[why.Supervisor])
	case "supervisor.escalated":
		child := m.p.supByName[why.word("child")]
		return s.sup.isBelow(child) || common(s.sup, child).sequence // whose own start fails
	}
	about := m.p.byName[why.Service]
	if about == nil {
		return false
	}
	top := common(s.sup, about.sup)
	switch why.Type {
	case "service.failed":
		return m.p.affected(about)[s] || about.weight && s.sup.isBelow(about.sup)
	case "service.completed":
		return about.weight && s.sup.isBelow(about.sup)
	case "service.exited": // a supervisor in sequence whose own start fails
		return top.sequence
	}
	return false
}

// takenBy is what a restart names: the child and what goes with it.
func (m *model) takenBy(e event) set {
	out := m.p.below(m.p.named(e.word("child")))
	with, _ := e.Attrs["with"].([]any)
	for _, name := range with {
		if name, ok := name.(string); ok {
			maps.Copy(out, m.p.below(m.p.named(name)))
		}
	}
	return out
}

// judgeRestart: a supervisor restarts a child, and others with it.
func (m *model) judgeRestart(sup *supervisor, e event) {
	child := m.p.named(e.word("child"))
	got, want := m.takenBy(e), m.p.affected(child)
	if !maps.Equal(got, want) {
		m.blame("a restart takes with it what the strategy says", e, "got  %v\nwant %v", got, want)
	}
	switch c := child.(type) {
	case *service:
		m.count(c, m.of[c], e)
		m.mustAllGo(set{c: true}, want)
	case *supervisor:
		ss := m.sups[sup]
		ss.certain, ss.possible = append(ss.certain, e.Time), append(ss.possible, e.Time)
		m.judgeWindow(ss.certain, sup.max, sup.window, e)
		m.mustAllGo(m.p.below(c), want)
		m.newLife(c)
	}
	with, _ := e.Attrs["with"].([]any)
	for _, name := range with {
		name, _ := name.(string)
		if nested := m.p.supByName[name]; nested != nil {
			m.newLife(nested)
			continue
		}
		if s := m.p.byName[name]; s != nil {
			if st := m.of[s]; s.sup.sequence && st.phase == isDown {
				st.revived = st.revived || s.sup == sup && !s.once && s.restart != "temporary"
				if st.judged != no && s.restart == "temporary" {
					st.dismissed = max(st.dismissed, perhaps) // found dead at its turn
				}
				st.judged = min(st.judged, perhaps)
			}
		}
	}
}

// judgeBackoff: a restart is decided, and comes later.
func (m *model) judgeBackoff(s *service, st *state, e event) {
	delay, _ := e.Attrs["delay_seconds"].(float64)
	row, _ := e.Attrs["restart"].(float64)
	want := min(s.delay.Seconds()*math.Pow(1.5, row-1), 0.3)
	if (delay < 0.89*want || delay > 1.11*want) && (s.exhausted != "keep" || delay < 0.26) {
		m.blame("the back-off grows as configured", e, "got %v s, want %v s in row %v", delay, want, row)
	}
	st.earliest = e.Time.Add(time.Duration(delay * float64(time.Second)))
	if why := m.event(e.Cause); why.Type != "supervisor.restarting" || why.word("child") != s.name {
		m.count(s, st, e)
	}
}

// judgeQuietRestart: without a delay, and alone, a restart shows as the start, or
// the wait for one, that the end brings about.
func (m *model) judgeQuietRestart(s *service, st *state, e event) {
	why := m.event(e.Cause)
	if st.judged == yes && (why.Type == "service.exited" && why.Service == s.name || why.Type == "supervisor.resumed") {
		m.count(s, st, why)
	}
}

// count: a restart of a service was decided.
func (m *model) count(s *service, st *state, e event) {
	normal := st.ended.normal()
	switch {
	case st.judged == no:
		m.blame("each restart is counted once", e, "the last end was judged already: %v", st.ended)
	case s.restart == "temporary", s.restart == "transient" && normal:
		m.blame("the restart type says who is restarted", e, "it is %s, and ended so: %v", s.restart, st.ended)
	}
	sure := st.judged == yes
	st.judged = no
	if s.max != never {
		st.possible = append(st.possible, e.Time)
		if sure {
			st.certain = append(st.certain, e.Time)
		}
		if s.exhausted != "keep" {
			m.judgeWindow(st.certain, s.max, s.window, e)
		}
		return
	}
	ss := m.sups[s.sup]
	ss.possible = append(ss.possible, e.Time)
	if sure {
		ss.certain = append(ss.certain, e.Time)
	}
	m.judgeWindow(ss.certain, s.sup.max, s.sup.window, e)
}

// judgeWindow: no window holds more than it may.
func (m *model) judgeWindow(times []time.Time, limit int, window time.Duration, e event) {
	if n := inWindow(times, window, e.Time); n > limit {
		m.blame("no window holds more than max_restarts", e, "%d within %v, limit %d", n, window, limit)
	}
}

func inWindow(times []time.Time, window time.Duration, now time.Time) int {
	n := 0
	for _, t := range times {
		if now.Sub(t) <= window {
			n++
		}
	}
	return n
}

// judgeFailure: a service is `failed`.
func (m *model) judgeFailure(s *service, st *state, e event) {
	if e.word("reason") == "temporary" {
		st.abandoned = true
		if s.restart != "temporary" || st.ended.normal() {
			m.blame("a temporary service fails by an abnormal end", e, "it is %s and ended so: %v", s.restart, st.ended)
		}
		return
	}
	st.failed = true
	if s.exhausted != "fail" || s.max == never || inWindow(st.possible, s.window, e.Time) < s.max {
		m.blame("failed comes after max_restarts", e, "limit %d, %d in the window, on_exhausted %s", s.max, inWindow(st.possible, s.window, e.Time), s.exhausted)
	}
}

// judgeGiveUp: a supervisor gives up for a child.
func (m *model) judgeGiveUp(sup *supervisor, e event) {
	times, limit, window := m.sups[sup].possible, sup.max, sup.window
	if s := m.p.byName[e.word("child")]; s != nil && s.max != never {
		times, limit, window = m.of[s].possible, s.max, s.window
		if s.exhausted != "escalate" {
			m.blame("a supervisor gives up for a child that counts there", e, "on_exhausted is %s", s.exhausted)
		}
	}
	if n := inWindow(times, window, e.Time); n < limit {
		m.blame("a supervisor gives up after max_restarts", e, "%d in the window, limit %d", n, limit)
	}
}
