package actors

import (
	"errors"
	"maps"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proc/state"
	"github.com/blackhole/bhnode/supervision"
)

// next starts a node on what another one has kept and has left running, as if that had
// been killed just now: it goes on, but nothing it does from here on is seen.
func (r *rig) next(cfg Config, missing ...string) *rig {
	r.t.Helper()
	synctest.Wait()
	dir := r.t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(r.cfg.State.Dir())); err != nil {
		r.t.Fatal(err)
	}
	store, err := state.Open(dir)
	if err != nil {
		r.t.Fatal(err)
	}
	past, err := Recall(store, "boot")
	if err != nil || past == nil {
		r.t.Fatalf("recalled is %v, %v", past, err)
	}
	cfg.State, cfg.Boot, cfg.Past = store, "boot", past
	if err := past.Fit(&cfg, Fitting{}); err != nil {
		r.t.Fatal(err)
	}
	back := newFake(r.t)
	maps.Copy(back.plans, r.back.plans)
	for name, inc := range past.Lives() {
		if old := r.back.last(name); old != nil && old.inc == inc && !slices.Contains(missing, name) {
			back.inherit(old)
		}
	}
	return newRig(r.t, cfg, back)
}

// keeping is a configuration that keeps what is decided.
func keeping(t *testing.T, cfg Config) Config {
	t.Helper()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.State, cfg.Boot = store, "boot"
	return cfg
}

// wantAll compares the events since the last look, in whatever order.
func (r *rig) wantAll(want ...string) {
	r.t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(r.news()))); diff != "" {
		r.t.Errorf("events: -want +got\n%s", diff)
	}
}

func TestTheNextLifeOfANodeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := fakePlan{check: func(*fakeProcess, int) error { return errors.New("not yet") }}
		back := newFake(t)
		back.plan("young", never)
		cfg := keeping(t, config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}}, def{name: "young", svc: checked}, def{name: "late"}))
		r := newRig(t, cfg, back)
		pass(10 * time.Second)
		back.last("late").exit(3, 0)
		pass(400 * time.Millisecond)
		pid := back.last("db").pid
		n := r.next(cfg)
		n.wantAll("node.starting", "waiting web", "starting db/1", "starting young/1", "starting late/1", "started db/1", "started young/1", "started late/1",
			"ready db/1", "ready late/1", "starting web/1", "started web/1", "ready web/1", "exited late/1", "backoff late/1",
			"node.adopted", "adopted db/1", "adopted web/1", "adopted young/1")
		if got := n.event("service.adopted", "db"); got.Pid != pid || got.Cause != n.event("node.adopted", "").Seq {
			t.Errorf("got %+v, want the process %d, adopted by the node", got, pid)
		}
		pass(599 * time.Millisecond)
		n.want() // the back-off is not over yet
		pass(time.Second)
		n.want("starting late/2", "started late/2", "ready late/2")
		pass(19 * time.Second) // 30 s after it was started
		n.want("exited young/1", "backoff young/1")
		n.back.last("db").exit(1, 0)
		pass(10 * time.Second)
		got := n.news()
		want := []string{"exited db/1", "supervisor.restarting root", "backoff db/1", "stopping web/1", "stopped web/1", "waiting web/1"}
		if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func TestWhatWasUnderWayIsOrderedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("web", fakePlan{slow: 5 * time.Second})
		cfg := keeping(t, config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}}, def{name: "lost"}))
		r := newRig(t, cfg, back)
		pass(time.Second)
		back.last("db").exit(-1, syscall.SIGKILL)
		pass(time.Second)
		n := r.next(cfg, "lost") // it had ended and was released, which could not be told any more
		synctest.Wait()
		if got := n.back.last("web").called("Signal terminated"); got != 1 {
			t.Errorf("web was told %d times to stop", got)
		}
		if e := n.event("service.exited", "lost"); e.Incarnation != 1 || e.Message != "exit unknown" {
			t.Errorf("the life that was lost has ended with %+v", e)
		}
		n.seen = max(n.event("service.adopted", "web").Seq, n.event("service.backoff", "lost").Seq)
		pass(20 * time.Second)
		if got := n.back.last("lost"); got == nil || got.inc != 2 {
			t.Errorf("the life after the one that was lost is %+v", got)
		}
		n.want("starting lost/2", "started lost/2", "ready lost/2", "stopped web/1", "starting db/2", "waiting web/1", "started db/2", "ready db/2", "starting web/2", "started web/2", "ready web/2")
	})
}

// What is kept begins anew before it grows without end; the next life misses nothing.
func TestWhatIsKeptBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		cfg := keeping(t, config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}}))
		r := newRig(t, cfg, back, func(n *nodeContext) { n.turnAt = 1000 })
		pass(time.Second)
		for range 3 {
			back.last("db").exit(1, 0)
			pass(20 * time.Second)
		}
		views, err := r.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if text, _, err := cfg.State.Recall(); err != nil || len(text) == 0 {
			t.Fatal(err)
		}
		n := r.next(cfg)
		pass(time.Millisecond)
		after, err := n.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range views {
			views[i].Since, after[i].Since = time.Time{}, time.Time{}
		}
		if diff := cmp.Diff(views, after); diff != "" {
			t.Errorf("the tree: -want +got\n%s", diff)
		}
		if n.machineRestarts("db") != 3 {
			t.Errorf("db was restarted %d times", n.machineRestarts("db"))
		}
	})
}

func (r *rig) machineRestarts(name supervision.ChildID) uint64 {
	r.t.Helper()
	views, err := r.Snapshot(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, v := range views {
		if v.ID == name {
			return v.Restarts
		}
	}
	return 0
}

func TestThereIsNothingToGoOnWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := keeping(t, config(t, def{name: "db"}))
		r := newRig(t, cfg, newFake(t))
		pass(time.Second)
		if past, err := Recall(cfg.State, "another boot"); past != nil || err != nil {
			t.Errorf("of another boot: %v, %v", past, err)
		}
		if err := r.Stop(t.Context(), false, "me", "stop"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if past, err := Recall(cfg.State, "boot"); past != nil || err != nil {
			t.Errorf("of a node that has ended: %v, %v", past, err)
		}
	})
}
