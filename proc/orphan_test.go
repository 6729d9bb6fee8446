package proc

import (
	"os"
	"syscall"
	"testing"
)

func TestOrphansAreReaped(t *testing.T) {
	h := newHost(t)
	p := startReady(t, h, childSpec("escape", ""))
	awaitExit(t, p)
	killOrphan(t, p)
}

// killOrphan kills the only process that is left of p and waits until it was reaped.
func killOrphan(t *testing.T, p *Process) {
	t.Helper()
	orphan := left(t, p, 1)[0].Pid
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the zombie is gone", func() bool {
		_, err := os.Stat(procPath(orphan, ""))
		return err != nil
	})
}

// TestOrphansAreReapedWhenNobodyListens has one end just after a child of ours whose end was
// followed by a look that found no orphan.
func TestOrphansAreReapedWhenNobodyListens(t *testing.T) {
	h := newHost(t)
	other := childSpec("escape", "stay")
	other.Name = "other"
	first, p := startReady(t, h, childSpec("wait", "")), startReady(t, h, other)
	end := func(p *Process) {
		if err := p.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		awaitExit(t, p)
	}
	end(first)
	eventually(t, "nobody listens", func() bool { return h.deaf.Load() })
	end(p) // its own child is an orphan from now on
	killOrphan(t, p)
}
