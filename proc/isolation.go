package proc

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Problem is something that the machine does not do for us, why, and what would help.
type Problem struct{ What, Why, Help string }

// Isolation is what holds the services of a node.
type Isolation struct {
	Backend  string    // "cgroup v2", "cgroup v1", "cgroup v1 + v2", "none"
	Path     string    // where its groups are, "": there are none
	Tracking string    // how all of a service is found and killed
	Whole    bool      // the kernel tells what is of a service: nothing of it can escape
	Problems []Problem // in the order in which they matter
}

// Enforcement says what becomes of one limit of a service.
type Enforcement struct {
	Limit string // its key in the configuration
	Value string
	By    string // "cgroup v2", "cgroup v1", "rlimit", "kernel"; "": it is not enforced
	Why   string // it is not enforced, or not as asked
	Help  string // what would help
}

// String says it in one line: "memory_mb 64: not enforced: …; …".
func (e Enforcement) String() string {
	parts := []string{e.Limit + " " + e.Value, cmp.Or(e.By, "not enforced"), e.Why, e.Help}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ": ")
}

// The controllers that limits need; v1 calls io blkio.
const (
	ctlCPU    = "cpu"
	ctlMemory = "memory"
	ctlIO     = "io"
	ctlPids   = "pids"
)

// IsLimit tells whether what a Problem is about is a limit, by its key in the
// configuration, and not all of the isolation.
func IsLimit(what string) bool {
	for _, key := range keysOf {
		if what == key {
			return true
		}
	}
	return false
}

// backend holds services in groups of the kernel.
type backend interface {
	isolation() Isolation
	// enforcer is what holds a service to the limits that are enforced.
	enforcer() string
	// lack says why the limits of a controller are not enforced, nil if they are.
	lack(controller string) *Problem
	// open makes the groups of one incarnation, nil where there are none.
	open(service string, incarnation uint64, l Limits) (*group, error)
	// find returns the groups of an incarnation that another bhnode has opened, nil where
	// there are none.
	find(service string, incarnation uint64, l Limits) *group
	// relimit gives an incarnation other limits; pids are its processes.
	relimit(service string, g *group, l Limits, pids func() []int) error
	// bases are the directories of the node's groups, that of the leaves first: who is
	// killed there has left the others too.
	bases() []string
}

// Isolation tells what holds the services of this node.
func (h *Host) Isolation() Isolation { return h.backend.isolation() }

// Enforcement tells what becomes of every limit that s sets, in the order of the
// configuration: resources first, then what a process is born with.
func (h *Host) Enforcement(s *ServiceSpec) []Enforcement { return enforcement(h.backend, s) }

func enforcement(b backend, s *ServiceSpec) []Enforcement {
	var all []Enforcement
	for _, l := range []struct {
		key, controller string
		value           int
	}{
		{"cpu_percent", ctlCPU, s.Limits.CPUPercent},
		{"memory_mb", ctlMemory, s.Limits.MemoryMB},
		{"io_weight", ctlIO, s.Limits.IOWeight},
		{"processes", ctlPids, s.Limits.Processes},
	} {
		if l.value == 0 {
			continue
		}
		e := Enforcement{Limit: l.key, Value: strconv.Itoa(l.value), By: b.enforcer()}
		if p := b.lack(l.controller); p != nil {
			e.By, e.Why, e.Help = "", p.Why, p.Help
		}
		all = append(all, e)
	}
	return append(all, birth(s)...)
}

// asRoot is what helps where only root may do something.
const asRoot = "run bhnode as root"

// birth tells what becomes of what a process is born with.
func birth(s *ServiceSpec) []Enforcement {
	var all []Enforcement
	add := func(limit, value, by, why string) {
		e := Enforcement{Limit: limit, Value: value, By: by}
		if why != "" && os.Geteuid() != 0 {
			e.By, e.Why, e.Help = "", why, asRoot
		}
		all = append(all, e)
	}
	if n := s.Limits.OpenFiles; n > 0 {
		add("open_files", strconv.Itoa(n), "rlimit", aboveHardLimit(n))
	}
	if s.Nice != nil {
		why := ""
		if *s.Nice < ownNice() {
			why = "only root raises a priority"
		}
		add("nice", strconv.Itoa(*s.Nice), "kernel", why)
	}
	if s.OOMScoreAdj != nil {
		why := ""
		if *s.OOMScoreAdj < ownOOMScoreAdj() {
			why = "only root lowers the score by which the kernel chooses whom to kill"
		}
		add("oom_score_adj", strconv.Itoa(*s.OOMScoreAdj), "kernel", why)
	}
	if s.Umask != nil {
		add("umask", fmt.Sprintf("%04o", *s.Umask), "kernel", "")
	}
	if s.NoNewPrivileges {
		add("no_new_privileges", "true", "kernel", "")
	}
	if s.Capabilities != nil {
		add("capabilities", strings.Join(*s.Capabilities, " "), "kernel", "only root takes or gives capabilities")
	}
	return all
}
