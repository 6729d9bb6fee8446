package actors

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// panicked has an actor panic.
func (r *rig) panicked(name string) {
	r.t.Helper()
	r.system.Root.Send(actor.NewPID(r.system.Address(), name), broken{reason: "told to", stack: []byte("a stack")})
	synctest.Wait()
}

// A panic of a service's actor, or of a goroutine of it, wherever it happens, is an
// abnormal end of that service: its process is gone, it is restarted, nobody else is
// touched.
func TestAPanicOfAServicesActorIsAnAbnormalEndOfIt(t *testing.T) {
	stop := func(r *rig) { r.command(supervision.OpRestart, "db") }
	crash := func(r *rig) { r.back.last("db").exit(3, 0) }
	for _, tc := range []struct {
		method string
		plan   fakePlan
		do     func(r *rig)
	}{
		{method: "Start"},
		{method: "Prober"},
		{method: "Pid"},
		{method: "StartedAt"},
		{method: "OnExit"},
		{method: "OnOutput"},
		{method: "Ready"},
		{method: "Capture"},
		{method: "Check"},
		{method: "Signal", do: stop},
		{method: "Exit", do: stop},
		{method: "Exit", do: crash},
		{method: "Counters", do: crash},
		{method: "AwaitGone", do: crash},
		{method: "Kill", do: crash},
		{method: "PostStop", do: crash},
		{method: "Release", do: stop},
		{method: "SignalLeft", do: stop, plan: fakePlan{born: func(p *fakeProcess) { p.leaves = true }}},
		{method: "Left", do: stop, plan: fakePlan{deaf: true, born: func(p *fakeProcess) { p.plan.undead = p.inc == 1 }}},
	} {
		t.Run(tc.method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := newFake(t)
				plan := tc.plan
				if tc.do == nil {
					plan.born = func(p *fakeProcess) { p.panics[tc.method] = p.inc == 1 }
				}
				plan.start = func(_ context.Context, try int) error {
					if tc.method == "Start" && try == 1 {
						panic("told to in Start")
					}
					return nil
				}
				back.plan("db", plan)
				r := newRig(t, config(t, def{name: "db", svc: checked}, def{name: "web"}), back)
				pass(2 * time.Second)
				if tc.do != nil {
					first := back.last("db")
					first.panicIn(tc.method)
					tc.do(r)
					pass(time.Minute)
					first.die() // what does not die by a signal
				}
				pass(time.Minute)
				r.wantState("db", supervision.StateRunning, 2)
				r.wantState("web", supervision.StateRunning, 1)
				if got := back.alive(); !slices.Equal(got, []string{"db/2", "web/1"}) {
					t.Errorf("alive: %v, want the second db and the first web", got)
				}
				if lives := back.lives["db"]; len(lives) > 1 && lives[0].called("PostStop") != 1 {
					t.Errorf("the hooks of the first life ran %d times, want once", lives[0].called("PostStop"))
				}
				if tc.method == "Check" { // found only by what it does to others
					if e := r.event("service.exited", "db"); e.Message != "its actor panicked and took it along" {
						t.Errorf("got %q", e.Message)
					}
				}
			})
		})
	}
}

func TestAPanicAtEachStageOfALifeLosesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		plan   fakePlan
		before func(r *rig)
		want   supervision.State
		inc    uint64
	}{
		"preparing, the process is made all the same": {
			plan: fakePlan{start: func(ctx context.Context, try int) error {
				if try == 1 {
					<-time.After(time.Minute)
				}
				return nil
			}},
			want: supervision.StateRunning, inc: 2,
		},
		"preparing, it is given up": {
			plan: fakePlan{start: func(ctx context.Context, try int) error {
				if try == 1 {
					<-ctx.Done()
					return &proc.StartError{Stage: proc.StageHook, Err: ctx.Err()}
				}
				return nil
			}},
			want: supervision.StateRunning, inc: 2,
		},
		"starting": {
			plan: fakePlan{check: func(p *fakeProcess, _ int) error {
				if p.inc == 1 {
					return syscall.ECONNREFUSED
				}
				return nil
			}},
			want: supervision.StateRunning, inc: 2,
		},
		"running": {want: supervision.StateRunning, inc: 2},
		"stopping": {
			plan: fakePlan{deaf: true}, before: func(r *rig) { r.command(supervision.OpStop, "db") },
			want: supervision.StateStopped, inc: 1,
		},
		"backing off": {
			before: func(r *rig) {
				r.back.last("db").exit(1, 0)
				synctest.Wait()
			},
			want: supervision.StateRunning, inc: 2,
		},
		"down": {
			before: func(r *rig) { r.command(supervision.OpStop, "db") },
			want:   supervision.StateStopped, inc: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := newFake(t)
				back.plan("db", tc.plan)
				r := newRig(t, config(t, def{name: "db", svc: checked}, def{name: "web"}), back)
				pass(5 * time.Second)
				if tc.before != nil {
					tc.before(r)
				}
				r.panicked("root/db")
				if got := back.alive(); tc.plan.start == nil && slices.Contains(got, "db/1") {
					t.Errorf("alive: %v, want the process gone with its actor", got)
				}
				pass(2 * time.Minute)
				r.wantState("db", tc.want, tc.inc)
				r.wantState("web", supervision.StateRunning, 1)
			})
		})
	}
}

func TestTheLastLinesOfAServiceWhoseActorPanicsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		r := newRig(t, config(t, def{name: "db"}), back)
		pass(2 * time.Second)
		back.last("db").out["stdout"] <- []proc.Line{{Data: []byte("last words")}}
		r.panicked("root/db")
		pass(time.Minute)
		if got, err := r.LastLines(t.Context(), "db"); err != nil || !slices.Equal(got, []string{"last words"}) {
			t.Errorf("got %q, %v", got, err)
		}
		if got := r.services.get("db").detail.Load(); got.Exit == nil || got.Exit.Signal != syscall.SIGKILL {
			t.Errorf("got exit %v, want that of the life that was killed", got.Exit)
		}
	})
}

// An actor that panics as soon as it is there would take a processor with it.
func TestAnActorThatPanicsAtOnceIsNotReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, config(t, def{name: "db"}), newFake(t))
		pass(10 * time.Second)
		r.panicked("root/db")
		r.panicked("root/db")
		if err := r.probe("root/db"); err == nil {
			t.Error("the place of a young actor was not left empty")
		}
		pass(time.Minute)
		if err := r.probe("root/db"); err != nil {
			t.Error("its place is empty still")
		}
		r.wantState("db", supervision.StateRunning, 2)
	})
}

// probe tells whether a service's actor answers.
func (r *rig) probe(name string) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := ask(ctx, address{actor.NewPID(r.system.Address(), name), r.system.Root, r.root.gone}, func(reply chan<- signalled) any {
		return signalService{reply: reply}
	})
	return err
}

func nested(t *testing.T) Config {
	t.Helper()
	cfg := config(t, def{name: "api"}, def{name: "db"}, def{name: "cache", needs: []string{"db"}})
	inner := supervision.SupervisorSpec{
		ID: "data", Strategy: supervision.OneForOne, Order: supervision.Graph, Intensity: supervision.Intensity{Max: 3, Period: time.Minute},
		Children: []supervision.ChildSpec{def{name: "db"}.spec(), def{name: "cache", needs: []string{"db"}}.spec()},
	}
	cfg.compile(t, supervision.SupervisorSpec{
		ID: "root", Strategy: supervision.RestForOne, Order: supervision.Graph, Intensity: supervision.Intensity{Max: 10, Period: time.Minute},
		Children: []supervision.ChildSpec{def{name: "api"}.spec(), {ID: "data", Supervisor: &inner, Backoff: supervision.Backoff{Initial: time.Second, Factor: 2, Max: time.Minute}}},
	})
	return cfg
}

// A supervisor that panicked respawned its children for ever.
func TestAPanicOfASupervisorsActorEndsAndRestartsWhatIsBelowIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		r := newRig(t, nested(t), back)
		pass(2 * time.Second)
		back.plan("db", fakePlan{slow: time.Hour}) // what it has no time for
		r.news()
		r.panicked("root/data")
		if got := back.alive(); !slices.Equal(got, []string{"api/1"}) {
			t.Errorf("alive: %v, want only what is not below it", got)
		}
		pass(time.Minute)
		r.wantState("data", supervision.StateRunning, 2)
		r.wantState("db", supervision.StateRunning, 2)
		r.wantState("cache", supervision.StateRunning, 2)
		r.wantState("api", supervision.StateRunning, 1)
		back.last("cache").exit(1, 0) // the new ones are supervised
		pass(time.Minute)
		r.wantState("cache", supervision.StateRunning, 3)
		if news := r.news(); !slices.Contains(news, "supervisor.restarting root") {
			t.Errorf("got %v, want the restart of data to be decided by root", news)
		}
	})
}

func TestASupervisorThatPanicsWhileAProcessIsMadeHasItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{start: func(_ context.Context, try int) error {
			if try == 1 {
				<-time.After(10 * time.Second)
			}
			return nil
		}})
		r := newRig(t, nested(t), back)
		pass(2 * time.Second)
		r.panicked("root/data")
		pass(time.Minute)
		r.wantState("db", supervision.StateRunning, 2)
		if got := back.alive(); !slices.Equal(got, []string{"api/1", "cache/1", "db/2"}) {
			t.Errorf("alive: %v", got)
		}
	})
}

// What a panicked actor left is waited for before the next life; where it does not
// die, that is told about the next one.
func TestWhatAPanickedSubtreeLeftIsWaitedFor(t *testing.T) {
	for name, stopped := range map[string]bool{"wanted": false, "stopped meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := newFake(t)
				back.plan("db", fakePlan{born: func(p *fakeProcess) { p.plan.undead = p.inc == 1 }})
				r := newRig(t, nested(t), back)
				pass(2 * time.Second)
				first := back.last("db")
				r.panicked("root/data")
				pass(5 * time.Second)
				r.wantState("db", supervision.StateStarting, 2)
				var answer <-chan error
				if stopped {
					answer = r.command(supervision.OpStop, "db")
					open(t, answer)
				} else {
					pass(10 * time.Second)
					r.wantState("db", supervision.StateStuck, 2)
				}
				first.die()
				pass(time.Minute)
				if stopped {
					answered(t, answer, "")
					r.wantState("db", supervision.StateStopped, 2)
				} else {
					r.wantState("db", supervision.StateRunning, 3)
				}
			})
		})
	}
}

// Root's children were respawned while it stopped: the node could not be closed.
func TestAPanicOfRootEndsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{deaf: true})
		r := newRig(t, nested(t), back)
		pass(2 * time.Second)
		answer := r.command(supervision.OpRestart, "db")
		r.panicked("root")
		if o := r.ended(); o.Panic != "told to" {
			t.Errorf("got %+v, want what it panicked with", o)
		}
		answered(t, answer, errGone.Error())
		if err := r.Stop(t.Context(), false, "test", "stop"); err == nil {
			t.Error("got success of a stop without anybody to do it")
		}
		r.Close()
		if got := back.alive(); len(got) > 0 {
			t.Errorf("alive after Close: %v", got)
		}
	})
}

func TestAPanicOfWhatWritesToDiskTouchesNothingElse(t *testing.T) {
	for _, names := range [][]string{{"records/journal", "records/log/db"}, {"records"}} {
		t.Run(names[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { panicOfRecords(t, names) })
		})
	}
}

func panicOfRecords(t *testing.T, names []string) {
	t.Helper()

	back := newFake(t)
	cfg := config(t, def{name: "db"}, def{name: "web"})
	cfg.Logs.Dir, cfg.Logs.MaxSize, cfg.Logs.MaxFiles = t.TempDir(), 1<<20, 2
	cfg.EventsPath = t.TempDir() + "/events.jsonl"
	r := newRig(t, cfg, back)
	pass(2 * time.Second)
	events, lines := NewFollower[eventRecord](), NewFollower[lineRecord]()
	if _, err := r.FollowEvents(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if _, err := r.FollowLogs(t.Context(), []string{"db"}, lines); err != nil {
		t.Fatal(err)
	}
	back.last("db").say("one")
	pass(time.Second)
	for _, name := range names {
		r.panicked(name)
	}
	pass(time.Second)
	back.last("db").say("two")
	pass(time.Second)
	r.wantState("db", supervision.StateRunning, 1)
	r.wantState("web", supervision.StateRunning, 1)
	var got []string
	for len(lines.Batches()) > 0 {
		for _, e := range <-lines.Batches() {
			got = append(got, string(e.Line))
		}
	}
	if text := strings.Join(got, " "); text != "one two" || lines.Lost() > 0 {
		t.Errorf("the follower got %q, want both lines", text)
	}
	before := r.news()
	back.last("web").exit(1, 0)
	synctest.Wait()
	if news := r.news(); len(before) == 0 || len(news) == 0 || len(events.Batches()) == 0 {
		t.Errorf("got events %v then %v, %d for the follower", before, news, len(events.Batches()))
	}
	r.Close()
	if got := linesOnDisk(t, cfg, "db"); !slices.Equal(got, []string{"1 one", "2 two"}) {
		t.Errorf("on disk: %v", got)
	}
}
