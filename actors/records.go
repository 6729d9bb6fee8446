package actors

import (
	"github.com/asynkron/protoactor-go/actor"
)

const (
	recordsName = "records"
	journalName = "journal"
)

func logName(service string) string { return "log/" + service }

// recordsActor is above everything that writes to disk, so that it outlives the
// services. What panics is started anew with its book.
type recordsActor struct {
	nursery
	up chan<- struct{} // closed once the actors below can be written to
}

func newRecordsActor(n *nodeContext, up chan<- struct{}) *recordsActor {
	producers := map[string]func() actor.Actor{journalName: func() actor.Actor { return &journalActor{n.journal} }}
	for _, s := range n.services {
		producers[logName(s.Spec.Name)] = func() actor.Actor { return &logActor{s.lines} }
	}
	return &recordsActor{nursery: newNursery(n.log, producers), up: up}
}

// Receive implements actor.Actor.
func (r *recordsActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		for name := range r.producers {
			r.spawn(c, name)
		}
		close(r.up)
	case *actor.Terminated:
		if name, now := r.lost(c, m.GetWho()); now {
			r.spawn(c, name)
		}
	case respawn:
		r.spawn(c, m.name)
	}
}
