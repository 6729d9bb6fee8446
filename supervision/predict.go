package supervision

import "time"

// Prediction is what an end of a child would bring about.
type Prediction struct {
	// Ends is how often the child can end so; fewer than asked where it is down for
	// good before that. What is predicted is the last of them.
	Ends int
	// Stop and Start are waves: the services of one wave are ordered together. Start
	// includes the child itself, Stop does not.
	Stop, Start [][]ChildID
	// Untouched are the services that go on as they are, in list order.
	Untouched []ChildID
	// Escalates: a supervisor gives up. GaveUp names them, the lowest first.
	Escalates bool
	GaveUp    []ChildID
	// Down are the supervisors that are not running once all has settled.
	Down []ChildID
	// Ended: the root supervisor ends, and with it the node.
	Ended bool
	// Restarts: the child is started again, after Delay (jitter apart).
	Restarts bool
	Delay    time.Duration
	// Child is the child once all has settled. Counter is it, or its supervisor, as
	// it counted this end: whose limit applies.
	Child, Counter View
}

// Predict runs a copy of the supervision in virtual time: every service runs,
// then id ends times times, each time as soon as all has settled, and the last end
// is what is predicted. Starts and stops all take equally long. A service that
// others need as completed has completed, unless it is id. It needs no node.
func Predict(t *Tree, o Options, id ChildID, kind ExitKind, times int) (Prediction, error) {
	n := t.Node(id)
	if n == nil || n.IsSupervisor() {
		return Prediction{}, &UnknownChildError{id}
	}
	f := newForecast(t, o, id)
	ends := 0
	for ; ends < max(times, 1); ends++ {
		inc, runs := f.alive[id]
		if !runs {
			break // it is down for good
		}
		f.end(inc, kind)
	}
	return f.result(ends), nil
}

// PredictBoot returns the services in the waves in which a boot starts them, each
// start taking equally long.
func PredictBoot(t *Tree, o Options) [][]ChildID {
	return newForecast(t, o, "").starts.list
}

// forecast carries commands out in virtual time.
type forecast struct {
	m        *Machine
	id       ChildID // whose end is predicted
	now      time.Time
	due      []duty // by time
	alive    map[ChildID]uint64
	touched  map[ChildID]bool
	stops    waves
	starts   waves
	gaveUp   []ChildID
	ended    bool
	last     uint64 // the incarnation of id that ended last
	delay    time.Duration
	counter  View
	answered func(Reply) // nil: nobody waits for one
}

// duty is something that is due.
type duty struct {
	at time.Time
	do func()
}

// turn is how long a start, and a stop, takes.
const turn = time.Millisecond

// newForecast is a node that has come up.
func newForecast(t *Tree, o Options, id ChildID) *forecast {
	f := &forecast{m: New(t, o), id: id, alive: map[ChildID]uint64{}, touched: map[ChildID]bool{}}
	f.step(Boot{})
	f.settle()
	return f
}

// end has the child end and lets all settle.
func (f *forecast) end(inc uint64, kind ExitKind) {
	clear(f.touched)
	f.gaveUp, f.stops, f.starts, f.last, f.delay = nil, waves{}, waves{}, inc, 0
	delete(f.alive, f.id)
	c := f.m.children[f.id]
	before := c.total
	f.step(ChildExited{ID: f.id, Incarnation: inc, Kind: kind, Reason: ReasonExit})
	counts := c
	if c.spec().Intensity == nil {
		counts = c.sup.self
	}
	f.counter = counts.view(f.now)
	if c.total > before {
		even := c.spec().Backoff
		even.Jitter = 0
		f.delay = even.Delay(c.row, 0)
		if f.counter.InWindow > f.counter.Limit.Max {
			f.delay = max(f.delay, even.Max)
		}
	}
	f.settle()
}

func (f *forecast) settle() {
	for len(f.due) > 0 {
		next := f.due[0]
		f.due = f.due[1:]
		f.now = next.at
		next.do()
	}
}

// after has something done then, behind what is due at the same time.
func (f *forecast) after(d time.Duration, do func()) {
	at := f.now.Add(d)
	i := len(f.due)
	for i > 0 && f.due[i-1].at.After(at) {
		i--
	}
	f.due = append(f.due, duty{})
	copy(f.due[i+1:], f.due[i:])
	f.due[i] = duty{at, do}
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
		f.touched[c.ID] = true
		f.after(turn, func() { f.ready(c) })
	case StopChild:
		f.stops.add(f.now, c.ID)
		f.touched[c.ID] = true
		f.after(turn, func() { f.exit(c.ID, c.Incarnation, ShutdownExit) })
	case Wake:
		f.after(c.After, func() { f.step(BackoffOver{c.ID, c.Token}) })
	case Ended:
		f.ended = true
	case Notice:
		if c.Type == SupervisorGaveUp {
			f.gaveUp = append(f.gaveUp, c.Supervisor)
		}
	case Reply:
		if f.answered != nil {
			f.answered(c)
		}
	case AdoptChild, KillChild, Held, Booted, Report, Managed, SupervisorState, ChildJoined, ChildLeft, RolledOut:
	}
}

// ready has a start succeed; a service that others need as completed completes.
func (f *forecast) ready(c StartChild) {
	if f.alive[c.ID] != c.Incarnation {
		return
	}
	f.step(ChildStarted{ID: c.ID, Incarnation: c.Incarnation})
	f.step(ChildReady(c))
	if c.ID == f.id {
		return
	}
	for _, e := range f.m.tree.Node(c.ID).NeededBy {
		if e.Condition == WhenCompleted {
			f.exit(c.ID, c.Incarnation, Normal)
			return
		}
	}
}

func (f *forecast) exit(id ChildID, inc uint64, kind ExitKind) {
	if f.alive[id] != inc {
		return
	}
	delete(f.alive, id)
	f.step(ChildExited{ID: id, Incarnation: inc, Kind: kind})
}

func (f *forecast) result(ends int) Prediction {
	p := Prediction{
		Ends: ends, Stop: f.stops.list, Start: f.starts.list, Escalates: len(f.gaveUp) > 0, GaveUp: f.gaveUp,
		Ended: f.ended, Restarts: f.alive[f.id] > f.last, Delay: f.delay, Counter: f.counter,
	}
	for _, v := range f.m.Snapshot(f.now) {
		switch {
		case v.ID == f.id:
			p.Child = v
		case v.Nested && v.Supervisor != "" && v.State != StateRunning:
			p.Down = append(p.Down, v.ID)
		case !v.Nested && !f.touched[v.ID]:
			p.Untouched = append(p.Untouched, v.ID)
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
