package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// shopTree is identity ◄ ledger ◄ wallet, and metrics beside them.
func shopTree() supervision.SupervisorSpec {
	return troupe("root", supervision.RestForOne,
		player("identity"), player("ledger", "identity"), player("wallet", "ledger"), player("metrics"))
}

// An incident is staged on the real supervision and explained afterwards.
type incident struct {
	name  string
	tree  supervision.SupervisorSpec
	fails map[supervision.ChildID]supervision.ChildExited
	play  func(s *stage)
	ask   []string // whom to explain
}

var incidents = []incident{
	{"crash-of-a-dependency", shopTree(), nil, func(s *stage) {
		s.ends("ledger", byKill)
		s.until(5 * time.Second)
	}, []string{"wallet", "ledger", "identity", "root"}},
	{"out-of-memory", shopTree(), nil, func(s *stage) {
		s.ends("ledger", byOOM)
		s.until(300 * time.Millisecond)
	}, []string{"wallet", "ledger"}},
	{"unhealthy", shopTree(), nil, func(s *stage) {
		s.send(supervision.ChildHealth{ID: "ledger", Incarnation: 1, Detail: byProbe.Detail})
		s.until(40 * time.Millisecond)
		s.ends("ledger", byProbe)
		s.until(3 * time.Second)
	}, []string{"ledger", "wallet"}},
	{"unhealthy-and-only-reported", shopTree(), nil, func(s *stage) {
		s.send(supervision.ChildHealth{ID: "ledger", Incarnation: 1, Detail: byProbe.Detail})
		s.until(20 * time.Second)
	}, []string{"ledger"}},
	{"healthy-again", shopTree(), nil, func(s *stage) {
		s.send(supervision.ChildHealth{ID: "ledger", Incarnation: 1, Detail: byProbe.Detail})
		s.until(20 * time.Second)
		s.send(supervision.ChildHealth{ID: "ledger", Incarnation: 1, Healthy: true})
		s.until(5 * time.Second)
	}, []string{"ledger"}},
	{"start-timeout", shopTree(), nil, func(s *stage) {
		s.doomed = map[supervision.ChildID]supervision.ChildExited{"ledger": bySlow}
		s.ends("ledger", byCode)
		s.until(1500 * time.Millisecond)
	}, []string{"ledger", "wallet"}},
	{"exhausted", shopTree(), nil, func(s *stage) {
		for range 3 {
			s.ends("ledger", byCode)
			s.until(5 * time.Second)
		}
	}, []string{"ledger", "wallet"}},
	{"operator-stop", shopTree(), nil, func(s *stage) {
		s.ask(supervision.OpStop, "stop ledger")
		s.until(2 * time.Minute)
	}, []string{"ledger", "wallet"}},
	{"operator-start", shopTree(), nil, func(s *stage) {
		s.ask(supervision.OpStop, "stop ledger")
		s.until(10 * time.Second)
		s.ask(supervision.OpStart, "start wallet")
		s.until(2 * time.Second)
	}, []string{"ledger", "wallet"}},
	{"operator-restart", shopTree(), nil, func(s *stage) {
		s.ask(supervision.OpRestart, "restart ledger")
		s.until(2 * time.Second)
	}, []string{"ledger", "wallet"}},
	{"operator-signal", shopTree(), nil, func(s *stage) {
		s.send(supervision.Note{Notice: supervision.Notice{
			Type: supervision.OperatorCommand, Service: "ledger", Message: "signal ledger SIGKILL",
			Attrs: []supervision.Attr{{Key: "who", Value: "uid 1000"}, {Key: "signal", Value: "SIGKILL"}},
		}})
		s.ends("ledger", byKill)
		s.until(5 * time.Second)
	}, []string{"ledger", "wallet"}},
	{"ended-normally", shopTree(), nil, func(s *stage) {
		s.ends("ledger", byItself)
		s.until(5 * time.Second)
	}, []string{"ledger", "wallet"}},
	{"the-first-of-all", shopTree(), nil, func(s *stage) {
		s.ends("identity", byCode)
		s.until(5 * time.Second)
	}, []string{"wallet"}},
	{"nested-give-up", troupe("root", supervision.OneForOne,
		troupeIn(troupe("data", supervision.OneForOne, unlimited(player("store")), player("index"))), player("front", "store")), nil, func(s *stage) {
		s.ends("store", byCode)
		s.until(3 * time.Second)
		s.ends("store", byCode)
		s.until(2 * time.Second)
	}, []string{"data", "store", "index", "front"}},
	{"root-gives-up", troupe("root", supervision.OneForOne, unlimited(player("store")), player("front")), nil, func(s *stage) {
		s.ends("store", byCode)
		s.until(3 * time.Second)
		s.ends("store", byCode)
		s.until(10 * time.Millisecond)
	}, []string{"root", "store", "front"}},
	{
		"boot-rolled-back", troupe("root", supervision.RestForOne, player("identity"), player("bank", "identity"), player("wallet", "bank")),
		map[supervision.ChildID]supervision.ChildExited{"bank": byAbsent},
		func(*stage) {},
		[]string{"root", "identity", "bank", "wallet"},
	},
	{"dependency-came-back", shopTree(), nil, func(s *stage) {
		for range 3 {
			s.ends("ledger", byCode)
			s.until(5 * time.Second)
		}
		s.ask(supervision.OpStart, "start ledger")
		s.until(time.Second)
	}, []string{"wallet", "ledger"}},
	{"paused", shopTree(), nil, func(s *stage) {
		s.ask(supervision.OpPause, "pause root")
		s.until(time.Second)
		s.ends("ledger", byCode)
		s.until(10 * time.Second)
	}, []string{"ledger", "wallet", "root"}},
	{"resumed", shopTree(), nil, func(s *stage) {
		s.ask(supervision.OpPause, "pause root")
		s.until(time.Second)
		s.ends("ledger", byCode)
		s.until(10 * time.Second)
		s.ask(supervision.OpResume, "resume root")
		s.until(2 * time.Second)
	}, []string{"ledger"}},
	{"completed", troupe("root", supervision.RestForOne, oneShot(player("migrate")), after(player("front", "migrate"))), nil, func(s *stage) {
		s.ends("migrate", byItself)
		s.until(5 * time.Second)
	}, []string{"migrate", "front"}},
	{"stuck", shopTree(), nil, func(s *stage) {
		s.ask(supervision.OpRestart, "restart wallet")
		s.due = nil // it does not obey
		s.until(40 * time.Second)
		s.send(supervision.ChildStuck{ID: "wallet", Incarnation: 1, Detail: "alive 10s after SIGKILL: pid 100 in nfs_wait"})
		s.until(time.Second)
	}, []string{"wallet"}},
	{"one-for-all", troupe("root", supervision.OneForAll, player("left"), player("right")), nil, func(s *stage) {
		s.ends("left", byKill)
		s.until(5 * time.Second)
	}, []string{"right"}},
}

func unlimited(c supervision.ChildSpec) supervision.ChildSpec {
	c.Intensity = nil
	return c
}

func oneShot(c supervision.ChildSpec) supervision.ChildSpec {
	c.Restart = supervision.Transient
	return c
}

func after(c supervision.ChildSpec) supervision.ChildSpec {
	for i := range c.DependsOn {
		c.DependsOn[i].Condition, c.DependsOn[i].Restart = supervision.WhenCompleted, false
	}
	return c
}

func TestWhyExplainsEachIncident(t *testing.T) {
	for _, i := range incidents {
		t.Run(i.name, func(t *testing.T) {
			s := opens(t, i.tree, i.fails)
			i.play(s)
			socket, _ := serve(t, s.node())
			var all strings.Builder
			for _, name := range i.ask {
				got := at(socket).exec(t, "why", name)
				if got.code != exitOK || got.err != "" {
					t.Errorf("why %s: exit code %d, %q", name, got.code, got.err)
				}
				all.WriteString(got.out + "\n")
			}
			golden(t, "why-"+i.name, all.String())
			assertHarmless(t, all.String())
		})
	}
}

// Each incident in which services end by themselves goes as it was foretold: who is
// stopped and who is started by the last of these ends.
func TestWhatifForetellsEachIncident(t *testing.T) {
	foretold := 0
	for _, i := range incidents {
		t.Run(i.name, func(t *testing.T) {
			s := opens(t, i.tree, i.fails)
			i.play(s)
			if len(s.ended) == 0 || s.calls > 0 || s.doomed != nil {
				return // it is about operators, or starts that fail
			}
			foretold++
			last := s.ended[len(s.ended)-1]
			tree, err := supervision.Compile(i.tree)
			if err != nil {
				t.Fatal(err)
			}
			want, err := supervision.Predict(tree, supervision.Options{}, last.id, last.kind, len(s.ended))
			if err != nil {
				t.Fatal(err)
			}
			s.until(time.Minute)
			var stopped, started []supervision.ChildID
			for _, e := range s.events[last.event:] {
				switch e.GetType() {
				case supervision.ServiceStopping:
					stopped = append(stopped, supervision.ChildID(e.GetService()))
				case supervision.ServiceStarting:
					started = append(started, supervision.ChildID(e.GetService()))
				}
			}
			for what, pair := range map[string][2][]supervision.ChildID{
				"stopped": {slices.Concat(want.Stop...), stopped}, "started": {slices.Concat(want.Start...), started},
			} {
				slices.Sort(pair[0])
				slices.Sort(pair[1])
				if !slices.Equal(pair[0], pair[1]) {
					t.Errorf("%s: foretold %v, came to pass %v", what, pair[0], pair[1])
				}
			}
		})
	}
	if foretold < 10 {
		t.Errorf("only %d incidents were foretold", foretold)
	}
}

func TestWhyJSON(t *testing.T) {
	s := opens(t, shopTree(), nil)
	s.ends("ledger", byOOM)
	s.until(5 * time.Second)
	socket, _ := serve(t, s.node())
	got := at(socket).exec(t, "why", "wallet", "-o", "json")
	var out map[string]any
	if err := json.Unmarshal([]byte(got.out), &out); err != nil {
		t.Fatal(err)
	}
	assertKeys(t, "why", "name state steps", out)
	steps := out["steps"].([]any)
	if out["name"] != "wallet" || out["state"] != "running" || len(steps) != 4 {
		t.Fatalf("got %v", out)
	}
	first, oldest := steps[0].(map[string]any), steps[3].(map[string]any)
	assertKeys(t, "a step", "seq time type text", first)
	if first["type"] != supervision.ServiceStarting || oldest["text"] != "ledger exited (SIGKILL, out of memory, memory_mb 64) 5s ago." {
		t.Errorf("got %v … %v", first, oldest)
	}
}

func TestWhyOfWhatIsNotThere(t *testing.T) {
	n := opens(t, shopTree(), nil).node()
	n.services = append(n.services, &bhnodev1.Service{Name: "off", State: bhnodev1.ServiceState_SERVICE_STATE_DISABLED})
	socket, _ := serve(t, n)
	if got := at(socket).exec(t, "why", "walet"); got.code != exitNoService || !strings.Contains(got.err, `did you mean "wallet"?`) {
		t.Errorf("an unknown name: exit code %d, %q", got.code, got.err)
	}
	if got := at(socket).exec(t, "why", "off"); got.code != exitOK || !strings.Contains(got.out, "off is disabled in the configuration.") {
		t.Errorf("a disabled service: exit code %d, %q", got.code, got.out)
	}
	if got := at("/nobody/listens").exec(t, "why", "wallet"); got.code != exitNoNode {
		t.Errorf("no node: exit code %d", got.code)
	}
}

func TestWhySaysWhereTheJournalInMemoryEnds(t *testing.T) {
	s := opens(t, shopTree(), nil)
	s.ends("ledger", byKill)
	s.until(5 * time.Second)
	n := s.node()
	for i, e := range n.events {
		if e.GetType() == supervision.ServiceExited {
			n.events = n.events[i+1:]
			break
		}
	}
	socket, _ := serve(t, n)
	if got := at(socket).exec(t, "why", "wallet"); !strings.Contains(got.err, "no longer in memory") || !strings.Contains(got.out, "ledger restarted") {
		t.Errorf("%q, %q", got.out, got.err)
	}
}

func TestWhySurvivesEventsItDoesNotKnow(t *testing.T) {
	n := opens(t, shopTree(), nil).node()
	attrs, _ := structpb.NewStruct(map[string]any{"file": "\x1b]0;evil\x07"})
	n.events = append(n.events,
		&bhnodev1.Event{Seq: 900, Time: before(time.Second), Type: "node.upgraded", Message: "\x1b[2Jv2"},
		&bhnodev1.Event{Seq: 901, Time: before(time.Second), Type: "service.limits", Service: "metrics", Cause: 900, Message: "memory\x07", Attrs: attrs})
	n.set("metrics", bhnodev1.ServiceState_SERVICE_STATE_STUCK, down)
	socket, _ := serve(t, n)
	got := at(socket).exec(t, "why", "metrics")
	if !strings.Contains(got.out, "because of event 900 (node.upgraded)") {
		t.Errorf("got %q", got.out)
	}
	assertHarmless(t, got.out+got.err)
}
