package actors

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/supervision"
)

// brood is the children of a supervisor's actor: it starts them, finds the way to
// everything below them, and puts a new actor in the place of one that panicked.
type brood struct {
	node  *nodeContext
	of    *supervision.Node
	pids  map[supervision.ChildID]*actor.PID
	way   map[supervision.ChildID]supervision.ChildID // from anything below to the child above it
	last  map[supervision.ChildID]uint64              // the last incarnation a child was told to start
	names map[string]supervision.ChildID
}

func newBrood(n *nodeContext, of *supervision.Node) *brood {
	b := &brood{
		node: n, of: of, pids: map[supervision.ChildID]*actor.PID{}, way: map[supervision.ChildID]supervision.ChildID{},
		last: map[supervision.ChildID]uint64{}, names: map[string]supervision.ChildID{},
	}
	for _, child := range of.Children {
		b.mapWay(child, child.Spec.ID)
	}
	return b
}

func (b *brood) mapWay(n *supervision.Node, via supervision.ChildID) {
	b.way[n.Spec.ID] = via
	for _, k := range n.Children {
		b.mapWay(k, via)
	}
}

// start spawns all children.
func (b *brood) start(c actor.Context) {
	for _, child := range b.of.Children {
		b.spawn(c, child, 0)
	}
}

// spawn starts the actor of a child. buried is the incarnation that a predecessor
// was carrying when it panicked.
func (b *brood) spawn(c actor.Context, child *supervision.Node, buried uint64) {
	id := child.Spec.ID
	pid, err := b.node.spawn(c, string(id), func() actor.Actor {
		if child.IsSupervisor() {
			return &supervisorActor{brood: newBrood(b.node, child)}
		}
		return b.node.newWorker(child, buried)
	})
	if err != nil {
		panic(err) // a name of ours that is taken: a bug
	}
	b.pids[id] = pid
	b.names[pid.GetId()] = id
}

// deliver sends a message down to the child it is for, or to the supervisor above
// that.
func (b *brood) deliver(c actor.Context, id supervision.ChildID, message any) {
	via, ok := b.way[id]
	if !ok {
		return
	}
	if m, ok := message.(supervision.StartChild); ok && via == id {
		b.last[id] = m.Incarnation
	}
	c.Send(b.pids[via], message)
}

// replace starts a new actor for a child whose actor has panicked, and returns
// what that means for supervision: nil where the new actor reports it itself.
func (b *brood) replace(c actor.Context, who *actor.PID) supervision.Event {
	id, ok := b.names[who.GetId()]
	if !ok {
		return nil
	}
	for _, child := range b.of.Children {
		if child.Spec.ID != id {
			continue
		}
		b.spawn(c, child, b.last[id])
		if child.IsSupervisor() {
			return supervision.SupervisorCrashed{ID: id, Detail: fmt.Sprintf("the actor of supervisor %s panicked", id)}
		}
	}
	return nil
}

// addressee is the child that a command of supervision, or a request, is for.
func addressee(message any) (supervision.ChildID, bool) {
	switch m := message.(type) {
	case supervision.StartChild:
		return m.ID, true
	case supervision.StopChild:
		return m.ID, true
	case supervision.KillChild:
		return m.ID, true
	case signalService:
		return m.id, true
	}
	return "", false
}

// HandleFailure implements actor.SupervisorStrategy: a child that panicked is
// stopped; what follows is decided when it has ended.
func (b *brood) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, _, _ any,
) {
	sup.StopChildren(who)
}

// supervisorActor is the actor of a nested supervisor. Its decisions are made in
// root; it owns its children and relays.
type supervisorActor struct{ *brood }

// Receive implements actor.Actor.
func (s *supervisorActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		s.start(c)
	case *actor.Terminated:
		if s.node.closing.Load() {
			return
		}
		if ev := s.replace(c, m.Who); ev != nil {
			c.Send(c.Parent(), ev)
		}
	case supervision.Event:
		c.Send(c.Parent(), m)
	default:
		if id, ok := addressee(m); ok {
			s.deliver(c, id, m)
		}
	}
}
