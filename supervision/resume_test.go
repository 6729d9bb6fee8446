package supervision

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var errCut = errors.New("the node was cut off")

// cut ends the life of the node between two steps, and begins another one that knows
// its events: every life goes on, what waits for a clock or was ordered too.
func (w *world) cut(root SupervisorSpec, o Options) {
	w.t.Helper()
	tree, err := Compile(root)
	if err != nil {
		w.t.Fatal(err)
	}
	w.cuts++
	w.m = New(tree, o)
	for _, e := range w.events {
		w.m.Step(e.at, e.ev)
	}
	for id := uint64(1); id <= w.calls; id++ {
		if _, answered := w.replies[id]; !answered {
			w.replies[id] = errCut
		}
	}
	w.adopted = map[ChildID]bool{}
	w.send(Resume{})
	for id, l := range w.lives {
		if l.alive != w.adopted[id] && w.ended == nil {
			w.t.Errorf("%s is alive: %v, adopted: %v; %s", id, l.alive, w.adopted[id], w.states())
		}
	}
}

func (w *world) adopt(c AdoptChild) {
	l := w.life(c.ID)
	if !l.alive || l.inc != c.Incarnation {
		w.t.Errorf("%s/%d is adopted, %d lives: %v", c.ID, c.Incarnation, l.inc, l.alive)
	}
	if c.Started != l.started && !c.Ready {
		w.t.Errorf("%s is adopted as started: %v, it is: %v", c.ID, c.Started, l.started)
	}
	w.adopted[c.ID] = true
	if c.Started {
		w.send(ChildAdopted{ID: c.ID, Incarnation: c.Incarnation, Pid: 1})
	}
}

// A node that is cut off again and again comes to the same end as one that is not:
// everything wanted comes up, everything stops, and no life is ever started twice.
func TestANodeThatIsCutOffGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &forest{t: t, finite: map[ChildID]bool{}}
		w, root, o := f.grow()
		w.send(Boot{})
		for range f.pick("faults", 40) {
			f.fault(w)
			if f.pick("cut", 3) == 0 {
				w.cut(root, o)
			}
		}
		f.calm(w)
		if w.ended == nil {
			f.checkCalm(w)
			w.send(ShutDown{})
			w.cut(root, o)
			w.run(time.Hour)
		}
		f.checkEnded(w, root)
	})
}

func TestABackOffRunsOnInTheNextLife(t *testing.T) {
	root := SupervisorSpec{
		ID: "root", Order: Graph, Intensity: Intensity{Max: 5, Period: time.Minute},
		Children: []ChildSpec{{ID: "db", Backoff: Backoff{Initial: 10 * time.Second}}},
	}
	w := booted(t, root)
	w.crash("db")
	w.run(4 * time.Second)
	w.take()
	w.cut(root, Options{})
	last := w.commands[len(w.commands)-1]
	for _, c := range w.commands {
		if wake, ok := c.(Wake); ok {
			last = wake
		}
	}
	if got, want := last, (Wake{ID: "db", Token: 1, After: 6 * time.Second}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	w.run(5 * time.Second)
	w.want("")
	w.run(2 * time.Second)
	w.want("+db")
	if v, _ := w.m.ViewOf(w.now, "db"); v.Restarts != 1 || v.Incarnation != 2 {
		t.Errorf("got %+v, want the second life after one restart", v)
	}
}

// On another tree what is unchanged runs on, what is new starts, what changed starts anew.
func TestAnotherTreeIsTakenOver(t *testing.T) {
	spec := func(children ...ChildSpec) SupervisorSpec {
		return SupervisorSpec{ID: "root", Order: Graph, Strategy: RestForOne, Intensity: Intensity{Max: 5, Period: time.Minute}, Children: children}
	}
	needs := func(id, on ChildID) ChildSpec {
		return ChildSpec{ID: id, DependsOn: []Dependency{{On: on, Restart: true}}}
	}
	w := booted(t, spec(ChildSpec{ID: "same"}, ChildSpec{ID: "changed"}, ChildSpec{ID: "gone"}, needs("above", "same"), needs("on", "changed")))
	mem, _ := w.m.Memory()
	root := spec(ChildSpec{ID: "same"}, ChildSpec{ID: "changed"}, needs("added", "same"), needs("above", "same"), needs("on", "changed"))
	tree, err := Compile(root)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(id ChildID) bool { return id == "changed" }
	w.m = Restore(tree, Options{}, reread(t, mem).Onto(changed, changed))
	w.lives["gone"].alive = false // it was ended before
	w.adopted = map[ChildID]bool{}
	w.send(Resume{Changed: true, Rollout: &Rollout{Waves: [][]ChildID{{"changed"}}}})
	w.run(time.Minute)
	w.want("+added -on -changed +changed +on")
	w.wantStates("")
	if v, _ := w.m.ViewOf(w.now, "changed"); v.Incarnation != 2 {
		t.Errorf("it is life %d", v.Incarnation)
	}
}
