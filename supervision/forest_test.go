package supervision

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"
)

// forest draws trees. Edges lead from later to earlier services, so that every
// order can respect them.
type forest struct {
	t        *rapid.T
	services []ChildID
	nested   []ChildID
	finite   map[ChildID]bool // those that are not permanent
	graph    bool             // every supervisor has order graph
}

func (f *forest) pick(name string, most int) int { return rapid.IntRange(0, most).Draw(f.t, name) }

func (f *forest) supervisor(id ChildID, depth int) SupervisorSpec {
	s := SupervisorSpec{
		ID: id, Strategy: Strategy(f.pick("strategy", 2)), Order: Order(f.pick("order", 1)),
		Intensity: Intensity{Max: []int{5, 5, 3, 1, 0}[f.pick("max", 4)], Period: 10 * time.Second},
	}
	if f.graph {
		s.Order = Graph
	}
	if depth == 0 { // limits multiply by level
		s.Intensity.Max *= 8
	}
	if f.pick("auto", 9) == 0 {
		s.AutoShutdown = AutoShutdown(1 + f.pick("mode", 1))
	}
	for range 1 + f.pick("children", 3) {
		if depth < 3 && f.pick("nest", 3) == 0 {
			id := ChildID(fmt.Sprintf("n%d", len(f.nested)))
			f.nested = append(f.nested, id)
			n := nested(f.supervisor(id, depth+1))
			if f.pick("type", 4) == 0 {
				n.Restart = Transient
			}
			s.Children = append(s.Children, n)
			continue
		}
		s.Children = append(s.Children, f.service(s.AutoShutdown != Never))
	}
	return s
}

func (f *forest) service(mayBeSignificant bool) ChildSpec {
	c := ChildSpec{ID: ChildID(fmt.Sprintf("s%d", len(f.services))), Shutdown: Shutdown{Grace: time.Second}}
	c.Restart = []Restart{Permanent, Permanent, Permanent, Transient, Temporary}[f.pick("type", 4)]
	c.Significant = mayBeSignificant && c.Restart != Permanent && f.pick("significant", 1) == 0
	if f.pick("limited", 2) == 0 {
		c.Intensity = &Intensity{Max: f.pick("own", 3), Period: time.Minute}
		c.OnExhausted = OnExhausted(f.pick("exhausted", 2))
	}
	if f.pick("delayed", 1) == 0 {
		c.Backoff = Backoff{Initial: time.Second, Max: 4 * time.Second, Factor: 2, Jitter: 0.5, ResetAfter: 10 * time.Second}
	}
	for range f.pick("needs", min(3, len(f.services))) {
		on := f.services[f.pick("on", len(f.services)-1)]
		if !slices.ContainsFunc(c.DependsOn, func(d Dependency) bool { return d.On == on }) {
			d := Dependency{On: on, Condition: Condition(f.pick("condition", 2)), Restart: f.pick("restart", 3) > 0}
			if d.Condition == WhenCompleted && !f.finite[on] {
				d.Condition = WhenHealthy
			}
			c.DependsOn = append(c.DependsOn, d)
		}
	}
	f.services = append(f.services, c.ID)
	f.finite[c.ID] = c.Restart != Permanent
	return c
}

// fault does something to the world, and keeps what must hold.
func (f *forest) fault(w *world) {
	w.run(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 300, 1000, 5000}).Draw(f.t, "pause")) * time.Millisecond)
	id := f.services[f.pick("service", len(f.services)-1)]
	l := w.life(id)
	switch f.pick("fault", 14) {
	case 0, 1, 2, 3:
		if l.alive && !l.stuck {
			w.crash(id)
		}
	case 4:
		if l.alive && !l.stuck {
			w.finish(id)
		}
	case 5:
		if l.alive && l.started && !l.stuck && w.m.children[id].phase == up {
			w.health(id, !l.healthy)
		}
	case 6:
		w.failures[id] = f.pick("failures", 3)
	case 7:
		w.startIn[id] = time.Duration(f.pick("start", 3)) * 200 * time.Millisecond
		w.readyIn[id] = time.Duration(f.pick("ready", 3)) * 200 * time.Millisecond
		w.stopIn[id] = time.Duration(f.pick("stop", 3)) * 300 * time.Millisecond
	case 8:
		if l.alive && !l.stuck {
			w.stick(id)
		} else if l.stuck {
			w.exit(id, l.inc, Abnormal)
		}
	case 9, 10, 11:
		only := f.pick("only", 3) == 0
		if len(f.nested) > 0 && f.pick("whole", 4) == 0 {
			id = f.nested[f.pick("nested", len(f.nested)-1)]
		}
		verb := Operation(f.pick("verb", 2))
		w.logf("%s(%s)", []string{"start", "stop", "restart"}[verb], id)
		w.operate(verb, only, id)
	case 12:
		all := append([]ChildID{"root"}, f.nested...)
		verb := OpPause + Operation(f.pick("resume", 1))
		id = all[f.pick("nested", len(all)-1)]
		w.logf("%s(%s)", []string{"pause", "resume"}[verb-OpPause], id)
		w.operate(verb, false, id)
	case 13:
		w.finishes[id] = f.finite[id]
	case 14:
		if len(f.nested) > 0 {
			f.crashSupervisor(w, f.nested[f.pick("nested", len(f.nested)-1)])
		}
	}
	f.checkWindows(w)
}

func (f *forest) crashSupervisor(w *world, id ChildID) {
	if !w.m.children[id].alive() {
		return
	}
	w.m.children[id].services(func(c *child) { w.life(c.id()).alive = w.life(c.id()).stuck })
	w.logf("*%s", id)
	w.send(SupervisorCrashed{ID: id, Detail: "panic"})
}

// checkWindows asserts that no window holds more than its limit without
// consequences.
func (f *forest) checkWindows(w *world) {
	for _, c := range w.m.all() {
		if s := c.nested; s != nil && s.open() && s.window.count(w.now, s.spec.Intensity.Period) > s.spec.Intensity.Max {
			f.t.Errorf("supervisor %s is over its limit and goes on", c.id())
		}
		own := c.spec().Intensity
		if own == nil || c.spec().OnExhausted == Keep || c.window.count(w.now, own.Period) <= own.Max {
			continue
		}
		if c.alive() || c.rest == backingOff || c.rest == pending && c.sup.open() {
			f.t.Errorf("service %s is over its limit and goes on", c.id())
		}
	}
}

// calm ends all faults and lets everything come to rest.
func (f *forest) calm(w *world) {
	clear(w.failures)
	clear(w.finishes)
	for range 2 {
		for _, id := range f.services {
			oneShot := slices.ContainsFunc(w.m.children[id].neededBy, func(l link) bool { return l.Condition == WhenCompleted })
			w.finishes[id] = oneShot
			switch l := w.life(id); {
			case l.stuck:
				w.exit(id, l.inc, Abnormal)
			case l.alive && oneShot:
				w.exit(id, l.inc, Normal)
			case l.alive && w.m.children[id].phase == up:
				w.health(id, true)
			}
		}
		for _, id := range append([]ChildID{"root"}, f.nested...) {
			w.operate(OpResume, false, id)
		}
		w.run(time.Hour)
	}
}

// checkCalm asserts that what is wanted is up, or says why not.
func (f *forest) checkCalm(w *world) {
	for _, c := range w.m.all() {
		v := c.view(w.now)
		switch v.State {
		case StateRunning, StateCompleted, StateFailed:
		case StateStopped:
			dead := c.sup != nil && !c.sup.self.alive()
			if !c.under && !dead && c.rest != dismissed && c.rest != retired {
				f.t.Errorf("%s is stopped, for no reason (%d)", c.id(), c.rest)
			}
		case StateWaiting:
			if !c.stalled && (!c.heldUp() || !c.lead.staysDown()) {
				f.t.Errorf("%s waits for nothing that is down for good: %s", c.id(), c.waitsFor())
			}
		case StateStarting, StateUnhealthy, StateStopping, StateStuck, StateBackoff:
			f.t.Errorf("%s is still %s", c.id(), v.State)
		}
	}
	for call := range w.calls {
		if _, ok := w.replies[call+1]; !ok {
			f.t.Errorf("call %d is not answered", call+1)
		}
	}
	if len(w.m.calls) > 0 || len(w.m.waiting) > 0 || w.m.slots > 0 {
		f.t.Errorf("left over: %d calls, %d in the queue, %d slots", len(w.m.calls), len(w.m.waiting), w.m.slots)
	}
	for _, c := range w.m.all() {
		if c.counted || c.inWay || c.blockers != 0 || c.mustStop {
			f.t.Errorf("%s is calm and counted %v, in the way %v, blocked by %d, to stop %v", c.id(), c.counted, c.inWay, c.blockers, c.mustStop)
		}
	}
}

func (f *forest) grow() (*world, SupervisorSpec, Options) {
	f.t.Helper()
	root := f.supervisor("root", 0)
	for len(f.services) == 0 {
		root.Children = append(root.Children, f.service(false))
	}
	o := Options{BestEffort: f.pick("best effort", 1) == 0, MaxParallelStarts: f.pick("parallel", 2), Seed: uint64(f.pick("seed", 1000))}
	if f.pick("held", 3) == 0 {
		o.Holds = []Hold{{ID: f.services[f.pick("hold", len(f.services)-1)], Only: f.pick("only", 1) == 0}}
	}
	return newWorld(f.t, root, o), root, o
}

// checkEnded asserts that the node has ended and nothing is left; it shows what happened
// where anything failed.
func (f *forest) checkEnded(w *world, root SupervisorSpec) {
	f.t.Helper()
	if w.ended == nil {
		f.t.Errorf("the node has not ended: %s", w.states())
	}
	w.checkAllGone()
	if f.t.Failed() {
		f.t.Logf("%s\n%s", outline(root), w.take())
	}
}
