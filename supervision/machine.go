package supervision

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Options are what a Machine starts from.
type Options struct {
	// LastSeq is the number of the last notice of an earlier life of the node.
	LastSeq uint64
	// Seed determines the jitter of the back-offs.
	Seed uint64
	// Holds that are in force, and the last incarnation of each service.
	Holds        []Hold
	Incarnations map[ChildID]uint64
	// BestEffort: a service that fails while the node boots is left failed.
	BestEffort bool
	// Patient: an order to stop waits in the mailbox of a supervisor with order
	// Sequence, as in OTP; else it overtakes what is under way.
	Patient bool
	// MaxParallelStarts limits the starts under way at once; 0: no limit.
	MaxParallelStarts int
}

// Machine supervises one node. It belongs to one owner: Step and Snapshot must
// not run at the same time.
type Machine struct {
	tree     *Tree
	opt      Options
	root     *child
	children map[ChildID]*child
	order    []*child           // list order
	nested   []*supervisor      // in the same order
	starts   []*child           // the services in start order
	removed  map[ChildID]uint64 // the last incarnations of children that were removed

	now      time.Time
	seq      uint64
	spread   spread
	tokens   uint64
	commands []Command
	dirty    []*child
	slots    int // starts under way
	waiting  []*child
	booting  bool
	recheck  bool // who stays down has changed
	calls    []*call
	over     bool
	rollout  *rollout // nil: none is under way

	bootCause uint64
	resumed   uint64 // the notice of the new life that took the node over
}

// New returns the machine of a tree, with nothing started.
func New(t *Tree, o Options) *Machine {
	m := &Machine{tree: t, opt: o, seq: o.LastSeq, spread: spread(o.Seed), children: map[ChildID]*child{}, removed: map[ChildID]uint64{}}
	m.root = m.build(t.Root, nil)
	m.reshape()
	for _, c := range m.order {
		for _, e := range c.node.Needs {
			to := m.children[e.To.Spec.ID]
			c.needs = append(c.needs, link{e, to})
			to.neededBy = append(to.neededBy, link{e, c})
		}
	}
	for i, n := range t.StartOrder {
		c := m.children[n.Spec.ID]
		c.rank = i
	}
	m.reshape()
	for _, s := range slices.Backward(m.nested) {
		for i, k := range s.children {
			if i == 0 || k.rank < s.self.rank {
				s.self.rank = k.rank
			}
		}
	}
	for _, h := range o.Holds {
		if c := m.children[h.ID]; c != nil && c.nested == nil {
			c.hold = &Hold{ID: h.ID, Only: h.Only}
		}
	}
	m.reckonHolds(0)
	return m
}

func (m *Machine) build(n *Node, sup *supervisor) *child {
	c := &child{node: n, sup: sup, index: n.Index, rank: len(m.tree.StartOrder), inc: max(m.opt.Incarnations[n.Spec.ID], m.removed[n.Spec.ID])}
	m.children[n.Spec.ID] = c
	if n.IsSupervisor() {
		c.nested = &supervisor{self: c, spec: n.Spec.Supervisor}
		c.nested.patient = m.opt.Patient && c.nested.sequence()
		for _, k := range n.Children {
			c.nested.children = append(c.nested.children, m.build(k, c.nested))
		}
	}
	return c
}

// Step takes one event at that time and returns what is to be done, in order.
// Times must not go backwards. Events of an incarnation that is over, or of a
// child that does not exist, change nothing.
func (m *Machine) Step(now time.Time, ev Event) []Command {
	m.now = now
	m.commands = nil
	m.handle(ev)
	m.settleDown()
	for m.roll() {
		m.settleDown()
	}
	m.finishBoot()
	m.answerCalls()
	return m.commands
}

// settleDown does what is due, and what that makes due.
func (m *Machine) settleDown() {
	m.settleAll()
	for m.recheck {
		m.recheck = false
		m.reckonStalls()
		m.settleAll()
	}
}

func (m *Machine) handle(ev Event) {
	switch e := ev.(type) {
	case Boot:
		m.boot(e)
	case Resume:
		m.resume(e)
	case ChildAdopted:
		m.ifLives(e.ID, e.Incarnation, func(c *child) { m.adopted(c, e) })
	case ChildStarted:
		m.ifLives(e.ID, e.Incarnation, func(c *child) { m.started(c, e) })
	case ChildReady:
		m.ifLives(e.ID, e.Incarnation, m.ready)
	case ChildHealth:
		m.ifLives(e.ID, e.Incarnation, func(c *child) { m.healthChanged(c, e) })
	case ChildExited:
		m.ifLives(e.ID, e.Incarnation, func(c *child) { m.exited(c, e) })
	case ChildIgnored:
		m.ifLives(e.ID, e.Incarnation, m.declined)
	case ChildStuck:
		m.ifLives(e.ID, e.Incarnation, func(c *child) { m.gotStuck(c, e) })
	case SupervisorCrashed:
		m.supervisorCrashed(e)
	case BackoffOver:
		m.backoffOver(e)
	case Operate:
		m.operate(e)
	case Abandon:
		m.abandon(e)
	case ShutDown:
		m.shutDown(e.Cause)
	case KillAll:
		m.killAll(e.Cause)
	case Note:
		m.noted(e.Notice)
	case Manage:
		m.manage(e)
	case Freeze:
		m.freeze(e.ID, true)
	case Thaw:
		m.freeze(e.ID, false)
	}
}

// living returns the child if that incarnation of it is alive.
func (m *Machine) living(id ChildID, inc uint64) *child {
	c := m.children[id]
	if c == nil || c.inc != inc || !c.alive() {
		return nil
	}
	return c
}

// ifLives does something with the child if that incarnation of it is alive.
func (m *Machine) ifLives(id ChildID, inc uint64, do func(*child)) {
	if c := m.living(id, inc); c != nil {
		do(c)
	}
}

// noted writes down a notice of somebody else. An operator's command about one
// service is a signal, named by an attribute.
func (m *Machine) noted(n Notice) {
	c := m.children[n.Service]
	if c == nil || n.Type != OperatorCommand {
		m.note(n)
		return
	}
	n.Incarnation, n.Pid = c.inc, c.pid
	seq := m.note(n)
	for _, a := range n.Attrs {
		if a.Key == "signal" {
			c.suspect = suspicion{notice: seq, signal: a.Value, since: m.now}
		}
	}
}

func (m *Machine) do(c Command) { m.commands = append(m.commands, c) }

// note numbers a notice and gives it out.
func (m *Machine) note(n Notice) uint64 {
	m.seq++
	n.Seq = m.seq
	m.do(n)
	return n.Seq
}

// noteOf notes something about a child; the notice becomes the child's cause.
func (m *Machine) noteOf(c *child, kind string, cause uint64, message string, attrs ...Attr) {
	n := Notice{Cause: cause, Type: kind, Incarnation: c.inc, Pid: c.pid, Message: message, Attrs: attrs}
	if c.nested != nil {
		n.Supervisor = c.id()
	} else {
		n.Service = c.id()
	}
	seq := m.note(n)
	switch kind {
	case ServiceStarted, ServiceReady, ServiceHealthy, ServiceUnhealthy:
		if c.mustStop && c.phase != stopping {
			return
		}
	}
	c.cause = seq
}

func (m *Machine) noteSupervisor(s *supervisor, kind string, cause uint64, message string, attrs ...Attr) uint64 {
	return m.note(Notice{Cause: cause, Type: kind, Supervisor: s.self.id(), Message: message, Attrs: attrs})
}

// touch has a child looked at again before the step ends.
func (m *Machine) touch(c *child) {
	if c != nil && !c.dirty {
		c.dirty = true
		m.dirty = append(m.dirty, c)
	}
}

func (m *Machine) settleAll() {
	for len(m.dirty) > 0 || m.nextInQueue() {
		c := m.dirty[0]
		m.dirty = m.dirty[1:]
		c.dirty = false
		m.settle(c)
	}
}

func (m *Machine) setPhase(c *child, p phase) {
	c.phase, c.since = p, m.now
}

func (m *Machine) setRest(c *child, r rest) {
	c.rest, c.since = r, m.now
}

// FormatDuration writes a duration as a person would: 1h, not 1h0m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
