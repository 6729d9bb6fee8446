package actors

import (
	"github.com/asynkron/protoactor-go/actor"
)

const (
	recordsName = "records"
	journalName = "journal"
)

func logName(service string) string { return "log/" + service }

// recordsActor is above everything that takes down how the services are and what they
// say, so that it outlives them. What panics is started anew with its book.
type recordsActor struct {
	nursery
	up chan<- struct{} // closed once the actors below can be written to
}

func newRecordsActor(n *nodeContext, up chan<- struct{}) *recordsActor {
	producers := map[string]func() actor.Actor{
		journalName: func() actor.Actor { return &journalActor{n.journal} },
		samplerName: func() actor.Actor { return &sampler{node: n} },
	}
	for i, of := range n.cfg.Announcements {
		producers[announcerName(i)] = func() actor.Actor { return newAnnouncer(n, of) }
	}
	for _, s := range n.services.all() {
		producers[logName(s.Spec.Name)] = logOf(s)
	}
	return &recordsActor{nursery: newNursery(n, producers), up: up}
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
		if name := r.nameOf(c, m.GetWho()); r.lost(c, name) {
			r.spawn(c, name)
		}
	case openLog:
		r.open(c, m)
	case respawn:
		r.spawn(c, m.name)
	}
}

func logOf(s *service) func() actor.Actor {
	return func() actor.Actor { return &logActor{s.lines} }
}

// open has lines of a service that is new taken down.
func (r *recordsActor) open(c actor.Context, m openLog) {
	name := logName(m.of.Spec.Name)
	if r.producers[name] == nil {
		r.producers[name] = logOf(m.of)
		r.spawn(c, name)
	}
	m.reply <- struct{}{}
}
