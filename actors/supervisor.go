package actors

import (
	"fmt"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/supervision"
)

// brood is the children of a supervisor's actor: it starts them, finds the way to
// everything below them, and puts a new actor in the place of one that panicked.
type brood struct {
	nursery
	of   *supervision.Node
	pids map[supervision.ChildID]*actor.PID
	way  map[supervision.ChildID]supervision.ChildID // from anything below to the child above it
	last map[supervision.ChildID]uint64              // the last incarnation a child was told to start
	// parked are commands for services whose place is empty.
	parked map[supervision.ChildID][]any
}

func newBrood(n *nodeContext, of *supervision.Node) *brood {
	b := &brood{
		of: of, pids: map[supervision.ChildID]*actor.PID{}, way: map[supervision.ChildID]supervision.ChildID{},
		last: map[supervision.ChildID]uint64{}, parked: map[supervision.ChildID][]any{},
	}
	producers := map[string]func() actor.Actor{}
	for _, child := range of.Children {
		id := child.Spec.ID
		b.mapWay(child, id)
		producers[string(id)] = func() actor.Actor {
			if child.IsSupervisor() {
				return &supervisorActor{newBrood(n, child)}
			}
			return newWorker(n, child, b.last[id])
		}
	}
	b.nursery = newNursery(n.log, producers)
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
		b.replace(c, string(child.Spec.ID))
	}
}

// deliver sends a message down to the child it is for, or to the supervisor above
// that.
func (b *brood) deliver(c actor.Context, id supervision.ChildID, message any) {
	via, ok := b.way[id]
	if !ok {
		return
	}
	if b.pids[via] == nil { // a supervisor that is spawned begins anew
		if via == id {
			b.parked[id] = append(b.parked[id], message)
		}
		return
	}
	if m, ok := message.(supervision.StartChild); ok && via == id {
		b.last[id] = m.Incarnation
	}
	c.Send(b.pids[via], message)
}

// replace spawns the actor of a child and gives it what has waited for it.
func (b *brood) replace(c actor.Context, name string) {
	id := supervision.ChildID(name)
	b.pids[id] = b.spawn(c, name)
	parked := b.parked[id]
	delete(b.parked, id)
	for _, m := range parked {
		b.deliver(c, id, m)
	}
}

// bereaved deals with the end of a child's actor, or with its empty place, and
// returns what that means for supervision: nil where the new actor reports it.
func (b *brood) bereaved(c actor.Context, message any) supervision.Event {
	var name string
	switch m := message.(type) {
	case *actor.Terminated:
		var now bool
		if name, now = b.lost(c, m.GetWho()); !now {
			b.pids[supervision.ChildID(name)] = nil
			return nil
		}
	case respawn:
		name = m.name
	}
	b.replace(c, name)
	for _, child := range b.of.Children {
		if id := child.Spec.ID; string(id) == name && child.IsSupervisor() {
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

// supervisorActor is the actor of a nested supervisor. Its decisions are made in
// root; it owns its children and relays.
type supervisorActor struct{ *brood }

// Receive implements actor.Actor.
func (s *supervisorActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		s.start(c)
	case *actor.Terminated, respawn:
		if ev := s.bereaved(c, m); ev != nil {
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
