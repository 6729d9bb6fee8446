package chaos

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// model is what the journal says about the world, and what may come next. It
// knows the plan and the contract, nothing of how bhnode decides.
type model struct {
	mu       sync.Mutex
	p        *plan
	of       map[*service]*state
	sups     map[*supervisor]*supState
	events   []event
	down     bool // the node stops
	holds    map[*service]hold
	found    []violation
	advanced chan struct{} // closed when there are more events
}

type hold struct{ only bool }

type violation struct {
	rule string
	at   event // zero: not about an event
	text string
}

// phase is where the present life of a service is.
type phase string

const (
	isDown     phase = "down"
	isStarting phase = "starting"
	isUp       phase = "up"
	isStopping phase = "stopping"
)

// certainty tells whether the end of a service still has to be judged.
type certainty int

const (
	no certainty = iota
	perhaps
	yes
)

// state is one service.
type state struct {
	phase     phase
	healthy   bool
	running   bool // its process was started
	inc       uint64
	pid       int
	stopCause uint64 // of the last order to stop, until it starts again
	ordered   event  // that order
	ended     event  // how the last life ended
	judged    certainty
	earliest  time.Time // the end of its back-off
	mustGo    map[*service]uint64

	failed    bool
	abandoned bool      // temporary, and ended abnormally
	dismissed certainty // temporary, and stopped with a group
	completed bool
	renewed   bool      // its supervisor begins a new life, which ends `failed`
	revived   bool      // and works in sequence, where that starts what has ended, too
	orders    int       // events that have it stop, until it starts again
	manual    bool      // an operator asked for its start
	again     certainty // its stop does not dismiss it: an operator's, or that of its supervisor

	certain  []time.Time // restarts that count for sure
	possible []time.Time // all that may count
}

// supState is one supervisor.
type supState struct {
	paused   bool
	ends     bool // it gave up, or may have shut down; the next to start it begins a new life
	certain  []time.Time
	possible []time.Time
}

func newModel(p *plan) *model {
	m := &model{p: p, of: map[*service]*state{}, sups: map[*supervisor]*supState{}, holds: map[*service]hold{}, advanced: make(chan struct{})}
	for _, s := range p.services {
		m.of[s] = &state{phase: isDown}
	}
	for _, s := range p.supervisors {
		m.sups[s] = &supState{}
	}
	return m
}

func (m *model) blame(rule string, e event, format string, args ...any) {
	m.found = append(m.found, violation{rule, e, fmt.Sprintf(format, args...)})
}

// take judges one event and what it changes.
func (m *model) take(e event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if told := m.event(e.Seq); told.Seq != 0 { // by a bhnode that was killed since
		if told.String() != e.String() {
			m.blame("no number is given to two events", e, "it was told before: %v", told)
		}
		return
	}
	if want := uint64(len(m.events)) + 1; e.Seq != want {
		m.blame("seq has no gap", e, "got number %d, want %d", e.Seq, want)
		for uint64(len(m.events))+1 < e.Seq {
			m.events = append(m.events, event{})
		}
	}
	m.events = append(m.events, e)
	m.judgeCause(e)
	switch {
	case e.Type == "operator.command":
		m.takeCommand(e)
	case e.Service != "":
		s := m.p.byName[e.Service]
		if s == nil {
			m.blame("events are about services that exist", e, "")
			break
		}
		m.takeService(s, m.of[s], e)
	case e.Supervisor != "":
		s := m.p.supByName[e.Supervisor]
		if s == nil {
			m.blame("events are about supervisors that exist", e, "")
			break
		}
		m.takeSupervisor(s, e)
	case e.Type == "node.stopping":
		m.down = true
	}
	close(m.advanced)
	m.advanced = make(chan struct{})
}

// event is the one with that number, zero if there is none.
func (m *model) event(seq uint64) event {
	if seq == 0 || seq > uint64(len(m.events)) {
		return event{}
	}
	return m.events[seq-1]
}

// spontaneous are the types that need no cause.
var spontaneous = []string{"node.starting", "node.adopted", "node.upgraded", "node.reloading", "operator.command", "service.exited", "service.unhealthy"}

func (m *model) judgeCause(e event) {
	switch {
	case e.Cause >= e.Seq:
		m.blame("causes point at earlier events", e, "cause %d is not earlier", e.Cause)
	case e.Cause == 0 && !slices.Contains(spontaneous, e.Type):
		m.blame("every decision has a cause", e, "it has none")
	case e.Cause != 0 && m.event(e.Cause).Seq != e.Cause:
		m.blame("causes point at events that exist", e, "there is no event %d", e.Cause)
	}
}

func (m *model) takeService(s *service, st *state, e event) {
	if e.Type != "service.starting" && e.Incarnation != st.inc {
		m.blame("every event names its incarnation", e, "the present one is %d", st.inc)
	}
	expect := func(phases ...phase) {
		if !slices.Contains(phases, st.phase) {
			m.blame("a life goes from starting to up to stopping to down", e, "it is %s", st.phase)
		}
	}
	switch e.Type {
	case "service.starting":
		m.judgeStart(s, st, e)
		clear(st.mustGo)
		*st = state{
			phase: isStarting, inc: e.Incarnation, ended: st.ended, certain: st.certain, possible: st.possible, mustGo: st.mustGo,
		}
	case "service.started":
		expect(isStarting, isStopping)
		st.running, st.pid = true, e.Pid
	case "service.adopted":
		expect(isStarting, isUp, isStopping)
		if st.pid != e.Pid {
			m.blame("an adopted process is the one that was started", e, "that was %d", st.pid)
		}
	case "service.ready":
		expect(isStarting)
		st.phase, st.healthy, st.running = isUp, true, true
		m.forgiveDependents(s)
	case "service.unhealthy", "service.healthy":
		expect(isUp)
		if well := e.Type == "service.healthy"; st.healthy == well {
			m.blame("health events are changes", e, "it was so before")
		} else {
			st.healthy = well
		}
	case "service.stopping":
		expect(isStarting, isUp)
		m.judgeStop(s, e)
		st.phase, st.stopCause, st.ordered = isStopping, e.Cause, e
	case "service.stopped":
		expect(isStopping)
		if took := e.Time.Sub(st.ordered.Time); took > s.grace+12*time.Second {
			m.blame("every stop ends", e, "after %v, with a grace of %v", took, s.grace)
		}
		m.end(s, st, e)
	case "service.exited":
		expect(isStarting, isUp)
		m.end(s, st, e)
	case "service.waiting":
		expect(isDown)
		m.judgeQuietRestart(s, st, e)
	case "service.backoff":
		expect(isDown)
		m.judgeBackoff(s, st, e)
	case "service.completed":
		expect(isDown)
		if s.restart == "permanent" || !st.ended.normal() {
			m.blame("completed after a normal end of a service that is not permanent", e, "it is %s and ended so: %v", s.restart, st.ended)
		}
		st.completed, st.judged = true, no
		m.endIfWeighty(s)
	case "service.failed":
		expect(isDown)
		m.judgeFailure(s, st, e)
		st.judged = no
		m.order(m.p.affected(s))
		m.endIfWeighty(s)
	case "service.stuck":
		m.blame("every stop ends", e, "nothing here can resist SIGKILL")
	default:
		m.blame("types are those of the contract", e, "")
	}
}

// endIfWeighty: the end of a significant service may end its supervisor.
func (m *model) endIfWeighty(s *service) {
	if s.weight {
		m.sups[s.sup].ends = true
		m.order(m.p.below(s.sup))
	}
}

// normal tells whether a life ended by itself with success.
func (e event) normal() bool {
	code, ok := e.Attrs["code"].(float64)
	reason := e.word("reason")
	return ok && code == 0 && reason != "probe" && reason != "start_timeout"
}

// end: nothing of the life is left.
func (m *model) end(s *service, st *state, e event) {
	st.phase, st.healthy, st.running, st.ended = isDown, false, false, e
	st.judged = no
	why := m.event(e.Cause)
	byItself := e.Type == "service.exited" && (e.Cause == 0 || why.Service == s.name && (why.Type == "service.unhealthy" || why.Type == "operator.command"))
	if byItself {
		st.judged, st.manual = yes, false
	}
	if s.restart == "temporary" && !byItself && st.again != yes {
		if e.Type == "service.stopped" {
			why = m.event(st.ordered.Cause)
		}
		if why.Type == "service.backoff" {
			why = m.event(why.Cause)
		}
		if why.Type == "supervisor.restarting" || why.Type == "service.failed" {
			st.dismissed = yes - st.again
		}
	}
}

// forgiveDependents: a dependency that is healthy in a new life ends `failed`.
func (m *model) forgiveDependents(s *service) {
	for _, e := range s.needed {
		if e.restart {
			d := m.of[e.on]
			d.failed, d.certain = false, nil
		}
	}
}

func (m *model) takeSupervisor(s *supervisor, e event) {
	ss := m.sups[s]
	switch e.Type {
	case "supervisor.paused", "supervisor.resumed":
		ss.paused = e.Type == "supervisor.paused"
	case "supervisor.restarting":
		m.judgeRestart(s, e)
	case "supervisor.gave_up":
		m.judgeGiveUp(s, e)
		m.mustAllGo(m.p.below(s), m.p.below(s))
		m.newLife(s)
	case "supervisor.escalated":
		if why := m.event(e.Cause); why.Type != "supervisor.gave_up" || why.Supervisor != e.word("child") {
			m.blame("an escalation follows a give-up", e, "its cause is %v", why)
		}
	default:
		m.blame("types are those of the contract", e, "")
	}
}

// newLife: a supervisor will start its children anew, with empty windows.
func (m *model) newLife(top *supervisor) {
	for _, s := range m.p.supervisors {
		if s.isBelow(top) {
			m.sups[s].certain, m.sups[s].ends = nil, false
		}
	}
	for s := range m.p.below(top) {
		st := m.of[s]
		st.certain, st.earliest = nil, time.Time{}
		st.again, st.dismissed = max(st.again, perhaps), min(st.dismissed, perhaps)
		st.renewed = true
		st.revived = st.revived || s.sup.sequence && !s.once
		if st.judged == yes {
			st.judged = perhaps
		}
	}
}

// order: something has a set of services stop.
func (m *model) order(set set) {
	for s := range set {
		m.of[s].orders++
	}
}

// mustAllGo: what is alive of a set must be gone before one of starters starts.
func (m *model) mustAllGo(starters, set set) {
	m.order(set)
	alive := map[*service]uint64{}
	for s := range set {
		if st := m.of[s]; st.phase != isDown {
			alive[s] = st.inc
		}
	}
	for s := range starters {
		st := m.of[s]
		if st.mustGo == nil {
			st.mustGo = map[*service]uint64{}
		}
		for k, inc := range alive {
			if k != s {
				st.mustGo[k] = inc
			}
		}
	}
}
