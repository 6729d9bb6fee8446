package supervision

import "time"

// Consequence is what an operator's command would bring about. Stop and Start are waves:
// the services of one wave are ordered together.
type Consequence struct {
	Stop, Start [][]ChildID
	// Err is why the command would be refused.
	Err error
}

// Foretell runs a copy of a supervision that knows what mem says on in virtual time, with
// an operator's command in it; nobody fails, and starts and stops all take equally long.
// What is amid a back-off stays in it.
func Foretell(t *Tree, o Options, mem Memory, now time.Time, op Operate) Consequence {
	f := &forecast{m: Restore(t, o, mem), now: now, alive: map[ChildID]uint64{}, touched: map[ChildID]bool{}}
	for _, c := range f.m.order {
		if c.nested != nil || !c.alive() {
			continue
		}
		f.alive[c.id()] = c.inc
		switch c.phase {
		case starting:
			f.after(turn, func() { f.ready(StartChild{ID: c.id(), Incarnation: c.inc}) })
		case stopping:
			f.after(turn, func() { f.exit(c.id(), c.inc, ShutdownExit) })
		case down, up:
		}
	}
	op.Call = 1 // a memory holds no calls
	var out Consequence
	f.answered = func(r Reply) {
		if r.Call == op.Call {
			out.Err = r.Err
		}
	}
	f.step(op)
	f.settle()
	out.Stop, out.Start = f.stops.list, f.starts.list
	return out
}
