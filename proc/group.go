package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/proc/state"
)

// Counters are what the kernel counted of one incarnation and those it started.
type Counters struct {
	OOMKills         uint64 // changes when something was killed for want of memory
	ThrottledPeriods uint64 // in which it had used up its share of processors
	Throttled        time.Duration
	PidsRefused      uint64 // forks that its limit of processes refused
}

func (c Counters) since(base Counters) Counters {
	return Counters{
		OOMKills:         c.OOMKills - base.OOMKills,
		ThrottledPeriods: c.ThrottledPeriods - base.ThrottledPeriods,
		Throttled:        c.Throttled - base.Throttled,
		PidsRefused:      c.PidsRefused - base.PidsRefused,
	}
}

// group holds one incarnation, or one hook of it. Its leaf is a group without controllers. One
// that bhnode has killed is never entered again, as the kernel may kill what is born into it.
type group struct {
	leaf    string            // "": the kernel tracks nothing
	frozen  bool              // the leaf is one of cgroup v1's freezer
	holders []string          // directories with the limits, each removed after those before it
	enter   []string          // directories that a process is to be in, the leaf last
	counts  map[string]string // see state.Group
	read    func() Counters
	base    Counters
	files   openFiles
	mu      sync.Mutex               // held while it is killed
	over    bool                     // it was given up, and the leaf may be another's
	killed  atomic.Bool              // it was asked for
	empty   atomic.Bool              // nobody is in the leaf any more
	final   atomic.Pointer[Counters] // when it was removed

	spares    *spares       // that the leaf may be one of, afterwards; nil: none are kept
	ranBefore time.Duration // what earlier incarnations have used of processors in the leaf
	ran       time.Duration // and that with what this one has, when it ended; 0: not known
	wiped     atomic.Bool   // bhnode has killed all in the leaf at once
}

// hookPrefix begins the name of a hook's group.
const hookPrefix = "hook-"

// hook makes the group of one hook: within the incarnation, or beside it where it
// outlives that.
func (g *group) hook(mark identity) (*group, error) {
	if g == nil {
		return nil, nil
	}
	if g.killed.Load() && !mark.outlives() {
		return nil, errors.New("the incarnation was killed")
	}
	sub := &group{frozen: g.frozen, enter: g.enter, counts: g.counts, read: g.read}
	if sub.read != nil {
		sub.base = sub.read()
	}
	if g.leaf == "" {
		return sub, nil
	}
	parent := g.leaf
	if mark.outlives() {
		parent = filepath.Dir(g.leaf)
	} else {
		g.empty.Store(false)
	}
	sub.leaf = filepath.Join(parent, hookPrefix+mark.hook)
	if err := os.Mkdir(sub.leaf, 0o755); err != nil { //nolint:gosec // as all of cgroupfs
		return nil, fmt.Errorf("cannot make the group of a hook: %w", err)
	}
	sub.enter = append(slices.Clone(g.enter[:len(g.enter)-1]), sub.leaf)
	return sub, nil
}

// path returns the directory of the leaf, "" if there is none.
func (g *group) path() string {
	if g == nil {
		return ""
	}
	return g.leaf
}

// record is what the next bhnode must know of it.
func (g *group) record() *state.Group {
	if g == nil {
		return nil
	}
	return &state.Group{
		Leaf: g.leaf, Frozen: g.frozen, Limited: len(g.enter) > 1 || g.frozen, Holders: g.holders, Enter: g.enter, Counts: g.counts,
		Ran: g.ranBefore, Base: [4]uint64{g.base.OOMKills, g.base.ThrottledPeriods, uint64(g.base.Throttled), g.base.PidsRefused}, //nolint:gosec // not negative
	}
}

// groupOf returns the group that was recorded.
func groupOf(r *state.Group, l Limits) *group {
	if r == nil {
		return nil
	}
	g := &group{
		leaf: r.Leaf, frozen: r.Frozen, holders: r.Holders, enter: r.Enter, ranBefore: r.Ran,
		base: Counters{OOMKills: r.Base[0], ThrottledPeriods: r.Base[1], Throttled: time.Duration(r.Base[2]), PidsRefused: r.Base[3]}, //nolint:gosec // as recorded
	}
	g.count(r.Counts, l)
	return g
}

// count has the counters read from where they are.
func (g *group) count(at map[string]string, l Limits) {
	g.counts = at
	if len(at) == 0 { // nothing limits it
		g.read = func() Counters { return Counters{} }
	} else if dir, unified := at[""]; unified {
		g.read = func() Counters { return counters2(dir, l) }
	} else {
		g.read = func() Counters { return counters1(at) }
	}
}

// openGroup returns a descriptor of a group, to be born into.
func openGroup(dir string) (int, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	return fd, nil
}

// kill kills all that is in the leaf, what is forked meanwhile too; false: nobody is there.
func (g *group) kill() bool {
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.killed.Store(true)
	switch {
	case g.over:
		return false
	case g.frozen:
		killFrozen(g.leaf)
		return len(aliveBelow(g.leaf)) > 0
	case g.leaf == "" || !g.populated():
		return false
	default:
		g.wiped.Store(true)
		_ = writeGroup(g.leaf, "cgroup.kill", "1") // without it, its members are killed one by one
	}
	return true
}

// members returns what is alive in the leaf and below it.
func (g *group) members() []procStat {
	if g == nil || g.leaf == "" {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over || g.empty.Load() || !g.frozen && !g.populated() {
		return nil
	}
	return aliveBelow(g.leaf)
}

// populated tells whether anybody is in the leaf or below it, for all that is known.
func (g *group) populated() bool {
	var room [256]byte
	said, err := g.files.read(g.leaf, eventsFile, room[:])
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) { // it is gone
		return false
	}
	return !bytes.Contains(said, []byte("populated 0"))
}

// isEmpty tells whether the kernel has said that nobody is in the leaf, and no hook began since.
func (g *group) isEmpty() bool { return g == nil || g.leaf == "" || g.empty.Load() }

// markEmpty notes that it has.
func (g *group) markEmpty() {
	if g != nil {
		g.empty.Store(true)
	}
}

// awaitEmpty returns when nothing is in the leaf.
func (g *group) awaitEmpty(ctx context.Context, p *poller) error {
	if g == nil || g.leaf == "" {
		return nil
	}
	if g.frozen {
		return awaitThawed(ctx, g.leaf)
	}
	err := awaitEmpty(ctx, p, g.leaf)
	g.empty.Store(err == nil)
	return err
}

// counters returns what was counted since the group was made.
func (g *group) counters() Counters {
	if g == nil || g.read == nil {
		return Counters{}
	}
	if final := g.final.Load(); final != nil {
		return *final
	}
	return g.read().since(g.base)
}

// judge tells an end for want of memory from others: the kernel killed the main process,
// or that ended badly after something it had started was killed so.
func (g *group) judge(e Exit) Exit {
	suspect := e.Signal == syscall.SIGKILL || e.Code > 0
	if suspect && g != nil && !g.killed.Load() {
		e.OOMKilled = g.counters().OOMKills > 0
	}
	return e
}

// remove gives the directories back; nothing lives in them.
func (g *group) remove() error {
	if g == nil {
		return nil
	}
	final := g.counters()
	g.final.Store(&final)
	g.mu.Lock()
	g.over = true // who still means to kill it would kill the next incarnation
	g.mu.Unlock()
	var errs []error
	if g.leaf != "" && !g.spares.keep(g) {
		errs = append(errs, removeGroups(g.leaf))
	}
	g.files.close()
	for _, dir := range g.holders {
		errs = append(errs, removeGroups(dir))
	}
	return errors.Join(errs...)
}

// removeGroups removes a group and all below it. The kernel lets go of the last
// process of a group a moment after that is gone.
func removeGroups(dir string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := unix.Rmdir(dir)
		switch {
		case err == nil, errors.Is(err, unix.ENOENT):
			return nil
		case !errors.Is(err, unix.EBUSY) || wait > 64*time.Millisecond:
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		below := subgroups(dir)
		for _, name := range below {
			if err := removeGroups(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		if len(below) == 0 {
			time.Sleep(wait)
		}
	}
}

// pidsBelow lists the processes of a group and of all groups below it.
func pidsBelow(dir string) []int {
	var pids []int
	data, _ := readWhole(filepath.Join(dir, "cgroup.procs")) // gone: nobody is in it
	for field := range strings.FieldsSeq(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			pids = append(pids, pidsBelow(filepath.Join(dir, e.Name()))...)
		}
	}
	return pids
}

// writeGroup writes one value into a file of a group, which it never makes.
func writeGroup(dir, file, value string) error {
	path := filepath.Join(dir, file)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	_, err = unix.Write(fd, []byte(value))
	if err != nil {
		err = &os.PathError{Op: "write " + value + " to", Path: path, Err: err}
	}
	return errors.Join(err, unix.Close(fd))
}

// readCount returns the number that stands behind a key in a file of a group, 0 if none does.
func readCount(dir, file, key string) uint64 {
	if dir == "" {
		return 0
	}
	data, _ := readWhole(filepath.Join(dir, file)) // gone or never there: nothing is counted
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) == 2 && f[0] == key {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n
		}
	}
	return 0
}
