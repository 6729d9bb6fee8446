package supervision

import (
	"container/heap"
	"fmt"
	"strings"
	"testing"
	"time"
)

// world carries the commands of a Machine out in virtual time. Children start at
// once and stop at once unless a test says otherwise.
type world struct {
	t        *testing.T
	m        *Machine
	now      time.Time
	queue    timeline
	n        int
	log      []string
	notices  []Notice
	alive    map[ChildID]uint64 // its incarnation
	replies  map[uint64]error
	ended    *Ended
	booted   *Booted
	holds    []Hold
	calls    uint64
	startIn  map[ChildID]time.Duration
	stopIn   map[ChildID]time.Duration
	failures map[ChildID]int // that many starts fail; -1: all
	deaf     map[ChildID]bool
	finishes map[ChildID]bool // ends normally as soon as it started
	hopeless map[ChildID]bool
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

func newWorld(t *testing.T, root SupervisorSpec, o Options) *world {
	t.Helper()
	tree, err := Compile(root)
	if err != nil {
		t.Fatal(err)
	}
	return &world{
		t: t, m: New(tree, o), now: time.Unix(1000, 0), alive: map[ChildID]uint64{}, replies: map[uint64]error{},
		startIn: map[ChildID]time.Duration{}, stopIn: map[ChildID]time.Duration{}, failures: map[ChildID]int{},
		deaf: map[ChildID]bool{}, finishes: map[ChildID]bool{}, hopeless: map[ChildID]bool{},
	}
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

func (w *world) send(ev Event) {
	for _, c := range w.m.Step(w.now, ev) {
		w.carryOut(c)
	}
}

func (w *world) carryOut(c Command) {
	switch c := c.(type) {
	case StartChild:
		w.start(c)
	case StopChild:
		w.logf("-%s", c.ID)
		if !w.deaf[c.ID] {
			w.after(w.stopIn[c.ID], func() { w.exit(c.ID, c.Incarnation, ShutdownExit) })
		}
	case KillChild:
		w.after(0, func() { w.exit(c.ID, c.Incarnation, ShutdownExit) })
	case Wake:
		w.after(c.After, func() { w.send(BackoffOver{c.ID, c.Token}) })
	case Reply:
		w.replies[c.Call] = c.Err
	case Held:
		w.holds = c.Holds
	case Booted:
		w.booted = &c
	case Ended:
		w.ended = &c
	case Notice:
		w.notices = append(w.notices, c)
	}
}

func (w *world) start(c StartChild) {
	w.logf("+%s", c.ID)
	if w.alive[c.ID] != 0 {
		w.t.Errorf("%s is started as %d while %d is alive", c.ID, c.Incarnation, w.alive[c.ID])
	}
	w.alive[c.ID] = c.Incarnation
	w.after(0, func() { w.send(ChildStarted{ID: c.ID, Incarnation: c.Incarnation, Pid: 1}) })
	w.after(w.startIn[c.ID], func() {
		switch {
		case w.alive[c.ID] != c.Incarnation:
		case w.failures[c.ID] != 0:
			w.failures[c.ID]--
			w.fail(c.ID, c.Incarnation)
		case w.finishes[c.ID]:
			w.exit(c.ID, c.Incarnation, Normal)
		default:
			w.send(ChildReady{c.ID, c.Incarnation})
		}
	})
}

func (w *world) fail(id ChildID, inc uint64) {
	delete(w.alive, id)
	w.logf("!%s", id)
	w.send(ChildExited{ID: id, Incarnation: inc, Kind: Abnormal, Reason: ReasonSpawnError, Hopeless: w.hopeless[id], Detail: "cannot start"})
}

func (w *world) exit(id ChildID, inc uint64, kind ExitKind) {
	if w.alive[id] != inc {
		return
	}
	delete(w.alive, id)
	w.send(ChildExited{ID: id, Incarnation: inc, Kind: kind, Reason: ReasonExit, Detail: "exit"})
}

// crash ends the living incarnation of each child by itself.
func (w *world) crash(ids ...ChildID) {
	w.t.Helper()
	for _, id := range ids {
		if w.alive[id] == 0 {
			w.t.Fatalf("%s does not run", id)
		}
		w.logf("*%s", id)
		w.exit(id, w.alive[id], Abnormal)
	}
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
	w.send(Boot{})
	w.run(time.Minute)
}

func (w *world) operate(op Operation, only bool, ids ...ChildID) uint64 {
	w.calls++
	w.send(Operate{Call: w.calls, Op: op, IDs: ids, Only: only})
	return w.calls
}

// states lists the children whose state is not running.
func (w *world) states() string {
	var out []string
	for _, v := range w.m.Snapshot(w.now) {
		if v.State != StateRunning {
			out = append(out, fmt.Sprintf("%s:%s", v.ID, v.State))
		}
	}
	return strings.Join(out, " ")
}

// service is a child that depends on others, with no back-off and no limit of its
// own.
func service(id string, needs ...string) ChildSpec {
	c := ChildSpec{ID: ChildID(id), Shutdown: Shutdown{Grace: time.Second}}
	for _, n := range needs {
		c.DependsOn = append(c.DependsOn, Dependency{On: ChildID(n), Restart: true})
	}
	return c
}

func under(id string, strategy Strategy, order Order, children ...ChildSpec) SupervisorSpec {
	return SupervisorSpec{ID: ChildID(id), Strategy: strategy, Order: order, Children: children, Intensity: Intensity{Max: 10, Period: time.Minute}}
}

func nested(s SupervisorSpec) ChildSpec {
	return ChildSpec{ID: s.ID, Supervisor: &s, Shutdown: Shutdown{Mode: Infinity}}
}
