package actors

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc/state"
	"github.com/blackhole/bhnode/supervision"
)

// turnSize is when what is kept begins anew with what the machine knows by then.
const turnSize = 1 << 20

// ledger keeps the steps of the machine for the next life of the node: each before it is
// carried out. Without a store it keeps nothing.
type ledger struct {
	node  *nodeContext
	base  base
	steps *state.Steps  // nil: nothing is kept (any more)
	busy  bool          // a base is being written
	given []eventRecord // to the journal, which may lack the last of them
	look  int           // how many may be there until those are given up that it has
	tried int           // how far beyond turnAt it is not tried again
}

// baseWritten: the writing of a base is over.
type baseWritten struct{ err error }

// open begins to keep, or goes on with what was kept.
func (l *ledger) open(p *Past) {
	cfg := &l.node.cfg
	if cfg.State == nil {
		return
	}
	var err error
	if p != nil && !p.changed {
		l.base = p.base
		l.steps, err = cfg.State.Continue()
	} else {
		l.base = base{
			Version: PastVersion, Boot: cfg.Boot, Tree: cfg.Spec, Processes: processesOf(cfg), Services: digestsOf(cfg), Options: l.node.options(),
		}
		if p != nil {
			mem, _ := p.machine.Memory()
			l.base.Memory, l.base.Older, l.base.Exits, l.base.Notices = &mem, p.base.Older, p.base.Exits, l.lacking()
		}
		var text []byte
		if text, err = json.Marshal(l.base); err == nil {
			l.steps, err = cfg.State.Begin(text)
		}
	}
	if err != nil {
		l.fail(err)
		return
	}
	l.node.keeps.Store(true)
}

// gave notes what was given to the journal: a base that begins anew has to hold what that
// lacks.
func (l *ledger) gave(records []eventRecord) {
	if l.node.cfg.State == nil {
		return
	}
	l.given = append(l.given, records...)
	if len(l.given) > l.look {
		l.given = l.lacking()
		l.given = l.given[max(0, len(l.given)-recentEvents):] // of a disk that does not write more are lost
		l.look = 2*len(l.given) + keptAtLeast
	}
}

// keptAtLeast is how many events are kept though the journal may have them.
const keptAtLeast = 256

// lacking are the events that are not in the journal yet.
func (l *ledger) lacking() []eventRecord {
	file := l.node.journal.file
	if file == nil {
		return nil
	}
	last := file.LastSeq()
	i := slices.IndexFunc(l.given, func(r eventRecord) bool { return r.Seq > last })
	if i < 0 {
		return nil
	}
	return slices.Clone(l.given[i:])
}

// keep keeps one step.
func (l *ledger) keep(at time.Time, ev supervision.Event) {
	if l.steps == nil {
		return
	}
	text, err := writeStep(at, ev)
	if err == nil {
		err = l.steps.Append(text)
	}
	if err != nil {
		l.fail(err)
	}
}

// fail gives it up: what is wrong is worse than nothing.
func (l *ledger) fail(err error) {
	l.node.log.Error().Err(err).Msg("what is decided cannot be kept: if bhnode is killed, its services are stopped by the next one")
	l.discard()
}

// discard forgets all that was kept.
func (l *ledger) discard() {
	l.node.keeps.Store(false)
	if l.node.cfg.State == nil {
		return
	}
	var err error
	if l.steps != nil {
		err = l.steps.Close()
	}
	l.steps = nil
	if err := errors.Join(err, l.node.cfg.State.Forget()); err != nil {
		l.node.log.Warn().Err(err).Msg("what was decided could not be forgotten")
	}
}

// turn begins anew where much was kept and the machine is at rest. It returns the machine
// that goes on: one that was restored, as the next life would restore it.
func (l *ledger) turn(c actor.Context, m *supervision.Machine) *supervision.Machine {
	if l.steps == nil || l.busy || l.steps.Size() < l.node.turnAt+l.tried {
		return m
	}
	l.tried = l.steps.Size() - l.node.turnAt + l.node.turnAt/8 // not at every step: it looks at every child
	mem, whole := m.Memory()
	if !whole {
		return m
	}
	finish, err := l.steps.Turn()
	if err != nil {
		l.fail(err)
		return m
	}
	next := l.base
	next.Memory, next.Exits, next.Notices = &mem, l.node.exits(), l.lacking()
	l.base, l.busy, l.tried = next, true, 0
	await(c, func() any {
		text, err := json.Marshal(next)
		if err == nil {
			err = finish(text)
		}
		return baseWritten{err}
	})
	return supervision.Restore(l.node.cfg.Tree, next.Options, mem)
}

func (l *ledger) written(m baseWritten) {
	l.busy = false
	if m.err != nil {
		l.node.log.Warn().Err(m.err).Msg("what is decided could not be begun anew; it goes on where it was")
	}
}
