package actors

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// rootActor is the root supervisor. It owns the machine: it feeds it and carries
// its commands out.
type rootActor struct {
	*brood
	machine *supervision.Machine
	calls   map[uint64]chan<- error
	managed map[uint64]manage
	lastID  uint64
	wakes   map[supervision.ChildID]*alarm
	tooLong alarm
	holds   keeper
	ledger  ledger
	leaving leaving
}

func newRootActor(n *nodeContext) *rootActor {
	return &rootActor{
		brood:   newBrood(n, n.cfg.Tree.Root),
		machine: supervision.New(n.cfg.Tree, n.options()),
		ledger:  ledger{node: n},
		calls:   map[uint64]chan<- error{},
		managed: map[uint64]manage{},
		wakes:   map[supervision.ChildID]*alarm{},
		holds:   keeper{node: n},
	}
}

// options are what a machine starts from.
func (n *nodeContext) options() supervision.Options {
	return supervision.Options{
		LastSeq: n.journal.before, Seed: n.cfg.Seed, Holds: n.cfg.Holds, Incarnations: n.cfg.Incarnations,
		BestEffort: n.cfg.BestEffort, MaxParallelStarts: n.cfg.MaxParallelStarts, Patient: n.cfg.Patient,
	}
}

// Receive implements actor.Actor.
func (r *rootActor) Receive(c actor.Context) {
	if r.leaving.stashes(c.Message()) {
		return
	}
	switch m := c.Message().(type) {
	case *actor.Started:
		r.start(c)
		r.begin(c)
	case *actor.Stopping:
		r.rest()
	case *actor.Terminated, respawn:
		if ev := r.bereaved(c, m); ev != nil {
			r.step(c, ev)
		}
	case supervision.Event:
		r.step(c, m)
	case wake:
		r.step(c, supervision.BackoffOver(m))
	case tooLong:
		r.step(c, supervision.KillAll{Cause: m.cause})
	case askSnapshot:
		m.reply <- r.machine.Snapshot(time.Now())
	case askMemory:
		mem, _ := r.machine.Memory()
		m.reply <- mem
	case operate:
		r.operate(c, m)
	case manage:
		r.manage(c, m)
	case shutdown:
		r.shutdown(c, m)
	case signalService:
		name := proc.SignalName(m.signal)
		r.note(c, supervision.Notice{
			Type: supervision.OperatorCommand, Service: m.id, Message: "signal " + string(m.id) + " " + name,
			Attrs: []supervision.Attr{{Key: "who", Value: m.who}, {Key: "signal", Value: name}},
		})
		r.deliver(c, m.id, m)
	case noteAsked:
		r.noteCommand(c, m.text, m.who)
	case kept:
		r.holds.kept(c, m)
	case baseWritten:
		r.ledger.written(m)
	default:
		r.receiveReload(c)
	}
}

// receiveReload takes what has to do with another configuration.
func (r *rootActor) receiveReload(c actor.Context) {
	switch m := c.Message().(type) {
	case noteReload:
		m.reply <- r.noteCommand(c, m.text, m.who)
	case park:
		r.park(c, m)
	case abandon:
		r.step(c, supervision.Abandon{Cause: r.noteCommand(c, m.text, m.who), Why: m.why})
		m.reply <- r.machine.Reloading()
	case handOver:
		r.leaving.asked(c, m)
		r.leaving.look(r.machine)
	case handOverLate:
		r.leaving.leave()
	case stayOn:
		r.leaving.stay(c)
	}
}

// begin boots the node, or goes on where the life before was cut off.
func (r *rootActor) begin(c actor.Context) {
	past := r.node.cfg.Past
	if past != nil {
		past.complete(r.node)
		r.machine = past.machine
		r.recordPast(c, past.notices)
	}
	r.ledger.open(past)
	kind, message := supervision.NodeStarting, r.node.cfg.Source
	if past != nil {
		kind = cmp.Or(r.node.cfg.Takeover, supervision.NodeAdopted)
	}
	cause := r.note(c, supervision.Notice{Type: kind, Message: message, Cause: r.node.cfg.TakeoverCause, Attrs: []supervision.Attr{
		{Key: "version", Value: r.node.cfg.Version}, {Key: "boot_order", Value: r.node.cfg.Tree.Waves},
	}})
	if past == nil {
		r.noteLimits(c, cause, r.node.services.all())
		r.step(c, supervision.Boot{Cause: cause})
		return
	}
	var limited []*service
	for _, s := range r.node.services.all() {
		if kind != supervision.NodeReloading || slices.Contains(past.limits, supervision.ChildID(s.Spec.Name)) {
			limited = append(limited, s)
		}
	}
	r.noteLimits(c, cause, limited)
	resume := supervision.Resume{Cause: cause, Changed: past.changed, Presumed: past.found != nil}
	if past.changed && past.found == nil {
		resume.Rollout = &past.rollout
	}
	r.step(c, resume)
}

// recordPast writes what the journal lacks of what was decided.
func (r *rootActor) recordPast(c actor.Context, notices []eventRecord) {
	var missing []eventRecord
	for _, n := range notices {
		if n.Seq > r.node.journal.before {
			missing = append(missing, n)
		}
	}
	if len(missing) > 0 {
		r.ledger.gave(missing)
		c.Send(r.node.journalPID, writeEvents{missing})
	}
}

// note writes an event of the node's own and returns its number.
func (r *rootActor) note(c actor.Context, n supervision.Notice) uint64 {
	for _, cmd := range r.step(c, supervision.Note{Notice: n}) {
		if n, ok := cmd.(supervision.Notice); ok {
			return n.Seq
		}
	}
	return 0
}

// noteLimits writes down, for each service that has limits, what becomes of them on
// this machine.
func (r *rootActor) noteLimits(c actor.Context, cause uint64, services []*service) {
	for _, s := range services {
		if len(s.limits) == 0 {
			continue
		}
		words, attrs := make([]string, len(s.limits)), make([]supervision.Attr, len(s.limits))
		for i, l := range s.limits {
			words[i] = l.String()
			attrs[i] = supervision.Attr{Key: l.Limit, Value: map[string]any{"value": l.Value, "by": l.By, "why": l.Why, "help": l.Help}}
		}
		r.note(c, supervision.Notice{
			Type: supervision.ServiceLimits, Service: supervision.ChildID(s.Spec.Name), Cause: cause, Message: strings.Join(words, "; "), Attrs: attrs,
		})
	}
}

// noteCommand writes down what an operator asked for.
func (r *rootActor) noteCommand(c actor.Context, text, who string) uint64 {
	return r.note(c, supervision.Notice{
		Type: supervision.OperatorCommand, Message: text, Attrs: []supervision.Attr{{Key: "who", Value: who}},
	})
}

// step feeds the machine and carries out what it says.
func (r *rootActor) step(c actor.Context, ev supervision.Event) []supervision.Command {
	now := time.Now()
	commands := r.machine.Step(now, ev)
	r.ledger.keep(now, ev)
	if decided := r.node.cfg.Hooks.Decided; decided != nil {
		decided(now, ev, commands)
	}
	r.record(c, now, commands)
	for _, cmd := range commands {
		r.carryOut(c, cmd)
	}
	r.machine = r.ledger.turn(c, r.machine)
	r.leaving.look(r.machine)
	return commands
}

func (r *rootActor) carryOut(c actor.Context, cmd supervision.Command) {
	switch m := cmd.(type) {
	case supervision.StartChild:
		r.deliver(c, m.ID, m)
	case supervision.AdoptChild:
		r.deliver(c, m.ID, m)
	case supervision.StopChild:
		r.deliver(c, m.ID, m)
	case supervision.KillChild:
		r.deliver(c, m.ID, m)
	case supervision.Wake:
		if r.wakes[m.ID] == nil {
			r.wakes[m.ID] = &alarm{}
		}
		r.wakes[m.ID].set(c, m.After, wake{ID: m.ID, Token: m.Token})
	case supervision.Reply:
		if reply, ok := r.calls[m.Call]; ok {
			delete(r.calls, m.Call)
			r.holds.answer(reply, m.Err)
		}
	case supervision.Held:
		r.holds.keep(c, m.Holds)
	case supervision.Booted:
		r.node.tellBooted(m)
	case supervision.RolledOut:
		r.node.tellReloaded(m)
	case supervision.Ended:
		r.ledger.discard()
		r.node.tellEnded(Outcome{Ended: m})
	case supervision.Notice:
		if m.Type == supervision.NodeStopping && r.node.cfg.ShutdownTimeout > 0 {
			r.tooLong.set(c, r.node.cfg.ShutdownTimeout, tooLong{m.Seq})
		}
	case supervision.ChildJoined:
		r.enrol(m.Node)
		r.joined(c, m.Node)
	case supervision.ChildLeft:
		r.left(c, m.Node)
		r.node.metrics.Removed(string(m.Node.Spec.ID))
	case supervision.Managed:
		r.answer(m)
	case supervision.SupervisorState, supervision.Report: // for Hooks
	}
}

// record sends the notices of a step to the journal.
func (r *rootActor) record(c actor.Context, now time.Time, commands []supervision.Command) {
	var records []eventRecord
	for _, cmd := range commands {
		if n, ok := cmd.(supervision.Notice); ok {
			records = append(records, recordOf(now, n))
			r.count(now, n)
		}
	}
	if len(records) > 0 {
		r.ledger.gave(records)
		c.Send(r.node.journalPID, writeEvents{records})
		r.announce(c, records)
	}
}

// count has the metrics know of what happened.
func (r *rootActor) count(now time.Time, n supervision.Notice) {
	switch n.Type {
	case supervision.ServiceStarting:
		if v, ok := r.machine.ViewOf(now, n.Service); ok && v.Reason != supervision.ReasonNone {
			r.node.metrics.Restarted(string(n.Service), string(v.Reason))
		}
	case supervision.SupervisorGaveUp:
		if string(n.Supervisor) != r.node.rootName() { // that of all is the end of the node
			r.node.metrics.Escalated(string(n.Supervisor))
		}
	}
}

func recordOf(now time.Time, n supervision.Notice) eventRecord {
	r := eventRecord{
		Seq: n.Seq, Time: now, Type: n.Type, Service: string(n.Service), Supervisor: string(n.Supervisor),
		Incarnation: n.Incarnation, Pid: n.Pid, Cause: n.Cause, Message: n.Message,
	}
	if len(n.Attrs) > 0 {
		r.Attrs = make(map[string]any, len(n.Attrs))
		for _, a := range n.Attrs {
			r.Attrs[a.Key] = a.Value
		}
	}
	return r
}

func (r *rootActor) operate(c actor.Context, m operate) {
	cause := r.noteCommand(c, m.text, m.who)
	r.lastID++
	id := r.lastID
	r.calls[id] = m.reply
	r.step(c, supervision.Operate{Call: id, Op: m.op, IDs: m.ids, All: m.all, Only: m.only, Cause: cause})
	if _, open := r.calls[id]; open && m.noWait {
		delete(r.calls, id)
		r.holds.answer(m.reply, nil)
	}
}

// park stops the services that are about to leave the tree.
func (r *rootActor) park(c actor.Context, m park) {
	r.lastID++
	r.calls[r.lastID] = m.reply
	r.step(c, supervision.Operate{Call: r.lastID, Op: supervision.OpPark, IDs: m.ids, Cause: m.cause})
}

func (r *rootActor) shutdown(c actor.Context, m shutdown) {
	cause := r.noteCommand(c, m.text, m.who)
	if m.now {
		r.step(c, supervision.KillAll{Cause: cause})
	} else {
		r.step(c, supervision.ShutDown{Cause: cause})
	}
	m.reply <- nil
}

// rest is the end of the actor.
func (r *rootActor) rest() {
	r.tooLong.cancel()
	r.leaving.late.cancel()
	for _, a := range r.wakes {
		a.cancel()
	}
	r.holds.finish()
	r.ledger.discard() // what is killed now is not to be found again
}
