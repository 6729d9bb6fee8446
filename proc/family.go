package proc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Remnant is a process of a service that is alive.
type Remnant struct {
	Pid         int
	Name        string
	State       string // of /proc/PID/stat: R, S, D, T …
	WaitChannel string // where in the kernel it waits, "" if unknown
}

// String names it as a person would look for it: "4711 (postgres, D in io_schedule)".
func (r Remnant) String() string {
	if r.WaitChannel == "" {
		return fmt.Sprintf("%d (%s, %s)", r.Pid, r.Name, r.State)
	}
	return fmt.Sprintf("%d (%s, %s in %s)", r.Pid, r.Name, r.State, r.WaitChannel)
}

// family is a leader and everything that came of it: its descendants, and the orphans
// that carry its mark, or live in its session where they carry none.
type family struct {
	host   *Host
	leader *child
	killed atomic.Bool
	gone   atomic.Bool // and then nobody was left

	looking sync.Mutex
	seen    map[life]bool // found by earlier looks: one that ends can no longer say whose it is
}

func newFamily(h *Host, leader *child) *family {
	return &family{host: h, leader: leader, seen: map[life]bool{}}
}

// life tells a process from a later one of the same number.
type life struct {
	pid   int
	start uint64
}

func (s *procStat) life() life { return life{s.pid, s.start} }

// owns says whether an orphan is of the family. The number of a leader that was
// reaped may have become that of another.
func (f *family) owns(o orphan) bool {
	mark := f.leader.mark
	switch {
	case o.id.instance == mark.instance && mark.hook != "":
		return o.id.hook == mark.hook
	case o.id.instance == mark.instance:
		return o.id.id == mark.id && !o.id.outlives()
	case o.id.id != "":
		return false // of another node
	case o.session != f.leader.pid && o.pgrp != f.leader.pid:
		return false
	}
	f.host.mu.Lock()
	defer f.host.mu.Unlock()
	other := f.host.children[f.leader.pid]
	return other == nil || other == f.leader
}

// left returns what is alive of the family, parents before children.
func (f *family) left() []procStat {
	found, _ := f.leftForSure()
	return found
}

// leftForSure repeats a look that found nobody and is not sure, a few times only:
// others' processes may come and go for ever.
func (f *family) leftForSure() (found []procStat, sure bool) {
	for range 3 {
		if found, sure = f.look(); sure || len(found) > 0 {
			break
		}
	}
	return found, sure
}

// look looks once. It is not sure that it has found all while processes hop, each
// starting the next, as those leave dead behind.
func (f *family) look() (found []procStat, sure bool) {
	f.looking.Lock()
	defer f.looking.Unlock()
	found = f.leader.group.members()
	if f.leader.adopted && f.leader.group.path() == "" {
		found = f.marked() // its orphans do not come to us
	}
	for _, c := range f.forked() {
		if st, err := readStat(c.pid); err == nil && !st.dead() && st.start == c.start {
			found = append(found, st)
		}
	}
	w := f.host.orphans.take(f.host)
	for _, o := range w.alive {
		if f.seen[o.life()] || f.owns(o) {
			found = append(found, o.procStat)
		}
	}
	had := make(map[life]bool, len(found))
	found = slices.DeleteFunc(found, func(st procStat) bool { // a member may be an orphan too
		twice := had[st.life()]
		had[st.life()] = true
		return twice
	})
	for i := 0; i < len(found); i++ { // found grows
		for _, st := range descend(found[i]) {
			if !had[st.life()] {
				had[st.life()] = true
				found = append(found, st)
			}
		}
	}
	maps.Copy(f.seen, had)
	return found, !slices.ContainsFunc(w.unsure, f.mayOwn)
}

// marked returns every process of the machine that carries the mark of the family.
func (f *family) marked() (found []procStat) {
	pids, err := allPids()
	if err != nil {
		return nil
	}
	for _, pid := range pids {
		id, err := readIdentity(pid)
		if err != nil || id.id == "" {
			continue
		}
		if st, err := readStat(pid); err == nil && !st.dead() && f.owns(orphan{st, id}) {
			found = append(found, st)
		}
	}
	return found
}

// mayOwn says whether an orphan that does not say whose it is can be of the family.
func (f *family) mayOwn(o orphan) bool {
	if o.id.id != "" || o.session == f.leader.pid {
		return f.owns(o)
	}
	return !f.host.registered(o.session) && !f.host.registered(o.pid)
}

// forked returns the live children of ours that are of the family: its leader, and
// for a service the hooks and probes that run for it.
func (f *family) forked() []*child {
	f.host.mu.Lock()
	defer f.host.mu.Unlock()
	var own []*child
	if f.host.children[f.leader.pid] == f.leader {
		own = append(own, f.leader)
	}
	if f.leader.mark.hook != "" {
		return own
	}
	for c := range f.host.hooks {
		if c.mark.id == f.leader.mark.id && !c.mark.outlives() {
			own = append(own, c)
		}
	}
	return own
}

// descend returns the live children of parent, none if it ended meanwhile: its number
// may then be another's.
func descend(parent procStat) []procStat {
	var children []procStat
	for _, pid := range childrenOf(parent.pid) {
		if st, err := readStat(pid); err == nil && st.ppid == parent.pid && !st.dead() {
			children = append(children, st)
		}
	}
	if st, err := readStat(parent.pid); err != nil || st.start != parent.start {
		return nil
	}
	return children
}

// kill sends SIGKILL to everything that is left, again and again until nobody is
// found who has not had it: a process may fork while it is looked for.
func (f *family) kill() error {
	f.killed.Store(true)
	over := f.leader.isOver()
	if in := f.leader.group.kill(); over && !in {
		f.leader.group.markEmpty()
	}
	var errs []error
	had := map[life]bool{}
	for fresh := true; fresh && len(errs) == 0; {
		fresh = false
		over = f.leader.isOver()
		left, sure := f.leftForSure()
		if over && sure && len(left) == 0 && f.leader.group.isEmpty() {
			f.gone.Store(true)
			return nil
		}
		for _, st := range left {
			if had[st.life()] {
				continue
			}
			had[st.life()], fresh = true, true
			if err := killExactly(st); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// isGone tells whether a kill has seen that nothing is left.
func (f *family) isGone() bool { return f.gone.Load() && f.leader.group.isEmpty() }

// killExactly kills a process, with its process group, if it is still the one that was
// seen. All members of a group are of one session, which began with a descendant of
// the service, so the group holds nobody else.
func killExactly(st procStat) error {
	if st.pgrp > 1 && st.pgrp != unix.Getpgrp() {
		if at, err := readStat(st.pid); err == nil && at.start == st.start && at.pgrp == st.pgrp {
			_ = syscall.Kill(-st.pgrp, syscall.SIGKILL)
		}
	}
	return signalExactly(st, syscall.SIGKILL)
}

// signalExactly signals a process if it is still the one that was seen.
func signalExactly(st procStat, sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(st.pid, 0)
	if errors.Is(err, unix.EINVAL) { // it is just being reaped
		return nil
	}
	if err != nil {
		return gone(os.NewSyscallError("pidfd_open", err))
	}
	defer func() { _ = unix.Close(fd) }()
	if at, err := readStat(st.pid); err != nil || at.start != st.start {
		return nil
	}
	return gone(os.NewSyscallError("pidfd_send_signal", unix.PidfdSendSignal(fd, sig, nil, 0)))
}

// gone forgives the error of a process that has ended meanwhile.
func gone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// Who is not in a group of the kernel is polled, as no event says that he is gone.
const (
	pollFirst  = time.Millisecond
	pollMost   = 50 * time.Millisecond
	pollUnsure = 8 // looks that found nobody but were not sure, until that is taken for nobody
)

// awaitGone returns when nothing is left of the family. After a kill it kills what appears since.
func (f *family) awaitGone(ctx context.Context) error {
	if f.isGone() {
		return nil
	}
	select {
	case <-f.leader.exited:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := f.leader.group.awaitEmpty(ctx, f.host.poller); err != nil {
		return err
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	unsure := 0
	for wait := pollFirst; ; wait = min(2*wait, pollMost) {
		found, sure := f.leftForSure()
		switch {
		case len(found) > 0 && f.killed.Load():
			_ = f.kill() // who may not be killed is waited for
		case len(found) > 0:
		case sure || unsure == pollUnsure:
			return nil
		default:
			unsure++
		}
		pause.Reset(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
