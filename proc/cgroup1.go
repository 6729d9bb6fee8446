package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/cgroups/v3/cgroup1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// names1 are the controllers of cgroup v1 by what they are called here.
var names1 = map[string]cgroup1.Name{
	ctlCPU: cgroup1.Cpu, ctlMemory: cgroup1.Memory, ctlIO: cgroup1.Blkio, ctlPids: cgroup1.Pids,
}

// wholeKill is what takes a group for all of a service.
const wholeKill = "killing a service whole"

// groups1 is the back end of cgroup v1: a group in the hierarchy of each controller
// has the limits of an incarnation. On a hybrid machine a bare group of cgroup v2
// tracks it and kills it whole.
type groups1 struct {
	mounts map[string]*hierarchy // by controller, those that can be used
	lacks  map[string]*Problem
	name   string
	track  string // base of the bare groups, "": none
	frozen bool   // they are those of the freezer
	spares spares // of them
	bare   *Problem
}

func openGroups1(at hierarchies, name string) backend {
	b := &groups1{mounts: map[string]*hierarchy{}, lacks: map[string]*Problem{}, name: name, spares: spares{kept: map[string]spare{}}}
	for c, v1 := range names1 {
		h := at.v1[string(v1)]
		if h == nil {
			b.lacks[c] = &Problem{
				keysOf[c], fmt.Sprintf("the controller %s of cgroup v1 is not mounted here", v1),
				"mount it, or boot with systemd.unified_cgroup_hierarchy=1",
			}
			continue
		}
		base, p := makeBase(h, name)
		if p != nil {
			b.lacks[c] = &Problem{keysOf[c], p.Why, p.Help}
			continue
		}
		_ = unix.Rmdir(base) // made again with the first group in it
		b.mounts[c] = h
	}
	if b.lacks[ctlIO] == nil {
		b.lacks[ctlIO] = heedless("/sys/block", "")
	}
	if at.unified != nil {
		b.openTracking(at.unified)
	} else {
		b.openFreezer(at.v1["freezer"])
	}
	if len(b.mounts) == 0 && b.track == "" {
		return noGroups{b.isolation().Problems, b.lacks}
	}
	return b
}

// openTracking makes the base of the bare groups of cgroup v2.
func (b *groups1) openTracking(unified *hierarchy) {
	base, problem := makeBase(unified, b.name)
	if problem == nil {
		if err := tryBirth(base); err != nil {
			problem = &Problem{Why: fmt.Sprintf("no process can be put into a group below %s: %v", unified.own, cause(err)), Help: helpFor(err)}
		}
	}
	if problem != nil {
		b.bare = &Problem{wholeKill, problem.Why, problem.Help}
		return
	}
	b.track = base
}

// openFreezer makes the base of groups of the freezer, where there is no cgroup v2: it
// has a group for all that an incarnation starts too, but one that is joined by the shim.
func (b *groups1) openFreezer(freezer *hierarchy) {
	if freezer == nil {
		b.bare = &Problem{
			wholeKill, "there is neither cgroup v2 nor the freezer beside cgroup v1",
			"mount -t cgroup2 none /sys/fs/cgroup/unified",
		}
		return
	}
	base, problem := makeBase(freezer, b.name)
	if problem != nil {
		b.bare = &Problem{wholeKill, problem.Why, problem.Help}
		return
	}
	b.track, b.frozen = base, true
}

func (b *groups1) isolation() Isolation {
	i := Isolation{Backend: "cgroup v1 + v2", Path: b.track, Tracking: trackedByGroup, Whole: b.bare == nil}
	if b.bare != nil || b.frozen {
		i.Backend = b.enforcer()
	}
	switch {
	case b.bare != nil:
		i.Tracking = trackedByMark
		i.Problems = append(i.Problems, *b.bare)
	case b.frozen:
		i.Tracking = trackedByFreezer
	}
	for _, c := range []string{ctlCPU, ctlMemory, ctlIO, ctlPids} {
		if p := b.lacks[c]; p != nil {
			i.Problems = append(i.Problems, *p)
		}
	}
	return i
}

func (b *groups1) enforcer() string { return "cgroup v1" }

func (b *groups1) lack(controller string) *Problem { return b.lacks[controller] }

func (b *groups1) open(service string, incarnation uint64, l Limits) (*group, error) {
	g := &group{}
	dirs := map[string]string{} // by controller
	used := b.resources(l)
	var wanted []cgroup1.Name
	for _, c := range used.controllers {
		h := b.mounts[c]
		dirs[c] = filepath.Join(h.own, b.name, service)
		g.holders, g.enter = append(g.holders, dirs[c]), append(g.enter, dirs[c])
		wanted = append(wanted, names1[c])
		_ = removeGroups(dirs[c]) // one that a start has not given back
	}
	if len(wanted) > 0 {
		if err := b.limit(service, wanted, used.limits); err != nil {
			return nil, errors.Join(err, g.remove())
		}
	}
	if dir := dirs[ctlIO]; dir != "" {
		_ = writeGroup(dir, "blkio.bfq.weight", strconv.Itoa(min(l.IOWeight, bfqHighest))) // reported where it has no effect
	}
	if b.track != "" {
		leaf, err := b.spares.take(filepath.Join(b.track, service), incarnation)
		if err != nil {
			return nil, errors.Join(err, g.remove())
		}
		g.leaf, g.enter, g.ranBefore = leaf.leaf, append(g.enter, leaf.leaf), leaf.ran
		if g.frozen = b.frozen; !g.frozen {
			g.spares = &b.spares
		}
	}
	g.count(dirs, l)
	g.base = g.read()
	return g, nil
}

func (b *groups1) find(service string, incarnation uint64, l Limits) *group {
	g, dirs := &group{}, map[string]string{}
	for _, c := range b.resources(l).controllers {
		if dir := filepath.Join(b.mounts[c].own, b.name, service); isDir(dir) {
			dirs[c] = dir
			g.holders, g.enter = append(g.holders, dir), append(g.enter, dir)
		}
	}
	if b.track != "" {
		g.leaf = findLeaf(filepath.Join(b.track, service), incarnation)
	}
	if g.leaf != "" {
		g.frozen, g.enter = b.frozen, append(g.enter, g.leaf)
		if g.leaf != leafOf(filepath.Dir(g.leaf), incarnation) { // others have lived there before
			g.ranBefore = usedIn(g.leaf)
		}
	}
	g.count(dirs, l)
	g.base = g.read()
	return g
}

// subsystems are those of the library, which looks through all mounts for them.
var subsystems = sync.OnceValues(cgroup1.Default)

// limit makes the groups with the limits, of the wanted controllers only: the library
// would make one in every hierarchy there is.
func (b *groups1) limit(service string, wanted []cgroup1.Name, l *specs.LinuxResources) error {
	path := func(name cgroup1.Name) (string, error) {
		for c, v1 := range names1 {
			if h := b.mounts[c]; v1 == name && h != nil {
				below, err := filepath.Rel(h.mount, h.own)
				return filepath.Join("/", below, b.name, service), err
			}
		}
		return "", cgroup1.ErrControllerNotActive
	}
	_, err := cgroup1.New(path, l, cgroup1.WithHierarchy(func() ([]cgroup1.Subsystem, error) {
		all, err := subsystems()
		return slices.DeleteFunc(slices.Clone(all), func(s cgroup1.Subsystem) bool { return !slices.Contains(wanted, s.Name()) }), err
	}))
	return err
}

// resources1 are limits as the library takes them.
type resources1 struct {
	controllers []string
	limits      *specs.LinuxResources
}

// resources turns limits into what cgroup v1 is told, as far as it can be.
func (b *groups1) resources(l Limits) resources1 {
	r := resources1{limits: &specs.LinuxResources{}}
	use := func(controller string, set bool) bool {
		if !set || b.mounts[controller] == nil {
			return false
		}
		r.controllers = append(r.controllers, controller)
		return true
	}
	if use(ctlCPU, l.CPUPercent > 0) {
		period, quota := uint64(cpuPeriod), int64(l.CPUPercent)*cpuPeriod/100
		r.limits.CPU = &specs.LinuxCPU{Period: &period, Quota: &quota}
	}
	if use(ctlMemory, l.MemoryMB > 0) {
		limit := int64(l.MemoryMB) << 20
		r.limits.Memory = &specs.LinuxMemory{Limit: &limit}
		if _, err := os.Stat(filepath.Join(b.mounts[ctlMemory].own, "memory.memsw.limit_in_bytes")); err == nil {
			r.limits.Memory.Swap = &limit // memory and swap together
		}
	}
	_ = use(ctlIO, l.IOWeight > 0) // its weight is not for the library, which knows a file of old kernels only
	if use(ctlPids, l.Processes > 0) {
		limit := int64(l.Processes)
		r.limits.Pids = &specs.LinuxPids{Limit: &limit}
	}
	return r
}

func counters1(dirs map[string]string) Counters {
	return Counters{
		OOMKills:         readCount(dirs[ctlMemory], "memory.oom_control", "oom_kill"),
		ThrottledPeriods: readCount(dirs[ctlCPU], "cpu.stat", "nr_throttled"),
		Throttled:        time.Duration(readCount(dirs[ctlCPU], "cpu.stat", "throttled_time")), //nolint:gosec // years
		PidsRefused:      readCount(dirs[ctlPids], "pids.events", "max"),
	}
}

func (b *groups1) bases() []string {
	var dirs []string
	if b.track != "" {
		dirs = append(dirs, b.track)
	}
	for _, h := range b.mounts {
		dirs = append(dirs, filepath.Join(h.own, b.name))
	}
	return dirs
}
