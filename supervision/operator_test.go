package supervision

import (
	"slices"
	"testing"
	"time"
)

// chain is db <- api <- web, and clock, which needs nothing.
func chainOf() SupervisorSpec {
	return under("root", RestForOne, Graph, service("db"), service("api", "db"), service("web", "api"), service("clock"))
}

func TestStopHolds(t *testing.T) {
	w := booted(t, chainOf())
	call := w.stop("api")
	w.run(0)
	w.want("-web -api")
	w.wantReply(call, "")
	w.wantStates("api:stopped web:stopped")
	for id, want := range map[ChildID]View{"api": {Held: true}, "web": {Held: false}} {
		v := w.view(id)
		if v.Held != want.Held || v.Wanted || v.Reason != ReasonHeld {
			t.Errorf("%s: held %v, wanted %v, reason %s", id, v.Held, v.Wanted, v.Reason)
		}
	}
	if v := w.view("db"); !v.Wanted || v.Held {
		t.Errorf("db: %+v", v)
	}
	w.crash("db") // a restart of its group does not bring it back
	w.run(0)
	w.want("*db +db")
	call = w.startUp("api")
	w.run(0)
	w.want("+api +web")
	w.wantReply(call, "")
	w.wantStates("")
	if len(w.holds) != 0 {
		t.Errorf("holds: %v", w.holds)
	}
}

func TestStartLiftsTheHoldsOfWhatItNeeds(t *testing.T) {
	w := booted(t, chainOf())
	w.stop("db")
	w.stop("web")
	w.run(0)
	w.want("-web -api -db")
	if want := []Hold{{ID: "db"}, {ID: "web"}}; !slices.Equal(w.holds, want) {
		t.Errorf("holds %v, want %v", w.holds, want)
	}
	w.startUp("api")
	w.run(0)
	w.want("+db +api") // web is under a hold of its own
	w.wantStates("web:stopped")
	w.startUp("web")
	w.run(0)
	w.want("+web")
}

func TestStopOnly(t *testing.T) {
	w := booted(t, chainOf())
	w.operate(OpStop, true, "api")
	w.run(0)
	w.want("-api")
	w.wantStates("api:stopped")
	if v := w.view("web"); !v.Wanted || v.Held {
		t.Errorf("web: %+v", v)
	}
	w.crash("web")
	w.run(0)
	w.want("*web")
	w.wantStates("api:stopped web:waiting")
	if want := []Hold{{ID: "api", Only: true}}; !slices.Equal(w.holds, want) {
		t.Errorf("holds %v, want %v", w.holds, want)
	}
	w.startUp("api")
	w.run(0)
	w.want("+api +web")
}

func TestHoldOfOneAloneBecomesOneThatReachesFurther(t *testing.T) {
	w := booted(t, chainOf())
	w.operate(OpStop, true, "api")
	call := w.stop("api")
	w.run(0)
	w.want("-api -web")
	w.wantReply(call, "")
	w.wantStates("api:stopped web:stopped")
	w.operate(OpStop, true, "api") // and does not shrink again
	if want := []Hold{{ID: "api"}}; !slices.Equal(w.holds, want) {
		t.Errorf("holds %v, want %v", w.holds, want)
	}
}

func TestHoldsOutliveTheNode(t *testing.T) {
	tree := chainOf()
	w := newWorld(t, tree, Options{Holds: []Hold{{ID: "api"}, {ID: "gone"}, {ID: "root"}}, Incarnations: map[ChildID]uint64{"db": 7}, LastSeq: 41})
	w.boot()
	w.want("+db +clock")
	w.wantStates("api:stopped web:stopped")
	if w.notices[0].Seq != 42 {
		t.Errorf("the first notice has number %d, want 42", w.notices[0].Seq)
	}
	if v := w.view("db"); v.Incarnation != 8 {
		t.Errorf("db is incarnation %d, want 8", v.Incarnation)
	}
	tree.Children = append(tree.Children, service("new", "web")) // and reach what was added meanwhile
	w = newWorld(t, tree, Options{Holds: []Hold{{ID: "api"}}})
	w.boot()
	w.wantStates("api:stopped web:stopped new:stopped")
}

func TestHoldReachesThroughEveryEdge(t *testing.T) {
	w := booted(t, under("root", OneForOne, Graph, service("p"), through(WhenStarted, false, service("d", "p"))))
	w.stop("p")
	w.run(0)
	w.want("-d -p")
}

func TestStopOfWhatIsDownAlready(t *testing.T) {
	prepare := map[string]func(w *world){
		"failed":    func(w *world) { w.crash("a"); w.run(0); w.crash("a") },
		"backoff":   func(w *world) { w.crash("a") },
		"waiting":   func(w *world) { w.operate(OpStop, true, "p"); w.run(0); w.crash("a"); w.run(time.Minute) },
		"completed": func(w *world) { w.finish("a") },
	}
	for _, order := range []Order{Graph, Sequence} {
		for state, do := range prepare {
			a := typed(Transient, limited(1, delayed(time.Second, service("a", "p"))))
			if state == "failed" {
				a.Backoff = Backoff{}
			}
			w := booted(t, under("root", RestForOne, order, service("p"), a))
			do(w)
			w.run(0)
			if got := w.view("a").State; string(got) != state {
				t.Fatalf("%s: a is %s", state, got)
			}
			call := w.stop("a")
			w.wantReply(call, "")
			w.run(time.Hour)
			if v := w.view("a"); v.State != StateStopped || v.Reason != ReasonHeld {
				t.Errorf("%s: after stop a is %s, %s", state, v.State, v.Reason)
			}
			w.take()
			call = w.startUp("a") // starts p too
			w.run(0)
			w.wantReply(call, "")
			if got := w.view("a").State; got != StateRunning {
				t.Errorf("%s: after start a is %s", state, got)
			}
		}
	}
}

func TestStopOfAChildWhoseEndIsNotYetJudged(t *testing.T) {
	w := booted(t, under("root", OneForAll, Sequence, service("a"), service("b"), service("c")))
	w.startIn["c"] = time.Second
	w.crash("c")
	w.run(0)
	w.crash("a") // waits in the mailbox until c has started
	w.stop("a")
	w.run(10 * time.Second)
	w.want("*c -b -a +a +b +c *a")
	w.wantStates("a:stopped")
}

func TestRestartCommand(t *testing.T) {
	tests := []struct {
		name  string
		do    func(w *world) uint64
		want  string
		reply string
	}{
		{"a service, with what depends on it", func(w *world) uint64 { return w.restart("api") }, "-web -api +api +web", ""},
		{"several", func(w *world) uint64 { return w.restart("api", "clock") }, "-clock -web -api +clock +api +web", ""},
		{"--only leaves the rest alone", func(w *world) uint64 { return w.operate(OpRestart, true, "api") }, "-api +api", ""},
		{"a supervisor", func(w *world) uint64 { return w.restart("root") }, "-clock -web -api -db +db +clock +api +web", ""},
		{"one under a hold", func(w *world) uint64 { w.stop("api"); w.run(0); return w.restart("web") }, "-web -api", "web is under a hold; start it instead"},
		{"nobody", func(w *world) uint64 { return w.restart("nobody") }, "", "no service or supervisor is called nobody"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := booted(t, chainOf())
			call := tt.do(w)
			w.run(0)
			got := w.take()
			if tt.name == "a supervisor" || tt.name == "several" {
				got, tt.want = letters(got), letters(tt.want)
			}
			if got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			w.wantReply(call, tt.reply)
			if got := w.view("root").InWindow; got != 0 {
				t.Errorf("%d restarts were counted", got)
			}
		})
	}
}

func TestRestartOfASupervisorInSequenceIsOneAfterTheOther(t *testing.T) {
	w := booted(t, under("root", OneForOne, Sequence, service("a"),
		nested(under("n", OneForOne, Sequence, service("b"), service("c"), service("d")))))
	for _, id := range []ChildID{"b", "c", "d"} {
		w.startIn[id], w.stopIn[id] = time.Second, time.Second
	}
	call := w.restart("n")
	for _, want := range []string{"-d", "-c", "-b", "+b", "+c", "+d"} {
		w.run(0)
		w.want(want)
		w.run(time.Second)
	}
	w.wantReply(call, "")
}

func TestRestartOfWhatIsDown(t *testing.T) {
	w := booted(t, under("root", RestForOne, Graph, limited(1, delayed(time.Minute, service("a"))), service("b", "a")))
	w.crash("a")
	w.run(time.Second)
	call := w.restart("a") // without delay
	w.run(0)
	w.want("*a -b +a +b")
	w.wantReply(call, "")
	if got := w.view("a").InWindow; got != 0 {
		t.Errorf("the counter of a stands at %d", got)
	}
	w.run(time.Hour)
	w.crash("a")
	w.run(2 * time.Minute)
	w.crash("a")
	w.run(2 * time.Minute)
	w.wantStates("a:failed b:waiting")
	w.take()
	call = w.restart("a")
	w.run(0)
	w.want("+a +b")
	w.wantReply(call, "")
}

func TestRestartOfATemporaryMemberStartsItAgain(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", RestForOne, order, service("a"), typed(Temporary, service("b", "a"))))
		w.restart("a")
		w.run(0)
		w.want("-b -a +a +b")
		w.stopIn["b"] = time.Second
		w.crash("a") // its group leaves it stopped,
		w.restart("b")
		w.run(time.Minute) // a person does not
		w.want("*a -b +a +b")
	}
}

func TestRepliesTellWhatBecameOfACommand(t *testing.T) {
	w := booted(t, under("root", RestForOne, Graph, limited(0, service("a")), service("b", "a"), service("c")))
	w.failures["a"] = -1
	a := w.restart("a")
	w.run(0)
	w.wantReply(a, "a failed: cannot start; no restart is allowed")
	b := w.startUp("b") // starts a too, which fails again
	w.run(0)
	w.wantReply(b, "b waits for a (healthy), which is down for good")
	w.readyIn["c"] = time.Minute
	c := w.restart("c")
	w.run(0)
	w.stop("c")
	w.run(0)
	w.wantReply(c, "c was stopped meanwhile by another command")
	c = w.startUp("c")
	w.run(0)
	w.send(ShutDown{})
	w.wantReply(c, "command was given up: the node is stopping")
}

func TestCommandsOnWhatStaysDownAreAnswered(t *testing.T) {
	w := booted(t, under("root", OneForAll, Graph, delayed(time.Minute, service("a")), limited(0, service("b"))))
	w.startIn["a"] = time.Second
	call := w.restart("a")
	w.run(0)
	w.crash("b") // has failed; a waits for it
	w.run(time.Minute)
	w.wantReply(call, "a waits for b, which is down for good")

	w = booted(t, under("root", OneForOne, Graph, typed(Transient, nested(intense(under("n", OneForOne, Graph, service("a"), service("b")), 0)))))
	w.startIn["a"] = time.Second
	call = w.restart("a")
	w.run(0)
	w.crash("b")
	w.run(time.Minute)
	w.wantReply(call, "a was not started: its supervisor has ended")

	w = booted(t, under("root", RestForOne, Graph, service("a"), service("b", "a")))
	w.startIn["b"] = time.Second
	call = w.restart("b")
	w.run(0)
	w.operate(OpPause, false, "root")
	w.crash("a")
	w.startUp("a")
	w.run(time.Minute)
	w.wantReply(call, "")
}

func TestStartDuringStopAndStopDuringStart(t *testing.T) {
	w := booted(t, chainOf())
	w.stopIn["web"], w.readyIn["web"] = 2*time.Second, 2*time.Second
	stop := w.stop("web")
	w.run(time.Second)
	start := w.startUp("web")
	if len(w.replies) != 0 {
		t.Error("answered before it was done")
	}
	w.run(time.Second)
	w.want("-web +web")
	w.wantReply(stop, "")
	w.run(time.Second)
	stop = w.stop("web")
	w.run(time.Hour)
	w.want("-web")
	w.wantReply(start, "web was stopped meanwhile by another command")
	w.wantReply(stop, "")
	w.wantStates("web:stopped")
}

func TestFiftyCommandsOnOneService(t *testing.T) {
	for seed := range 20 {
		w := booted(t, chainOf())
		for _, id := range []ChildID{"db", "api", "web"} {
			w.startIn[id], w.stopIn[id] = 100*time.Millisecond, 150*time.Millisecond
		}
		random := spread(seed)
		for range 50 {
			w.run(time.Duration(random.next() * float64(120*time.Millisecond)))
			w.operate(Operation(random.next()*3), random.next() < 0.3, "api")
		}
		w.run(time.Minute)
		w.startUp("web")
		w.run(time.Minute)
		w.wantStates("")
		for call := range w.calls {
			if _, ok := w.replies[call+1]; !ok {
				t.Errorf("seed %d: command %d is not answered", seed, call+1)
			}
		}
	}
}

func letters(text string) string {
	runes := []rune(text)
	slices.Sort(runes)
	return string(runes)
}
