package supervision

import (
	"testing"
	"time"
)

// diamond is a, on which b and c depend, d on both, and e on its own.
func diamond() SupervisorSpec {
	return under("root", RestForOne, Graph, service("a"), service("b", "a"), service("c", "a"), service("d", "b", "c"), service("e"))
}

func TestDisjointSetsRestartIndependently(t *testing.T) {
	w := booted(t, under("root", RestForOne, Graph, service("p"), service("pd", "p"), service("q"), service("qd", "q")))
	w.stopIn["pd"] = time.Minute
	w.crash("p")
	w.crash("q")
	w.run(0)
	w.want("*p -pd *q -qd +q +qd")
	w.wantStates("p:waiting pd:stopping")
	w.run(time.Minute)
	w.want("+p +pd")
}

func TestChildThatEndsWhileItIsToStopCountsNothing(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", RestForOne, order, service("a"), service("b", "a"), service("c", "b")))
		w.stopIn["c"] = time.Second
		w.crash("a") // c is stopping, b is marked
		w.crash("b")
		w.run(time.Second)
		w.want("*a -c *b +a +b +c")
		w.crash("a")
		w.exit("c", w.life("c").inc, Abnormal) // while it stops
		w.run(time.Second)
		w.want("*a -c -b +a +b +c")
		if got := w.view("root").InWindow; got != 2 {
			t.Errorf("%s: %d restarts were counted, want 2", order, got)
		}
	}
}

func TestChildThatEndsAfterItWasStartedAgainCounts(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", RestForOne, order, service("a"), service("b", "a"), service("c", "b"), service("d", "c")))
		w.startIn["c"] = time.Second
		w.crash("a")
		w.run(500 * time.Millisecond)
		w.want("*a -d -c -b +a +b +c")
		w.crash("b")
		w.run(10 * time.Second)
		if order == Graph {
			w.want("*b -c +b +c +d")
		} else { // its end waits until c and d have started
			w.want("*b +d -d -c +b +c +d")
		}
		w.wantStates("")
		if got := w.view("root").InWindow; got != 2 {
			t.Errorf("%s: %d restarts were counted, want 2", order, got)
		}
	}
}

func TestSetsThatTouchStopAndStartEachMemberOnce(t *testing.T) {
	w := booted(t, diamond())
	w.stopIn["d"] = time.Second
	w.crash("b")
	w.run(500 * time.Millisecond)
	w.crash("c") // its set has d too, which stops
	w.run(250 * time.Millisecond)
	w.want("*b -d *c")
	w.wantStates("b:waiting c:waiting d:stopping")
	w.run(10 * time.Second)
	w.want("+b +c +d")
	if got := w.view("root").InWindow; got != 2 {
		t.Errorf("%d restarts were counted, want 2", got)
	}
}

func TestSetThatContainsARunningOneJoinsIt(t *testing.T) {
	w := booted(t, diamond())
	w.stopIn["d"] = time.Second
	w.crash("b")
	w.crash("a")
	w.run(time.Minute)
	w.want("*b -d *a -c +a +b +c +d")
}

func TestBackOffIsNoRunningRestart(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", OneForOne, order, delayed(time.Minute, service("a")), service("b"), service("c")))
		w.crash("a")
		w.run(time.Second)
		w.crash("b")
		w.run(0)
		call := w.restart("c")
		w.run(0)
		w.want("*a *b +b -c +c")
		w.wantReply(call, "")
		w.wantStates("a:backoff")
		w.run(time.Minute)
		w.want("+a")
	}
}

func TestSetTakesOverAChildInBackOff(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", RestForOne, order, service("a"), delayed(time.Minute, service("b", "a")), service("c", "b")))
		w.crash("b")
		w.run(time.Second)
		w.want("*b -c")
		w.readyIn["a"] = 2 * time.Second
		w.crash("a")
		w.run(50 * time.Second)
		w.want("*a +a")
		w.wantStates("b:backoff c:waiting")
		w.run(10 * time.Second)
		w.want("+b +c")
		if got := w.view("b").Restarts; got != 1 {
			t.Errorf("%s: %d restarts of b, want 1", order, got)
		}
	}
}

func TestChildTakenOverWaitsForItsConditionToo(t *testing.T) {
	w := booted(t, under("root", RestForOne, Graph, service("a"), delayed(time.Second, service("b", "a"))))
	w.crash("b")
	w.readyIn["a"] = time.Minute
	w.crash("a")
	w.run(10 * time.Second)
	w.want("*b *a +a")
	w.wantStates("a:starting b:waiting")
	w.run(time.Minute)
	w.want("+b")
}

func TestTwoBackOffsOfOneDependent(t *testing.T) {
	w := booted(t, under("root", RestForOne, Graph,
		delayed(10*time.Second, service("p")), delayed(20*time.Second, service("q")), service("d", "p", "q")))
	w.crash("p", "q")
	w.run(15 * time.Second)
	w.want("*p -d *q +p")
	w.run(5 * time.Second)
	w.want("+q +d")
}

func TestSequenceServesItsMailboxInOrder(t *testing.T) {
	tell(t, []story{
		{
			"the retry of a failed start is behind what waits already", under("root", RestForOne, Sequence, service("a"), service("b"), service("c"), service("d")),
			func(w *world) {
				w.failures["b"] = 1
				w.startIn["b"] = time.Second
				w.crash("b")
				w.run(0)
				w.crash("a")
				w.run(time.Second)
				w.run(2 * time.Second)
			}, "*b -d -c +b *a !b +a +b +c +d", "",
		},
		{
			"a member found dead at its turn belongs to the restart", under("root", OneForAll, Sequence, service("a"), service("b"), service("c")),
			func(w *world) {
				w.startIn["a"] = time.Second
				w.crash("a")
				w.run(0)
				w.run(time.Second)
				w.startIn["b"] = time.Second
				w.crash("a")
				w.run(time.Second) // a is up, b is starting
				w.crash("a")
				w.run(10 * time.Second)
			}, "*a -c -b +a +b +c *a -c -b +a +b *a +c -c -b +a +b +c", "",
		},
		{
			"rest_for_one retries from the child that failed", under("root", RestForOne, Sequence, service("a"), service("b"), service("c"), service("d")),
			func(w *world) { w.failures["c"] = 2; w.crash("b") }, "*b -d -c +b +c !c +c !c +c +d", "",
		},
		{
			"one_for_all stops what was just started", under("root", OneForAll, Sequence, service("a"), service("b"), service("c")),
			func(w *world) { w.failures["b"] = 1; w.crash("c") }, "*c -b -a +a +b !b -a +a +b +c", "",
		},
	})
}

func TestEndsThatWaitInTheMailboxOfABusySupervisor(t *testing.T) {
	a, b, c, d := service("a"), service("b"), service("c"), service("d")
	twoEndAtOnce := func(first, second ChildID) func(w *world) {
		return func(w *world) {
			w.startIn["d"] = time.Second
			w.crash("d") // keeps the supervisor busy
			w.run(0)
			w.crash(first, second)
			w.run(5 * time.Second)
		}
	}
	counted := func(w *world) int { return w.view("root").InWindow - 1 }
	tests := []struct {
		name  string
		tree  SupervisorSpec
		do    func(*world)
		want  string
		count int
	}{
		{
			"one_for_one counts both", under("root", OneForOne, Sequence, a, b, c, d), twoEndAtOnce("a", "b"),
			"*d +d *a *b +a +b", 2,
		},
		{
			"one_for_all counts one", under("root", OneForAll, Sequence, a, b, c, d), twoEndAtOnce("a", "b"),
			"*d -c -b -a +a +b +c +d *a *b -d -c +a +b +c +d", 1,
		},
		{
			"rest_for_one counts one if the earlier comes first",
			under("root", RestForOne, Sequence, a, b, c, d), twoEndAtOnce("a", "b"),
			"*d +d *a *b -d -c +a +b +c +d", 1,
		},
		{
			"else both",
			under("root", RestForOne, Sequence, a, b, c, d), twoEndAtOnce("b", "a"),
			"*d +d *b *a -d -c +b +c +d -d -c -b +a +b +c +d", 2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := booted(t, tt.tree)
			tt.do(w)
			w.run(10 * time.Second)
			w.want(tt.want)
			if got := counted(w); got != tt.count {
				t.Errorf("%d restarts were counted, want %d", got, tt.count)
			}
			w.wantStates("")
		})
	}
}

func TestOrderToStopOvertakesARestart(t *testing.T) {
	for _, order := range []Order{Graph, Sequence} {
		w := booted(t, under("root", RestForOne, order, service("a"), service("b", "a"), service("c", "b")))
		w.startIn["a"] = time.Minute
		w.crash("a")
		w.run(time.Second)
		call := w.stop("b")
		w.run(0)
		w.wantReply(call, "")
		w.want("*a -c -b +a")
		w.wantStates("a:starting b:stopped c:stopped")
		w.send(ShutDown{})
		w.run(time.Minute)
		w.want("-a")
		if w.ended == nil {
			t.Error("the node has not ended")
		}
	}
}

// A restart in a supervisor that starts its children one after the other does not let those
// behind the one that is still coming up pass it.
func TestARestartAmidASequenceOfStartsLetsNobodyPass(t *testing.T) {
	group := under("group", OneForOne, Sequence, typed(Transient, service("job")), through(WhenCompleted, false, service("user", "job")))
	first := service("first")
	first.Backoff = Backoff{Initial: 2 * time.Second, Factor: 1}
	w := newWorld(t, under("root", OneForOne, Sequence, first, nested(group), service("last")), Options{})
	w.send(Boot{})
	w.run(time.Second)
	w.want("+first +job")
	w.crash("first") // while user waits for job, and last for both
	w.run(3 * time.Second)
	w.want("*first +first")
	w.finish("job")
	w.run(time.Second)
	w.want("~job +user +last")
}
