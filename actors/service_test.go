package actors

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

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
		d := r.services.get("db").detail.Load()
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

func TestWhatBecomesOfLimitsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, config(t, def{name: "db", svc: func(s *Service) { s.Spec.Limits.MemoryMB = 64 }}, def{name: "web"}), newFake(t))
		pass(time.Second)
		const want = "memory_mb 64: not enforced: no cgroups: run as root"
		if e := r.event("service.limits", "db"); e.Message != want || e.Cause != 1 {
			t.Errorf("got %q because of %d, want %q because of the start", e.Message, e.Cause, want)
		}
		views, err := r.Snapshot(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		services, err := r.statusOf(views, []string{"db", "web"})
		if err != nil {
			t.Fatal(err)
		}
		if got := services[0].GetLimits(); len(got) != 1 || got[0].GetName() != "memory_mb" || got[0].GetEnforcedBy() != "" || got[0].GetHelp() != "run as root" {
			t.Errorf("db has the limits %v", got)
		}
		if got := services[1].GetLimits(); len(got) != 0 {
			t.Errorf("web has the limits %v", got)
		}
	})
}
