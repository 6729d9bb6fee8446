package proc

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// supervisorGroup is where bhnode itself is: a group with limited ones below it may
// hold no process.
const supervisorGroup = "supervisor"

// groups2 is the back end of cgroup v2: <own>/supervisor is bhnode, <own>/bhnode-<id>/<service>
// has the limits and the counters, run-<n> in it is one incarnation.
type groups2 struct {
	base  string
	lacks map[string]*Problem // by controller
}

// openGroups2 makes a tree of groups in our own.
func openGroups2(at *hierarchy, name string, only purpose) backend {
	own := *at
	if filepath.Base(own.own) == supervisorGroup {
		own.own = filepath.Dir(own.own)
	}
	if only == toUse {
		repairThreaded(own.own)
	}
	base, problem := makeBase(&own, name)
	if problem != nil {
		return noGroups{problems: []Problem{*problem}}
	}
	if err := tryBirth(base); err != nil {
		why := fmt.Sprintf("no process can be put into a group below %s: %v", own.own, cause(err))
		_ = removeGroups(base)
		return noGroups{problems: []Problem{{everything, why, helpFor(err)}}}
	}
	b := &groups2{base: base, lacks: map[string]*Problem{}}
	if only == toLook { // without moving anybody
		for _, c := range []string{ctlCPU, ctlMemory, ctlIO, ctlPids} {
			b.lacks[c] = available(own.own, c)
		}
		b.lacks[ctlIO] = cmp.Or(b.lacks[ctlIO], heedless("/sys/block", own.mount))
		return b
	}
	moved := moveAway(own.own)
	for _, c := range []string{ctlCPU, ctlMemory, ctlIO, ctlPids} {
		b.lacks[c] = b.enable(own.own, c, moved)
	}
	if b.lacks[ctlIO] == nil {
		b.lacks[ctlIO] = heedless("/sys/block", own.mount)
	}
	return b
}

// keysOf names the limit that a controller enforces.
var keysOf = map[string]string{ctlCPU: "cpu_percent", ctlMemory: "memory_mb", ctlIO: "io_weight", ctlPids: "processes"}

// available says why a controller cannot be used in a group, nil if it can.
func available(own, controller string) *Problem {
	there, err := os.ReadFile(filepath.Join(own, "cgroup.controllers"))
	switch {
	case err != nil:
		return &Problem{keysOf[controller], err.Error(), helpFor(err)}
	case !slices.Contains(strings.Fields(string(there)), controller):
		return &Problem{
			keysOf[controller], fmt.Sprintf("the controller %s is not available in %s", controller, own),
			"delegate it (Delegate=yes), or enable it on the kernel's command line",
		}
	}
	return nil
}

// enable has a controller limit the groups of the services.
func (b *groups2) enable(own, controller string, moved error) *Problem {
	if p := available(own, controller); p != nil {
		return p
	}
	for _, dir := range []string{own, b.base} {
		if err := writeGroup(dir, "cgroup.subtree_control", "+"+controller); err != nil {
			if moved != nil {
				err = moved
			}
			return &Problem{
				keysOf[controller], fmt.Sprintf("the controller %s cannot be enabled in %s: %v", controller, dir, cause(err)),
				helpFor(err),
			}
		}
	}
	return nil
}

// repairThreaded undoes what enabling controllers beside processes has made of a group:
// no process could enter any group below it.
func repairThreaded(own string) {
	kind, err := os.ReadFile(filepath.Join(own, "cgroup.type")) //nolint:gosec // from the kernel's own tables
	if err != nil || strings.TrimSpace(string(kind)) != "domain threaded" {
		return
	}
	for _, c := range []string{ctlCPU, ctlPids} {
		_ = writeGroup(own, "cgroup.subtree_control", "-"+c) // the trial tells whether it helped
	}
}

// moveAway moves every process of a group into the supervisor's below it. The root of
// all groups, which has no type, may keep its own.
func moveAway(own string) error {
	if _, err := os.Stat(filepath.Join(own, "cgroup.type")); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	dir := filepath.Join(own, supervisorGroup)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as all of cgroupfs
		return err
	}
	for range 10 { // they may fork meanwhile
		data, err := os.ReadFile(filepath.Join(own, "cgroup.procs"))
		if err != nil || len(data) == 0 {
			return err
		}
		for pid := range strings.FieldsSeq(string(data)) {
			if err := writeGroup(dir, "cgroup.procs", pid); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return fmt.Errorf("processes keep appearing in %s: %w", own, unix.EBUSY)
}

const trackedByGroup = "a group of cgroup v2 for every incarnation, killed whole"

func (b *groups2) isolation() Isolation {
	i := Isolation{Backend: b.enforcer(), Path: b.base, Tracking: trackedByGroup, Whole: true}
	for _, c := range []string{ctlCPU, ctlMemory, ctlIO, ctlPids} {
		if p := b.lacks[c]; p != nil {
			i.Problems = append(i.Problems, *p)
		}
	}
	return i
}

func (b *groups2) enforcer() string { return "cgroup v2" }

func (b *groups2) lack(controller string) *Problem { return b.lacks[controller] }

func (b *groups2) open(service string, incarnation uint64, l Limits) (*group, error) {
	dir := filepath.Join(b.base, service)
	leaf, err := makeLeaf(dir, incarnation)
	if err != nil {
		return nil, err
	}
	g := &group{leaf: leaf, holders: []string{dir}, enter: []string{leaf}}
	g.count(map[string]string{"": dir}, l)
	for _, s := range settings2(l) {
		err := writeGroup(dir, s.file, s.value)
		if err != nil && b.lacks[s.controller] == nil && (!optional[s.file] || !errors.Is(err, fs.ErrNotExist)) {
			return nil, errors.Join(err, g.remove())
		}
	}
	g.base = g.read()
	return g, nil
}

func (b *groups2) find(service string, incarnation uint64, l Limits) *group {
	dir := filepath.Join(b.base, service)
	leaf := leafOf(dir, incarnation)
	if !isDir(leaf) {
		return nil
	}
	g := &group{leaf: leaf, holders: []string{dir}, enter: []string{leaf}}
	g.count(map[string]string{"": dir}, l)
	g.base = g.read()
	return g
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// makeLeaf makes the fresh leaf of one incarnation in the directory of its service, and
// that afresh where a start has not given it back.
func makeLeaf(dir string, incarnation uint64) (string, error) {
	err := os.Mkdir(dir, 0o755) //nolint:gosec // as all of cgroupfs
	switch {
	case errors.Is(err, fs.ErrExist):
		_ = removeGroups(dir)
		err = os.MkdirAll(dir, 0o755) //nolint:gosec // as all of cgroupfs
	case errors.Is(err, fs.ErrNotExist): // the first one
		err = os.MkdirAll(dir, 0o755) //nolint:gosec // as all of cgroupfs
	}
	if err != nil {
		return "", err
	}
	leaf := leafOf(dir, incarnation)
	return leaf, os.Mkdir(leaf, 0o755) //nolint:gosec // as all of cgroupfs
}

// counters2 reads what limits can have brought about. A want of memory can be the machine's.
func counters2(dir string, l Limits) Counters {
	c := Counters{OOMKills: readCount(dir, "memory.events", "oom_kill")}
	if l.CPUPercent > 0 {
		c.ThrottledPeriods = readCount(dir, "cpu.stat", "nr_throttled")
		c.Throttled = time.Duration(readCount(dir, "cpu.stat", "throttled_usec")) * time.Microsecond //nolint:gosec // years
	}
	if l.Processes > 0 {
		c.PidsRefused = readCount(dir, "pids.events", "max")
	}
	return c
}

func (b *groups2) bases() []string { return []string{b.base} }
