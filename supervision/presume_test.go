package supervision

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// presume has a new life of the node go on with what runs, of which it knows nothing else.
func (w *world) presume(root SupervisorSpec, o Options) {
	w.t.Helper()
	tree, err := Compile(root)
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[ChildID]Found{}
	o.Incarnations = map[ChildID]uint64{}
	for id, l := range w.lives {
		o.Incarnations[id] = l.inc
		if l.alive {
			found[id] = Found{Incarnation: l.inc, Ready: l.healthy}
			l.started = true
			inc := l.inc
			w.after(time.Second, func() { // its check is made anew
				if l.alive && l.inc == inc && !l.healthy && !l.stuck {
					l.healthy = true
					w.send(ChildReady{ID: id, Incarnation: inc})
				}
			})
		}
	}
	o.LastSeq = w.m.seq
	w.m, w.ended, w.cuts = Presume(tree, o, found, w.now), nil, w.cuts+1
	for id := uint64(1); id <= w.calls; id++ {
		if _, answered := w.replies[id]; !answered {
			w.replies[id] = errCut
		}
	}
	w.adopted, w.booted = map[ChildID]bool{}, nil
	w.send(Resume{Changed: true, Cause: w.note(NodeAdopted)})
	for id := range found {
		if !w.adopted[id] {
			w.t.Errorf("%s is not adopted; %s", id, w.states())
		}
	}
}

func TestWhatIsFoundRunningGoesOnAndTheRestStarts(t *testing.T) {
	spec := graphOf(onto("a"), onto("b", "a"), onto("c", "b"))
	w := booted(t, spec)
	w.life("b").alive, w.life("c").alive = false, false // while nobody looked
	w.presume(spec, Options{})
	w.run(time.Minute)
	w.want("+b +c")
	w.wantStates("")
	if w.booted == nil || len(w.booted.Failed) > 0 {
		t.Errorf("the node says %v, want that it has come up", w.booted)
	}
}

// Whatever is found running, everything wanted comes up and everything stops in the end.
func TestWhatIsFoundRunningComesToTheSameEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &forest{t: t, finite: map[ChildID]bool{}}
		w, root, o := f.grow()
		w.send(Boot{})
		for range f.pick("faults", 20) {
			f.fault(w)
		}
		alive := false
		for _, l := range w.lives {
			alive = alive || l.alive
		}
		if !alive || w.ended != nil {
			return
		}
		w.presume(root, o)
		f.calm(w)
		if w.ended == nil {
			f.checkCalm(w)
			w.send(ShutDown{})
			w.run(time.Hour)
		}
		f.checkEnded(w, root)
	})
}
