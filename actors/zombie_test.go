package actors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/actors/metrics"
)

// scripted does what it is told at each message.
type scripted func(c actor.Context)

func (s scripted) Receive(c actor.Context) { s(c) }

// stage is a system in which a test spawns actors as a node does.
type stage struct {
	*nodeContext
	t *testing.T
}

func (s stage) spawn(does scripted) address { return s.spawnTop("a", does, nil) }

func (s stage) stop(a address) { s.system.Root.Stop(a.pid) }

func (s stage) mustStop(a address) {
	s.t.Helper()
	if !within(time.Hour, a.gone) {
		s.t.Error("it does not stop")
	}
}

// parent owns one child by a nursery and stops it with itself.
type parent struct {
	nursery
	also func(c actor.Context)
}

func newParent(child scripted) *parent {
	return &parent{nursery: newNursery(&nodeContext{log: zerolog.Nop(), metrics: metrics.New(metrics.Options{})}, map[string]func() actor.Actor{"child": func() actor.Actor { return child }})}
}

func (p *parent) Receive(c actor.Context) {
	if _, ok := c.Message().(*actor.Started); ok {
		p.spawn(c, "child")
	}
	if p.also != nil {
		p.also(c)
	}
}

// The defects of the actor library, and what our guard and our ways make of them.
func TestTheDefectsOfTheLibraryAreContained(t *testing.T) {
	for _, tc := range []struct {
		defect string
		check  func(t *testing.T, s stage)
	}{
		{"Z1: a restart resurrects what is stopping", func(t *testing.T, s stage) {
			t.Helper()
			started := 0
			p := newParent(func(c actor.Context) {
				switch c.Message().(type) {
				case *actor.Started:
					started++
				case *actor.Stopping:
					panic("while it stops")
				case string:
					panic("first")
				}
			})
			a := s.spawnTop("p", p, nil)
			pass(time.Second)
			s.system.Root.Send(actor.NewPID(s.system.Address(), "p/child"), "go")
			pass(time.Second)
			if _, alive := s.system.ProcessRegistry.GetLocal("p/child"); alive || started != 1 {
				t.Errorf("alive %v, started %d times, want it gone, started once", alive, started)
			}
			s.stop(a)
			s.mustStop(a)
		}},
		{"Z2: a panic in Stopping cancels the stop", func(_ *testing.T, s stage) {
			a := s.spawn(func(c actor.Context) {
				if _, ok := c.Message().(*actor.Stopping); ok {
					panic("in Stopping")
				}
			})
			s.stop(a)
			s.mustStop(a)
		}},
		{"Z3: a panic in Stopped hangs the parent", func(_ *testing.T, s stage) {
			a := s.spawnTop("p", newParent(func(c actor.Context) {
				if _, ok := c.Message().(*actor.Stopped); ok {
					panic("in Stopped")
				}
			}), nil)
			pass(time.Second)
			s.stop(a)
			s.mustStop(a)
		}},
		{"Z4: a panic in Terminated during a stop hangs it", func(_ *testing.T, s stage) {
			p := newParent(func(actor.Context) {})
			p.also = func(c actor.Context) {
				if _, ok := c.Message().(*actor.Terminated); ok {
					panic("in Terminated")
				}
			}
			a := s.spawnTop("p", p, nil)
			pass(time.Second)
			s.stop(a)
			s.mustStop(a)
		}},
		{"Z5: what waits for a stop under way is let go at once", func(t *testing.T, s stage) {
			t.Helper()
			a := s.spawn(func(c actor.Context) {
				if _, ok := c.Message().(*actor.Stopping); ok {
					<-time.After(time.Second)
				}
			})
			s.stop(a)
			s.stop(a)
			if within(900*time.Millisecond, a.gone) {
				t.Error("told that it has stopped while it was stopping")
			}
			s.mustStop(a)
		}},
		{"Z6: messages reach what is stopping", func(t *testing.T, s stage) {
			t.Helper()
			got := 0
			p := newParent(func(c actor.Context) {
				if _, ok := c.Message().(*actor.Stopping); ok {
					<-time.After(time.Second)
				}
			})
			p.also = func(c actor.Context) {
				if _, ok := c.Message().(string); ok {
					got++
				}
			}
			a := s.spawnTop("p", p, nil)
			pass(time.Second)
			s.stop(a)
			pass(time.Millisecond)
			s.system.Root.Send(a.pid, "late")
			s.mustStop(a)
			if got != 0 {
				t.Errorf("it got %d messages while it stopped", got)
			}
		}},
		{"Z7: what is in the mailbox at the stop gets no answer", func(t *testing.T, s stage) {
			t.Helper()
			a := s.spawn(func(c actor.Context) {
				if _, ok := c.Message().(string); ok {
					<-time.After(time.Second)
				}
			})
			s.system.Root.Send(a.pid, "busy")
			time.AfterFunc(500*time.Millisecond, func() { s.stop(a) })
			_, err := ask(context.Background(), a, func(reply chan<- receipt) any { return flush{reply} })
			if !errors.Is(err, errGone) {
				t.Errorf("got %v, want that nobody will answer", err)
			}
			s.mustStop(a)
		}},
		{"Z8: Stash turns messages round and loses them", noUseOf(`\.Stash\(|SetReceiveTimeout|AllForOne|ExponentialBackoff|RestartDirective|RestartChildren|EscalateFailure|BoundedDropping|actor\.Bounded\(`)},
		{"Z9: StopFuture waits for ten seconds", func(t *testing.T, s stage) {
			t.Helper()
			noUseOf(`StopFuture|PoisonFuture|\.Poison\(|RequestFuture|\.Result\(\)`)(t, s)
			a := s.spawn(func(c actor.Context) {
				if _, ok := c.Message().(*actor.Stopping); ok {
					<-time.After(time.Minute)
				}
			})
			s.stop(a)
			if within(20*time.Second, a.gone) {
				t.Error("told that it has stopped")
			}
			s.mustStop(a)
		}},
		{"Z10: a name that is taken gives the other actor", func(t *testing.T, s stage) {
			t.Helper()
			panicked := make(chan any, 1)
			p := newParent(func(actor.Context) {})
			p.also = func(c actor.Context) {
				if _, ok := c.Message().(string); ok {
					defer func() { panicked <- recover() }()
					p.spawn(c, "child")
				}
			}
			a := s.spawnTop("p", p, nil)
			pass(time.Second)
			s.system.Root.Send(a.pid, "again")
			if err, _ := (<-panicked).(error); !errors.Is(err, actor.ErrNameExists) {
				t.Errorf("got %v, want it taken for the bug it is", err)
			}
			if _, alive := s.system.ProcessRegistry.GetLocal("p/child"); !alive {
				t.Error("the first one has gone")
			}
			s.stop(a)
			s.mustStop(a)
		}},
		{"a name is known before its actor can take a message", func(t *testing.T, s stage) {
			t.Helper()
			var got []string
			a := scripted(func(c actor.Context) { got = append(got, fmt.Sprintf("%T", c.Message())) })
			early := actor.WithOnInit(func(c actor.Context) {
				s.system.Root.Send(c.Self(), "early")
				s.system.Root.Stop(c.Self())
			})
			_, err := s.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return a }, actor.WithMailbox(newMailbox), early), "a")
			pass(time.Second)
			if want := []string{"*actor.Started", "*actor.Stopping", "*actor.Stopped"}; err != nil || !slices.Equal(got, want) {
				t.Errorf("got %v, %v, want %v", got, err, want)
			}
		}},
	} {
		t.Run(tc.defect, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, err := newContext(config(t, def{name: "db"}), newFake(t))
				if err != nil {
					t.Fatal(err)
				}
				tc.check(t, stage{n, t})
				endSystem(n.system)
				pass(time.Second)
			})
		})
	}
}

// noUseOf fails if the sources of this package use what a pattern matches.
func noUseOf(pattern string) func(*testing.T, stage) {
	return func(t *testing.T, _ stage) {
		t.Helper()
		files, err := filepath.Glob("*.go")
		if err != nil || len(files) == 0 {
			t.Fatal("no sources", err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(name, "_test.go") && regexp.MustCompile(pattern).Match(text) {
				t.Errorf("%s uses what we must not: %s", name, regexp.MustCompile(pattern).Find(text))
			}
		}
	}
}
