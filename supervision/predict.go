package supervision

import (
	"slices"
	"time"
)

// Prediction is what an end of a child would bring about.
type Prediction struct {
	// Stop and Start are waves: the services of one wave are ordered together. Start
	// includes the child itself, Stop does not.
	Stop, Start [][]ChildID
	// Untouched are the services that run on, in list order.
	Untouched []ChildID
	// Escalates: a supervisor gives up.
	Escalates bool
	// Failed: the child is not restarted, since its own restarts are used up.
	Failed bool
}

// Predict runs a copy of the supervision in virtual time: every service runs,
// then id ends times times, each time as soon as all has settled, and the last end
// is what is predicted. Starts and stops all take equally long. It needs no node.
func Predict(t *Tree, id ChildID, kind ExitKind, times int) (Prediction, error) {
	n := t.Node(id)
	if n == nil || n.IsSupervisor() {
		return Prediction{}, &UnknownChildError{id}
	}
	f := &forecast{m: New(t, Options{}), alive: map[ChildID]uint64{}}
	f.step(Boot{})
	f.settle()
	for range max(times, 1) {
		f.begin()
		inc, runs := f.alive[id]
		if !runs {
			break // it is down for good already
		}
		delete(f.alive, id)
		f.step(ChildExited{ID: id, Incarnation: inc, Kind: kind, Reason: ReasonExit})
		f.settle()
	}
	return f.result(id), nil
}

// forecast carries commands out in virtual time.
type forecast struct {
	m       *Machine
	now     time.Time
	due     []duty // by time
	alive   map[ChildID]uint64
	touched map[ChildID]bool
	stops   waves
	starts  waves
	gaveUp  bool
	failed  map[ChildID]bool
}

// duty is something that is due.
type duty struct {
	at time.Time
	do func()
}

// turn is how long a start, and a stop, takes.
const turn = time.Millisecond

func (f *forecast) begin() {
	f.touched, f.failed, f.gaveUp = map[ChildID]bool{}, map[ChildID]bool{}, false
	f.stops, f.starts = waves{}, waves{}
}

func (f *forecast) settle() {
	for len(f.due) > 0 {
		next := f.due[0]
		f.due = f.due[1:]
		f.now = next.at
		next.do()
	}
}

func (f *forecast) after(d time.Duration, do func()) {
	at := f.now.Add(d)
	i, _ := slices.BinarySearchFunc(f.due, at, func(x duty, at time.Time) int {
		if x.at.After(at) {
			return 1
		}
		return -1 // behind what is due at the same time
	})
	f.due = slices.Insert(f.due, i, duty{at, do})
}

func (f *forecast) step(ev Event) {
	for _, c := range f.m.Step(f.now, ev) {
		f.carryOut(c)
	}
}

func (f *forecast) carryOut(cmd Command) {
	switch c := cmd.(type) {
	case StartChild:
		f.alive[c.ID] = c.Incarnation
		f.starts.add(f.now, c.ID)
		f.mark(c.ID)
		f.after(turn, func() {
			if f.alive[c.ID] == c.Incarnation {
				f.step(ChildReady{c.ID, c.Incarnation})
			}
		})
	case StopChild:
		f.stops.add(f.now, c.ID)
		f.mark(c.ID)
		f.after(turn, func() {
			delete(f.alive, c.ID)
			f.step(ChildExited{ID: c.ID, Incarnation: c.Incarnation, Kind: ShutdownExit})
		})
	case Wake:
		f.after(c.After, func() { f.step(BackoffOver{c.ID, c.Token}) })
	case Notice:
		f.gaveUp = f.gaveUp || c.Type == SupervisorGaveUp
		if c.Type == ServiceFailed && f.failed != nil {
			f.failed[c.Service] = true
		}
	case KillChild, Reply, Held, Booted, Ended:
	}
}

func (f *forecast) mark(id ChildID) {
	if f.touched != nil {
		f.touched[id] = true
	}
}

func (f *forecast) result(id ChildID) Prediction {
	p := Prediction{Stop: f.stops.list, Start: f.starts.list, Escalates: f.gaveUp, Failed: f.failed[id]}
	for s := range f.m.tree.Root.Services {
		if n := s.Spec.ID; !f.touched[n] && n != id {
			p.Untouched = append(p.Untouched, n)
		}
	}
	return p
}

// waves are lists of services, one for each moment.
type waves struct {
	list [][]ChildID
	last time.Time
}

func (w *waves) add(now time.Time, id ChildID) {
	if len(w.list) == 0 || !w.last.Equal(now) {
		w.list = append(w.list, nil)
		w.last = now
	}
	end := len(w.list) - 1
	w.list[end] = append(w.list[end], id)
}
