package supervision

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// reload takes w over onto another tree, as a new life of the node does, with a rollout.
func (w *world) reload(root SupervisorSpec, r Rollout) {
	w.t.Helper()
	tree, err := Compile(root)
	if err != nil {
		w.t.Fatal(err)
	}
	named := func(id ChildID) bool {
		return slices.ContainsFunc(r.Waves, func(wave []ChildID) bool { return slices.Contains(wave, id) })
	}
	mem, _ := w.m.Memory()
	o := Options{Incarnations: map[ChildID]uint64{}}
	for id, l := range w.lives {
		o.Incarnations[id] = l.inc
	}
	w.m = Restore(tree, o, reread(w.t, mem).Onto(named, named))
	w.adopted, w.notices, w.queue = map[ChildID]bool{}, nil, nil
	w.send(Resume{Changed: true, Rollout: &r, Cause: w.note(NodeReloading)})
	w.run(0)
}

// ofReload are the notices of a reload's end, and the error it was given up with.
func (w *world) ofReload() string {
	var texts []string
	for _, n := range w.notices {
		if n.Type == NodeReloaded || n.Type == NodeReloadFailed {
			texts = append(texts, n.Type+": "+n.Message)
		}
	}
	return strings.Join(texts, "\n")
}

func (w *world) wantReload(want string) {
	w.t.Helper()
	if got := w.ofReload(); got != want {
		w.t.Errorf("got %q\nwant %q", got, want)
	}
}

const reloadedText = NodeReloaded + ": all that changed is in force"

func graphOf(children ...ChildSpec) SupervisorSpec {
	return SupervisorSpec{ID: "root", Order: Graph, Strategy: RestForOne, Intensity: Intensity{Max: 5, Period: time.Minute}, Children: children}
}

func onto(id ChildID, needs ...ChildID) ChildSpec {
	c := ChildSpec{ID: id}
	for _, n := range needs {
		c.DependsOn = append(c.DependsOn, Dependency{On: n, Restart: true})
	}
	return c
}

func TestARolloutGoesOnWhenAWaveIsHealthy(t *testing.T) {
	spec := graphOf(onto("a"), onto("b", "a"), onto("x"), onto("y", "x"), onto("still"))
	w := booted(t, spec)
	w.readyIn["a"], w.readyIn["b"] = 5*time.Second, 5*time.Second
	w.reload(spec, Rollout{Waves: [][]ChildID{{"a"}, {"b", "y"}}})
	w.want("-b -a +a")
	w.run(9 * time.Second)
	w.want("+b") // which has been started with a already
	w.wantReload("")
	w.run(2 * time.Second)
	w.want("-y +y")
	w.wantReload(reloadedText)
	w.wantStates("")
	if v, _ := w.m.ViewOf(w.now, "b"); v.Incarnation != 2 || v.Restarts != 0 {
		t.Errorf("got %+v, want the second life, and nothing counted", v)
	}
}

func TestARolloutIsGivenUpAtTheFirstLifeThatDoesNotBecomeHealthy(t *testing.T) {
	spec := graphOf(onto("a"), onto("b"), onto("new", "b"))
	w := booted(t, graphOf(onto("a"), onto("b")))
	w.failures["a"] = -1
	w.reload(spec, Rollout{Waves: [][]ChildID{{"a"}, {"b"}, {"new"}}})
	w.run(time.Hour)
	w.want("-a +a !a")
	w.wantReload(NodeReloadFailed + ": a did not become healthy: cannot start")
	if v, _ := w.m.ViewOf(w.now, "b"); v.Incarnation != 1 {
		t.Errorf("b is life %d", v.Incarnation)
	}
	// What ran before comes back.
	w.failures["a"] = 0
	w.reload(graphOf(onto("a"), onto("b")), Rollout{Waves: [][]ChildID{{"a"}}, Final: true, Why: "since"})
	w.want("+a")
	w.wantReload(NodeReloaded + ": what ran before is in force again: since")
	w.wantStates("")
}

// Not even one whose end would end the node may do harm while what ran before can come back.
func TestARolloutSparesTheNodeFromWhatItStarts(t *testing.T) {
	a := onto("a")
	a.OnExhausted, a.Intensity = Escalate, &Intensity{Max: 0, Period: time.Minute}
	w := booted(t, graphOf(a, onto("b")))
	w.failures["a"] = -1
	w.reload(graphOf(a, onto("b")), Rollout{Waves: [][]ChildID{{"a"}}})
	w.run(time.Hour)
	if w.ended != nil || !w.alive("b") {
		t.Errorf("the node has ended: %+v", w.ended)
	}
}

func TestARolloutFails(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*world)
		r      Rollout
		during func(*world)
		want   string
	}{
		"by one that ends again": {
			r: Rollout{Waves: [][]ChildID{{"a"}, {"c"}}}, during: func(w *world) { w.crash("a") },
			before: func(w *world) { w.readyIn["c"] = time.Minute }, want: "a ended again: exit",
		},
		"by one that is restarted with another and does not come back": {
			before: func(w *world) { w.failures["b"] = 1 }, r: Rollout{Waves: [][]ChildID{{"a"}}},
			want: "b did not become healthy: cannot start",
		},
		"by a check that is not passed": {
			r: Rollout{Check: []ChildID{"a"}}, during: func(w *world) { w.health("a", false) },
			want: "a is not healthy as it is checked now: ",
		},
		"by one that does not die": {
			before: func(w *world) { w.deaf["a"] = true }, r: Rollout{Waves: [][]ChildID{{"a"}}},
			during: func(w *world) { w.stick("a") }, want: "a is stuck: ",
		},
		"at an operator's wish": {
			before: func(w *world) { w.readyIn["a"] = time.Hour }, r: Rollout{Waves: [][]ChildID{{"a"}}},
			during: func(w *world) { w.send(Abandon{Why: "was called off"}) }, want: "the reload was called off",
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := graphOf(onto("a"), onto("b", "a"), onto("c"))
			w := booted(t, spec)
			if c.before != nil {
				c.before(w)
			}
			w.reload(spec, c.r)
			w.run(time.Second)
			if c.during != nil {
				c.during(w)
				w.run(time.Second)
			}
			if got := w.ofReload(); !strings.HasPrefix(got, NodeReloadFailed+": "+c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestARolloutDoesNotWaitFor(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*world)
		r      Rollout
	}{
		"what is under a hold":                     {func(w *world) { w.stop("a") }, Rollout{Waves: [][]ChildID{{"a", "c"}}}},
		"what completes":                           {func(w *world) { w.finishes["once"] = true }, Rollout{Waves: [][]ChildID{{"once"}}}},
		"what was down before for want of another": {func(w *world) { w.failures["a"] = -1; w.crash("a"); w.run(time.Hour) }, Rollout{Waves: [][]ChildID{{"b"}}}},
		"nothing": {nil, Rollout{}},
		"a verdict about one that has been restarted": {nil, Rollout{Waves: [][]ChildID{{"a"}}, Check: []ChildID{"c"}}},
	} {
		t.Run(name, func(t *testing.T) {
			a, once := onto("a"), onto("once")
			a.Intensity = &Intensity{Max: 2, Period: time.Hour}
			once.Restart = Transient
			spec := graphOf(a, onto("b", "a"), onto("c"), once)
			w := booted(t, spec)
			if c.before != nil {
				c.before(w)
			}
			w.reload(spec, c.r)
			w.run(time.Second)
			for _, id := range c.r.Check {
				w.health(id, true)
			}
			w.wantReload(reloadedText)
		})
	}
}

// A reload ends what a policy would have left as it is.
func TestARolloutRevives(t *testing.T) {
	once, temporary := onto("once"), onto("temporary")
	once.Restart, temporary.Restart = Transient, Temporary
	spec := graphOf(once, temporary)
	w := booted(t, spec)
	w.finish("once")
	w.crash("temporary")
	w.take()
	w.reload(spec, Rollout{Waves: [][]ChildID{{"once", "temporary"}}})
	w.want("+once +temporary")
	w.wantReload(reloadedText)
}

// What leaves the tree stops before, in order, and is not restarted.
func TestWhatLeavesTheTreeIsParked(t *testing.T) {
	spec := graphOf(onto("a"), onto("b", "a"), onto("c", "a"))
	w := booted(t, spec)
	call := w.operate(OpPark, false, "a", "b")
	w.run(time.Hour)
	w.want("-b -a")
	if err, answered := w.replies[call]; !answered || err != nil || len(w.holds) > 0 || !w.alive("c") {
		t.Errorf("answered %v: %v; holds %v", answered, err, w.holds)
	}
	w.reload(graphOf(onto("c")), Rollout{})
	w.wantReload(reloadedText)
	w.reload(spec, Rollout{Final: true, Why: "since"})
	w.want("+a +b")
}

// An end that was recorded in a pause is dealt with when that is over, whatever tree there
// is by then.
func TestWhatEndedInAPauseIsNotForgotten(t *testing.T) {
	nested := func(id ChildID) SupervisorSpec {
		below := graphOf(onto("a"), onto("b"))
		below.ID = id
		return graphOf(ChildSpec{ID: id, Supervisor: &below}, onto("c"))
	}
	w := booted(t, nested("s"))
	w.operate(OpPause, false, "s")
	w.crash("a")
	w.reload(nested("s"), Rollout{})
	w.want("*a")
	w.operate(OpResume, false, "s")
	w.run(time.Second)
	w.want("+a")
	w.operate(OpPause, false, "s")
	w.crash("b")
	w.reload(nested("t"), Rollout{})
	w.want("*b +b")
	w.wantStates("")
}

// Nobody starts before those are gone that were on their way down when another tree came.
func TestAnotherTreeWaitsForWhatGoesDown(t *testing.T) {
	spec := graphOf(onto("a"), onto("b", "a"), onto("c", "b"))
	w := booted(t, spec)
	w.stopIn["c"] = 5 * time.Second
	w.crash("a")
	w.want("*a -c")
	w.reload(spec, Rollout{})
	w.run(4 * time.Second)
	w.want("-c")
	w.run(2 * time.Second)
	w.want("-b +a +b +c")
	w.wantStates("")
}

// Cut off in the middle, a rollout goes on in the next life.
func TestARolloutGoesOnInTheNextLife(t *testing.T) {
	spec := graphOf(onto("a"), onto("b"))
	w := booted(t, spec)
	w.readyIn["a"] = 5 * time.Second
	w.reload(spec, Rollout{Waves: [][]ChildID{{"a"}, {"b"}}})
	w.want("-a +a")
	w.send(Resume{})
	w.run(10 * time.Second)
	w.want("-b +b")
	w.wantReload(reloadedText)
}

// What another tree does not know of a sequence amid its starts it must keep all the same:
// one after the other.
func TestAReloadAmidASequenceGoesOnInSequence(t *testing.T) {
	root := under("root", OneForAll, Sequence, service("a"), service("b"), service("c"))
	w := booted(t, root)
	w.readyIn["a"], w.readyIn["b"] = time.Second, time.Second
	w.crash("a")
	w.run(500 * time.Millisecond)
	w.want("*a -c -b +a")
	w.reload(root, Rollout{})
	w.want("")
	w.life("a").alive = true
	w.send(ChildReady{ID: "a", Incarnation: w.life("a").inc})
	w.run(500 * time.Millisecond)
	w.want("+b")
	w.run(time.Second)
	w.want("+c")
	w.wantStates("")
}
