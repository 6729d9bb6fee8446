package supervision

import "time"

// phase is where the present incarnation of a child is.
type phase uint8

const (
	down     phase = iota // no incarnation
	starting              // ordered to start, not ready yet
	up                    // was ready
	stopping              // ordered to stop
)

// rest is why a child that is down is down.
type rest uint8

const (
	pending    rest = iota // starts as soon as it can
	backingOff             // a Wake is due
	retrying               // its failed start waits in the mailbox of its supervisor
	recorded               // ended while paused; judged on resume
	exhausted              // `failed`: its own restarts are used up
	abandoned              // `failed`: a temporary child that ended abnormally
	finished               // `completed`
	dismissed              // `stopped`: a temporary child that went with its group
	retired                // a supervisor that ended for good
	ignored                // its start declined
)

// link is an edge as one of its two ends sees it.
type link struct {
	*Edge
	child *child // the other end
}

// child is a service or a supervisor in a Machine.
type child struct {
	node     *Node
	sup      *supervisor // nil: the root
	nested   *supervisor // nil: a service
	needs    []link
	neededBy []link
	index    int // its place in the list of its supervisor
	rank     int // its place in the start order

	phase   phase
	rest    rest
	inc     uint64
	pid     int
	running bool // its process was started
	ran     bool // it was ready in this life, or its last
	healthy bool
	stuck   bool
	slot    bool // it takes one of the starts that may be under way at once
	cameUp  bool // it was up since the node booted

	since        time.Time // of phase or rest
	healthySince time.Time
	nextStart    time.Time
	token        uint64 // of the Wake that counts

	mustStop   bool // is to go down, ordered already or not
	stopReason Reason
	stopAgain  bool // goes pending then, even if temporary
	inWay      bool // what it needs stops after it
	blockers   int  // direct dependents that are, or have something, in its way
	gate       *gate
	counted    bool   // in gate.stops
	lead       *child // starts first, once its back-off is over
	followers  []*child
	unjudged   *ChildExited // waits in the mailbox, or in a pause
	obituary   *ChildExited // to be reported when its turn to stop comes

	hold    *Hold // its own
	plain   bool  // under a hold that reaches its dependents
	under   bool  // under a hold, its own or of what it needs
	stalled bool  // down because a dependency stays down
	manual  bool  // an operator asked for the start; a pause does not stop it
	window  window
	row     int // restarts in a row
	total   uint64

	reason Reason
	detail string
	cause  uint64 // the last notice about it
	// suspect is what an end by itself will be put down to.
	suspect suspicion
	dirty   bool
	queued  bool // waits for a start slot
	waits   bool // its waiting was noted
	later   bool // its wave of a rollout has not come
}

func (c *child) id() ChildID { return c.node.Spec.ID }

func (c *child) alive() bool { return c.phase != down }

func (c *child) spec() *ChildSpec { return &c.node.Spec }

// meets tells whether the condition of an edge to c holds.
func (c *child) meets(cond Condition) bool {
	switch cond {
	case WhenHealthy:
		return c.phase == up && c.healthy && !c.mustStop
	case WhenStarted:
		return (c.phase == up || c.phase == starting) && c.running && !c.mustStop
	case WhenCompleted:
		return c.phase == down && c.rest == finished
	}
	return false
}

// needsMet tells whether the conditions of all edges of c hold.
func (c *child) needsMet() bool {
	for _, l := range c.needs {
		if !l.child.meets(l.Condition) {
			return false
		}
	}
	return true
}

// gated tells whether a member of the restart that c belongs to is still to go.
func (c *child) gated() bool { return c.gate != nil && c.gate.find().stops > 0 }

// heldUp tells whether the lead of c must come first: while its back-off runs, or
// it is `failed`. In sequence c also waits for a lead that stands before it.
func (c *child) heldUp() bool {
	l := c.lead
	if l == nil || l.alive() {
		return false
	}
	switch l.rest {
	case backingOff, retrying, exhausted, recorded:
		return true
	case pending:
		return !l.under && !l.stalled && c.sup == l.sup && c.sup.sequence() && l.index < c.index
	case abandoned, finished, dismissed, retired, ignored:
	}
	return false
}

// staysDown tells whether c, which is down, stays so as things are.
func (c *child) staysDown() bool {
	if c.under || c.stalled || c.sup.isPaused() && !c.manual {
		return true
	}
	if s := c.sup.self; !s.alive() && s.sup != nil && s.staysDown() {
		return true
	}
	switch c.rest {
	case pending:
		return c.heldUp() && c.lead.staysDown()
	case backingOff, retrying:
		return false
	case recorded, exhausted, abandoned, finished, dismissed, retired, ignored:
	}
	return true
}

// isStalled tells whether a dependency that stays down keeps c down.
func (c *child) isStalled() bool {
	if c.alive() {
		return false
	}
	for _, l := range c.needs {
		if d := l.child; d.stuck || !d.alive() && !d.meets(l.Condition) && d.staysDown() {
			return true
		}
	}
	return false
}

// hasSettled tells whether the start of c is over, or does not come as things are.
func (c *child) hasSettled() bool {
	if c.alive() {
		return c.phase == up || c.stuck
	}
	return c.unjudged != nil || c.staysDown()
}

// latched tells whether a restart of others leaves c as it is, since it completed
// and is needed so.
func (c *child) latched() bool {
	if c.rest != finished {
		return false
	}
	for _, l := range c.neededBy {
		if l.Condition == WhenCompleted {
			return true
		}
	}
	return false
}

// services calls f for each service at or below c, in list order.
func (c *child) services(f func(*child)) {
	if c.nested == nil {
		f(c)
		return
	}
	for _, k := range c.nested.children {
		k.services(f)
	}
}

// supervisor is one supervisor in a Machine.
type supervisor struct {
	self     *child
	spec     *SupervisorSpec
	children []*child
	original []*child // those of its specification, once there were others
	unclean  []Report // of a stop that is under way
	window   window
	paused   bool
	frozen   bool
	patient  bool      // an order to stop waits in its mailbox
	ordered  bool      // one waits there
	closing  bool      // it stops its children, to end
	waited   bool      // in this life a child below it waited for a condition
	ending   *Ended    // it ends by itself
	ended    EndReason // how its last life ended by itself
	well     bool      // that life ended since significant children ended normally
	failed   bool      // it ends since a child's start failed while it started
	hopeless bool      // and would fail again
	alive    int       // children that are alive and not stuck
	settled  int       // children before this place have come up, or stay down
	last     int       // no child behind this place is in the way
	op       *operation
	mailbox  []message
	late     []*child // to be looked at when the operation is over
}

func (s *supervisor) sequence() bool { return s.spec.Order == Sequence }

// holdsOrders tells whether an order to stop waits in the mailbox of s, or would.
func (s *supervisor) holdsOrders() bool { return s.frozen || s.patient || s.ordered }

// simple tells whether all children of s are made from one specification.
func (s *supervisor) simple() bool { return s.spec.Strategy == SimpleOneForOne }

// open tells whether s supervises: its children may start, and their ends are
// judged.
func (s *supervisor) open() bool {
	c := s.self
	if !c.alive() || s.closing {
		return false
	}
	return s.holdsOrders() || c.phase != stopping && !c.mustStop
}

func (s *supervisor) isPaused() bool {
	for s != nil {
		if s.paused {
			return true
		}
		s = s.self.sup
	}
	return false
}
