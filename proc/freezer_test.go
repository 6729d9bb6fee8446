package proc

import (
	"os"
	"strings"
	"testing"
)

// freezerHost opens a host that does as if there were no cgroup v2, or skips.
func freezerHost(t *testing.T) *Host {
	t.Helper()
	h := newHost(t)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	groups, err := os.ReadFile("/proc/self/cgroup")
	must(t, err)
	at := parseHierarchies(string(mounts), string(groups))
	if at.v1["freezer"] == nil {
		t.Skip("the freezer of cgroup v1 is not mounted here")
	}
	for _, base := range h.backend.bases() {
		must(t, removeGroups(base))
	}
	at.unified = nil
	h.backend = openGroups1(at, groupsName(h.instance))
	if i := h.Isolation(); i.Tracking != trackedByFreezer {
		t.Skipf("the freezer cannot be used here: %v", i.Problems)
	}
	must(t, h.recordBases())
	return h
}

// hidden is a service that leaves behind what nothing but its group tells: it has left
// the session, carries no mark, ignores TERM and starts one process after the other.
func hidden() *ServiceSpec {
	s := childSpec("", "")
	s.Command = []string{"/bin/sh", "-c", `
		(setsid env -i /bin/sh -c 'trap "" TERM; echo ready; while :; do sleep 0.01; done' &)
		exec sleep 1000`}
	return s
}

func TestFreezerKillsWhole(t *testing.T) {
	h := freezerHost(t)
	for n := range 30 {
		s := hidden()
		s.Limits.Processes = 20 * (n % 2)
		p := startReady(t, h, s)
		if n%3 == 0 { // its leader is killed before
			must(t, p.Signal(9))
			awaitExit(t, p)
		}
		if left, _ := p.Left(); len(left) == 0 {
			t.Fatal("nothing was found of what it left behind")
		}
		must(t, p.Kill())
		awaitGone(t, p)
		leaf := p.group.leaf
		p.Release()
		if _, err := os.Stat(leaf); err == nil {
			t.Fatalf("%s is still there, with %v", leaf, pidsBelow(leaf))
		}
	}
}

func TestFreezerStopsAForkBomb(t *testing.T) {
	h := freezerHost(t)
	s := childSpec("", "")
	s.Command = []string{"/bin/sh", "-c", "b() { while :; do sleep 1000 & done; }; echo ready; b & b & b"}
	s.Limits.Processes = 30
	p := startReady(t, h, s)
	must(t, p.Kill())
	awaitGone(t, p)
}

func TestFreezerIsSwept(t *testing.T) {
	h := freezerHost(t)
	p := startReady(t, h, hidden())
	must(t, h.sweepBases(t.Context(), nil))
	awaitExit(t, p)
	awaitGone(t, p)
	if _, err := os.Stat(p.group.leaf); err == nil {
		t.Errorf("%s is still there", p.group.leaf)
	}
}

// TestFreezerHoldsHooks has a hook be killed whole, and one of an end not with its incarnation.
func TestFreezerHoldsHooks(t *testing.T) {
	h := freezerHost(t)
	s := childSpec("wait", "")
	p := startReady(t, h, s)
	script := []string{"/bin/sh", "-c", "(setsid env -i /bin/sleep 1000 >/dev/null 2>&1 &); cat /proc/self/cgroup"}
	out, err := h.RunHook(t.Context(), s, p.Env(), script, patience)
	if err != nil || !strings.Contains(out, "/svc/run-1/hook-") {
		t.Errorf("%v: it ran in\n%s", err, out)
	}
	if left, _ := p.Left(); len(left) != 1 {
		t.Errorf("left are %v, want the service alone", left)
	}
	must(t, p.Kill())
	awaitGone(t, p)
	s.Hooks.PostStop = [][]string{{"/bin/sh", "-c", "grep -q svc/hook-post- /proc/self/cgroup"}}
	if err := p.PostStop(t.Context(), s, "stop"); err != nil {
		t.Error(err)
	}
}
