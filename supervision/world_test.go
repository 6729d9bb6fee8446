package supervision

import (
	"container/heap"
	"fmt"
	"strings"
	"time"
)

// world carries the commands of a Machine out in virtual time. Children start at
// once and stop at once unless a test says otherwise. It checks, at every step,
// what must always hold.
type world struct {
	t        tester
	m        *Machine
	now      time.Time
	queue    timeline
	n        int
	log      []string
	events   []stamped
	commands []Command
	notices  []Notice
	reports  []Report
	managed  map[uint64]Managed
	lives    map[ChildID]*life // of the last incarnation
	replies  map[uint64]error
	// supervisors are what became of them.
	supervisors []SupervisorState
	// joined and left are children that came and went with management calls.
	joined, left []ChildID
	ended        *Ended
	booted       *Booted
	holds        []Hold
	calls        uint64
	killing      bool
	cuts         int // lives of the node before this one, all cut off
	adopted      map[ChildID]bool
	startIn      map[ChildID]time.Duration
	readyIn      map[ChildID]time.Duration
	stopIn       map[ChildID]time.Duration
	failures     map[ChildID]int // that many starts fail; -1: all
	deaf         map[ChildID]bool
	finishes     map[ChildID]bool // ends normally as soon as it is ready
	hopeless     map[ChildID]bool
}

// tester is what testing and rapid have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// life is one incarnation as the world knows it.
type life struct {
	inc       uint64
	alive     bool
	started   bool
	healthy   bool
	completed bool
	stuck     bool
	ordered   uint64 // the incarnation that was ordered to stop last
}

type stamped struct {
	at time.Time
	ev Event
}

type due struct {
	at time.Time
	n  int
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

func newWorld(t tester, root SupervisorSpec, o Options) *world {
	t.Helper()
	tree, err := Compile(root)
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		t: t, m: New(tree, o), now: time.Unix(1000, 0), lives: map[ChildID]*life{}, replies: map[uint64]error{}, managed: map[uint64]Managed{},
		startIn: map[ChildID]time.Duration{}, readyIn: map[ChildID]time.Duration{}, stopIn: map[ChildID]time.Duration{},
		failures: map[ChildID]int{}, deaf: map[ChildID]bool{}, finishes: map[ChildID]bool{}, hopeless: map[ChildID]bool{},
	}
}

// booted is a world whose node has come up, with an empty log.
func booted(t tester, root SupervisorSpec) *world {
	t.Helper()
	w := newWorld(t, root, Options{})
	w.boot()
	w.take()
	return w
}

func (w *world) after(d time.Duration, do func()) {
	w.n++
	heap.Push(&w.queue, due{w.now.Add(d), w.n, do})
}

func (w *world) logf(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

// take returns what happened since the last take.
func (w *world) take() string {
	text := strings.Join(w.log, " ")
	w.log = nil
	return text
}

// want compares what happened since the last take.
func (w *world) want(want string) {
	w.t.Helper()
	if got := w.take(); got != want {
		w.t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// wantStates compares the states that are not running.
func (w *world) wantStates(want string) {
	w.t.Helper()
	if got := w.states(); got != want {
		w.t.Errorf("states:\n got %s\nwant %s", got, want)
	}
}

func (w *world) send(ev Event) {
	w.events = append(w.events, stamped{w.now, ev})
	if len(w.events) > 50_000 {
		w.t.Fatalf("it does not come to rest")
	}
	marked := map[*child]bool{}
	for _, c := range w.m.all() {
		marked[c] = c.mustStop
	}
	commands := w.m.Step(w.now, ev)
	w.commands = append(w.commands, commands...)
	w.checkOrder(commands, marked)
	for _, c := range commands {
		w.carryOut(c)
	}
}

func (w *world) life(id ChildID) *life {
	if w.lives[id] == nil {
		w.lives[id] = &life{}
	}
	return w.lives[id]
}

func (w *world) alive(id ChildID) bool { return w.life(id).alive }

func (w *world) carryOut(c Command) {
	switch c := c.(type) {
	case StartChild:
		w.start(c)
	case StopChild:
		w.logf("-%s", c.ID)
		w.life(c.ID).ordered = c.Incarnation
		if !w.deaf[c.ID] {
			w.after(w.stopIn[c.ID], func() { w.die(c.ID, c.Incarnation) })
		}
	case KillChild:
		w.after(0, func() { w.die(c.ID, c.Incarnation) })
	case Wake:
		cuts := w.cuts
		w.after(c.After, func() {
			if cuts == w.cuts {
				w.send(BackoffOver{c.ID, c.Token})
			}
		})
	case AdoptChild:
		w.adopt(c)
	case Reply:
		if _, twice := w.replies[c.Call]; twice {
			w.t.Errorf("call %d is answered twice", c.Call)
		}
		w.replies[c.Call] = c.Err
	case Held:
		w.holds = c.Holds
	case Booted:
		w.booted = &c
	case Ended:
		w.ended = &c
		w.checkAllGone()
	case Notice:
		w.notices = append(w.notices, c)
	case Report:
		w.reports = append(w.reports, c)
	case Managed:
		w.managed[c.Call] = c
	case SupervisorState:
		w.supervisors = append(w.supervisors, c)
	case ChildJoined:
		w.joined = append(w.joined, c.Node.Spec.ID)
	case ChildLeft:
		w.left = append(w.left, c.Node.Spec.ID)
	case RolledOut: // its notice tells
	}
}

func (w *world) checkAllGone() {
	for id, l := range w.lives {
		if l.alive && !l.stuck {
			w.t.Errorf("the node has ended and %s is alive", id)
		}
	}
}

func (w *world) start(c StartChild) {
	w.logf("+%s", c.ID)
	l := w.life(c.ID)
	if l.alive {
		w.t.Errorf("%s is started as %d while %d is alive", c.ID, c.Incarnation, l.inc)
	}
	if c.Incarnation <= l.inc {
		w.t.Errorf("%s: incarnation %d after %d", c.ID, c.Incarnation, l.inc)
	}
	w.checkConditions(c.ID)
	*l = life{inc: c.Incarnation, alive: true}
	if w.failures[c.ID] != 0 {
		w.failures[c.ID]--
		w.after(w.startIn[c.ID], func() { w.failStart(c) })
		return
	}
	w.after(w.startIn[c.ID], func() {
		if l.alive && l.inc == c.Incarnation {
			l.started = true
			w.send(ChildStarted{ID: c.ID, Incarnation: c.Incarnation, Pid: 1})
		}
	})
	w.after(w.startIn[c.ID]+w.readyIn[c.ID], func() {
		if !l.alive || l.inc != c.Incarnation {
			return
		}
		l.healthy = true
		w.send(ChildReady(c))
		if w.finishes[c.ID] {
			w.exit(c.ID, c.Incarnation, Normal)
		}
	})
}

// checkConditions asserts that every condition of a child holds.
func (w *world) checkConditions(id ChildID) {
	n := w.m.tree.Node(id)
	if n == nil {
		return // started by a call
	}
	for _, e := range n.Needs {
		p := w.life(e.To.Spec.ID)
		holds := false
		switch e.Condition {
		case WhenHealthy:
			holds = p.alive && p.healthy
		case WhenStarted:
			holds = p.alive && p.started
		case WhenCompleted:
			holds = p.completed
		}
		if !holds {
			w.t.Errorf("%s is started while %s is not %s", id, e.To.Spec.ID, e.Condition)
		}
	}
}

func (w *world) failStart(c StartChild) {
	if l := w.life(c.ID); !l.alive || l.inc != c.Incarnation {
		return
	}
	w.life(c.ID).alive, w.life(c.ID).stuck = false, false
	w.logf("!%s", c.ID)
	w.send(ChildExited{
		ID: c.ID, Incarnation: c.Incarnation, Kind: Abnormal, Reason: ReasonSpawnError,
		Hopeless: w.hopeless[c.ID], Detail: "cannot start",
	})
}

// die ends an incarnation that was told to, unless it is stuck.
func (w *world) die(id ChildID, inc uint64) {
	if !w.life(id).stuck {
		w.exit(id, inc, ShutdownExit)
	}
}

func (w *world) exit(id ChildID, inc uint64, kind ExitKind) {
	l := w.life(id)
	if !l.alive || l.inc != inc {
		return
	}
	l.alive, l.healthy, l.stuck = false, false, false
	l.completed = kind == Normal
	w.send(ChildExited{ID: id, Incarnation: inc, Kind: kind, Reason: ReasonExit, Detail: "exit", Unexpected: kind == Abnormal})
}

// crash ends the living incarnation of each child by itself, finish ends it well.
func (w *world) crash(ids ...ChildID)  { w.t.Helper(); w.end(Abnormal, "*", ids) }
func (w *world) finish(ids ...ChildID) { w.t.Helper(); w.end(Normal, "~", ids) }

func (w *world) end(kind ExitKind, sign string, ids []ChildID) {
	w.t.Helper()
	for _, id := range ids {
		if !w.alive(id) {
			w.t.Fatalf("%s does not run; %s", id, w.states())
		}
		w.logf("%s%s", sign, id)
		w.exit(id, w.life(id).inc, kind)
	}
}

// stick says that the living incarnation of a child does not die.
func (w *world) stick(id ChildID) {
	l := w.life(id)
	l.stuck, l.healthy = true, false
	w.logf("#%s", id)
	w.send(ChildStuck{ID: id, Incarnation: l.inc, Detail: "in the kernel"})
}

func (w *world) health(id ChildID, healthy bool) {
	l := w.life(id)
	l.healthy = healthy
	w.send(ChildHealth{ID: id, Incarnation: l.inc, Healthy: healthy, Detail: "probe"})
}

// run lets that much time pass.
func (w *world) run(d time.Duration) {
	until := w.now.Add(d)
	for w.queue.Len() > 0 && !w.queue[0].at.After(until) {
		next := heap.Pop(&w.queue).(due)
		w.now = next.at
		next.do()
	}
	w.now = until
}

func (w *world) boot() {
	w.send(Boot{Cause: w.note(NodeStarting)})
	w.run(time.Minute)
}

// note writes a notice and returns its number.
func (w *world) note(kind string) uint64 {
	w.send(Note{Notice{Type: kind}})
	return w.notices[len(w.notices)-1].Seq
}

func (w *world) operate(op Operation, only bool, ids ...ChildID) uint64 {
	cause := w.note(OperatorCommand)
	w.calls++
	w.send(Operate{Call: w.calls, Op: op, IDs: ids, Only: only, Cause: cause})
	return w.calls
}

func (w *world) stop(ids ...ChildID) uint64    { return w.operate(OpStop, false, ids...) }
func (w *world) startUp(ids ...ChildID) uint64 { return w.operate(OpStart, false, ids...) }
func (w *world) restart(ids ...ChildID) uint64 { return w.operate(OpRestart, false, ids...) }
