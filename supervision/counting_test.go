package supervision

import (
	"testing"
	"time"
)

func TestBackoffDelay(t *testing.T) {
	plain := Backoff{Initial: time.Second, Max: 10 * time.Second, Factor: 2}
	jittered := plain
	jittered.Jitter = 0.1
	tests := []struct {
		name   string
		b      Backoff
		n      int
		spread float64
		want   time.Duration
	}{
		{"the first is the initial delay", plain, 1, 0, time.Second},
		{"it grows by the factor", plain, 3, 0, 4 * time.Second},
		{"it is capped", plain, 5, 0, 10 * time.Second},
		{"for ever", plain, 1 << 30, 0, 10 * time.Second},
		{"jitter takes away", jittered, 1, 0, 900 * time.Millisecond},
		{"or adds", jittered, 1, 0.75, 1050 * time.Millisecond},
		{"at the cap too", jittered, 9, 0, 9 * time.Second},
		{"but never beyond it", jittered, 9, 0.75, 10 * time.Second},
		{"zero restarts at once", Backoff{Max: time.Second, Factor: 2, Jitter: 1}, 7, 0.5, 0},
		{"no factor means the same delay", Backoff{Initial: time.Second}, 9, 0, time.Second},
		{"no cap, no overflow", Backoff{Initial: time.Hour, Factor: 10}, 400, 0, 1 << 62},
	}
	for _, tt := range tests {
		if got := tt.b.Delay(tt.n, tt.spread); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWindow(t *testing.T) {
	at := func(s float64) time.Time { return time.Unix(0, 0).Add(time.Duration(s * float64(time.Second))) }
	in := Intensity{Max: 2, Period: 10 * time.Second}
	tests := []struct {
		name     string
		restarts []float64
		want     string // y: permitted
		last     int    // in the window at the end
	}{
		{"max pass, one more is too many", []float64{0, 0, 0}, "yyn", 3},
		{"exactly one period old still counts", []float64{0, 5, 10}, "yyn", 3},
		{"older does not", []float64{0, 5, 10.001}, "yyy", 2},
		{"each is forgotten for itself", []float64{0, 9, 11, 12, 20}, "yyynn", 3},
	}
	for _, tt := range tests {
		var w window
		got := ""
		for _, s := range tt.restarts {
			if w.allow(at(s), in) {
				got += "y"
			} else {
				got += "n"
			}
		}
		end := at(tt.restarts[len(tt.restarts)-1])
		if n := w.count(end, in.Period); got != tt.want || n != tt.last {
			t.Errorf("%s: got %s and %d, want %s and %d", tt.name, got, n, tt.want, tt.last)
		}
	}
	var w window
	for range 1000 {
		w.allow(at(0), Intensity{Max: 3, Period: time.Hour})
	}
	if len(w.times) != 4 {
		t.Errorf("a window of 3 holds %d restarts", len(w.times))
	}
	var none window
	if none.allow(at(0), Intensity{Max: 0, Period: time.Second}) {
		t.Error("a limit of 0 permits a restart")
	}
}

func TestSpreadIsDeterminedByItsSeed(t *testing.T) {
	a, b, c := spread(1), spread(1), spread(2)
	same := true
	for range 1000 {
		x := a.next()
		if x != b.next() {
			t.Fatal("the same seed gives different numbers")
		}
		if x < 0 || x >= 1 {
			t.Fatalf("%v is not in [0, 1)", x)
		}
		same = same && x == c.next()
	}
	if same {
		t.Error("different seeds give the same numbers")
	}
}

func TestRestartIsCountedInTheOwnWindowElseInTheSupervisors(t *testing.T) {
	w := booted(t, under("root", OneForOne, Graph, limited(5, service("own")), service("shared")))
	w.crash("own")
	w.run(0)
	w.crash("own")
	w.run(0)
	w.crash("shared")
	w.run(0)
	if own, root, shared := w.view("own"), w.view("root"), w.view("shared"); own.InWindow != 2 || root.InWindow != 1 || shared.InWindow != 0 {
		t.Errorf("own %d, root %d, shared %d; want 2, 1, 0", own.InWindow, root.InWindow, shared.InWindow)
	}
	if l := w.view("own").Limit; l != (Intensity{5, time.Hour}) {
		t.Errorf("the limit of own is %v", l)
	}
	if got := w.view("own").Restarts; got != 2 {
		t.Errorf("own was restarted %d times, want 2", got)
	}
}

func TestFailuresOfAStartAreNotCountedTheirRetriesAre(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, intense(under("root", OneForOne, order, service("a")), 3))
		w.failures["a"] = 2
		w.crash("a") // one restart, two retries
		w.run(0)
		w.want("*a +a !a +a !a +a")
		if got := w.view("root").InWindow; got != 3 {
			t.Errorf("%s: %d were counted, want 3", order, got)
		}
	}
}

func TestNothingElseIsCounted(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, intense(under("root", OneForAll, order, service("a"), service("b"), service("c")), 1))
		w.restart("a")
		w.run(0)
		w.stop("b")
		w.run(0)
		w.startUp("b")
		w.run(0)
		if got := w.view("root").InWindow; got != 0 {
			t.Errorf("%s: %d operator's commands were counted", order, got)
		}
		w.crash("a")
		w.run(0)
		if got := w.view("root").InWindow; got != 1 {
			t.Errorf("%s: a restart of three was counted %d times", order, got)
		}
	}
}

func TestIntensity(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, intense(under("root", OneForOne, order, service("a"), service("b", "a"), service("c")), 2))
		w.crash("c")
		w.run(30 * time.Second)
		w.crash("c")
		w.run(30*time.Second + time.Millisecond) // the first is forgotten
		w.crash("c")
		w.run(0)
		w.wantStates("")
		w.take()
		w.stopIn["b"] = time.Second
		w.crash("c")
		w.run(0)
		w.want("*c -b")
		w.crash("b") // it is stopping: nothing
		w.run(time.Second)
		w.want("*b -a")
		if w.ended == nil || w.ended.Why != EndIntensity || w.ended.ID != "c" {
			t.Errorf("ended %+v", w.ended)
		}
		w.send(BackoffOver{"c", 1})
		w.run(time.Hour)
		w.want("")
	}
}

func TestGiveUpOfANestedSupervisor(t *testing.T) {
	n := func(r Restart) ChildSpec {
		return typed(r, nested(intense(under("n", OneForOne, Graph, service("a"), service("b", "a")), 0)))
	}
	d := service("d", "b")
	tell(t, []story{
		{
			"a permanent one is restarted, with what needs its services", under("root", RestForOne, Graph, n(Permanent), d, service("e")),
			func(w *world) { w.crash("a") }, "*a -b -d +a +b +d", "",
		},
		{
			"a transient one stays down, for it ends with kind shutdown", under("root", RestForOne, Graph, n(Transient), d, service("e")),
			func(w *world) { w.crash("a") }, "*a -b", "n:stopped a:stopped b:stopped",
		},
		{
			"so does a temporary one", under("root", RestForOne, Sequence, n(Temporary), service("e")),
			func(w *world) { w.crash("a") }, "*a -b", "n:stopped a:stopped b:stopped",
		},
		{
			"the parent applies its strategy", under("root", OneForAll, Graph, n(Permanent), service("e")),
			func(w *world) { w.crash("a") }, "*a -b -e +e +a +b", "",
		},
		{
			"in sequence", under("root", RestForOne, Sequence, service("0"), n(Permanent), service("e")),
			func(w *world) { w.crash("a") }, "*a -b -e +a +b +e", "",
		},
		{
			"a person starts the supervisor with a service of it", under("root", RestForOne, Graph, n(Transient), d),
			func(w *world) { w.crash("a"); w.run(0); w.take(); w.startUp("b") }, "+a +b", "",
		},
	})
}

func TestGiveUpClimbsToTheRoot(t *testing.T) {
	inner := nested(intense(under("inner", OneForOne, Graph, service("a")), 1))
	outer := nested(intense(under("outer", OneForOne, Graph, inner, service("b")), 1))
	w := booted(t, intense(under("root", OneForOne, Graph, outer, service("c")), 1))
	crashes := 0
	for w.ended == nil && crashes < 100 {
		w.crash("a")
		w.run(0)
		crashes++
	}
	if crashes != 8 { // (1+1)^3
		t.Errorf("%d crashes, want 8", crashes)
	}
	if w.ended.Why != EndIntensity || w.ended.ID != "outer" {
		t.Errorf("ended %+v", w.ended)
	}
	w.wantStates("root:stopped outer:stopped inner:stopped a:stopped b:stopped c:stopped")
}

func TestNewLifeOfASupervisorHasAnEmptyWindow(t *testing.T) {
	w := booted(t, under("root", OneForAll, Graph, nested(intense(under("n", OneForOne, Graph, service("a")), 1)), service("b")))
	w.crash("a")
	w.run(0)
	w.crash("b") // takes n down
	w.run(0)
	if got := w.view("n").InWindow; got != 0 {
		t.Errorf("%d restarts in the window of a new life", got)
	}
	w.crash("a")
	w.run(0)
	w.wantStates("")
}

func TestExhausted(t *testing.T) {
	p := func(what OnExhausted) ChildSpec {
		return onExhausted(what, limited(1, delayed(time.Second, service("p"))))
	}
	d, e := service("d", "p"), service("e")
	twice := func(w *world) {
		w.crash("p")
		w.run(time.Minute)
		w.crash("p")
		w.run(time.Minute)
	}
	tell(t, []story{
		{
			"fail: it has failed, what its strategy would restart stops and waits", under("root", RestForOne, Graph, p(Fail), d, e),
			twice, "*p -d +p +d *p -d", "p:failed d:waiting",
		},
		{
			"fail in sequence", under("root", RestForOne, Sequence, p(Fail), e),
			twice, "*p -e +p +e *p -e", "p:failed e:waiting",
		},
		{
			"fail, one_for_all", under("root", OneForAll, Graph, p(Fail), e),
			twice, "*p -e +p +e *p -e", "p:failed e:waiting",
		},
		{
			"fail, one_for_one", under("root", OneForOne, Graph, p(Fail), d, e),
			twice, "*p +p *p", "p:failed",
		},
		{
			"keep: it goes on at the longest delay", under("root", RestForOne, Graph, p(Keep), d),
			func(w *world) {
				twice(w)
				w.crash("p")
				w.run(7 * time.Second)
				w.logf("7s")
				w.run(time.Second)
			}, "*p -d +p +d *p -d +p +d *p -d 7s +p +d", "",
		},
		{
			"escalate: its supervisor gives up", under("root", OneForOne, Graph, nested(under("n", OneForOne, Graph, p(Escalate), e))),
			func(w *world) { twice(w) }, "*p +p *p -e +p +e", "",
		},
	})
}

func TestFailedEnds(t *testing.T) {
	tree := func(order Order) SupervisorSpec {
		return under("root", RestForOne, order, service("p"), limited(0, service("d", "p")), service("e", "d"))
	}
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, tree(order))
		w.crash("d")
		w.run(0)
		w.wantStates("d:failed e:waiting")
		w.want("*d -e")
		w.health("p", false)
		w.health("p", true)
		w.run(time.Hour)
		w.want("") // the same incarnation
		w.crash("p")
		w.run(0)
		w.want("*p +p +d +e") // a new one is healthy
		w.wantStates("")
		if got := w.view("d").InWindow; got != 0 {
			t.Errorf("its counter stands at %d", got)
		}
		w.crash("d")
		w.run(0)
		call := w.startUp("d")
		w.run(0)
		w.want("*d -e +d +e")
		w.wantReply(call, "")
	}
}

func TestFailedDoesNotEndThroughAnEdgeThatDoesNotRestart(t *testing.T) {
	w := booted(t, under("root", RestForOne, Graph, service("p"), limited(0, through(WhenHealthy, false, service("d", "p")))))
	w.crash("d")
	w.run(0)
	w.crash("p")
	w.run(0)
	w.want("*d *p +p")
	w.wantStates("d:failed")
}

func TestFailedIsNotEndedByARestartOfItsGroup(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", RestForOne, order, service("a"), limited(0, service("b"))))
		w.crash("b")
		w.run(0)
		w.crash("a")
		w.run(0)
		w.want("*b *a +a")
		w.wantStates("b:failed")
	}
}

func TestBackOffGrowsAndIsResetByHealth(t *testing.T) {
	a := delayed(time.Second, service("a"))
	a.Backoff.ResetAfter = time.Minute
	w := booted(t, under("root", OneForOne, Graph, a))
	delays := func() (out []time.Duration) {
		for _, c := range w.commands {
			if c, ok := c.(Wake); ok {
				out = append(out, c.After)
			}
		}
		return out
	}
	w.run(time.Hour)
	w.crash("a") // 1 s
	w.run(time.Minute)
	w.crash("a") // 59 s of health are too short: 2 s
	w.run(62 * time.Second)
	w.crash("a") // 1 s
	w.run(30 * time.Second)
	w.crash("a") // 2 s
	w.run(90 * time.Second)
	w.health("a", false) // it was healthy for long enough
	w.run(time.Second)
	w.crash("a") // 1 s
	w.run(30 * time.Second)
	w.failures["a"] = 5
	w.crash("a") // 2, then 4, 8, 8 s
	w.run(25 * time.Second)
	want := []time.Duration{1, 2, 1, 2, 1, 2, 4, 8, 8}
	got := delays()
	for i := range want {
		if i >= len(got) || got[i] != want[i]*time.Second {
			t.Fatalf("got %v, want %v seconds", got, want)
		}
	}
	if v := w.view("a"); v.State != StateBackoff || !v.NextStart.Equal(w.now.Add(6*time.Second)) && v.NextStart.Before(w.now) {
		t.Errorf("%s until %v, it is %v", v.State, v.NextStart, w.now)
	}
}
