package conformance

import (
	"cmp"
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/blackhole/bhnode/supervision"
)

// The hard limits of one step.
const (
	maxEvents = 5000
	maxTime   = time.Hour
)

// pure replays on the pure machine, in virtual time.
type pure struct {
	t       *testing.T
	tree    *node
	m       *supervision.Machine
	now     time.Time
	began   time.Time // the step
	due     timeline
	n       int
	soon    []func()
	log     []event
	procs   map[supervision.ChildID]*process
	nodes   map[supervision.ChildID]*node               // of services, by what was asked last
	above   map[supervision.ChildID]supervision.ChildID // the supervisor of a child
	offered map[supervision.ChildID]*node               // what a call asked to start
	deleted map[supervision.ChildID]bool                // by a call
	sups    map[supervision.ChildID]uint64              // living supervisors
	calls   uint64
	answers map[uint64]supervision.Managed
	asked   []call
	first   any // of start_tree
}

// call is an operation of the step and the number of the call that it made.
type call struct {
	do op
	id uint64
}

// process is the present life of a service.
type process struct {
	node    *node
	id      supervision.ChildID
	inc     uint64
	alive   bool
	stop    *supervision.StopChild // it was ordered to stop
	ordered time.Time
}

// due is something that is to happen. What is about a process that is dead by then
// is void, and takes no time.
type due struct {
	at time.Time
	n  int
	of *process
	do func()
}

type timeline []due

func (q timeline) Len() int { return len(q) }
func (q timeline) Less(i, j int) bool {
	return q[i].at.Before(q[j].at) || q[i].at.Equal(q[j].at) && q[i].n < q[j].n
}
func (q timeline) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *timeline) Push(x any)   { *q = append(*q, x.(due)) }
func (q *timeline) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

func newPure(t *testing.T, tr *trace) *pure {
	t.Helper()
	tree, err := supervision.Compile(tr.Tree.supervisor())
	if err != nil {
		t.Fatal(err)
	}
	p := &pure{
		t: t, tree: tr.Tree, m: supervision.New(tree, supervision.Options{Patient: true}), now: time.Unix(1000, 0),
		procs: map[supervision.ChildID]*process{}, nodes: map[supervision.ChildID]*node{},
		above: map[supervision.ChildID]supervision.ChildID{}, sups: map[supervision.ChildID]uint64{},
		answers: map[uint64]supervision.Managed{}, offered: map[supervision.ChildID]*node{}, deleted: map[supervision.ChildID]bool{},
	}
	p.learn(tr.Tree, "")
	return p
}

// learn takes the scripts of a tree.
func (p *pure) learn(n *node, above supervision.ChildID) {
	id := supervision.ChildID(n.ID)
	p.nodes[id], p.above[id], p.deleted[id] = n, above, false
	if n.isSupervisor() && n.Strategy != "simple_one_for_one" {
		for _, k := range n.Children {
			p.learn(k, id)
		}
	}
}

func (p *pure) after(d time.Duration, of *process, do func()) {
	p.n++
	heap.Push(&p.due, due{p.now.Add(d), p.n, of, do})
}

func (p *pure) see(e event) {
	e.TMS = int(p.now.Sub(p.began) / time.Millisecond)
	p.log = append(p.log, e)
}

func (p *pure) events() []event {
	log := p.log
	p.log = nil
	return log
}

// settle lets everything happen that follows, up to a time if there is one.
func (p *pure) settle(until time.Time) error {
	p.hurry()
	for len(p.due) > 0 && (until.IsZero() || !p.due[0].at.After(until)) {
		next := heap.Pop(&p.due).(due)
		if next.of != nil && !next.of.alive {
			continue
		}
		p.now = next.at
		next.do()
		p.hurry()
		if len(p.log) > maxEvents || p.now.Sub(p.began) > maxTime {
			return errors.New("it does not come to rest")
		}
	}
	if !until.IsZero() {
		p.now = until
	}
	return nil
}

func (p *pure) hurry() {
	for len(p.soon) > 0 && len(p.log) <= maxEvents {
		do := p.soon[0]
		p.soon = p.soon[1:]
		do()
	}
}

func (p *pure) perform(do op) error {
	p.now = p.now.Add(100 * time.Millisecond)
	p.began, p.asked, p.first = p.now, nil, nil
	switch do.Op {
	case "frozen":
		for _, id := range do.Sups {
			p.send(supervision.Freeze{ID: supervision.ChildID(id)})
		}
		for _, o := range do.Ops {
			p.one(o)
			p.hurry()
		}
		for _, id := range do.Sups {
			p.send(supervision.Thaw{ID: supervision.ChildID(id)})
		}
	case "par":
		for i, o := range do.Ops {
			p.asked = append(p.asked, call{do: o})
			p.after(time.Duration(o.AtMS)*time.Millisecond, nil, func() { p.act(&p.asked[i]) })
		}
	case "wait":
		if err := p.settle(p.now.Add(time.Duration(do.MS) * time.Millisecond)); err != nil {
			return err
		}
	default:
		p.one(do)
	}
	return p.settle(time.Time{})
}

func (p *pure) one(do op) {
	p.asked = append(p.asked, call{do: do})
	p.act(&p.asked[len(p.asked)-1])
}

// act does one thing.
func (p *pure) act(c *call) {
	do := c.do
	id := supervision.ChildID(do.Child)
	switch do.Op {
	case "start_tree":
		p.send(supervision.Boot{})
	case "stop_root":
		root := supervision.ChildID(p.tree.ID)
		p.see(event{Ev: "stop", Child: p.tree.ID, N: p.sups[root], How: "shutdown"})
		p.send(supervision.ShutDown{})
	case "exit":
		if inc, alive := p.sups[id]; alive {
			p.crash(id, inc, do.Reason)
		} else {
			p.exit(p.procs[id], do.Reason)
		}
	case "call":
		p.call(c)
	default:
		p.t.Fatalf("operation %q is not known", do.Op)
	}
}

// crash ends a supervisor from outside, and with it everything below it.
func (p *pure) crash(id supervision.ChildID, inc uint64, reason string) {
	delete(p.sups, id)
	p.see(event{Ev: "supervisor_exit", Child: string(id), N: inc, Reason: reason})
	for _, proc := range p.procs {
		for above := p.above[proc.id]; above != "" && proc.alive; above = p.above[above] {
			if above == id {
				proc.alive = false
				p.see(event{Ev: "exit", Child: string(proc.id), N: proc.inc, Reason: "killed"})
			}
		}
	}
	p.send(supervision.SupervisorCrashed{ID: id, Detail: reason})
}

func (p *pure) send(ev supervision.Event) {
	for _, cmd := range p.m.Step(p.now, ev) {
		p.carryOut(cmd)
	}
}

func (p *pure) carryOut(cmd supervision.Command) {
	switch c := cmd.(type) {
	case supervision.StartChild:
		p.start(c)
	case supervision.StopChild:
		proc := p.procs[c.ID]
		proc.stop = &c
		if proc.alive {
			p.stop(proc)
		}
	case supervision.SupervisorState:
		p.supervisorIs(c)
	case supervision.Report:
		p.report(c)
	case supervision.Managed:
		p.managed(c)
	case supervision.Wake:
		p.t.Errorf("%s waits %v before its restart", c.ID, c.After)
	case supervision.AdoptChild, supervision.KillChild, supervision.Reply, supervision.Held, supervision.Booted, supervision.Ended, supervision.Notice,
		supervision.ChildJoined, supervision.ChildLeft, supervision.RolledOut:
	}
}

// supervisorIs sees what became of a supervisor.
func (p *pure) supervisorIs(c supervision.SupervisorState) {
	inc, alive := p.sups[c.ID]
	e, ok := stateEvent(c, string(p.above[c.ID]), inc, alive)
	if !ok {
		return
	}
	switch {
	case e.Ev == "start" && e.Result == "ok":
		p.sups[c.ID] = c.Incarnation
	case e.Ev == "supervisor_exit":
		delete(p.sups, c.ID)
	}
	p.see(e)
	if string(c.ID) == p.tree.ID && e.Ev == "start" {
		p.first = firstAnswer(c)
	}
}

// stateEvent is what became of a supervisor as it is recorded; inc is the last life
// of it that was seen.
func stateEvent(c supervision.SupervisorState, above string, inc uint64, alive bool) (event, bool) {
	e := event{Sup: above, Child: string(c.ID), N: c.Incarnation}
	switch {
	case c.State == supervision.StateRunning:
		e.Ev, e.Result = "start", "ok"
	case c.State == supervision.StateStopping && alive:
		e.Ev, e.How = "stop", "shutdown"
	case c.State == supervision.StateStopped && alive && inc == c.Incarnation:
		e.Ev, e.Sup, e.Reason = "supervisor_exit", "", "shutdown"
	case c.State == supervision.StateStopped && c.Detail != "killed":
		e.Ev, e.Result = "start", "error"
	default:
		return event{}, false
	}
	return e, true
}

// firstAnswer is the answer to start_tree.
func firstAnswer(c supervision.SupervisorState) any {
	if c.State != supervision.StateRunning {
		return map[string]any{"error": c.Detail}
	}
	return map[string]any{"ok": true, "child": string(c.ID), "n": c.Incarnation}
}

func (p *pure) report(c supervision.Report) { p.see(reportEvent(c)) }

// reportEvent is a report as it is recorded.
func reportEvent(c supervision.Report) event {
	e := event{Ev: "report", Sup: string(c.Supervisor), Context: string(c.Context), Child: string(c.Child), Reason: c.Detail}
	switch {
	case c.Context == supervision.ReportShutdown:
		e.Ev = "give_up"
	case c.Detail == "" && c.Kind == supervision.ShutdownExit:
		e.Reason = "shutdown"
	}
	return e
}

// supervisors are the names of the living ones.
func (p *pure) supervisors() []supervision.ChildID {
	var ids []supervision.ChildID
	for id := range p.sups {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b supervision.ChildID) int { return cmp.Compare(a, b) })
	return ids
}

func (p *pure) result(do op) any {
	var all []any
	for _, c := range p.asked {
		var answer any
		switch c.do.Op {
		case "start_tree":
			answer = p.first
		case "call":
			answer = p.answered(c)
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

func (c call) String() string { return fmt.Sprintf("%s %s%s", c.do.Fn, c.do.Child, c.do.Dyn) }
