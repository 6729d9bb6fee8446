package actors

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/logstore"
	"github.com/blackhole/bhnode/supervision"
)

// def defines a service, as the defaults of the configuration would.
type def struct {
	name  string
	needs []string
	child func(*supervision.ChildSpec)
	svc   func(*Service)
}

func (d def) service() Service {
	s := Service{
		Enabled: true, DependsOn: d.needs,
		Spec: &proc.ServiceSpec{Name: d.name, StopSignal: syscall.SIGTERM, Probe: proc.ProbeSpec{Type: proc.ProbeNone}},
		Health: supervision.HealthSpec{
			Interval: 5 * time.Second, StartInterval: 200 * time.Millisecond, StartPeriod: 30 * time.Second, Retries: 3, Successes: 1,
		},
	}
	if d.svc != nil {
		d.svc(&s)
	}
	return s
}

func (d def) spec() supervision.ChildSpec {
	c := supervision.ChildSpec{
		ID: supervision.ChildID(d.name), Shutdown: supervision.Shutdown{Grace: 30 * time.Second},
		Backoff:   supervision.Backoff{Initial: time.Second, Max: 5 * time.Minute, Factor: 2, ResetAfter: time.Minute},
		Intensity: &supervision.Intensity{Max: 5, Period: time.Hour},
	}
	for _, on := range d.needs {
		c.DependsOn = append(c.DependsOn, supervision.Dependency{On: supervision.ChildID(on), Restart: true})
	}
	if d.child != nil {
		d.child(&c)
	}
	return c
}

// probed has a service checked.
func checked(s *Service) { s.Spec.Probe.Type = proc.ProbeTCP }

// config is the configuration of a node with these services below its root.
func config(tb testing.TB, defs ...def) Config {
	tb.Helper()
	root := supervision.SupervisorSpec{
		ID: "root", Strategy: supervision.RestForOne, Order: supervision.Graph, Intensity: supervision.Intensity{Max: 10, Period: time.Minute},
	}
	cfg := Config{Name: "n", Version: "v", Source: "test", ShutdownTimeout: 2 * time.Minute, Logs: Logs{BlockTimeout: 5 * time.Second}, Log: zerolog.Nop()}
	for _, d := range defs {
		root.Children = append(root.Children, d.spec())
		cfg.Services = append(cfg.Services, d.service())
	}
	cfg.compile(tb, root)
	return cfg
}

func (cfg *Config) compile(tb testing.TB, root supervision.SupervisorSpec) {
	tb.Helper()
	tree, err := supervision.Compile(root)
	if err != nil {
		tb.Fatal(err)
	}
	cfg.Tree, cfg.Spec = tree, root
}

// rig is a node that runs in a bubble, on a fake backend.
type rig struct {
	*Node
	t    *testing.T
	back *fakeBackend
	seen uint64 // events that were looked at
}

// newRig starts a node. It is closed when the test ends; then nothing may be left.
func newRig(t *testing.T, cfg Config, back *fakeBackend, tweak ...func(*nodeContext)) *rig {
	t.Helper()
	n, err := newContext(cfg, back)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tweak {
		f(n)
	}
	r := &rig{Node: n.start(), t: t, back: back}
	t.Cleanup(func() {
		r.Close()
		pass(2 * time.Second) // what counts dead letters ends by itself
		if left := back.alive(); len(left) > 0 {
			t.Errorf("left after Close: %v", left)
		}
	})
	return r
}

// pass lets time pass in the bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// events returns all events, when nothing is going on any more.
func (r *rig) events() []eventRecord {
	r.t.Helper()
	synctest.Wait()
	all, err := r.FollowEvents(context.Background(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// news returns the events since the last call as "type name/incarnation".
func (r *rig) news() (out []string) {
	r.t.Helper()
	for _, e := range r.events() {
		if e.Seq > r.seen {
			out = append(out, brief(e))
			r.seen = e.Seq
		}
	}
	return out
}

func brief(e eventRecord) string {
	text := strings.TrimPrefix(e.Type, "service.") + " " + e.Service + e.Supervisor
	if e.Incarnation > 0 {
		text += fmt.Sprintf("/%d", e.Incarnation)
	}
	return strings.TrimSpace(text)
}

// want compares the events since the last look.
func (r *rig) want(want ...string) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.news()); diff != "" {
		r.t.Errorf("events: -want +got\n%s", diff)
	}
}

// event returns the last event of a type about a service.
func (r *rig) event(kind, service string) eventRecord {
	r.t.Helper()
	for _, e := range slices.Backward(r.events()) {
		if e.Type == kind && e.Service == service {
			return e
		}
	}
	r.t.Fatalf("no %s of %s in %v", kind, service, r.events())
	return eventRecord{}
}

// between returns the time from the last event of one type about db to that of
// another.
func (r *rig) between(from, to string) time.Duration {
	r.t.Helper()
	return r.event(to, "db").Time.Sub(r.event(from, "db").Time)
}

func (r *rig) state(id string) supervision.View {
	r.t.Helper()
	synctest.Wait()
	views, err := r.Snapshot(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, v := range views {
		if string(v.ID) == id {
			return v
		}
	}
	r.t.Fatalf("no child %s", id)
	return supervision.View{}
}

func (r *rig) wantState(id string, state supervision.State, inc uint64) {
	r.t.Helper()
	if v := r.state(id); v.State != state || v.Incarnation != inc {
		r.t.Errorf("%s is %s/%d (%s %s), want %s/%d", id, v.State, v.Incarnation, v.Reason, v.Detail, state, inc)
	}
}

// command sends an operator's command and returns where its answer comes.
func (r *rig) command(op supervision.Operation, names ...string) <-chan error {
	return r.send(operate{op: op, ids: ids(names), who: "test", text: fmt.Sprint(op, names)})
}

func (r *rig) send(m operate) <-chan error {
	answer := make(chan error, 1)
	go func() {
		err, gone := ask(context.Background(), r.root, func(reply chan<- error) any {
			m.reply = reply
			return m
		})
		if gone != nil {
			err = gone
		}
		answer <- err
	}()
	synctest.Wait()
	return answer
}

// answered fails unless the answer has come, and it is the one expected ("": nil).
func answered(t *testing.T, answer <-chan error, want string) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-answer:
		switch {
		case want == "" && err != nil:
			t.Errorf("got %q, want success", err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("got error %v, want one with %q", err, want)
		}
	default:
		t.Errorf("not answered, want %q", want)
	}
}

func open(t *testing.T, answer <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-answer:
		t.Errorf("answered (%v), want still at work", err)
	default:
	}
}

// ended returns how the node ended.
func (r *rig) ended() Outcome {
	r.t.Helper()
	synctest.Wait()
	select {
	case o, ok := <-r.Ended():
		if !ok {
			r.t.Fatal("the end was told before")
		}
		return o
	default:
		r.t.Fatal("the node has not ended")
		return Outcome{}
	}
}

type lineRecord = logstore.Entry

// linesOnDisk returns the log of a service as "number text".
func linesOnDisk(t *testing.T, cfg Config, service string) (out []string) {
	t.Helper()
	err := logstore.Read(context.Background(), cfg.Logs.options(service), logstore.Query{}, func(e logstore.Entry) bool {
		out = append(out, fmt.Sprintf("%d %s", e.Seq, e.Message))
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// usage returns the goroutines and the bytes of the heap that are in use.
func usage() (goroutines int, heap uint64) {
	runtime.GC()
	runtime.GC() // of what a pool held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), m.HeapAlloc
}
