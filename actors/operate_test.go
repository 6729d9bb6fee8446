package actors

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/supervision"
)

func TestAnOperatorStopsStartsAndRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		r := newRig(t, config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}}, def{name: "clock"}), back)
		pass(time.Second)
		r.news()
		answered(t, r.command(supervision.OpStop, "db"), "")
		r.want("operator.command", "stopping web/1", "stopped web/1", "stopping db/1", "stopped db/1")
		if v := r.state("web"); v.Held || v.Wanted || v.Reason != supervision.ReasonHeld {
			t.Errorf("got %+v, want web under the hold of db", v)
		}
		answer := r.command(supervision.OpStart, "web")
		open(t, answer)
		pass(time.Second)
		answered(t, answer, "")
		r.want("operator.command", "waiting web/1", "starting db/2", "started db/2", "ready db/2", "starting web/2", "started web/2", "ready web/2")
		answer = r.command(supervision.OpRestart, "db")
		pass(time.Second)
		answered(t, answer, "")
		r.want("operator.command", "stopping web/2", "stopped web/2", "stopping db/2", "waiting web/2", "stopped db/2",
			"starting db/3", "started db/3", "ready db/3", "starting web/3", "started web/3", "ready web/3")
		if got := r.event("service.stopping", "web"); got.Cause == 0 {
			t.Error("the stop has no cause")
		}
		answered(t, r.command(supervision.OpStart, "nobody"), "no service or supervisor is called nobody")
		answered(t, r.command(supervision.OpPause, "db"), "is a service")
		answered(t, r.command(supervision.OpPause, "root"), "")
		r.news()
		back.last("clock").exit(1, 0)
		pass(time.Minute)
		r.want("exited clock/1")
		answered(t, r.command(supervision.OpResume, "root"), "")
		pass(time.Minute)
		r.wantState("clock", supervision.StateRunning, 2)
	})
}

func TestAnOperatorNeedNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{slow: 10 * time.Second})
		r := newRig(t, config(t, def{name: "db"}), back)
		pass(time.Second)
		answered(t, r.send(operate{op: supervision.OpStop, ids: ids([]string{"db"}), noWait: true}), "")
		r.wantState("db", supervision.StateStopping, 1)
		waits := r.send(operate{op: supervision.OpStop, ids: ids([]string{"db"})})
		open(t, waits)
		pass(10 * time.Second)
		answered(t, waits, "")
		answered(t, r.send(operate{op: supervision.OpStart, ids: ids([]string{"nobody"}), noWait: true}), "nobody")
	})
}

// The backend fails the test where two lives of a service overlap.
func TestFiftyCallersAtOnceNeverMakeTwoProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{slow: 3 * time.Millisecond})
		r := newRig(t, config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}}), back)
		pass(time.Second)
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				<-time.After(time.Duration(i) * time.Millisecond)
				op := []supervision.Operation{supervision.OpRestart, supervision.OpStop, supervision.OpStart}[i%3]
				_, _ = ask(t.Context(), r.root, func(reply chan<- error) any { // some are overtaken by others
					return operate{op: op, ids: ids([]string{"db"}), reply: reply}
				})
			})
		}
		all.Wait()
		answer := r.command(supervision.OpStart, "web")
		pass(time.Second)
		answered(t, answer, "")
		if got := back.alive(); len(got) != 2 {
			t.Errorf("alive: %v, want one of each", got)
		}
	})
}

func TestASignalReachesTheMainProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		r := newRig(t, nested(t), back)
		pass(time.Second)
		signal := func(name string) (signalled, error) {
			return askNow(t.Context(), r.root, func(reply chan<- signalled) any {
				return signalService{id: supervision.ChildID(name), signal: syscall.SIGHUP, who: "test", reply: reply}
			})
		}
		got, err := signal("cache") // below a nested supervisor
		p := back.last("cache")
		if err != nil || got.err != nil || got.pid != p.pid || p.called("Signal hangup") != 1 {
			t.Errorf("got %+v, %v, want the signal sent to %d", got, err, p.pid)
		}
		if e := r.event("operator.command", "cache"); e.Message != "signal cache SIGHUP" || e.Attrs["who"] != "test" {
			t.Errorf("got %q %v", e.Message, e.Attrs)
		}
		answered(t, r.command(supervision.OpStop, "cache"), "")
		if got, err := signal("cache"); err != nil || got.err == nil {
			t.Errorf("got %+v, %v, want that it does not run", got, err)
		}
		// What is asked of an actor that panics meanwhile is not waited for for ever.
		if _, err := signal("nobody"); !errors.Is(err, errSilent) {
			t.Errorf("got %v, want that nobody answers", err)
		}
	})
}

// Holds are written one at a time, the newest last, before the operator is answered.
func TestHoldsAreKeptBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		var mu sync.Mutex
		writing := 0
		back.keep = func([]supervision.Hold) error {
			mu.Lock()
			writing++
			if writing > 1 {
				t.Error("two writes at once")
			}
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			writing--
			mu.Unlock()
			return nil
		}
		r := newRig(t, config(t, def{name: "a"}, def{name: "b"}, def{name: "c"}), back)
		pass(time.Second)
		var answers []<-chan error
		for _, name := range []string{"a", "b", "c"} {
			answers = append(answers, r.command(supervision.OpStop, name))
		}
		r.wantState("c", supervision.StateStopped, 1)
		for _, a := range answers {
			open(t, a)
		}
		pass(1100 * time.Millisecond)
		open(t, answers[2]) // the first write knew of a only
		pass(time.Second)
		for _, a := range answers {
			answered(t, a, "")
		}
		want := [][]supervision.Hold{{{ID: "a"}}, {{ID: "a"}, {ID: "b"}, {ID: "c"}}}
		if diff := cmp.Diff(want, back.holds); diff != "" {
			t.Errorf("kept: -want +got\n%s", diff)
		}
	})
}

func TestHoldsAreKeptThoughTheNodeEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.keep = func([]supervision.Hold) error { <-time.After(time.Second); return nil }
		r := newRig(t, config(t, def{name: "a"}, def{name: "b"}), back)
		pass(time.Second)
		first, second := r.command(supervision.OpStop, "a"), r.command(supervision.OpStop, "b")
		r.Close()
		answered(t, first, errGone.Error())
		answered(t, second, errGone.Error())
		if want := []supervision.Hold{{ID: "a"}, {ID: "b"}}; len(back.holds) == 0 || !slices.Equal(back.holds[len(back.holds)-1], want) {
			t.Errorf("kept %v, want %v last", back.holds, want)
		}
	})
}

func TestHoldsThatCannotBeKeptHoldAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.keep = func([]supervision.Hold) error { return syscall.EIO }
		r := newRig(t, config(t, def{name: "a"}), back)
		pass(time.Second)
		answered(t, r.command(supervision.OpStop, "a"), "")
		if v := r.state("a"); !v.Held {
			t.Errorf("got %+v, want it held", v)
		}
	})
}

func TestHoldsOfAnEarlierLifeAreInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config(t, def{name: "a"}, def{name: "b"})
		cfg.Holds = []supervision.Hold{{ID: "a"}}
		cfg.Incarnations = map[supervision.ChildID]uint64{"b": 7}
		r := newRig(t, cfg, newFake(t))
		pass(time.Second)
		r.wantState("a", supervision.StateStopped, 0)
		r.wantState("b", supervision.StateRunning, 8)
	})
}

func TestANodeStopsInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("web", fakePlan{slow: time.Second})
		r := newRig(t, config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}}), back)
		pass(time.Second)
		r.news()
		if err := r.Stop(t.Context(), false, "uid 0", "shutdown"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		r.want("operator.command", "node.stopping", "stopping web/1", "stopped web/1", "stopping db/1", "stopped db/1", "node.stopped")
		if o := r.ended(); o.Why != supervision.EndOrdered || o.Panic != nil {
			t.Errorf("got %+v, want an ordered end", o)
		}
		answered(t, r.command(supervision.OpStart, "db"), "is stopping")
		r.Close()
		r.Close() // does nothing
		answered(t, r.command(supervision.OpStart, "db"), errGone.Error())
	})
}

// A thousand services have as many goroutines as there are pipes and ends to wait
// for, and no more.
func TestIdleServicesAreCheap(t *testing.T) {
	back := newFake(t)
	defs := make([]def, 1000)
	for i := range defs {
		defs[i].name = fmt.Sprintf("s%d", i)
	}
	n, err := Start(config(t, defs...), back)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	<-n.Booted()
	goroutines, heap := usage()
	if each := float64(goroutines) / 1000; each > 3.1 {
		t.Errorf("%.1f goroutines a service, want 3: stdout, stderr, its end", each)
	}
	if heap > 25<<20 {
		t.Errorf("%d MiB in use for 1000 services, want 25 at most", heap>>20)
	}
}
