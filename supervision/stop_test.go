package supervision

import (
	"slices"
	"testing"
	"time"
)

func TestStopOrder(t *testing.T) {
	a, b, c, d := service("a"), service("b", "a"), service("c", "a"), service("d", "c")
	tests := []struct {
		name string
		tree SupervisorSpec
		slow map[ChildID]time.Duration
		at   map[int]string // what is ordered to stop, by seconds after the order
	}{
		{
			"graph: as soon as no dependent is alive, independent ones in parallel", under("root", OneForOne, Graph, a, b, c, d),
			map[ChildID]time.Duration{"b": 2 * time.Second, "d": time.Second},
			map[int]string{0: "-d -b", 1: "-c", 2: "-a"},
		},
		{
			"sequence: from the end of the list, each waited for", under("root", OneForOne, Sequence, a, b, c, d),
			map[ChildID]time.Duration{"b": 2 * time.Second, "d": time.Second},
			map[int]string{0: "-d", 1: "-c -b", 3: "-a"},
		},
		{
			"a nested supervisor stops in its turn, whole", under("root", OneForOne, Sequence, a, nested(under("n", OneForOne, Sequence, b, c)), d),
			map[ChildID]time.Duration{"c": time.Second, "b": time.Second, "d": time.Second},
			map[int]string{0: "-d", 1: "-c", 2: "-b", 3: "-a"},
		},
		{
			"edges count across supervisors", under("root", OneForOne, Graph, nested(under("m", OneForOne, Graph, a, service("x"))), nested(under("n", OneForOne, Graph, c))),
			map[ChildID]time.Duration{"c": time.Second},
			map[int]string{0: "-c -x", 1: "-a"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := booted(t, tt.tree)
			w.stopIn = tt.slow
			w.send(ShutDown{})
			for s := range 5 {
				w.run(0)
				w.want(tt.at[s])
				w.run(time.Second)
			}
			if w.ended == nil || w.ended.Why != EndOrdered {
				t.Errorf("ended %+v", w.ended)
			}
		})
	}
}

func TestStopCarriesTheRuleOfTheChild(t *testing.T) {
	a, b := service("a"), service("b")
	b.Shutdown = Shutdown{Mode: BrutalKill}
	w := booted(t, under("root", OneForOne, Graph, a, b))
	w.stop("a")
	w.send(ShutDown{})
	want := []StopChild{
		{ID: "a", Incarnation: 1, Shutdown: Shutdown{Grace: time.Second}, Reason: ReasonHeld},
		{ID: "b", Incarnation: 1, Shutdown: Shutdown{Mode: BrutalKill}, Reason: ReasonStrategy},
	}
	var got []StopChild
	for _, c := range w.commands {
		if c, ok := c.(StopChild); ok {
			got = append(got, c)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNodeStopsWithoutWhatIsStuck(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", OneForOne, order, service("a"), nested(under("n", OneForOne, order, service("b", "a")))))
		w.deaf["b"] = true
		call := w.stop("b")
		w.send(ShutDown{})
		w.run(time.Minute)
		w.want("-b")
		w.stick("b")
		w.run(0)
		w.want("#b -a")
		w.wantReply(call, "b is stuck: in the kernel")
		if w.ended == nil {
			t.Error("the node has not ended")
		}
		w.wantStates("root:stopped a:stopped n:stopped b:stuck")
	}
}

func TestStuckServiceIsNeverStartedOver(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", RestForOne, order, service("a"), service("b", "a")))
		w.stick("a") // by itself: its main process died, another does not
		w.run(time.Minute)
		w.want("#a")
		call := w.restart("a")
		w.run(0)
		w.wantReply(call, "a is stuck: in the kernel")
		w.stick("a") // said again
		w.want("-b #a")
		w.wantStates("a:stuck b:waiting")
		w.exit("a", 1, Abnormal)
		w.run(0)
		w.want("+a +b")
	}
}

func TestStuckServiceThatNobodyOrderedToStop(t *testing.T) {
	w := booted(t, pair(service("a"), service("b", "a")))
	w.stick("a")
	w.crash("b")
	w.run(time.Minute)
	w.want("#a *b")
	w.wantStates("a:stuck b:waiting")
	w.exit("a", 1, Abnormal)
	w.run(0)
	w.want("+a +b")
	if got := w.view("root").InWindow; got != 2 {
		t.Errorf("%d restarts were counted, want 2", got)
	}
}

func TestStuckWhileStarting(t *testing.T) {
	w := newWorld(t, under("root", OneForOne, Sequence, service("a"), service("b", "a"), service("c")), Options{MaxParallelStarts: 1})
	w.readyIn["a"] = time.Hour
	w.boot()
	w.stick("a")
	w.run(time.Minute)
	w.want("+a #a +c")
	w.wantStates("a:stuck b:waiting")
	if w.booted == nil || !slices.Equal(w.booted.Failed, []ChildID{"a", "b"}) {
		t.Errorf("booted %+v", w.booted)
	}
	w.readyIn["a"] = 0
	w.exit("a", 1, Abnormal)
	w.run(time.Minute)
	w.want("+a +b")
}

func TestSupervisorThatRestartsLeavesItsStuckChildUntilItIsGone(t *testing.T) {
	w := booted(t, under("root", OneForAll, Graph, service("a"), nested(under("n", OneForOne, Graph, service("b"), service("c")))))
	w.deaf["b"] = true
	w.crash("a")
	w.run(time.Minute)
	w.stick("b")
	w.run(0)
	w.want("*a -c -b #b +a +c")
	w.wantStates("b:stuck")
	w.exit("b", 1, ShutdownExit)
	w.run(0)
	w.want("+b")
}

func TestKillAllKillsWhatIsAliveAndEndsTheNode(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", OneForOne, order, service("a"), service("b", "a"), nested(under("n", OneForOne, order, service("c", "b")))))
		w.deaf["a"], w.deaf["b"], w.deaf["c"] = true, true, true
		w.send(ShutDown{})
		w.run(time.Minute)
		w.want("-c")
		w.killing = true
		w.send(KillAll{})
		w.run(0)
		if w.ended == nil || w.ended.Why != EndOrdered {
			t.Errorf("ended %+v", w.ended)
		}
		killed := 0
		for _, c := range w.commands {
			if _, ok := c.(KillChild); ok {
				killed++
			}
		}
		if killed != 3 {
			t.Errorf("%d were killed, want 3", killed)
		}
	}
}

func TestShutDownAtEveryMoment(t *testing.T) {
	tree := func(order Order) SupervisorSpec {
		return under("root", RestForOne, order, delayed(2*time.Second, service("a")),
			nested(under("n", OneForAll, order, service("b", "a"), limited(1, service("c", "b")))), service("d", "c"))
	}
	for _, order := range []Order{Graph, Sequence} {
		for moment := range 40 {
			w := newWorld(t, tree(order), Options{MaxParallelStarts: 1 + moment%2})
			for _, id := range []ChildID{"a", "b", "c", "d"} {
				w.startIn[id], w.readyIn[id], w.stopIn[id] = 300*time.Millisecond, 400*time.Millisecond, 500*time.Millisecond
			}
			w.after(4*time.Second, func() {
				if w.alive("a") {
					w.crash("a")
				}
			})
			w.after(5*time.Second, func() { w.stop("b") })
			w.after(time.Duration(moment)*250*time.Millisecond, func() { w.send(ShutDown{}) })
			w.boot()
			w.run(time.Hour)
			if w.ended == nil || w.ended.Why != EndOrdered {
				t.Errorf("%s, moment %d: ended %+v; %s", order, moment, w.ended, w.states())
			}
			for call := range w.calls {
				if _, answered := w.replies[call+1]; !answered {
					t.Errorf("%s, moment %d: call %d was not answered", order, moment, call+1)
				}
			}
		}
	}
}

func TestShutDownBeforeBoot(t *testing.T) {
	w := newWorld(t, nine(), Options{})
	w.send(ShutDown{})
	if w.ended == nil || w.ended.Why != EndOrdered {
		t.Errorf("ended %+v", w.ended)
	}
	w.ended = nil
	w.send(ShutDown{})
	w.boot()
	w.want("")
	if w.ended != nil {
		t.Error("it ended twice")
	}
	w.wantReply(w.startUp("wallet"), "root is stopping")
}

func TestSupervisorCrashed(t *testing.T) {
	n := under("n", OneForOne, Graph, service("a"), nested(under("m", OneForOne, Sequence, service("b"))))
	d := service("d", "b")
	crash := func(w *world) {
		w.send(SupervisorCrashed{ID: "n", Detail: "panic"})
		w.lives["a"].alive, w.lives["b"].alive = false, false
	}
	fresh := func(root SupervisorSpec) *world {
		w := booted(t, root)
		w.lives["a"].alive, w.lives["b"].alive = false, false // they die with it
		w.send(SupervisorCrashed{ID: "n", Detail: "panic"})
		return w
	}
	w := fresh(under("root", RestForOne, Graph, nested(n), d, service("e")))
	w.run(0)
	w.want("-d +a +b +d")
	w.wantStates("")
	w.send(ChildExited{ID: "a", Incarnation: 1, Kind: Abnormal}) // a late word of the old life
	w.run(0)
	w.want("")

	w = fresh(under("root", RestForOne, Graph, typed(Temporary, nested(n)), d))
	w.run(0)
	w.want("")
	w.wantStates("n:stopped a:stopped m:stopped b:stopped")

	w = booted(t, under("root", RestForOne, Graph, nested(n), d))
	w.deaf["d"] = true
	w.send(ShutDown{})
	w.deaf["a"] = true
	w.run(0)
	crash(w)
	w.exit("d", 1, ShutdownExit)
	w.run(0)
	if w.ended == nil {
		t.Error("the node has not ended")
	}
	w.send(SupervisorCrashed{ID: "root"}) // no child of anyone
	w.send(SupervisorCrashed{ID: "d"})    // no supervisor
}
