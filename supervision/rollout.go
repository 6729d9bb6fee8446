package supervision

import (
	"slices"
	"strings"
)

// Rollout is how a changed specification comes into force: wave by wave, and each has to
// become healthy before the next begins. If one does not, the rest is left as it is, and
// RolledOut asks for what ran before.
type Rollout struct {
	// Waves are the services that start, or start anew, with what depends on them.
	Waves [][]ChildID
	// Check are those that run on and are watched otherwise: each has to be found healthy.
	Check []ChildID
	// Final: nothing is given up, each service is its own policy's affair.
	Final bool
	// Why what ran before comes back; "": it is something new.
	Why string
}

// RolledOut says that a rollout is over. Err says why it was given up: what ran before is
// to come back, and until then nothing more is done about it.
type RolledOut struct{ Err error }

// Abandon gives the rollout up that is under way.
type Abandon struct {
	Cause uint64
	Why   string
}

func (RolledOut) command() {}
func (Abandon) event()     {}

// goal is a service that a rollout waits for.
type goal struct {
	target
	ran bool // it was alive before
}

// rollout is one that is under way.
type rollout struct {
	spec  Rollout
	cause uint64
	waves [][]*child        // to come
	born  map[*child]uint64 // the incarnations of their members when it began
	goals []goal            // of the waves that have begun
	check map[*child]bool
	lost  *child // it was given up because of this one, or at an operator's wish
	why   string
	over  bool // given up
}

// begin takes a rollout up. What is to start in a later wave waits for it.
func (m *Machine) begin(r *Rollout, cause uint64) {
	m.rollout = nil
	for _, c := range m.starts {
		c.later = false
	}
	if r == nil {
		return
	}
	out := &rollout{spec: *r, cause: cause, check: map[*child]bool{}, born: map[*child]uint64{}}
	for _, wave := range r.Waves {
		var named []*child
		for _, id := range wave {
			if c := m.children[id]; c != nil && c.nested == nil && !c.under {
				c.later, out.born[c] = !c.alive(), c.inc
				named = append(named, c)
			}
		}
		if len(named) > 0 {
			out.waves = append(out.waves, named)
		}
	}
	for _, id := range r.Check {
		if c := m.children[id]; c != nil && c.phase == up {
			out.check[c] = true
		}
	}
	out.spec.Final = r.Final || m.booting // what fails then is the boot's affair
	m.rollout = out
}

// goOnRolling has the rollout go on that another life of the node had begun.
func (m *Machine) goOnRolling() {
	switch r := m.rollout; {
	case r == nil:
		m.begin(nil, 0)
	case r.over:
		m.do(RolledOut{Err: r.failure()})
	}
}

// roll goes on with the rollout. It tells whether there is more to settle.
func (m *Machine) roll() bool {
	r := m.rollout
	if r == nil || r.over || m.over || m.root.phase == stopping {
		return false
	}
	if err := r.failure(); err != nil && !r.spec.Final {
		m.giveBack(r, err)
		return false
	}
	if !m.waveIsOver(r) {
		return false
	}
	if len(r.waves) > 0 {
		m.beginWave(r)
		return true
	}
	if len(r.check) == 0 || r.spec.Final {
		m.rollout = nil
		text := "all that changed is in force"
		if r.spec.Why != "" {
			text = "what ran before is in force again: " + r.spec.Why
		}
		m.note(Notice{Cause: r.cause, Type: NodeReloaded, Message: text, Attrs: []Attr{{"rolled_back", r.spec.Why != ""}, {"why", r.spec.Why}}})
		m.do(RolledOut{})
	}
	return false
}

// beginWave restarts, or starts, the next services.
func (m *Machine) beginWave(r *rollout) {
	wave := r.waves[0]
	r.waves = r.waves[1:]
	alive := map[*child]bool{}
	for _, c := range m.starts {
		alive[c] = c.alive()
	}
	wave = slices.DeleteFunc(wave, func(c *child) bool {
		c.later = false
		if c.inc > r.born[c] && c.alive() { // it was started anew with another one, or by itself
			r.expect(goal{target{c, c.inc}, true})
			return true
		}
		return c.under // by now
	})
	work := &call{}
	m.operatorRestart(work, wave, Operate{Cause: r.cause}, ReasonReload)
	for _, t := range work.targets {
		r.expect(goal{t, alive[t.child]})
	}
}

// expect has a rollout wait for a service; what was expected of it before is over.
func (r *rollout) expect(g goal) {
	r.goals = append(slices.DeleteFunc(r.goals, func(k goal) bool { return k.child == g.child }), g)
}

// giveBack ends a rollout that cannot succeed. The tree stays as it is, since all of it
// is about to be another one.
func (m *Machine) giveBack(r *rollout, err error) {
	r.over = true
	cause := r.cause
	if r.lost != nil {
		cause = r.lost.cause
	}
	m.note(Notice{Cause: cause, Type: NodeReloadFailed, Message: err.Error()})
	m.do(RolledOut{Err: err})
}

// waveIsOver tells whether all that a rollout waits for has come: of what ran before, all
// that comes back as things are.
func (m *Machine) waveIsOver(r *rollout) bool {
	if r.spec.Final && len(r.waves) == 0 {
		return !slices.ContainsFunc(m.starts, (*child).comes)
	}
	for _, g := range r.goals {
		if done, _ := g.reached(OpRestart); !done {
			return false
		}
	}
	return true
}

// comes tells whether the start of c is under way or waits for others only.
func (c *child) comes() bool {
	backs := c.rest == backingOff || c.rest == retrying || c.lead != nil && c.lead.rest == backingOff
	return !c.hasSettled() && !backs
}

// failure says why the rollout cannot succeed any more.
func (r *rollout) failure() error {
	if r.why != "" {
		at := ChildID("the reload")
		if r.lost != nil {
			at = r.lost.id()
		}
		return &OperationError{at, r.why}
	}
	for _, g := range r.goals {
		if _, err := g.reached(OpRestart); err != nil && g.ran && !g.child.under {
			r.lost = g.child
			return err
		}
	}
	return nil
}

// spoils tells whether the end of c, which nobody ordered, is that of something a rollout
// has just started. Then c is left as it is: what ran before comes back.
func (m *Machine) spoils(c *child, e ChildExited) bool {
	r := m.rollout
	if r == nil || r.spec.Final || !c.spec().Restart.After(e.Kind) && e.Kind != Abnormal {
		return false
	}
	i := slices.IndexFunc(r.goals, func(g goal) bool { return g.child == c && c.inc >= g.inc })
	if i < 0 && !r.check[c] {
		return false
	}
	what := "did not become healthy: "
	if c.ran {
		what = "ended again: "
	}
	m.reportEnd(c, e)
	m.lose(r, c, what+e.Detail)
	c.later = true
	return true
}

// lose notes why a rollout fails, and because of whom.
func (m *Machine) lose(r *rollout, c *child, why string) {
	if r.why == "" {
		r.lost, r.why = c, strings.TrimSpace(why)
	}
}

// confirm takes the first verdict about a service that is watched otherwise now. It tells
// whether the rollout fails by it: what ran before knows better.
func (m *Machine) confirm(c *child, e ChildHealth) bool {
	r := m.rollout
	switch {
	case r == nil || !r.check[c] || r.spec.Final:
		return false
	case e.Healthy:
		delete(r.check, c)
		return false
	}
	m.lose(r, c, "is not healthy as it is checked now: "+e.Detail)
	return true
}

func (m *Machine) abandon(e Abandon) {
	if r := m.rollout; r != nil && !r.over && !r.spec.Final {
		r.why = e.Why
		if e.Cause != 0 {
			r.cause = e.Cause
		}
	}
}

// Reloading tells whether a rollout is under way.
func (m *Machine) Reloading() bool { return m.rollout != nil }

func (m *Machine) confirms(c *child) bool {
	return m.rollout != nil && !m.rollout.spec.Final && m.rollout.check[c]
}
