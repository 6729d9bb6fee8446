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
	retired                // its supervisor ended for good
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

	phase   phase
	rest    rest
	inc     uint64
	pid     int
	running bool // its process was started
	ran     bool // its last life was ready when it ended
	healthy bool
	stuck   bool

	since        time.Time // of phase or rest
	healthySince time.Time
	nextStart    time.Time
	token        uint64 // of the Wake that counts

	mustStop   bool // is to go down, ordered already or not
	stopReason Reason
	stopAgain  bool // goes pending then, even if temporary
	gate       *gate
	counted    bool   // in gate.stops
	lead       *child // starts first, once its back-off is over
	followers  []*child
	unjudged   *ChildExited // waits in the mailbox, or in a pause

	hold     *Hold // its own
	holds    int   // how many holds reach it
	manual   bool  // an operator asked for the start; a pause does not stop it
	window   window
	row      int // restarts in a row
	restarts uint64

	reason Reason
	detail string
	cause  uint64 // the last notice about it
	dirty  bool
	queued bool // waits for a start slot
	waits  bool // its waiting was noted
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
	window   window
	paused   bool
	ending   *Ended // it ends by itself
	failed   bool   // it ends since a child's start failed while it started
	hopeless bool   // and would fail again
	alive    int    // children that are alive and not stuck
	settled  int    // children before this place have come up, or stay down
	op       *operation
	mailbox  []message
	late     []*child // looked at while an operation ran
}

func (s *supervisor) sequence() bool { return s.spec.Order == Sequence }

// open tells whether children of s may start.
func (s *supervisor) open() bool {
	p := s.self.phase
	return (p == starting || p == up) && !s.self.mustStop && s.ending == nil
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
