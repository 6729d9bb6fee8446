package actors

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

func TestAStopAsksThenKillsThenTellsThatItIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{deaf: true, undead: true})
		r := newRig(t, config(t, def{name: "db"}), back)
		pass(time.Second)
		r.news()
		p := back.last("db")
		answer := r.command(supervision.OpStop, "db")
		pass(29 * time.Second)
		if p.called("Signal terminated") != 1 || p.called("Kill") != 0 {
			t.Errorf("after 29s asked %d times, killed %d, want only asked", p.called("Signal terminated"), p.called("Kill"))
		}
		pass(2 * time.Second)
		if p.called("Kill") == 0 {
			t.Error("not killed after the grace of 30s")
		}
		open(t, answer)
		pass(10 * time.Second)
		answered(t, answer, "db is stuck: alive 10s after SIGKILL: 1 (db, D in nfs_wait)")
		r.want("operator.command", "stopping db/1", "stuck db/1")
		pass(time.Hour)
		p.die() // at last
		pass(time.Second)
		r.want("stopped db/1")
		answer = r.command(supervision.OpStart, "db")
		back.plan("db", fakePlan{})
		pass(time.Second)
		answered(t, answer, "")
		r.wantState("db", supervision.StateRunning, 2)
		back.last("db").plan = fakePlan{}
	})
}

func TestWhatASignalCannotEndIsAskedAndKilledToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{born: func(p *fakeProcess) { p.leaves = true }})
		r := newRig(t, config(t, def{name: "db"}), back)
		pass(time.Second)
		p := back.last("db")
		answer := r.command(supervision.OpStop, "db")
		pass(time.Second)
		if p.called("SignalLeft") != 1 {
			t.Errorf("what was left was asked %d times, want once", p.called("SignalLeft"))
		}
		open(t, answer)
		pass(30 * time.Second)
		answered(t, answer, "")
		if got := r.between("service.stopping", "service.stopped"); got != 30*time.Second {
			t.Errorf("gone after %v, want the grace of 30s", got)
		}
	})
}

func TestAStopDuringAStartAbortsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, hooked := range map[string]bool{"a hook that is ended": true, "a process that is made all the same": false} {
			back := newFake(t)
			back.plan("db", fakePlan{start: func(ctx context.Context, _ int) error {
				<-ctx.Done()
				if hooked {
					return &proc.StartError{Stage: proc.StageHook, Err: ctx.Err()}
				}
				return nil
			}})
			r := newRig(t, config(t, def{name: "db"}), back)
			pass(time.Second)
			r.want("node.starting", "starting db/1")
			answer := r.command(supervision.OpStop, "db")
			pass(time.Second)
			answered(t, answer, "")
			r.want("operator.command", "stopping db/1", "stopped db/1", "node.ready")
			if left := back.alive(); len(left) > 0 {
				t.Errorf("%s: left %v", name, left)
			}
		}
	})
}

func TestTheEndSaysHow(t *testing.T) {
	for name, tc := range map[string]struct {
		exit   proc.Exit
		last   string // event
		reason string
	}{
		"exit 0":           {proc.Exit{Known: true}, "completed db/1", "exit"},
		"a success code":   {proc.Exit{Known: true, Code: 7}, "completed db/1", "exit"},
		"a success signal": {proc.Exit{Known: true, Code: -1, Signal: syscall.SIGUSR1}, "completed db/1", "signal"},
		"another code":     {proc.Exit{Known: true, Code: 8}, "backoff db/1", "exit"},
		"a signal":         {proc.Exit{Known: true, Code: -1, Signal: syscall.SIGTERM}, "backoff db/1", "signal"},
		"out of memory":    {proc.Exit{Known: true, Code: -1, Signal: syscall.SIGKILL, OOMKilled: true}, "backoff db/1", "oom"},
		"unknown":          {proc.Exit{}, "backoff db/1", "exit"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := newFake(t)
				r := newRig(t, config(t, def{
					name:  "db",
					child: func(c *supervision.ChildSpec) { c.Restart = supervision.Transient },
					svc: func(s *Service) {
						s.Spec.SuccessCodes, s.Spec.SuccessSignals = []int{7}, []syscall.Signal{syscall.SIGUSR1}
					},
				}), back)
				pass(time.Second)
				p := back.last("db")
				p.end = tc.exit
				close(p.exited)
				close(p.gone)
				synctest.Wait()
				if news := r.news(); news[len(news)-1] != tc.last {
					t.Errorf("got %v, want %q last", news, tc.last)
				}
				if e := r.event("service.exited", "db"); e.Attrs["reason"] != tc.reason || e.Attrs["oom_killed"] != tc.exit.OOMKilled {
					t.Errorf("got %v, want reason %s", e.Attrs, tc.reason)
				}
			})
		})
	}
}

// What the kernel counted against a service is told with its end, and when asked for.
func TestTheEndTellsWhatLimitsDid(t *testing.T) {
	for name, tc := range map[string]struct {
		counted proc.Counters
		exit    proc.Exit
		message string
		attrs   map[string]any
	}{
		"nothing": {exit: proc.Exit{Known: true, Code: 1}, message: "exit 1", attrs: map[string]any{"forks_refused": nil, "throttled_seconds": nil}},
		"memory": {
			counted: proc.Counters{OOMKills: 1}, exit: proc.Exit{Known: true, Code: -1, Signal: syscall.SIGKILL, OOMKilled: true},
			message: "SIGKILL, out of memory, memory_mb 64", attrs: map[string]any{"oom_killed": true},
		},
		"forks": {
			counted: proc.Counters{PidsRefused: 12, Throttled: 1500 * time.Millisecond, ThrottledPeriods: 15}, exit: proc.Exit{Known: true, Code: 2},
			message: "exit 2, forks refused: 12, processes 20", attrs: map[string]any{"forks_refused": uint64(12), "throttled_seconds": 1.5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := newFake(t)
				back.plan("db", fakePlan{counters: tc.counted})
				r := newRig(t, config(t, def{name: "db", svc: func(s *Service) { s.Spec.Limits = proc.Limits{MemoryMB: 64, Processes: 20} }}), back)
				pass(time.Second)
				p := back.last("db")
				p.end = tc.exit
				close(p.exited)
				close(p.gone)
				synctest.Wait()
				e := r.event("service.exited", "db")
				if e.Message != tc.message {
					t.Errorf("got %q, want %q", e.Message, tc.message)
				}
				for key, want := range tc.attrs {
					if e.Attrs[key] != want {
						t.Errorf("%s: got %v, want %v", key, e.Attrs[key], want)
					}
				}
				views, err := r.Snapshot(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				rows, err := r.statusOf(views, []string{"db"})
				if err != nil {
					t.Fatal(err)
				}
				if got := rows[0].GetCounters(); got.GetForksRefused() != tc.counted.PidsRefused || got.GetOomKills() != tc.counted.OOMKills ||
					got.GetThrottled().AsDuration() != tc.counted.Throttled {
					t.Errorf("status counts %v, want %v", got, tc.counted)
				}
			})
		})
	}
}

// The time to die ended while a hook ran, and called dead processes stuck.
func TestALongHookIsNotAStuckService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{hook: func(ctx context.Context) error {
			select {
			case <-time.After(25 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
		r := newRig(t, config(t, def{name: "db"}), back)
		pass(time.Second)
		r.news()
		p := back.last("db")
		kills := p.called("Kill")
		answer := r.command(supervision.OpStop, "db")
		pass(time.Minute)
		answered(t, answer, "")
		r.want("operator.command", "stopping db/1", "stopped db/1")
		if p.called("PostStop held") != 1 || p.called("Kill") != kills {
			t.Errorf("hooks ran %d times, killed %d times, want once and never", p.called("PostStop held"), p.called("Kill")-kills)
		}
	})
}

func TestKillingANodeKillsItsHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		var p *fakeProcess
		back.plan("db", fakePlan{hook: func(context.Context) error {
			for p.called("Kill") == 0 {
				<-time.After(time.Millisecond)
			}
			return errors.New("killed")
		}})
		r := newRig(t, config(t, def{name: "db"}), back)
		pass(time.Second)
		p = back.last("db")
		if err := r.Stop(t.Context(), false, "test", "stop"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if err := r.Stop(t.Context(), true, "test", "stop --now"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if o := r.ended(); o.Why != supervision.EndOrdered {
			t.Errorf("got %+v, want an ordered end", o)
		}
	})
}

func TestTheShutdownTimeoutKillsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{deaf: true})
		cfg := config(t, def{name: "db", child: func(c *supervision.ChildSpec) { c.Shutdown = supervision.Shutdown{Mode: supervision.Infinity} }}, def{name: "web", needs: []string{"db"}})
		r := newRig(t, cfg, back)
		pass(time.Second)
		begin := time.Now()
		if err := r.Stop(t.Context(), false, "test", "stop"); err != nil {
			t.Fatal(err)
		}
		o := <-r.Ended()
		if got := time.Since(begin); o.Why != supervision.EndOrdered || got != 2*time.Minute {
			t.Errorf("got %+v after %v, want the order done after 2m", o, got)
		}
	})
}

func TestBrutalKillDoesNotAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{deaf: true})
		r := newRig(t, config(t, def{name: "db", child: func(c *supervision.ChildSpec) { c.Shutdown = supervision.Shutdown{Mode: supervision.BrutalKill} }}), back)
		pass(time.Second)
		p := back.last("db")
		answered(t, r.command(supervision.OpStop, "db"), "")
		if p.called("Signal") != 0 {
			t.Error("it was asked, want it killed at once")
		}
	})
}

// Timers of lives that are over stayed until they were due.
func TestNoTimerOutlivesALife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		r := newRig(t, config(t, def{name: "db", child: func(c *supervision.ChildSpec) { c.Shutdown.Grace = 1000 * time.Hour }, svc: func(s *Service) {
			checked(s)
			s.Health.StartPeriod, s.Health.Interval = 1000*time.Hour, 1000*time.Hour
		}}), back)
		var late []any
		r.system.EventStream.Subscribe(func(m any) {
			if dead, ok := m.(*actor.DeadLetterEvent); ok {
				late = append(late, dead.Message)
			}
		})
		pass(time.Second)
		answered(t, r.command(supervision.OpStop, "db"), "")
		if err := r.Stop(t.Context(), false, "test", "stop"); err != nil {
			t.Fatal(err)
		}
		r.Close()
		late = nil
		pass(5000 * time.Hour)
		if len(late) > 0 {
			t.Errorf("got %T %v", late[0], late)
		}
	})
}

// TestNobodyIsStartedBesideWhoCannotBeSeen: where bhnode can open nothing more, it looks again.
func TestNobodyIsStartedBesideWhoCannotBeSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{blind: true, born: func(p *fakeProcess) { p.leaves = true }})
		newRig(t, config(t, def{name: "db"}), back)
		pass(time.Second)
		first := back.last("db")
		back.plan("db", fakePlan{})
		first.exit(1, 0)
		pass(2500 * time.Millisecond)
		if p := back.last("db"); p != first {
			t.Errorf("life %d was started before it was seen that the first is over", p.inc)
		}
		pass(time.Minute)
		if p := back.last("db"); p == first || first.called("Kill") < 3 {
			t.Errorf("the last life is %d, the first was killed %d times, want another, at least three", p.inc, first.called("Kill"))
		}
	})
}
