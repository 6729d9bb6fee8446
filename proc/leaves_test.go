package proc

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// keepingHost is one that keeps leaves.
func keepingHost(t *testing.T) *Host {
	t.Helper()
	h := newHost(t)
	if b, ok := h.backend.(*groups1); !ok || b.track == "" || b.frozen {
		t.Skip("leaves are kept beside cgroup v1 only, where they hold no account of memory")
	}
	return h
}

// live has an incarnation live until it ends by itself, and then what is done to its leaf. It
// returns the leaf.
func live(t *testing.T, h *Host, incarnation uint64, arg string, then func(p *Process)) string {
	t.Helper()
	p, err := h.Start(t.Context(), childSpec("burn", arg), incarnation)
	if err != nil {
		t.Fatal(err)
	}
	awaitExit(t, p)
	if then != nil {
		then(p)
	}
	end(t, p)
	return p.group.path()
}

func TestTheNextIncarnationMovesIn(t *testing.T) {
	h := keepingHost(t)
	const burnt = 200 * time.Millisecond
	leaf := live(t, h, 1, burnt.String(), nil)
	s := childSpec("wait", "")
	p, err := h.Start(t.Context(), s, 2)
	if err != nil {
		t.Fatal(err)
	}
	awaitLine(t, p, "ready")
	if p.group.path() != leaf {
		t.Errorf("it is in %s, not in %s", p.group.path(), leaf)
	}
	if got, want := h.members()[p.Pid()], (membership{"svc", 2}); got != want {
		t.Errorf("it is taken for %+v, want %+v", got, want)
	}
	if got := h.backend.find("svc", 2, Limits{}).path(); got != leaf {
		t.Errorf("its group is found in %q, want %s", got, leaf)
	}
	if got := h.backend.find("svc", 1, Limits{}).path(); got != "" {
		t.Errorf("the group of the one before is found in %s", got)
	}
	if u, err := p.Usage(); err != nil || u.CPU >= burnt/2 {
		t.Errorf("it has used %v, %v; the one before %v", u.CPU, err, burnt)
	}
	if got := groupOf(p.group.record(), Limits{}); got.ranBefore != p.group.ranBefore || got.ranBefore < burnt/2 {
		t.Errorf("recorded as used before: %v, want %v", got.ranBefore, p.group.ranBefore)
	}
	end(t, p)
	if last, err := p.Usage(); err != nil || last.CPU >= burnt/2 {
		t.Errorf("it has used %v in all, %v; the one before %v", last.CPU, err, burnt)
	}
}

func TestALeafThatIsNotAsItWasIsNotEnteredAgain(t *testing.T) {
	for name, then := range map[string]func(t *testing.T, p *Process){
		"something is killed with it": func(t *testing.T, p *Process) {
			t.Helper()
			must(t, writeGroup(p.group.path(), "cgroup.procs", strconv.Itoa(straggler(t))))
		},
		"it has a group of the service": func(t *testing.T, p *Process) {
			t.Helper()
			must(t, os.Mkdir(filepath.Join(p.group.path(), "own"), 0o755))
		},
		"it is frozen": func(t *testing.T, p *Process) {
			t.Helper()
			must(t, writeGroup(p.group.path(), "cgroup.freeze", "1"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := keepingHost(t)
			first := live(t, h, 1, "1ms", func(p *Process) { then(t, p) })
			if isDir(first) {
				t.Errorf("%s is still there", first)
			}
			if second := live(t, h, 2, "1ms", nil); second == first {
				t.Errorf("the next one is in %s too", second)
			}
		})
	}
}

// straggler is a process of ours that waits, outside of the group of any service.
func straggler(t *testing.T) int {
	t.Helper()
	cmd := program(t, "wait", "")
	t.Cleanup(func() { _ = cmd.Wait() }) // killed
	return cmd.Process.Pid
}

// TestWhoIsKilledInAnothersLeafIsTheLastInIt: with a kernel that kills what is born into a group
// which somebody has killed by hand, the service runs again after that.
func TestWhoIsKilledInAnothersLeafIsTheLastInIt(t *testing.T) {
	h := keepingHost(t)
	first := live(t, h, 1, "1ms", nil)
	must(t, writeGroup(first, "cgroup.kill", "1"))
	p, err := h.Start(t.Context(), childSpec("wait", ""), 2)
	if err != nil {
		t.Fatal(err)
	}
	if p.group.path() != first {
		t.Fatalf("it is in %s, not in %s", p.group.path(), first)
	}
	_ = p.Signal(syscall.SIGKILL) // the kernel may have done so
	awaitExit(t, p)
	end(t, p)
	if third := live(t, h, 3, "1ms", nil); third == first {
		t.Errorf("the next one is in %s too", third)
	}
}
