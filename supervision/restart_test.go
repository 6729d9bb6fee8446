package supervision

import (
	"testing"
	"time"
)

func TestRestartTypeDecidesAfterWhichEndAChildIsRestarted(t *testing.T) {
	tests := []struct {
		restart                    Restart
		normal, shutdown, abnormal bool
	}{
		{Permanent, true, true, true},
		{Transient, false, false, true},
		{Temporary, false, false, false},
	}
	for _, tt := range tests {
		for kind, want := range map[ExitKind]bool{Normal: tt.normal, ShutdownExit: tt.shutdown, Abnormal: tt.abnormal} {
			if got := tt.restart.After(kind); got != want {
				t.Errorf("restart type %d after exit kind %d: %v, want %v", tt.restart, kind, got, want)
			}
		}
	}
	if Restart(9).After(Abnormal) {
		t.Error("an unknown restart type restarts")
	}
}

// A story is a tree, what happens to it once it is up, and what it does.
type story struct {
	name string
	tree SupervisorSpec
	do   func(w *world)
	want string
	// states of what does not run in the end
	states string
}

func tell(t *testing.T, stories []story) {
	t.Helper()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			w := booted(t, s.tree)
			s.do(w)
			w.run(0)
			w.want(s.want)
			w.wantStates(s.states)
		})
	}
}

// pair is p and d, which needs it, in graph order.
func pair(p, d ChildSpec) SupervisorSpec { return under("root", RestForOne, Graph, p, d) }

func TestEndThatNoRestartFollows(t *testing.T) {
	p, d := service("p"), service("d", "p")
	tell(t, []story{
		{
			"the normal end of a transient child stops nobody", pair(typed(Transient, p), d),
			func(w *world) { w.finish("p") }, "~p", "p:completed",
		},
		{
			"nor does any end of a temporary one", pair(typed(Temporary, p), d),
			func(w *world) { w.crash("p") }, "*p", "p:failed",
		},
		{
			"a temporary one that ended normally is completed", pair(typed(Temporary, p), d),
			func(w *world) { w.finish("p") }, "~p", "p:completed",
		},
		{
			"nor does it in another supervisor",
			under("root", OneForAll, Graph, nested(under("n", OneForAll, Graph, typed(Transient, p))), d),
			func(w *world) { w.finish("p") }, "~p", "p:completed",
		},
		{
			"one started later waits for its condition", pair(typed(Transient, p), d),
			func(w *world) { w.finish("p"); w.crash("d") }, "~p *d", "p:completed d:waiting",
		},
		{
			"a permanent child is restarted after a normal end", pair(p, d),
			func(w *world) { w.finish("p") }, "~p -d +p +d", "",
		},
		{
			"a transient one after an abnormal end", pair(typed(Transient, p), d),
			func(w *world) { w.crash("p") }, "*p -d +p +d", "",
		},
		{
			"what has ended for good is left as it is by the restart of what it needs", pair(p, typed(Transient, d)),
			func(w *world) { w.finish("d"); w.crash("p") }, "~d *p +p", "d:completed",
		},
		{
			"and so is a temporary one", pair(p, typed(Temporary, d)),
			func(w *world) { w.crash("d"); w.crash("p") }, "*d *p +p", "d:failed",
		},
		{
			"a person starts it again", pair(p, typed(Temporary, d)),
			func(w *world) { w.crash("d"); w.startUp("d") }, "*d +d", "",
		},
	})
}

func TestReasonOfATemporaryChildThatFailedIsTemporary(t *testing.T) {
	w := booted(t, under("root", OneForOne, Graph, typed(Temporary, service("a"))))
	w.crash("a")
	if v := w.view("a"); v.Reason != ReasonTemporary || v.State != StateFailed {
		t.Errorf("got %s, %s", v.State, v.Reason)
	}
	if got, want := w.types("a"), "starting started ready exited failed"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTheRest(t *testing.T) {
	a, b, c, d := service("a"), service("b"), service("c"), service("d")
	tell(t, []story{
		{
			"sequence rest_for_one takes every child started later", under("root", RestForOne, Sequence, a, b, c, d),
			func(w *world) { w.crash("b") }, "*b -d -c +b +c +d", "",
		},
		{
			"graph rest_for_one takes what depends on it, directly or not",
			under("root", RestForOne, Graph, a, service("b", "a"), service("c", "b"), d),
			func(w *world) { w.crash("a") }, "*a -c -b +a +b +c", "",
		},
		{
			"one_for_one takes nobody, in graph", under("root", OneForOne, Graph, a, service("b", "a")),
			func(w *world) { w.crash("a") }, "*a +a", "",
		},
		{
			"one_for_one takes nobody, in sequence", under("root", OneForOne, Sequence, a, service("b", "a")),
			func(w *world) { w.crash("a") }, "*a +a", "",
		},
		{
			"one_for_all takes all, in graph", under("root", OneForAll, Graph, a, b, service("c", "b")),
			func(w *world) { w.crash("a") }, "*a -c -b +a +b +c", "",
		},
		{
			"one_for_all takes all, in sequence", under("root", OneForAll, Sequence, a, b, c),
			func(w *world) { w.crash("b") }, "*b -c -a +a +b +c", "",
		},
		{
			"an edge that does not restart takes nobody", under("root", RestForOne, Graph, a, through(WhenHealthy, false, service("b", "a"))),
			func(w *world) { w.crash("a") }, "*a +a", "",
		},
		{
			"nor does it lead on to others",
			under("root", RestForOne, Graph, a, through(WhenHealthy, false, service("b", "a")), service("c", "b")),
			func(w *world) { w.crash("a") }, "*a +a", "",
		},
		{
			"but start and stop follow it, where both restart",
			under("root", OneForAll, Graph, a, through(WhenHealthy, false, service("b", "a"))),
			func(w *world) { w.crash("b") }, "*b -a +a +b", "",
		},
		{
			"a group restart leaves a temporary child stopped", under("root", OneForAll, Graph, a, typed(Temporary, b)),
			func(w *world) { w.crash("a") }, "*a -b +a", "b:stopped",
		},
		{
			"in sequence too", under("root", RestForOne, Sequence, a, typed(Temporary, b), c),
			func(w *world) { w.crash("a") }, "*a -c -b +a +c", "b:stopped",
		},
		{
			"in sequence it starts a transient child that has finished, as OTP does", under("root", OneForAll, Sequence, a, typed(Transient, b)),
			func(w *world) { w.finish("b"); w.crash("a") }, "~b *a +a +b", "",
		},
		{
			"but not one that is needed as completed",
			under("root", OneForAll, Sequence, typed(Transient, a), through(WhenCompleted, false, service("b", "a"))),
			func(w *world) { w.finish("a"); w.run(0); w.crash("b") }, "~a +b *b +b", "a:completed",
		},
	})
}

// across is storage and ledger in supervisor data, beside cache, which needs none
// of them, and web, which needs ledger.
func across(root, data Strategy, order Order) SupervisorSpec {
	return under("root", root, order, service("identity"),
		nested(under("data", data, order, service("storage"), service("ledger"), service("cache"))),
		nested(under("front", OneForOne, order, service("web", "ledger"), service("static"))),
		service("cron", "web"))
}

func TestAcrossSupervisors(t *testing.T) {
	tell(t, []story{
		{
			"a restart reaches exactly the services that need the one restarted", across(RestForOne, OneForOne, Graph),
			func(w *world) { w.crash("ledger") }, "*ledger -cron -web +ledger +web +cron", "",
		},
		{
			"in sequence as well", across(RestForOne, OneForOne, Sequence),
			func(w *world) { w.crash("ledger") }, "*ledger -cron -web +ledger +web +cron", "",
		},
		{
			"the common supervisor's strategy says so", across(OneForOne, OneForAll, Graph),
			func(w *world) { w.crash("ledger") }, "*ledger -cache -storage +storage +ledger +cache", "",
		},
		{
			"a strategy within a supervisor and an edge out of it act together", across(OneForAll, OneForAll, Graph),
			func(w *world) { w.crash("storage") },
			"*storage -cron -cache -web -ledger +storage +ledger +cache +web +cron", "",
		},
		{
			"a nested supervisor that is a dependent's is not taken as a whole", across(RestForOne, OneForOne, Graph),
			func(w *world) { w.crash("web") }, "*web -cron +web +cron", "",
		},
		{
			"in sequence the rest is whole subtrees", across(RestForOne, OneForOne, Sequence),
			func(w *world) { w.crash("identity") },
			"*identity -cron -static -web -cache -ledger -storage +identity +storage +ledger +cache +web +static +cron", "",
		},
		{
			"one_for_all takes whole subtrees", across(OneForAll, OneForOne, Graph),
			func(w *world) { w.crash("identity") },
			"*identity -cron -static -cache -storage -web -ledger +identity +storage +ledger +cache +static +web +cron", "",
		},
	})
}

func TestRestartWaitsForEverythingThatReachesIt(t *testing.T) {
	w := booted(t, across(RestForOne, OneForOne, Graph))
	w.stopIn["cron"], w.stopIn["web"] = 3*time.Second, 4*time.Second
	w.crash("ledger")
	w.run(2 * time.Second)
	w.want("*ledger -cron")
	w.run(2 * time.Second)
	w.want("-web")
	w.run(2 * time.Second)
	w.want("")
	if got := w.view("ledger").State; got != StateWaiting {
		t.Errorf("ledger is %s while a dependent lives", got)
	}
	w.run(2 * time.Second)
	w.want("+ledger +web +cron")
}

func TestFailedServiceStopsDependentsInOtherSupervisors(t *testing.T) {
	tree := across(RestForOne, OneForOne, Graph)
	data := tree.Children[1].Supervisor
	data.Children[1] = limited(0, data.Children[1])
	w := booted(t, tree)
	w.crash("ledger")
	w.run(time.Minute)
	w.want("*ledger -cron -web")
	w.wantStates("ledger:failed web:waiting cron:waiting")
	w.startUp("ledger")
	w.run(0)
	w.want("+ledger +web +cron")
}

func TestBackOffRunsWhileTheRestStops(t *testing.T) {
	w := booted(t, pair(delayed(5*time.Second, service("p")), service("d", "p")))
	w.stopIn["d"] = 4 * time.Second
	w.crash("p")
	w.run(4999 * time.Millisecond)
	w.want("*p -d")
	w.wantStates("p:backoff d:waiting")
	w.run(time.Millisecond)
	w.want("+p +d")
}

func TestMembersWithoutAnEdgeWaitForTheBackOffToo(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", OneForAll, order, service("a"), delayed(5*time.Second, service("b")), service("c")))
		w.crash("b")
		w.run(4 * time.Second)
		w.run(2 * time.Second)
		if order == Graph {
			w.want("*b -c -a +b +a +c")
		} else {
			w.want("*b -c -a +a +b +c")
		}
	}
}

func TestStuckMemberHoldsARestartUpNoLonger(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", OneForAll, order, service("a"), service("b"), service("c")))
		w.deaf["c"] = true
		w.crash("a")
		w.run(time.Second)
		if order == Graph {
			w.want("*a -c -b")
		} else {
			w.want("*a -c")
		}
		w.stick("c")
		w.run(0)
		if order == Graph {
			w.want("#c +a +b")
		} else {
			w.want("#c -b +a +b")
		}
		w.wantStates("c:stuck")
		if got := w.view("c").Reason; got != ReasonStuck {
			t.Errorf("reason of c: %s", got)
		}
		w.exit("c", w.life("c").inc, ShutdownExit)
		w.run(0)
		w.want("+c")
		w.wantStates("")
	}
}

func TestDependencyThatFailsTwiceBringsItsDependentsUpWithIt(t *testing.T) {
	w := booted(t, pair(delayed(time.Second, service("p")), service("d", "p")))
	w.failures["p"] = 2
	w.crash("p")
	w.run(time.Minute)
	w.want("*p -d +p !p +p !p +p +d")
	if got := w.view("p").Restarts; got != 3 {
		t.Errorf("%d restarts of p, want 3", got)
	}
	if got := w.view("root").InWindow; got != 3 {
		t.Errorf("%d restarts in the window, want 3", got)
	}
}
