package proc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/blackhole/bhnode/proc/state"
)

// Leftover is one process that a dead bhnode left behind.
type Leftover struct {
	Service     string
	Incarnation uint64
	Pid         int
	Name        string
	Killed      bool // it did not end by itself
	Stuck       bool // it is still there, though killed
}

// String names it as a person would look for it: "web/2: 4711 (postgres), killed".
func (l Leftover) String() string {
	text := fmt.Sprintf("%s/%d: %d (%s)", l.Service, l.Incarnation, l.Pid, l.Name)
	switch {
	case l.Stuck:
		text += ", still there though killed"
	case l.Killed:
		text += ", killed"
	}
	return text
}

const (
	sweepGrace = 10 * time.Second // at most, to end by themselves
	sweepStuck = 10 * time.Second // after SIGKILL
	sweepAgain = 200 * time.Millisecond
)

// Sweep stops what a dead bhnode left on this runtime directory, before anything is
// started: every process that carries our BHNODE_INSTANCE, whatever the node was called
// then, or is in one of our groups, and what came of it. The main processes get the
// recorded signal and their grace, all at once, then all that is left SIGKILL. Where
// there is no record, as the leader of its session, it gets SIGTERM. It returns what it
// found, when all is gone or stuck, and forgets the records.
//
// It spares the incarnations that are to be adopted, by service, if a process of theirs was
// recorded; but not the hooks and exec probes of theirs that nobody waits for any more.
func (h *Host) Sweep(ctx context.Context, adopt map[string]uint64) ([]Leftover, error) {
	sw := &sweep{host: h, records: map[string]state.Record{}, sets: map[string]*remains{}, seen: map[life]string{}, spared: map[string]uint64{}}
	for _, r := range h.state.All() {
		sw.records[r.Service] = r
		if inc, ok := adopt[r.Service]; ok && inc == r.Incarnation && h.provable(r) {
			sw.spared[r.Service] = inc
		}
	}
	if !h.fresh || len(sw.records) > 0 {
		if err := sw.run(ctx); err != nil {
			return sw.found(), err
		}
	}
	var errs []error
	for _, r := range sw.records {
		if sw.spared[r.Service] != 0 {
			continue
		}
		h.mu.Lock()
		delete(h.awaited, r.Pid)
		h.mu.Unlock()
		if r.Socket != "" {
			errs = append(errs, removeStaleSocket(ctx, r.Socket))
		}
		errs = append(errs, h.state.Delete(r.Service))
	}
	errs = append(errs, h.sweepBases(ctx, sw.spared))
	return sw.found(), errors.Join(errs...)
}

type sweep struct {
	host    *Host
	records map[string]state.Record // by service
	sets    map[string]*remains     // by BHNODE_ID
	seen    map[life]string         // BHNODE_ID of all that was found
	spared  map[string]uint64       // incarnations by service
}

// remains are what is left of one incarnation.
type remains struct {
	members  map[life]*Leftover
	deadline time.Time // then they are killed
}

// run looks and stops until it finds nobody: a process may fork while it is looked for.
func (sw *sweep) run(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		alive, err := sw.look()
		if err != nil {
			return err
		}
		now := time.Now()
		var next time.Time
		for id, set := range alive {
			if due := sw.stop(id, set, now); !due.IsZero() && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
		if next.IsZero() {
			return nil // nobody is there who is not stuck
		}
		if err := sw.await(ctx, alive, next); err != nil {
			return err
		}
	}
}

// look goes through all processes of the machine, once, and returns ours by BHNODE_ID.
// A process is ours that carries our identity or is in one of our groups; one that
// carries none also if its parent or the leader of its session is. It stays so when they end.
func (sw *sweep) look() (map[string][]procStat, error) {
	pids, err := allPids()
	if err != nil {
		return nil, fmt.Errorf("cannot look for processes left behind: %w", err)
	}
	above := ancestors(os.Getpid())
	ours := map[int]string{}    // pid → BHNODE_ID
	hooks := sw.host.hookPids() // pid → it is of a hook
	var all, unmarked []procStat
	for _, pid := range pids {
		st, err := readStat(pid)
		if err != nil || st.dead() || slices.Contains(above, pid) {
			continue
		}
		all = append(all, st)
		id, err := readIdentity(pid)
		_, _, well := splitID(id.id)
		switch {
		case sw.seen[st.life()] != "":
			ours[pid] = sw.seen[st.life()]
		case err == nil && well && id.instance == sw.host.instance:
			ours[pid] = id.id
			hooks[pid] = hooks[pid] || id.hook != ""
		case id.id == "":
			unmarked = append(unmarked, st)
		}
	}
	sw.claimMembers(ours, all)
	claimRelated(ours, unmarked)
	alive := map[string][]procStat{}
	for _, st := range all {
		if id := ours[st.pid]; id != "" && (hooks[st.pid] || !sw.spares(id)) {
			sw.seen[st.life()] = id
			alive[id] = append(alive[id], st)
		}
	}
	return alive, nil
}

// spares tells whether an incarnation is to live on.
func (sw *sweep) spares(id string) bool {
	service, incarnation, _ := splitID(id)
	return incarnation != 0 && sw.spared[service] == incarnation
}

// claimMembers adds those in our groups, under the BHNODE_ID that others of their
// incarnation carry.
func (sw *sweep) claimMembers(ours map[int]string, all []procStat) {
	members := sw.host.members()
	ids := map[membership]string{}
	for _, id := range ours {
		service, incarnation, _ := splitID(id)
		ids[membership{service, incarnation}] = id
	}
	for _, st := range all {
		if m, ok := members[st.pid]; ok && ours[st.pid] == "" {
			ours[st.pid] = cmp.Or(ids[m], sw.host.idOf(m.service, m.incarnation))
		}
	}
}

// claimRelated adds those whose parent or leader of the session is ours.
func claimRelated(ours map[int]string, unmarked []procStat) {
	for more := true; more; {
		more = false
		for _, st := range unmarked {
			id := cmp.Or(ours[st.ppid], ours[st.session])
			if id != "" && ours[st.pid] == "" {
				ours[st.pid], more = id, true
			}
		}
	}
}

// ancestors returns a process and those above it: a bhnode started from within a
// service must not end itself.
func ancestors(pid int) []int {
	var line []int
	for pid > 0 {
		line = append(line, pid)
		st, err := readStat(pid)
		if err != nil {
			break
		}
		pid = st.ppid
	}
	return line
}

// stop does what is due for one incarnation and returns when to come back, zero if
// nothing more can be done.
func (sw *sweep) stop(id string, alive []procStat, now time.Time) time.Time {
	set := sw.sets[id]
	if set == nil {
		set = &remains{members: map[life]*Leftover{}}
		sw.sets[id] = set
	}
	service, incarnation, _ := splitID(id)
	for _, st := range alive {
		if set.members[st.life()] == nil {
			set.members[st.life()] = &Leftover{Service: service, Incarnation: incarnation, Pid: st.pid, Name: st.comm}
		}
	}
	if set.deadline.IsZero() {
		set.deadline = now.Add(sw.ask(service, incarnation, alive))
	}
	switch {
	case now.Before(set.deadline):
		return set.deadline
	case now.After(set.deadline.Add(sweepStuck)):
		for _, st := range alive {
			set.members[st.life()].Stuck = true
		}
		return time.Time{}
	}
	for _, st := range alive {
		set.members[st.life()].Killed = true
		_ = signalExactly(st, syscall.SIGKILL) // who may not be killed is stuck
	}
	return now.Add(sweepAgain)
}

// ask sends the stop signal to the main process and returns how long to wait.
func (sw *sweep) ask(service string, incarnation uint64, alive []procStat) time.Duration {
	r, known := sw.records[service]
	known = known && r.Incarnation == incarnation
	sig, grace := syscall.SIGTERM, sweepGrace
	if known && r.StopSignal != 0 {
		sig = syscall.Signal(r.StopSignal)
	}
	if known && r.Grace > 0 {
		grace = min(r.Grace, sweepGrace)
	}
	proved := known && r.BootID == sw.host.boot && slices.ContainsFunc(alive, func(st procStat) bool {
		return st.life() == life{r.Pid, r.StartTime}
	})
	for _, st := range alive {
		if st.pid == r.Pid || !proved && st.session == st.pid {
			_ = signalExactly(st, sig)
		}
	}
	return grace
}

// await waits until all of alive are gone or it is time for more.
func (sw *sweep) await(ctx context.Context, alive map[string][]procStat, until time.Time) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		left := time.Until(until)
		if left <= 0 || !anyAlive(alive) {
			return nil
		}
		pause.Reset(min(wait, left))
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func anyAlive(sets map[string][]procStat) bool {
	for _, set := range sets {
		for _, st := range set {
			if at, err := readStat(st.pid); err == nil && at.start == st.start && !at.dead() {
				return true
			}
		}
	}
	return false
}

// found returns every process that was seen, by service and number.
func (sw *sweep) found() []Leftover {
	var all []Leftover
	for _, set := range sw.sets {
		for _, m := range set.members {
			all = append(all, *m)
		}
	}
	slices.SortFunc(all, func(a, b Leftover) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Pid, b.Pid))
	})
	return all
}
