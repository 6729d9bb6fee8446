package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/supervision"
)

// world is where a node lives that a trace is replayed on: its clock and its
// processes.
type world interface {
	actors.Backend
	// scale is how much longer everything takes than it was recorded.
	scale() time.Duration
	// idle lets everything happen that needs no time.
	idle(l *live)
	// end has a process end by itself, with that reason; ordered: though it was told to
	// stop.
	end(l *life, reason string, ordered bool)
	// halt has no process start any more.
	halt()
	// patience is how late something may be.
	patience() time.Duration
	// strict tells whether the clock is exact, so that what is late is wrong.
	strict() bool
}

// live replays on the actors of a node.
type live struct {
	t      *testing.T
	tree   *node
	world  world
	prefix string // of all names, so that nodes can share a host
	node   *actors.Node

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	log     []event
	seen    int       // events ever
	last    time.Time // of the last change
	above   map[string]string
	nodes   map[string]*node // of services, by the specification that is in force
	sups    map[string]uint64
	lives   map[string]*life
	killed  map[string]string // supervisors that are or were killed from outside, and the reason
	doomed  map[string]bool   // actors that panic at the next message
	asked   []*request
	frozen  int // supervisors that are held
	first   any // of start_tree
	broken  []string
}

// request is an operation of the step, and what has become of it.
type request struct {
	do     op
	begun  bool
	heard  bool // supervision knows of it
	done   bool
	answer any
}

// life is the present life of a service.
type life struct {
	node    *node
	id      string
	inc     uint64
	pid     int
	ready   bool
	due     time.Time // when it does something next; zero: nothing is known of
	rule    supervision.Shutdown
	ordered time.Time // to stop; zero: it was not
	told    bool      // to end, by the trace
}

func newLive(t *testing.T, tr *trace, w world, prefix string) *live {
	t.Helper()
	l := &live{
		t: t, tree: tr.Tree.prefixed(prefix), prefix: prefix, world: w, changed: make(chan struct{}),
		above: map[string]string{}, nodes: map[string]*node{}, sups: map[string]uint64{}, lives: map[string]*life{}, killed: map[string]string{}, doomed: map[string]bool{},
	}
	l.learn(l.tree, "")
	return l
}

// learn takes the scripts of a tree.
func (l *live) learn(n *node, above string) {
	l.above[n.ID] = above
	if !n.isSupervisor() {
		l.nodes[n.ID] = n
		return
	}
	if n.Strategy != "simple_one_for_one" {
		for _, k := range n.Children {
			l.learn(k, n.ID)
		}
	}
}

// start starts the node.
func (l *live) start() {
	root := l.tree.supervisor()
	stretch(&root, l.world.scale())
	tree, err := supervision.Compile(root)
	if err != nil {
		l.t.Fatal(err)
	}
	cfg := actors.Config{
		Name: "conformance", Source: "a trace", Tree: tree, Patient: true, Log: zerolog.Nop(), Logs: actors.Logs{BlockTimeout: time.Second},
		Hooks: actors.Hooks{Hearing: l.hearing, Decided: l.decided},
	}
	for _, n := range l.nodes {
		cfg.Services = append(cfg.Services, n.service(int(l.world.scale())))
	}
	if l.node, err = actors.Start(cfg, l.world); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		l.node.Close()
		if l.world.strict() {
			time.Sleep(2 * time.Second) // what counts dead letters ends by itself
		}
	})
}

// stretch makes everything in a specification take longer.
func stretch(s *supervision.SupervisorSpec, by time.Duration) {
	s.Intensity.Period *= by
	for i := range s.Children {
		c := &s.Children[i]
		c.Shutdown.Grace *= by
		if c.Supervisor != nil {
			stretch(c.Supervisor, by)
		}
	}
}

func (l *live) ms(n int) time.Duration {
	return time.Duration(n) * time.Millisecond * l.world.scale()
}

// hearing has the actor of a supervisor panic that is to be killed.
func (l *live) hearing(name string, _ any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doomed[name] {
		delete(l.doomed, name)
		panic("killed by the trace")
	}
}

// actor is the name of the actor of a supervisor.
func (l *live) actor(id string) string {
	if above := l.above[id]; above != "" {
		return l.actor(above) + "/" + id
	}
	return id
}

func (l *live) see(e event) {
	e.Sup, e.Child = strings.TrimPrefix(e.Sup, l.prefix), strings.TrimPrefix(e.Child, l.prefix)
	l.log = append(l.log, e)
	l.seen++
}

func (l *live) complain(format string, args ...any) {
	l.broken = append(l.broken, fmt.Sprintf(format, args...))
}

func (l *live) events() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.log
	l.log = nil
	return log
}

func (l *live) result(do op) any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []any
	for _, r := range l.asked {
		answer := r.answer
		if r.do.Op == "start_tree" {
			answer = l.bare(l.first)
		}
		all = append(all, answer)
	}
	if do.Op == "frozen" || do.Op == "par" {
		return all
	}
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

// state asks every living supervisor for its children.
func (l *live) state() any {
	l.mu.Lock()
	sups := sortedKeys(l.sups)
	l.mu.Unlock()
	all := make([]any, 0, len(sups))
	for _, id := range sups {
		n, _ := l.tree.find(id, "")
		simple := n != nil && n.Strategy == "simple_one_for_one"
		state := shapeState(id, l.sups[id], simple, l.ask(id, supervision.ManageList), l.ask(id, supervision.ManageCount))
		all = append(all, l.bare(state))
	}
	return all
}

// bare is an answer with the names of the trace.
func (l *live) bare(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = l.bare(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = l.bare(v[k])
		}
	case string:
		return strings.TrimPrefix(v, l.prefix)
	}
	return v
}

func (l *live) ask(id string, verb supervision.Verb) supervision.Managed {
	ctx, cancel := context.WithTimeout(context.Background(), maxTime)
	defer cancel()
	a, err := l.node.Manage(ctx, supervision.Manage{Supervisor: supervision.ChildID(id), Verb: verb})
	if err = errors.Join(err, a.Err); err != nil {
		l.t.Errorf("supervisor %s does not answer: %v", id, err)
	}
	return a
}
