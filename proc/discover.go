package proc

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/proc/state"
)

// Discover finds what runs of the given services by looking at the kernel: for each its
// newest incarnation whose main process lives, by its groups, or by the BHNODE_ID and
// BHNODE_INSTANCE that it carries. What no record tells of is recorded, so that Sweep
// spares it and Adopt takes it over. It is for when records were damaged: it may take
// something for the main process that this has left behind.
func (h *Host) Discover(specs []*ServiceSpec) (map[string]uint64, error) {
	mains, err := h.findMains()
	if err != nil {
		return nil, err
	}
	found := map[string]uint64{}
	for _, s := range specs {
		st, ok := mains[s.Name]
		if !ok {
			continue
		}
		old, known := h.state.Get(s.Name)
		if known && old.Incarnation > st.incarnation { // that is about to start, this to end
			continue
		}
		found[s.Name] = st.incarnation
		if known = known && old.Incarnation == st.incarnation; known && h.provable(old) {
			continue
		}
		r := state.Record{
			Service: s.Name, Incarnation: st.incarnation, BootID: h.boot, Pid: st.pid, StartTime: st.start,
			StopSignal: int(s.StopSignal), Grace: s.StopGrace, Socket: s.UnixSocket, Started: st.startedAt(),
			Stdout: outputOf(st.pid, 1), Stderr: outputOf(st.pid, 2), Group: h.backend.find(s.Name, st.incarnation, s.Limits).record(),
		}
		if known {
			r.Group = old.Group
		}
		h.mu.Lock()
		h.awaited[st.pid] = true
		h.mu.Unlock()
		if err := h.state.Put(r); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Lacks tells whether no process was recorded of one of these incarnations.
func (h *Host) Lacks(lives map[string]uint64) bool {
	for name, inc := range lives {
		if r, known := h.state.Get(name); !known || r.Incarnation != inc || !h.provable(r) {
			return true
		}
	}
	return false
}

// mainProcess is one that leads the session of an incarnation.
type mainProcess struct {
	procStat
	incarnation uint64
}

// findMains looks through all processes of the machine. The main process of an incarnation
// is the first of those that lead a session.
func (h *Host) findMains() (map[string]mainProcess, error) {
	pids, err := allPids()
	if err != nil {
		return nil, fmt.Errorf("cannot look for what runs: %w", err)
	}
	members, hooks, above := h.members(), h.hookPids(), ancestors(os.Getpid())
	mains := map[string]mainProcess{}
	for _, pid := range pids {
		st, err := readStat(pid)
		if err != nil || st.dead() || st.session != pid || hooks[pid] || slices.Contains(above, pid) {
			continue
		}
		of, isMember := members[pid]
		id, err := readIdentity(pid)
		if id.hook != "" || !isMember && (err != nil || id.instance != h.instance) {
			continue
		}
		if !isMember {
			of.service, of.incarnation, _ = splitID(id.id)
		}
		best, had := mains[of.service]
		if of.incarnation != 0 && (!had || of.incarnation > best.incarnation || of.incarnation == best.incarnation && st.start < best.start) {
			mains[of.service] = mainProcess{st, of.incarnation}
		}
	}
	return mains, nil
}

// outputOf returns the inode of an output pipe of ours, 0 if there is another thing by now.
// Ours are opened for both directions, so that they outlive their reader.
func outputOf(pid, fd int) uint64 {
	var st unix.Stat_t
	if unix.Stat(procPath(pid, "fd/"+strconv.Itoa(fd)), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return 0
	}
	info, _ := readProc(pid, "fdinfo/"+strconv.Itoa(fd)) // gone: it has none
	for line := range strings.Lines(string(info)) {
		if text, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(text), 8, 64)
			if err == nil && flags&unix.O_ACCMODE == unix.O_RDWR {
				return st.Ino
			}
		}
	}
	return 0
}

// clockTick is USER_HZ, which is 100 on every architecture that Go runs on.
const clockTick = time.Second / 100

// startedAt is when a process began.
func (s *procStat) startedAt() time.Time {
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Now()
	}
	age := time.Duration(up.Nano()) - time.Duration(s.start)*clockTick //nolint:gosec // ticks since boot
	return time.Now().Add(-max(0, age))
}
