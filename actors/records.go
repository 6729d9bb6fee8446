package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/proc/logstore"
)

// recordsActor is above everything that writes to disk, so that it outlives the
// services. What panics is started anew with its files open.
type recordsActor struct {
	node *nodeContext
	up   chan<- struct{} // closed once the actors below can be written to
	byID map[string]func(actor.Context)
}

// Receive implements actor.Actor.
func (r *recordsActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		r.byID = map[string]func(actor.Context){}
		r.spawn(c, journalName, func() actor.Actor { return newJournalActor(r.node) })
		for i := range r.node.cfg.Services {
			name := r.node.cfg.Services[i].Spec.Name
			r.spawn(c, logName(name), func() actor.Actor { return newLogActor(r.node, name) })
		}
		close(r.up)
	case *actor.Terminated:
		if again := r.byID[m.Who.GetId()]; again != nil && !r.node.closing.Load() {
			again(c)
		}
	}
}

func (r *recordsActor) spawn(c actor.Context, name string, make func() actor.Actor) {
	start := func(c actor.Context) {
		pid, err := r.node.spawn(c, name, make)
		if err != nil {
			panic(err) // a name of ours that is taken: a bug
		}
		r.node.log.Debug().Str("actor", pid.GetId()).Msg("actor started")
	}
	r.byID[c.Self().GetId()+"/"+name] = start
	start(c)
}

// HandleFailure implements actor.SupervisorStrategy.
func (r *recordsActor) HandleFailure(
	_ *actor.ActorSystem, sup actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, _, _ any,
) {
	sup.StopChildren(who)
}

const (
	recordsName  = "records"
	journalName  = "journal"
	recentEvents = 10000
	recentLines  = 200
	recentBytes  = 256 << 10
)

func logName(service string) string { return "log/" + service }

func (n *nodeContext) journalPID() *actor.PID {
	return actor.NewPID(n.system.Address(), recordsName+"/"+journalName)
}

func (n *nodeContext) logPID(service string) *actor.PID {
	return actor.NewPID(n.system.Address(), recordsName+"/"+logName(service))
}

// journalActor owns the event journal: what is in memory, on disk, and who
// follows.
type journalActor struct {
	recent[journal.Record]
	disk disk[journal.Record]
}

func newJournalActor(n *nodeContext) *journalActor {
	a := &journalActor{recent: recent[journal.Record]{limit: recentEvents, followers: map[*Follower[journal.Record]]bool{}}}
	a.items = append(a.items, n.earlier...)
	a.disk = disk[journal.Record]{log: n.log, what: "events", append: n.appendEvents}
	return a
}

// Receive implements actor.Actor.
func (a *journalActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case writeEvents:
		a.publish(m.records)
		a.disk.write(c, m.records, nil)
	case written:
		a.disk.written(c, m.err)
	case follow[journal.Record]:
		a.answer(m)
	case unfollow[journal.Record]:
		delete(a.followers, m.follower)
	}
}

func (a *journalActor) answer(m follow[journal.Record]) {
	items := a.list()
	f := followed[journal.Record]{recent: items}
	if len(items) > 0 {
		f.last = items[len(items)-1].Seq
	}
	if m.follower != nil {
		a.followers[m.follower] = true
	}
	a.disk.after(func() { m.reply <- f })
}

// logActor owns the log of one service: it numbers the lines.
type logActor struct {
	recent[logstore.Entry]
	disk disk[logstore.Entry]
	seq  uint64
	drop bool
}

func newLogActor(n *nodeContext, service string) *logActor {
	a := &logActor{drop: n.cfg.Logs.Drop}
	a.recent = recent[logstore.Entry]{
		limit: recentLines, budget: recentBytes, weigh: func(e logstore.Entry) int { return len(e.Line) },
		followers: map[*Follower[logstore.Entry]]bool{},
	}
	a.disk = disk[logstore.Entry]{log: n.log.With().Str("service", service).Logger(), what: "log lines"}
	if store := n.stores[service]; store != nil {
		a.seq = store.LastSeq()
		a.disk.append = store.Append
	}
	return a
}

// Receive implements actor.Actor.
func (a *logActor) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case writeLines:
		for i := range m.entries {
			a.seq++
			m.entries[i].Seq = a.seq
		}
		a.publish(m.entries)
		switch {
		case m.late && a.disk.busy() && !a.drop:
			a.disk.lost += uint64(len(m.entries))
			close(m.done)
		case a.drop:
			close(m.done)
			a.disk.writeNewest(c, m.entries)
		default:
			a.disk.write(c, m.entries, m.done)
		}
	case written:
		a.disk.written(c, m.err)
	case follow[logstore.Entry]:
		a.answer(m)
	case unfollow[logstore.Entry]:
		delete(a.followers, m.follower)
	}
}

func (a *logActor) answer(m follow[logstore.Entry]) {
	if m.follower != nil {
		a.followers[m.follower] = true
	}
	f := followed[logstore.Entry]{last: a.seq, recent: a.list()}
	a.disk.after(func() { m.reply <- f })
}
