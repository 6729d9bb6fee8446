package supervision

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestViewShowsAChildAsItIs(t *testing.T) {
	w := newWorld(t, under("root", RestForOne, Graph, service("p"), delayed(time.Minute, limited(3, service("d", "p")))), Options{})
	w.readyIn["p"] = time.Second
	w.send(Boot{})
	start := w.now
	want := View{
		ID: "d", Supervisor: "root", State: StateWaiting, Wanted: true, Limit: Intensity{3, time.Hour}, Since: start,
		Reason: ReasonDependency, Detail: "for p (healthy)",
	}
	if diff := cmp.Diff(want, w.view("d")); diff != "" {
		t.Error(diff)
	}
	w.run(time.Minute)
	w.crash("d")
	w.run(time.Second)
	want = View{
		ID: "d", Supervisor: "root", State: StateBackoff, Wanted: true, Incarnation: 1, Restarts: 1, InWindow: 1, Limit: Intensity{3, time.Hour},
		Since: start.Add(time.Minute), NextStart: start.Add(2 * time.Minute), Reason: ReasonExit, Detail: "exit",
	}
	if diff := cmp.Diff(want, w.view("d")); diff != "" {
		t.Error(diff)
	}
	want = View{
		ID: "root", Nested: true, State: StateRunning, Healthy: true, Wanted: true, Incarnation: 1, Limit: Intensity{10, time.Minute},
		Since: start.Add(time.Second),
	}
	if diff := cmp.Diff(want, w.view("root")); diff != "" {
		t.Error(diff)
	}
	if _, ok := w.m.ViewOf(w.now, "nobody"); ok {
		t.Error("there is a view of nobody")
	}
}

// A service below a supervisor that waits for its back-off is not down for good, and
// the restart says when it comes.
func TestAServiceWaitsForTheBackOffOfItsSupervisor(t *testing.T) {
	inner := delayed(time.Minute, nested(intense(under("inner", OneForOne, Graph, service("a")), 0)))
	w := booted(t, under("root", OneForOne, Graph, inner))
	w.crash("a")
	w.run(time.Second)
	if v := w.view("a"); v.State != StateWaiting || v.Reason != ReasonStrategy || v.Detail != "for supervisor inner, whose back-off runs" {
		t.Errorf("a is %s, %s %q", v.State, v.Reason, v.Detail)
	}
	last := w.notices[len(w.notices)-1]
	if last.Type != SupervisorRestarting || last.Message != "restarts inner, in 1m0s" {
		t.Errorf("the last notice is %s %q", last.Type, last.Message)
	}
	w.run(time.Minute)
	if v := w.view("a"); v.State != StateRunning {
		t.Errorf("a is %s", v.State)
	}
}

func TestStatesOfALife(t *testing.T) {
	w := newWorld(t, under("root", OneForOne, Graph, service("a")), Options{})
	want := func(s State) {
		t.Helper()
		if got := w.view("a").State; got != s {
			t.Errorf("got %s, want %s", got, s)
		}
	}
	want(StateStopped)
	w.readyIn["a"], w.stopIn["a"] = time.Second, time.Second
	w.send(Boot{})
	want(StateStarting)
	w.run(time.Second)
	want(StateRunning)
	w.health("a", false)
	want(StateUnhealthy)
	w.stop("a")
	want(StateStopping)
	w.run(time.Second)
	want(StateStopped)
}

func TestIgnoredStartIsSuccessWithoutAProcess(t *testing.T) {
	ignore := func(w *world, id ChildID) {
		w.life(id).alive = false
		w.send(ChildIgnored{ID: id, Incarnation: w.life(id).inc})
	}
	for _, order := range []Order{Graph, Sequence} {
		w := newWorld(t, under("root", OneForOne, order, service("a"), service("b"), service("c", "b")), Options{})
		w.readyIn["b"] = time.Hour
		w.send(Boot{})
		w.run(0)
		ignore(w, "b")
		w.run(time.Minute)
		w.wantStates("b:stopped c:waiting")
		if w.booted == nil {
			t.Error("the node has not booted")
		}
		call := w.startUp("b")
		w.run(0)
		w.stop("b")
		ignore(w, "b") // while it is ordered to stop
		w.wantReply(call, "b was stopped meanwhile by another command")
		w.wantStates("b:stopped c:stopped")
		call = w.startUp("b")
		w.run(0)
		ignore(w, "b")
		w.wantReply(call, "")
		w.send(ChildIgnored{ID: "a", Incarnation: 1}) // it is up: nonsense
		w.wantStates("b:stopped c:waiting")
	}
}

func TestEventsOfAnotherLifeOrOfNobodyChangeNothing(t *testing.T) {
	w := booted(t, under("root", OneForOne, Graph, service("a"), delayed(time.Second, service("b"))))
	before := w.m.Snapshot(w.now)
	for _, id := range []ChildID{"a", "nobody"} {
		for _, inc := range []uint64{0, 2} {
			for _, ev := range []Event{
				ChildStarted{ID: id, Incarnation: inc},
				ChildReady{id, inc},
				ChildHealth{ID: id, Incarnation: inc},
				ChildExited{ID: id, Incarnation: inc, Kind: Abnormal},
				ChildIgnored{id, inc},
				ChildStuck{ID: id, Incarnation: inc},
				SupervisorCrashed{ID: id},
				BackoffOver{ID: id},
			} {
				if commands := w.m.Step(w.now, ev); len(commands) > 0 {
					t.Errorf("%#v gives %v", ev, commands)
				}
			}
		}
	}
	for _, ev := range []Event{ChildReady{"a", 1}, ChildHealth{ID: "a", Incarnation: 1, Healthy: true}, Boot{}} {
		if commands := w.m.Step(w.now, ev); len(commands) > 0 {
			t.Errorf("%#v, said again, gives %v", ev, commands)
		}
	}
	if diff := cmp.Diff(before, w.m.Snapshot(w.now)); diff != "" {
		t.Error(diff)
	}
	w.crash("b")
	w.restart("b")
	w.run(time.Minute) // its Wake is outdated
	w.want("*b +b")
}

func TestWords(t *testing.T) {
	got := []string{
		OneForOne.String(), RestForOne.String(), OneForAll.String(), SimpleOneForOne.String(), Strategy(9).String(),
		Graph.String(), Sequence.String(), WhenHealthy.String(), WhenStarted.String(), WhenCompleted.String(), Condition(9).String(),
		plural(1, "restart"), plural(2, "restart"),
	}
	want := []string{
		"one_for_one", "rest_for_one", "one_for_all", "simple_one_for_one", "unknown", "graph", "sequence",
		"healthy", "started", "completed", "unknown", "1 restart", "2 restarts",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
