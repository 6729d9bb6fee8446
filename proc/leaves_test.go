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
	leaf := live(t, h, 1, "50ms", nil)
	before := usedIn(leaf)
	p, err := h.Start(t.Context(), childSpec("wait", ""), 2)
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
	if got := h.backend.find("svc", 2, Limits{}); got.path() != leaf || got.ranBefore < before {
		t.Errorf("its group is found as %+v, want %s", got, leaf)
	}
	if got := h.backend.find("svc", 1, Limits{}).path(); got != "" {
		t.Errorf("the group of the one before is found in %s", got)
	}
	if r, known := h.state.Get("svc"); !known || before == 0 || groupOf(r.Group, Limits{}).ranBefore != before {
		t.Errorf("recorded is %+v, want that %v were used before", r.Group, before)
	}
	wantUsed(t, p, leaf, before)
	must(t, p.Signal(syscall.SIGTERM))
	awaitExit(t, p)
	end(t, p)
	wantUsed(t, p, leaf, before)
}

// wantUsed compares what an incarnation has used with what its group has since it moved in.
func wantUsed(t *testing.T, p *Process, leaf string, before time.Duration) {
	t.Helper()
	least := usedIn(leaf) - before
	u, err := p.Usage()
	if most := usedIn(leaf) - before; err != nil || u.CPU > most || u.CPU < least {
		t.Errorf("it has used %v, %v, want %v to %v", u.CPU, err, least, most)
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

// TestALeafAfterAKillFromOutside has each incarnation killed, one by one or all in its leaf at
// once, or its leaf while nobody is there. A kernel may kill whatever is born there later: that
// is not to be seen.
func TestALeafAfterAKillFromOutside(t *testing.T) {
	const killFile = "cgroup.kill"
	for name, c := range map[string]struct {
		end   func(p *Process) error
		after func(leaf string) error
		same  bool // the next one may be in the same leaf
	}{
		"by its number":       {end: func(p *Process) error { return p.Signal(syscall.SIGKILL) }, same: true},
		"by its group":        {end: func(p *Process) error { return writeGroup(p.group.path(), killFile, "1") }},
		"when it is over":     {after: func(leaf string) error { return writeGroup(leaf, killFile, "1") }},
		"with its service":    {after: func(leaf string) error { return writeGroup(filepath.Dir(leaf), killFile, "1") }},
		"it is not, at least": {same: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := keepingHost(t)
			var leaves []string
			for n := range uint64(3) {
				p, err := h.Start(t.Context(), childSpec("wait", ""), n+1)
				if err != nil {
					t.Fatal(err)
				}
				awaitLine(t, p, "ready")
				if got, want := h.members()[p.Pid()], (membership{"svc", n + 1}); got != want {
					t.Errorf("it is taken for %+v, want %+v", got, want)
				}
				leaves = append(leaves, p.group.path())
				if c.end == nil {
					must(t, p.Signal(syscall.SIGTERM))
				} else {
					must(t, c.end(p))
				}
				awaitExit(t, p)
				end(t, p)
				if c.after != nil {
					must(t, c.after(p.group.path()))
				}
			}
			if c.same && leaves[0] != leaves[2] {
				t.Errorf("they are not all in one leaf: %q", leaves)
			}
		})
	}
}

func TestALateKillSparesTheNextIncarnation(t *testing.T) {
	h := keepingHost(t)
	first, err := h.Start(t.Context(), childSpec("burn", "1ms"), 1)
	if err != nil {
		t.Fatal(err)
	}
	awaitExit(t, first)
	end(t, first)
	second, err := h.Start(t.Context(), childSpec("wait", ""), 2)
	if err != nil {
		t.Fatal(err)
	}
	awaitLine(t, second, "ready")
	if second.group.path() != first.group.path() {
		t.Fatalf("it is in %s, not in %s", second.group.path(), first.group.path())
	}
	must(t, first.Kill())
	if left, err := first.Left(); err != nil || len(left) > 0 {
		t.Errorf("of the first one is left: %v, %v", left, err)
	}
	if !alive(second.Pid()) {
		t.Error("the second one was killed")
	}
	end(t, second)
}
