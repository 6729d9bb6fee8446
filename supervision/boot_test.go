package supervision

import (
	"slices"
	"testing"
	"time"
)

// bootStory is a tree that starts, and what comes of it.
type bootStory struct {
	name   string
	tree   SupervisorSpec
	opt    Options
	set    func(w *world)
	want   string
	states string
	ended  *Ended    // nil: the node is up
	failed []ChildID // with which services missing
}

func (s bootStory) run(t *testing.T) {
	w := newWorld(t, s.tree, s.opt)
	if s.set != nil {
		s.set(w)
	}
	w.boot()
	w.run(10 * time.Minute)
	w.want(s.want)
	w.wantStates(s.states)
	switch {
	case s.ended == nil && (w.booted == nil || !slices.Equal(w.booted.Failed, s.failed)):
		t.Errorf("booted %+v, want failed %v", w.booted, s.failed)
	case s.ended != nil && (w.ended == nil || *w.ended != *s.ended):
		t.Errorf("ended %+v, want %+v", w.ended, s.ended)
	case s.ended != nil && w.booted != nil:
		t.Error("it says that it booted")
	}
}

func failing(ids ...ChildID) func(*world) {
	return func(w *world) {
		for _, id := range ids {
			w.failures[id] = -1
		}
	}
}

func hopeless(id ChildID) func(*world) {
	return func(w *world) { w.failures[id], w.hopeless[id] = -1, true }
}

func bootFailed(id ChildID, detail string) *Ended {
	return &Ended{Why: EndBootFailed, ID: id, Detail: detail}
}

func TestBootInGraph(t *testing.T) {
	a, b := service("a"), service("b", "a")
	stories := []bootStory{
		{
			name: "a failed start is retried by the service's own policy", tree: under("root", RestForOne, Graph, limited(3, delayed(time.Second, a)), b),
			set: func(w *world) { w.failures["a"] = 3 }, want: "+a !a +a !a +a !a +a +b",
		},
		{
			name: "the boot fails when that is exhausted", tree: under("root", RestForOne, Graph, a, limited(1, b)), set: failing("b"),
			want: "+a +b !b +b !b -a", states: "root:stopped a:stopped b:failed",
			ended: bootFailed("b", "cannot start; it was restarted 1 time within 1h already"),
		},
		{
			name: "or the type is temporary", tree: under("root", RestForOne, Graph, a, typed(Temporary, b)), set: failing("b"),
			want: "+a +b !b -a", states: "root:stopped a:stopped b:failed", ended: bootFailed("b", "cannot start"),
		},
		{
			name: "or trying again cannot help", tree: under("root", RestForOne, Graph, a, b), set: hopeless("b"),
			want: "+a +b !b -a", states: "root:stopped a:stopped b:failed", ended: bootFailed("b", "cannot start"),
		},
		{
			name: "in a nested supervisor too", tree: under("root", OneForOne, Graph, nested(under("n", OneForOne, Graph, a)), service("c"), b), set: hopeless("b"),
			want: "+c +a +b !b -c -a", states: "root:stopped n:stopped a:stopped c:stopped b:failed", ended: bootFailed("b", "cannot start"),
		},
		{
			name: "or the limit of the root is", tree: intense(under("root", OneForOne, Graph, a), 1), set: failing("a"),
			want: "+a !a +a !a", states: "root:stopped a:stopped",
			ended: &Ended{Why: EndIntensity, ID: "a", Detail: "more than 1 restart within 1m; the last straw was a"},
		},
		{
			name: "or a supervisor that is not restarted gives up while it starts",
			tree: under("root", OneForOne, Graph, typed(Transient, nested(intense(under("n", OneForOne, Graph, a), 0))), service("c")), set: failing("a"),
			want: "+c +a !a -c", states: "root:stopped n:failed a:stopped c:stopped", ended: bootFailed("n", ""),
		},
		{
			name: "a transient child that ends well before it was healthy has completed, it has not failed",
			tree: under("root", OneForOne, Graph, typed(Transient, a), service("c")),
			set:  func(w *world) { w.readyIn["a"] = time.Hour; w.after(time.Second, func() { w.finish("a") }) },
			want: "+a +c ~a", states: "a:completed",
		},
		{
			name: "best_effort leaves the rest running", tree: under("root", RestForOne, Graph, service("c"), limited(1, a), b, service("d", "b")),
			opt: Options{BestEffort: true}, set: failing("a"),
			want: "+c +a !a +a !a", states: "a:failed b:waiting d:waiting", failed: []ChildID{"a", "b", "d"},
		},
		{
			name: "best_effort and hopeless", tree: under("root", RestForOne, Graph, service("c"), a, b), opt: Options{BestEffort: true}, set: hopeless("a"),
			want: "+c +a !a", states: "a:failed b:waiting", failed: []ChildID{"a", "b"},
		},
		{
			name: "best_effort and one_for_all: the others wait", tree: under("root", OneForAll, Graph, a, service("c")), opt: Options{BestEffort: true}, set: hopeless("a"),
			want: "+a +c !a -c", states: "a:failed c:waiting", failed: []ChildID{"a", "c"},
		},
		{
			name: "best_effort and a nested supervisor that gives up", opt: Options{BestEffort: true}, set: failing("a"),
			tree: under("root", OneForOne, Graph, typed(Temporary, nested(intense(under("n", OneForOne, Graph, a), 0))), service("c"), b),
			want: "+c +a !a", states: "n:failed a:stopped b:waiting", failed: []ChildID{"a", "b"},
		},
		{
			name: "a child under a hold is not wanted", tree: under("root", RestForOne, Graph, a, b, service("c")), opt: Options{Holds: []Hold{{ID: "a"}}},
			want: "+c", states: "a:stopped b:stopped",
		},
		{
			name: "nothing to start", tree: under("root", RestForOne, Graph),
		},
		{
			name: "each supervisor is up when its children are", tree: under("root", OneForOne, Graph, nested(under("n", OneForOne, Graph, nested(under("o", OneForOne, Graph, a)), service("c", "a")))),
			want: "+a +c",
		},
	}
	for _, s := range stories {
		t.Run(s.name, s.run)
	}
}

func TestBootInSequence(t *testing.T) {
	a, b, c := service("a"), service("b"), service("c")
	n := func(children ...ChildSpec) ChildSpec { return nested(under("n", OneForOne, Sequence, children...)) }
	stories := []bootStory{
		{
			name: "one after the other", tree: under("root", OneForOne, Sequence, a, b, c),
			set: func(w *world) { w.readyIn["a"] = time.Second }, want: "+a +b +c",
		},
		{
			name: "the first failed start fails the boot: no retry", tree: under("root", OneForOne, Sequence, a, b, c), set: failing("c"),
			want: "+a +b +c !c -b -a", states: "root:stopped a:stopped b:stopped c:stopped", ended: bootFailed("c", "cannot start"),
		},
		{
			name: "of whatever type", tree: under("root", OneForOne, Sequence, a, typed(Temporary, b), c), set: failing("b"),
			want: "+a +b !b -a", states: "root:stopped a:stopped b:stopped c:stopped", ended: bootFailed("b", "cannot start"),
		},
		{
			name: "nested, each level rolls back in turn", tree: under("root", OneForOne, Sequence, a, n(b, c)), set: failing("c"),
			want: "+a +b +c !c -b -a", states: "root:stopped a:stopped n:stopped b:stopped c:stopped", ended: bootFailed("n", "c could not be started: cannot start"),
		},
		{
			name: "a parent in graph order counts the attempt and tries again", tree: under("root", OneForOne, Graph, n(b, c)),
			set: func(w *world) { w.failures["c"] = 1 }, want: "+b +c !c -b +b +c",
		},
		{
			name: "best_effort: the rest runs", tree: under("root", OneForOne, Sequence, a, b, service("d", "b"), c), opt: Options{BestEffort: true}, set: failing("b"),
			want: "+a +b !b +c", states: "b:failed d:waiting", failed: []ChildID{"b", "d"},
		},
		{
			name: "best_effort, nested", tree: under("root", RestForOne, Sequence, a, n(b, service("d", "b")), typed(Temporary, c)), opt: Options{BestEffort: true}, set: failing("b", "c"),
			want: "+a +b !b +c !c", states: "b:failed d:waiting c:failed", failed: []ChildID{"b", "d", "c"},
		},
		{
			name: "a child that ends after its start waits for the start of its supervisor", tree: under("root", OneForOne, Sequence, a, b),
			set:  func(w *world) { w.readyIn["b"] = 2 * time.Second; w.after(time.Second, func() { w.crash("a") }) },
			want: "+a +b *a +a",
		},
		{
			name: "a one-shot that the next child needs as completed", tree: under("root", OneForOne, Sequence, typed(Transient, a), through(WhenCompleted, false, service("b", "a")), c),
			set:  func(w *world) { w.after(time.Second, func() { w.finish("a") }) },
			want: "+a ~a +b +c", states: "a:completed",
		},
		{
			name: "a one-shot that is quick", tree: under("root", OneForOne, Sequence, typed(Transient, a), through(WhenCompleted, false, service("b", "a")), c),
			set: func(w *world) { w.finishes["a"] = true }, want: "+a +b +c", states: "a:completed",
		},
		{
			name: "a dependency in an earlier nested supervisor", tree: under("root", OneForOne, Sequence, n(a, b), service("d", "b"), c), want: "+a +b +d +c",
		},
		{
			name: "a child under a hold is passed over", tree: under("root", OneForOne, Sequence, a, service("b", "a"), c), opt: Options{Holds: []Hold{{ID: "a"}}},
			want: "+c", states: "a:stopped b:stopped",
		},
		{
			name: "what waits for a child under a hold of its own lets the others start", tree: under("root", OneForOne, Sequence, a, service("b", "a"), c),
			opt: Options{Holds: []Hold{{ID: "a", Only: true}}}, want: "+c", states: "a:stopped b:waiting", failed: []ChildID{"b"},
		},
	}
	for _, s := range stories {
		t.Run(s.name, s.run)
	}
}

func TestParentThatRestartsASupervisorCountsItsFailedStart(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, intense(under("root", OneForOne, order,
			nested(intense(under("n", OneForOne, Sequence, service("a"), service("b")), 0))), 3))
		w.failures["b"] = 2
		w.crash("a") // n gives up
		w.run(0)
		w.want("*a -b +a +b !b -a +a +b !b -a +a +b")
		if got := w.view("root").InWindow; got != 3 {
			t.Errorf("%s: %d restarts of n were counted, want 3", order, got)
		}
		w.wantStates("")
	}
}

func TestBootFailsOnlyOnce(t *testing.T) {
	w := newWorld(t, under("root", OneForOne, Graph, service("a"), service("b")), Options{})
	w.failures["a"], w.failures["b"] = -1, -1
	w.hopeless["a"], w.hopeless["b"] = true, true
	w.boot()
	if w.ended == nil || w.ended.ID != "a" {
		t.Errorf("ended %+v", w.ended)
	}
	w.send(Boot{})
	w.send(ShutDown{})
	w.run(time.Hour)
	w.want("+a +b !a -b !b")
}

func TestServiceThatWasUpOnceHasNotFailedToBoot(t *testing.T) {
	w := newWorld(t, under("root", OneForOne, Graph, delayed(time.Hour, service("a")), service("b")), Options{})
	w.readyIn["b"] = 2 * time.Second
	w.after(time.Second, func() { w.crash("a") })
	w.boot()
	w.wantStates("a:backoff")
	if w.booted == nil || len(w.booted.Failed) > 0 {
		t.Errorf("booted %+v", w.booted)
	}
}

func TestMaxParallelStarts(t *testing.T) {
	tree := under("root", OneForOne, Graph, service("a"), service("b"), service("c"), service("d"), service("e"))
	w := newWorld(t, tree, Options{MaxParallelStarts: 2})
	for _, id := range []ChildID{"a", "b", "c", "d", "e"} {
		w.readyIn[id] = 2 * time.Second
	}
	w.readyIn["a"] = 5 * time.Second
	w.boot()
	w.want("+a +b +c +d +e")
	w.crash("a", "b", "c")
	w.stop("c") // it waits for its turn, and loses it
	w.run(time.Second)
	w.want("*a +a *b +b *c")
	w.crash("a")
	w.run(0)
	w.want("*a +a")
	w.startUp("c")
	w.run(time.Second)
	w.want("+c")
	w.run(time.Minute)
	w.wantStates("")
}

func TestMaxParallelStartsInSequenceAndAfterFailures(t *testing.T) {
	n := nested(under("n", OneForOne, Sequence, service("b"), service("c")))
	w := newWorld(t, under("root", OneForOne, Graph, service("a"), n, delayed(time.Second, service("d"))), Options{MaxParallelStarts: 1})
	w.readyIn["a"] = time.Second
	w.failures["d"] = 1
	w.boot()
	w.want("+a +d !d +b +c +d")
	w.wantStates("")
}
