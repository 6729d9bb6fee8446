package actors

import (
	"context"
	"slices"

	"github.com/blackhole/bhnode/supervision"
)

// Change is what becomes of a service, or a supervisor, when another configuration comes
// into force.
type Change struct {
	Added, Removed []string
	// Restarted are those that run otherwise, InPlace those that differ and run on.
	Restarted, InPlace []string
	// With are those that restart with what they depend on.
	With []string
	// Waves are all that start, or start anew, wave by wave.
	Waves [][]string
	// Tree: the supervisors or the edges differ.
	Tree bool
}

// Compare tells how another configuration differs from the one that is in force.
func Compare(now, next *Config) (Change, error) {
	var c Change
	runs, will := processesOf(now), processesOf(next)
	before, after := digestsOf(now), digestsOf(next)
	policy, err := policies(now.Spec, next.Spec)
	if err != nil {
		return c, err
	}
	for id := range will {
		name := string(id)
		switch {
		case runs[id] == "":
			c.Added = append(c.Added, name)
		case runs[id] != will[id]:
			c.Restarted = append(c.Restarted, name)
		case policy[id] || !before[id].equal(after[id]):
			c.InPlace = append(c.InPlace, name)
		}
	}
	for id := range runs {
		if will[id] == "" {
			c.Removed = append(c.Removed, string(id))
		}
	}
	for _, names := range [][]string{c.Added, c.Removed, c.Restarted, c.InPlace} {
		slices.Sort(names)
	}
	both := func(id supervision.ChildID) bool { return runs[id] != "" && will[id] != "" }
	c.plan(now, next)
	c.Tree = hashOf(frame(now.Spec, both)) != hashOf(frame(next.Spec, both))
	return c, nil
}

// frame is a tree of which only the names of some services are left.
func frame(s supervision.SupervisorSpec, of func(supervision.ChildID) bool) supervision.SupervisorSpec {
	children := s.Children
	s.Children = nil
	for _, c := range children {
		switch {
		case c.Supervisor != nil:
			below := frame(*c.Supervisor, of)
			c.Supervisor = &below
			s.Children = append(s.Children, c)
		case of(c.ID):
			s.Children = append(s.Children, supervision.ChildSpec{ID: c.ID})
		}
	}
	return s
}

// plan finds the services that a change starts, or starts anew, wave by wave, and those of
// them that do so only with what they depend on.
func (c *Change) plan(now, next *Config) {
	starts := map[supervision.ChildID]bool{}
	for _, name := range slices.Concat(c.Added, c.Restarted) {
		starts[supervision.ChildID(name)] = true
	}
	for _, n := range next.Tree.StartOrder { // what it depends on comes before
		id := n.Spec.ID
		if !starts[id] && slices.ContainsFunc(n.Needs, func(e *supervision.Edge) bool { return e.Restart && starts[e.To.Spec.ID] }) {
			starts[id] = true
			c.With = append(c.With, string(id))
		}
	}
	held := digestsOf(now)
	for _, wave := range wavesOf(next.Tree.Waves, func(id supervision.ChildID) bool { return starts[id] }, conflicts(held, digestsOf(next))) {
		var names []string
		for _, id := range wave {
			names = append(names, string(id))
		}
		c.Waves = append(c.Waves, names)
	}
}

// NoteReload writes down who asked for a reload, and returns the number of that event.
func (n *Node) NoteReload(ctx context.Context, who, text string) (uint64, error) {
	return ask(ctx, n.root, func(reply chan<- uint64) any { return noteReload{who, text, reply} })
}

// Park stops services that are about to leave the tree, in order, and returns when they
// are gone.
func (n *Node) Park(ctx context.Context, names []string, cause uint64) error {
	failed, err := ask(ctx, n.root, func(reply chan<- error) any { return park{ids(names), cause, reply} })
	if err != nil {
		return err
	}
	return failed
}

// Abandon gives the reload up that is under way, and tells whether there was one.
func (n *Node) Abandon(ctx context.Context, who, text, why string) (bool, error) {
	return ask(ctx, n.root, func(reply chan<- bool) any { return abandon{who, text, why, reply} })
}

// Reloaded tells how a reload has ended that this node began with.
func (n *Node) Reloaded() <-chan supervision.RolledOut { return n.reloaded }

// Relimited are the services that run with other limits than they began with.
func (p *Past) Relimited() []string {
	var names []string
	for _, id := range p.limits {
		names = append(names, string(id))
	}
	return names
}

// Changed tells whether it was fitted to another configuration.
func (p *Past) Changed() bool { return p.changed && p.found == nil }

// Reloading tells whether a change is on its way into force.
func (p *Past) Reloading() bool { return p.Changed() || p.machine != nil && p.machine.Reloading() }
