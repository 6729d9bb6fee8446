package actors

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

func TestServicesStartInTheOrderOfTheirNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, config(t, def{name: "web", needs: []string{"api"}}, def{name: "api", needs: []string{"db"}}, def{name: "db"}), newFake(t))
		pass(time.Second)
		r.want("node.starting", "waiting web", "waiting api",
			"starting db/1", "started db/1", "ready db/1", "starting api/1", "started api/1", "ready api/1",
			"starting web/1", "started web/1", "ready web/1", "node.ready")
		select {
		case b := <-r.Booted():
			if len(b.Failed) > 0 {
				t.Errorf("got %v failed, want none", b.Failed)
			}
		default:
			t.Error("nobody was told that the node has booted")
		}
		if got := r.event("service.ready", "web").Time.Sub(r.event("service.starting", "db").Time); got != 3*settleTime {
			t.Errorf("up after %v, want %v", got, 3*settleTime)
		}
	})
}

func TestACrashIsFollowedByABackOffAndAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		r := newRig(t, config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}}, def{name: "other"}), back)
		pass(time.Second)
		r.news()
		back.last("db").exit(-1, syscall.SIGKILL)
		synctest.Wait()
		r.want("exited db/1", "supervisor.restarting root", "backoff db/1", "stopping web/1", "stopped web/1", "waiting web/1")
		pass(10 * time.Second)
		r.want("starting db/2", "started db/2", "ready db/2", "starting web/2", "started web/2", "ready web/2")
		if got := r.between("service.backoff", "service.starting"); got != time.Second {
			t.Errorf("started after %v, want the delay of 1s", got)
		}
		back.last("db").exit(3, 0)
		synctest.Wait()
		if e := r.event("service.exited", "db"); e.Message != "exit 3" || e.Attrs["code"] != 3 {
			t.Errorf("got %q %v, want exit 3", e.Message, e.Attrs)
		}
		pass(10 * time.Second)
		if got := r.between("service.backoff", "service.starting"); got != 2*time.Second {
			t.Errorf("started after %v, want the delay doubled", got)
		}
		if p := back.last("db"); p.called("Release") != 0 || p.inc != 3 {
			t.Errorf("got life %d released %d times, want life 3, held", p.inc, p.called("Release"))
		}
	})
}

func TestAServiceIsReady(t *testing.T) {
	for name, tc := range map[string]struct {
		svc  func(*Service)
		plan fakePlan
		do   func(p *fakeProcess)
		want time.Duration
	}{
		"without a check once it has lived a moment": {want: settleTime},
		"at the first good check": {
			svc: checked,
			plan: fakePlan{check: func(_ *fakeProcess, n int) error {
				if n < 4 {
					return errors.New("connection refused")
				}
				return nil
			}},
			want: 950 * time.Millisecond, // 200, 300 and 450 ms
		},
		"after as many good checks as it takes": {
			svc: func(s *Service) {
				checked(s)
				s.Health.Successes = 3
			},
			want: 500 * time.Millisecond,
		},
		"when it says so": {
			svc:  func(s *Service) { s.Spec.Probe.Type = proc.ProbeNotify },
			plan: fakePlan{born: func(p *fakeProcess) { p.latch = true }},
			do:   func(p *fakeProcess) { close(p.ready) },
			want: time.Second,
		},
		"when its log does": {
			svc:  func(s *Service) { s.Spec.Probe = proc.ProbeSpec{Type: proc.ProbeLog, Target: "^ready$"} },
			do:   func(p *fakeProcess) { p.say("not ready", "ready") },
			want: time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := newFake(t)
				back.plan("db", tc.plan)
				r := newRig(t, config(t, def{name: "db", svc: tc.svc}), back)
				pass(time.Second)
				if tc.do != nil {
					r.wantState("db", supervision.StateStarting, 1)
					tc.do(back.last("db"))
				}
				pass(time.Second)
				r.wantState("db", supervision.StateRunning, 1)
				if got := r.between("service.started", "service.ready"); got != tc.want {
					t.Errorf("ready after %v, want %v", got, tc.want)
				}
			})
		})
	}
}

// A message of nil left the mailbox of the actor spinning: in a bubble that never
// comes to rest.
func TestAServiceThatEndsBeforeItReportsItselfLeavesItsActorAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		r := newRig(t, config(t, def{name: "db", svc: func(s *Service) {
			s.Spec.Probe = proc.ProbeSpec{Type: proc.ProbeLog, Target: "ready"}
		}}), back)
		pass(time.Second)
		back.last("db").exit(1, 0)
		pass(time.Hour)
		r.wantState("db", supervision.StateFailed, 6)
	})
}

func TestAServiceThatIsNotHealthyInTimeIsJudgedByACheckAfterIt(t *testing.T) {
	refused := errors.New("connection refused")
	unknown := &proc.UnknownError{Err: syscall.EMFILE}
	for name, tc := range map[string]struct {
		check  func(p *fakeProcess, n int) error
		latch  bool
		failed time.Duration // 0: it does not
		detail string
	}{
		"bad all the time": {
			check:  func(*fakeProcess, int) error { return refused },
			failed: 30 * time.Second, detail: "not healthy within 30s: connection refused",
		},
		"a check that hangs over the end": {
			check: func(p *fakeProcess, _ int) error {
				if time.Since(p.born) > 27*time.Second {
					<-time.After(4 * time.Second)
				}
				return refused
			},
			failed: 37800 * time.Millisecond, detail: "not healthy within 30s: connection refused",
		},
		"good at the last look": {
			check: func(p *fakeProcess, _ int) error {
				if time.Since(p.born) < 30*time.Second {
					return refused
				}
				return nil
			},
		},
		"not to be found out": {check: func(*fakeProcess, int) error { return unknown }},
		"silent": {
			check: func(*fakeProcess, int) error { return refused },
			latch: true, failed: 30*time.Second + finalLooks*finalTime, detail: "not healthy within 30s: connection refused",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := newFake(t)
				back.plan("db", fakePlan{check: tc.check, born: func(p *fakeProcess) { p.latch = tc.latch }})
				cfg := config(t, def{name: "db", svc: checked})
				cfg.BestEffort = true
				r := newRig(t, cfg, back)
				pass(50 * time.Second)
				if tc.failed == 0 {
					if got := back.last("db"); got.inc != 1 || got.called("Kill") > 0 {
						t.Errorf("life %d, killed %d times, want the first, untouched", got.inc, got.called("Kill"))
					}
					return
				}
				stopped := r.events()
				for _, e := range stopped {
					if e.Type == "service.exited" && e.Incarnation == 1 {
						if got := e.Time.Sub(back.lives["db"][0].born); got < tc.failed || got > tc.failed+100*time.Millisecond {
							t.Errorf("given up after %v, want %v", got, tc.failed)
						}
						if e.Message != tc.detail || e.Attrs["reason"] != "start_timeout" {
							t.Errorf("got %q %v, want %q, start_timeout", e.Message, e.Attrs["reason"], tc.detail)
						}
						return
					}
				}
				t.Error("it was not given up")
			})
		})
	}
}

func TestAnUnhealthyServiceIsRestartedOrReported(t *testing.T) {
	for name, tc := range map[string]struct {
		do   supervision.OnUnhealthy
		want []string
	}{
		"restart": {supervision.RestartUnhealthy, []string{"unhealthy db/1", "exited db/1", "backoff db/1", "starting db/2", "started db/2", "ready db/2"}},
		"report":  {supervision.ReportUnhealthy, []string{"unhealthy db/1", "healthy db/1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				back := newFake(t)
				back.plan("db", fakePlan{check: func(p *fakeProcess, n int) error {
					if p.inc == 1 && n > 3 && n <= 6 || n == 2 { // one bad check alone is none
						return errors.New("no answer")
					}
					return nil
				}})
				r := newRig(t, config(t, def{name: "db", svc: func(s *Service) {
					checked(s)
					s.Health.OnUnhealthy = tc.do
				}}), back)
				pass(time.Second)
				r.news()
				pass(40 * time.Second)
				r.want(tc.want...)
				if got := r.event("service.unhealthy", "db").Message; got != "3 checks in a row failed: no answer" {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

func TestACheckThatCannotBeCarriedOutHasNoConsequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{check: func(_ *fakeProcess, n int) error {
			if n > 1 {
				return &proc.UnknownError{Err: syscall.EMFILE}
			}
			return nil
		}})
		r := newRig(t, config(t, def{name: "db", svc: checked}), back)
		pass(time.Minute)
		r.wantState("db", supervision.StateRunning, 1)
		d := r.services["db"].detail.Load()
		if want := "could not be carried out (12 so far): cannot check: too many open files"; d.LastError != want || d.Unknown != 12 {
			t.Errorf("got %q (%d), want %q", d.LastError, d.Unknown, want)
		}
	})
}

// Each look beyond start_period made one more chain of checks.
func TestChecksKeepTheirIntervalAfterALateStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{check: func(p *fakeProcess, _ int) error {
			if since := time.Since(p.born); since > 29*time.Second && since < 40*time.Second {
				return &proc.UnknownError{Err: syscall.EMFILE}
			} else if since < 40*time.Second {
				return errors.New("not yet")
			}
			return nil
		}})
		r := newRig(t, config(t, def{name: "db", svc: checked}), back)
		pass(time.Minute)
		r.wantState("db", supervision.StateRunning, 1)
		before := back.last("db").called("Check")
		pass(50 * time.Second)
		if got := back.last("db").called("Check") - before; got != 10 {
			t.Errorf("got %d checks in 50s, want one every 5s", got)
		}
	})
}

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

func TestAFailedStartSaysWhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{start: func(context.Context, int) error {
			return &proc.StartError{Stage: proc.StageSpawn, Err: errors.New("no such file"), Hopeless: true}
		}})
		r := newRig(t, config(t, def{name: "db"}, def{name: "other"}), back)
		pass(time.Minute)
		e := r.event("service.exited", "db")
		if want := map[string]any{"stage": "spawn", "reason": "spawn_error"}; e.Message != "spawn: no such file" || cmp.Diff(want, e.Attrs) != "" {
			t.Errorf("got %q %v, want %v", e.Message, e.Attrs, want)
		}
		o := r.ended()
		if o.Why != supervision.EndBootFailed || o.ID != "db" || o.Panic != nil {
			t.Errorf("got %+v, want the boot to fail because of db", o)
		}
	})
}

func TestACheckThatCannotBeMadeIsAFailedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		r := newRig(t, config(t, def{name: "db", svc: func(s *Service) {
			checked(s)
			s.Spec.Probe.Target = "bad"
		}}), back)
		pass(time.Minute)
		if o := r.ended(); o.Why != supervision.EndBootFailed || o.Detail != "the target is bad" {
			t.Errorf("got %+v, want the boot to fail because of the target", o)
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
