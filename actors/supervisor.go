package actors

import (
	"fmt"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/supervision"
)

// brood is the children of a supervisor's actor: it starts them, finds the way to
// everything below them, and puts a new actor in the place of one that panicked.
type brood struct {
	nursery
	id    supervision.ChildID
	nodes map[supervision.ChildID]*supervision.Node
	pids  map[supervision.ChildID]*actor.PID
	way   map[supervision.ChildID]supervision.ChildID // from anything below to the child above it
	last  map[supervision.ChildID]uint64              // the last incarnation a child was told to start
	// leaving are children whose actors stop, since they have left the tree.
	leaving map[supervision.ChildID]bool
	// parked are messages for children whose place is empty.
	parked map[supervision.ChildID][]parked
}

// parked is a message for a child, or for what is below it.
type parked struct {
	id      supervision.ChildID
	message any
}

func newBrood(n *nodeContext, of *supervision.Node) *brood {
	b := &brood{
		id: of.Spec.ID, nursery: newNursery(n, map[string]func() actor.Actor{}),
		nodes: map[supervision.ChildID]*supervision.Node{}, pids: map[supervision.ChildID]*actor.PID{},
		way: map[supervision.ChildID]supervision.ChildID{}, last: map[supervision.ChildID]uint64{},
		leaving: map[supervision.ChildID]bool{}, parked: map[supervision.ChildID][]parked{},
	}
	for _, child := range of.Children {
		b.include(child)
	}
	return b
}

// include makes a child known that is to have an actor.
func (b *brood) include(child *supervision.Node) {
	id := child.Spec.ID
	b.nodes[id] = child
	b.mapWay(child, id)
	b.producers[string(id)] = func() actor.Actor {
		if child.IsSupervisor() {
			return &supervisorActor{newBrood(b.node, child)}
		}
		return newWorker(b.node, child, b.last[id])
	}
}

func (b *brood) mapWay(n *supervision.Node, via supervision.ChildID) {
	b.way[n.Spec.ID] = via
	for _, k := range n.Children {
		b.mapWay(k, via)
	}
}

func (b *brood) forgetWay(n *supervision.Node) {
	delete(b.way, n.Spec.ID)
	for _, k := range n.Children {
		b.forgetWay(k)
	}
}

// start spawns all children.
func (b *brood) start(c actor.Context) {
	for _, id := range slices.Sorted(maps.Keys(b.nodes)) {
		b.replace(c, string(id))
	}
}

// joined is told of a child that has joined the tree here or below.
func (b *brood) joined(c actor.Context, child *supervision.Node) {
	id, above := child.Spec.ID, child.Parent.Spec.ID
	if above != b.id {
		b.mapWay(child, b.way[above])
		b.relay(c, above, supervision.ChildJoined{Node: child})
		return
	}
	b.include(child)
	if b.pids[id] == nil && !b.leaving[id] {
		b.replace(c, string(id))
	}
}

// left is told of a child that has left the tree here or below.
func (b *brood) left(c actor.Context, child *supervision.Node) {
	id, above := child.Spec.ID, child.Parent.Spec.ID
	b.forgetWay(child)
	if above != b.id {
		b.relay(c, above, supervision.ChildLeft{Node: child})
		return
	}
	delete(b.nodes, id)
	delete(b.producers, string(id))
	delete(b.parked, id)
	delete(b.last, id)
	if pid := b.pids[id]; pid != nil {
		b.pids[id], b.leaving[id] = nil, true
		c.Stop(pid)
	}
}

// relay sends a message towards a supervisor; one that is spawned begins anew.
func (b *brood) relay(c actor.Context, to supervision.ChildID, message any) {
	if pid := b.pids[b.way[to]]; pid != nil {
		c.Send(pid, message)
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
		if via == id || b.leaving[via] {
			b.parked[via] = append(b.parked[via], parked{id, message})
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
	waiting := b.parked[id]
	delete(b.parked, id)
	for _, m := range waiting {
		b.deliver(c, m.id, m.message)
	}
}

// bereaved deals with the end of a child's actor, or with its empty place, and
// returns what that means for supervision: nil where the new actor reports it.
func (b *brood) bereaved(c actor.Context, message any) supervision.Event {
	var name string
	switch m := message.(type) {
	case *actor.Terminated:
		name = b.nameOf(c, m.GetWho())
		id := supervision.ChildID(name)
		if b.leaving[id] {
			delete(b.leaving, id)
			if b.nodes[id] != nil { // it has joined again
				b.replace(c, name)
			}
			return nil
		}
		if !b.lost(c, name) {
			b.pids[id] = nil
			return nil
		}
	case respawn:
		name = m.name
		if b.pids[supervision.ChildID(name)] != nil {
			return nil // it has left and joined meanwhile
		}
	}
	id := supervision.ChildID(name)
	child := b.nodes[id]
	if child == nil {
		return nil // it has left
	}
	b.replace(c, name)
	if child.IsSupervisor() {
		return supervision.SupervisorCrashed{ID: id, Detail: fmt.Sprintf("the actor of supervisor %s panicked", id)}
	}
	return nil
}

// addressee is the child that a command of supervision, or a request, is for.
func addressee(message any) (supervision.ChildID, bool) {
	switch m := message.(type) {
	case supervision.StartChild:
		return m.ID, true
	case supervision.AdoptChild:
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
	case supervision.ChildJoined:
		s.joined(c, m.Node)
	case supervision.ChildLeft:
		s.left(c, m.Node)
	case supervision.Event:
		c.Send(c.Parent(), m)
	default:
		if id, ok := addressee(m); ok {
			s.deliver(c, id, m)
		}
	}
}
