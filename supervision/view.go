package supervision

import (
	"fmt"
	"time"
)

// State is what the user sees of a service or a supervisor.
type State string

// The states.
const (
	StateStopped   State = "stopped"
	StateWaiting   State = "waiting"
	StateStarting  State = "starting"
	StateRunning   State = "running"
	StateUnhealthy State = "unhealthy"
	StateStopping  State = "stopping"
	StateStuck     State = "stuck"
	StateBackoff   State = "backoff"
	StateCompleted State = "completed"
	StateFailed    State = "failed"
)

// View is one child as it is.
type View struct {
	ID          ChildID
	Supervisor  ChildID // "": the root
	Nested      bool
	State       State
	Healthy     bool
	Wanted      bool
	Held        bool
	Paused      bool
	Incarnation uint64
	Restarts    uint64
	// InWindow of Limit restarts are used: a supervisor's, or a service's own.
	InWindow int
	Limit    Intensity
	Since    time.Time // of the state
	// NextStart is when the back-off is over.
	NextStart time.Time
	Reason    Reason
	Detail    string
}

// Snapshot returns all children in list order, the root first.
func (m *Machine) Snapshot(now time.Time) []View {
	all := m.all()
	views := make([]View, len(all))
	for i, c := range all {
		views[i] = c.view(now)
	}
	return views
}

// ViewOf returns one child.
func (m *Machine) ViewOf(now time.Time, id ChildID) (View, bool) {
	c := m.children[id]
	if c == nil {
		return View{}, false
	}
	return c.view(now), true
}

func (c *child) view(now time.Time) View {
	v := View{
		ID: c.id(), Nested: c.nested != nil, State: c.state(), Healthy: c.phase == up && c.healthy,
		Wanted: !c.under, Held: c.hold != nil, Incarnation: c.inc, Restarts: c.total,
		Since: c.since, Reason: c.reason, Detail: c.detail,
	}
	if c.sup != nil {
		v.Supervisor = c.sup.self.id()
	}
	if own := c.spec().Intensity; own != nil {
		v.Limit, v.InWindow = *own, c.window.count(now, own.Period)
	}
	if c.nested != nil {
		v.Paused = c.nested.paused
		v.Limit, v.InWindow = c.nested.spec.Intensity, c.nested.window.count(now, c.nested.spec.Intensity.Period)
	}
	switch {
	case v.State == StateStopped && c.under:
		v.Reason, v.Detail = ReasonHeld, ""
	case v.State == StateWaiting && !c.needsMet():
		v.Reason, v.Detail = ReasonDependency, c.waitsFor()
	case v.State == StateWaiting && c.inBackoff() != nil:
		v.Reason, v.Detail = ReasonStrategy, fmt.Sprintf("for supervisor %s, whose back-off runs", c.inBackoff().id())
	case v.State == StateBackoff:
		v.NextStart = c.nextStart
	}
	return v
}

func (c *child) state() State {
	switch {
	case c.stuck:
		return StateStuck
	case c.phase == stopping, c.alive() && c.nested != nil && c.nested.ending != nil:
		return StateStopping
	case c.phase == starting:
		return StateStarting
	case c.phase == up && !c.healthy:
		return StateUnhealthy
	case c.phase == up:
		return StateRunning
	case c.under:
		return StateStopped
	case c.inBackoff() != nil && !c.sup.keepsDown(c):
		return StateWaiting
	}
	switch c.rest {
	case pending, retrying:
		if c.sup == nil || !c.sup.open() {
			return StateStopped
		}
		return StateWaiting
	case backingOff:
		return StateBackoff
	case exhausted, abandoned:
		return StateFailed
	case finished:
		return StateCompleted
	case recorded, dismissed, retired, ignored:
	}
	return StateStopped
}

// inBackoff is the supervisor above c whose own restart it waits for, nil if there is
// none.
func (c *child) inBackoff() *child {
	for s := c.sup; s != nil && !s.self.alive(); s = s.self.sup {
		if s.self.rest == backingOff {
			return s.self
		}
	}
	return nil
}
