package actors

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/supervision"
)

// managed makes a management call and returns its answer as text.
func (r *rig) managed(verb supervision.Verb, id string, services ...Service) string {
	r.t.Helper()
	m := supervision.Manage{Supervisor: "group", Verb: verb, Child: supervision.ChildID(id)}
	if len(services) > 0 {
		m.Spec = def{name: id}.spec()
		m.Spec.Intensity, m.Spec.Backoff = nil, supervision.Backoff{}
	}
	a, err := r.Manage(context.Background(), m, services...)
	switch {
	case err != nil:
		return err.Error()
	case a.Err != nil:
		return a.Err.Error()
	case a.Child != "":
		return fmt.Sprintf("%s/%d", a.Child, a.Incarnation)
	}
	return "ok"
}

// grouped is a node with a supervisor in sequence.
func grouped(t *testing.T) Config {
	t.Helper()
	cfg := config(t, def{name: "a"})
	group := supervision.ChildSpec{ID: "group", Supervisor: &supervision.SupervisorSpec{
		ID: "group", Strategy: supervision.OneForOne, Intensity: supervision.Intensity{Max: 1, Period: time.Minute},
		Children: []supervision.ChildSpec{cfg.Tree.Root.Children[0].Spec},
	}}
	cfg.compile(t, supervision.SupervisorSpec{
		ID: "root", Intensity: supervision.Intensity{Max: 1, Period: time.Minute}, Children: []supervision.ChildSpec{group},
	})
	return cfg
}

func TestChildrenJoinAndLeaveALivingTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, grouped(t), newFake(t))
		pass(time.Second)
		more := def{name: "more"}.service()
		for _, call := range []struct {
			verb supervision.Verb
			id   string
			with []Service
			want string
		}{
			{supervision.ManageStart, "more", []Service{more}, "more/1"},
			{supervision.ManageStart, "more", []Service{more}, "already_started"},
			{supervision.ManageTerminate, "more", nil, "ok"},
			{supervision.ManageRestart, "more", nil, "more/2"},
			{supervision.ManageTerminate, "more", nil, "ok"},
			{supervision.ManageDelete, "more", nil, "ok"},
			{supervision.ManageRestart, "more", nil, "not_found"},
			{supervision.ManageStart, "more", []Service{more}, "more/3"},
		} {
			if got := r.managed(call.verb, call.id, call.with...); got != call.want {
				t.Errorf("call %d of %s: got %q, want %q", call.verb, call.id, got, call.want)
			}
		}
		r.back.last("more").say("hello")
		synctest.Wait()
		if lines, err := r.LastLines(context.Background(), "more"); err != nil || !cmp.Equal(lines, []string{"hello"}) {
			t.Errorf("its lines are %q, %v, want hello", lines, err)
		}
		r.back.last("more").exit(1, 0)
		pass(time.Second)
		r.wantState("more", supervision.StateRunning, 4)
	})
}

// A new life of a supervisor has the children of its specification, and no actor of
// another is left.
func TestANewLifeOfASupervisorHasNoActorsOfThoseThatJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, grouped(t), newFake(t))
		pass(time.Second)
		if got := r.managed(supervision.ManageStart, "more", def{name: "more"}.service()); got != "more/1" {
			t.Fatal(got)
		}
		for range 2 { // one more than the group permits
			r.back.last("more").exit(1, 0)
			pass(time.Second)
		}
		r.wantState("a", supervision.StateRunning, 2)
		if _, there := r.system.ProcessRegistry.GetLocal("root/group/more"); there {
			t.Error("the actor of more is still there")
		}
		if got := r.back.alive(); !cmp.Equal(got, []string{"a/2"}) {
			t.Errorf("alive: %v, want a/2", got)
		}
	})
}

func TestAChildThatNobodyDescribesDoesNotJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, grouped(t), newFake(t))
		pass(time.Second)
		a, err := r.Manage(context.Background(), supervision.Manage{Supervisor: "group", Verb: supervision.ManageStart, Spec: def{name: "x"}.spec()})
		if err != nil || a.Err == nil || !strings.Contains(a.Err.Error(), "x") {
			t.Errorf("got %v, %v, want an error that names x", a, err)
		}
	})
}

// Whatever actor panics, at whatever it hears: the services run again, never twice at
// once, and the node lives, but where root itself has failed. What
// panics while it stops is in the list of the library's defects.
func TestAPanicInAnyActorIsSurvived(t *testing.T) {
	type place struct{ name, message string }
	// live runs through the life of a node; hearing is told what its actors hear.
	live := func(t *testing.T, hearing func(name string, message any)) (alive []string, panicked any) {
		t.Helper()
		cfg := config(t, def{name: "db", svc: checked}, def{name: "web", needs: []string{"db"}})
		sub := supervision.SupervisorSpec{ID: "sub", Strategy: supervision.RestForOne, Order: supervision.Graph, Intensity: supervision.Intensity{Max: 100, Period: time.Minute}}
		for _, c := range cfg.Tree.Root.Children {
			sub.Children = append(sub.Children, c.Spec)
		}
		root := supervision.SupervisorSpec{ID: "root", Order: supervision.Graph, Intensity: supervision.Intensity{Max: 100, Period: time.Minute}}
		root.Children = []supervision.ChildSpec{{ID: "sub", Supervisor: &sub}}
		cfg.compile(t, root)
		cfg.Hooks.Hearing = hearing
		back := newFake(t)
		r := newRig(t, cfg, back)
		pass(3 * time.Second)
		if db := back.last("db"); db != nil {
			db.say("a line")
			db.exit(1, 0)
		}
		pass(5 * time.Second)
		r.command(supervision.OpStop, "web")
		pass(time.Minute)
		r.command(supervision.OpStart, "web", "db")
		r.command(supervision.OpRestart, "db")
		pass(5 * time.Minute)
		alive = back.alive()
		select {
		case o := <-r.Ended():
			panicked = o.Panic
		default:
		}
		return alive, panicked
	}
	var places []place
	var mu sync.Mutex // actors hear at once
	seen := map[place]bool{}
	synctest.Test(t, func(t *testing.T) {
		live(t, func(name string, message any) {
			switch message.(type) {
			case *actor.Stopping, *actor.Stopped:
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if p := (place{name, fmt.Sprintf("%T", message)}); !seen[p] {
				seen[p] = true
				places = append(places, p)
			}
		})
	})
	if len(places) < 30 {
		t.Fatalf("only %d places are known: %v", len(places), places)
	}
	for _, p := range places {
		t.Run(p.name+" "+p.message, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				done := false
				alive, panicked := live(t, func(name string, message any) {
					mu.Lock()
					defer mu.Unlock()
					if !done && name == p.name && fmt.Sprintf("%T", message) == p.message {
						done = true
						panic("told to")
					}
				})
				if top := p.name == "root"; top != (panicked != nil) {
					t.Errorf("the node ended with %v", panicked)
				} else if !top && len(alive) != 2 {
					t.Errorf("alive: %v, want db and web", alive)
				}
			})
		})
	}
}
