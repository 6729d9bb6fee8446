package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/containerd/cgroups/v3/cgroup1"
	"golang.org/x/sys/unix"
)

// Limit gives what runs of a service other limits, which were adopted before. What the
// error names comes into force with its next start.
func (h *Host) Limit(service string, l Limits) error {
	p := h.Lookup(service)
	if p == nil {
		return ErrNotFound
	}
	var errs []error
	if p.group != nil {
		errs = append(errs, h.backend.relimit(service, p.group, l, p.pids))
		if r, ok := h.state.Get(service); ok {
			r.Group = p.group.record()
			errs = append(errs, h.state.Put(r))
		}
	}
	for _, pid := range p.pids() {
		if err := limitFiles(pid, l.OpenFiles); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("open_files of pid %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// pids are all processes of the incarnation.
func (p *Process) pids() []int {
	var pids []int
	for _, st := range p.family.left() {
		pids = append(pids, st.pid)
	}
	return pids
}

// limitFiles limits the descriptors of a process; 0: as bhnode's own.
func limitFiles(pid, n int) error {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return err
	}
	want := &own
	if n > 0 {
		want = &unix.Rlimit{Cur: uint64(n), Max: uint64(n)}
	}
	return unix.Prlimit(pid, unix.RLIMIT_NOFILE, want, nil)
}

func (noGroups) relimit(string, *group, Limits, func() []int) error { return nil }

// unlimited2 is what cgroup v2 is told where there is no limit.
var unlimited2 = []setting{
	{ctlCPU, "cpu.max", "max " + strconv.Itoa(cpuPeriod)},
	{ctlMemory, "memory.max", "max"},
	{ctlMemory, "memory.swap.max", "max"},
	{ctlMemory, "memory.oom.group", "0"},
	{ctlIO, "io.weight", "default 100"},
	{ctlIO, "io.bfq.weight", "100"},
	{ctlPids, "pids.max", "max"},
}

func (b *groups2) relimit(service string, g *group, l Limits, _ func() []int) error {
	dir := filepath.Join(b.base, service)
	settings := settings2(l)
	for _, none := range unlimited2 {
		if !slices.ContainsFunc(settings, func(s setting) bool { return s.file == none.file }) {
			settings = append(settings, none)
		}
	}
	var errs []error
	for _, s := range settings {
		err := writeGroup(dir, s.file, s.value)
		if err != nil && b.lacks[s.controller] == nil && (!optional[s.file] || !errors.Is(err, fs.ErrNotExist)) {
			errs = append(errs, err)
		}
	}
	g.count(g.counts, l)
	return errors.Join(errs...)
}

// relimit sets the limits of the groups that an incarnation has, and makes those that it
// lacks, into which it is moved.
func (b *groups1) relimit(service string, g *group, l Limits, pids func() []int) error {
	used := b.resources(l)
	var errs []error
	for c, dir := range g.counts {
		errs = append(errs, relimit1(c, dir, l))
	}
	var wanted []cgroup1.Name
	var dirs []string
	for _, c := range used.controllers {
		if g.counts[c] != "" {
			continue
		}
		dir := filepath.Join(b.mounts[c].own, b.name, service)
		_ = removeGroups(dir) // one that a start has not given back
		wanted, dirs = append(wanted, names1[c]), append(dirs, dir)
		if g.counts == nil {
			g.counts = map[string]string{}
		}
		g.counts[c] = dir
	}
	if len(wanted) == 0 {
		return errors.Join(errs...)
	}
	if err := b.limit(service, wanted, used.limits); err != nil {
		return errors.Join(append(errs, err)...)
	}
	g.holders, g.enter = slices.Concat(dirs, g.holders), slices.Concat(dirs, g.enter)
	if g.counts[ctlIO] != "" {
		errs = append(errs, relimit1(ctlIO, g.counts[ctlIO], l))
	}
	g.count(g.counts, l)
	return errors.Join(append(errs, moveInto(dirs, pids))...)
}

// relimit1 sets the limit of one controller of cgroup v1.
func relimit1(controller, dir string, l Limits) error {
	value := func(n int) string {
		if n == 0 {
			return "-1"
		}
		return strconv.Itoa(n)
	}
	switch controller {
	case ctlCPU:
		return writeGroup(dir, "cpu.cfs_quota_us", value(l.CPUPercent*cpuPeriod/100))
	case ctlMemory:
		return limitMemory1(dir, value(l.MemoryMB<<20))
	case ctlIO:
		weight := l.IOWeight
		if weight == 0 {
			weight = 100
		}
		_ = writeGroup(dir, "blkio.bfq.weight", strconv.Itoa(min(weight, bfqHighest))) // reported where it has no effect
	case ctlPids:
		if l.Processes == 0 {
			return writeGroup(dir, "pids.max", "max")
		}
		return writeGroup(dir, "pids.max", strconv.Itoa(l.Processes))
	}
	return nil
}

// limitMemory1 limits memory, and memory and swap together, which is never to be less.
func limitMemory1(dir, value string) error {
	const memory, both = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	first := writeGroup(dir, memory, value)
	swap := writeGroup(dir, both, value)
	if first != nil {
		first = writeGroup(dir, memory, value) // which may be more now
	}
	if errors.Is(swap, fs.ErrNotExist) {
		swap = nil
	}
	return errors.Join(first, swap)
}

// moveInto moves processes into groups, those too that they fork meanwhile.
func moveInto(dirs []string, pids func() []int) error {
	moved := map[int]bool{}
	for range 10 {
		more := false
		for _, pid := range pids() {
			if moved[pid] {
				continue
			}
			moved[pid], more = true, true
			for _, dir := range dirs {
				if err := writeGroup(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, unix.ESRCH) {
					return err
				}
			}
		}
		if !more {
			return nil
		}
	}
	return errors.New("its processes fork faster than they can be moved under the new limits")
}
