package proc

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// held lists the pipes that a keeper holds.
func held(pid int) (inodes []string) {
	names, _ := readNames(procPath(pid, "fd"))
	for _, name := range names {
		if to, err := os.Readlink(procPath(pid, "fd/"+name)); err == nil && strings.HasPrefix(to, "pipe:") {
			inodes = append(inodes, to)
		}
	}
	slices.Sort(inodes)
	return inodes
}

func (h *Host) keeperPid() int {
	h.keeper.mu.Lock()
	defer h.keeper.mu.Unlock()
	if h.keeper.main == nil {
		return 0
	}
	return h.keeper.main.pid
}

func TestTheKeeperHoldsThePipesOfWhatRuns(t *testing.T) {
	if os.Getpid() == 1 {
		t.Skip("nothing outlives an init, which has no keeper; runs outside of guests")
	}
	h := openHost(t, t.TempDir(), nil)
	if pid := h.keeperPid(); pid != 0 {
		t.Errorf("a keeper (%d) runs and nothing is to be kept", pid)
	}
	other := childSpec("wait", "")
	other.Name = "other"
	one, two := start(t, h, childSpec("wait", "")), start(t, h, other)
	end := func(p *Process) {
		t.Helper()
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		awaitGone(t, p)
		p.Release()
	}
	wantHeld := func(n int) {
		t.Helper()
		eventually(t, "it holds so many", func() bool { return len(held(h.keeperPid())) == n })
	}
	wantHeld(4)
	first := h.keeperPid()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another one runs", func() bool { return h.keeperPid() != first && h.keeperPid() != 0 })
	wantHeld(4)
	end(two)
	wantHeld(2)
	end(one)
	wantHeld(0)
}

func TestNoKeeperRunsWhereNothingOutlivesBhnode(t *testing.T) {
	h := openHost(t, t.TempDir(), func(o *HostOptions) { o.KillOnDeath = true })
	start(t, h, childSpec("wait", ""))
	if pid := h.keeperPid(); pid != 0 {
		t.Errorf("a keeper runs: %d", pid)
	}
}

// TestTheKeeperTakesWhatIsInItsSocket has bhnode gone, for all that the keeper can see, before
// it was rung.
func TestTheKeeperTakesWhatIsInItsSocket(t *testing.T) {
	if os.Getpid() == 1 {
		t.Skip("nothing outlives an init, which has no keeper; runs outside of guests")
	}
	h := openHost(t, t.TempDir(), nil)
	start(t, h, childSpec("wait", ""))
	k := &heirloom{pid: h.keeperPid()}
	if k.knows() {
		t.Error("its socket is closed while bhnode is there")
	}
	h.keeper.mu.Lock()
	closeAll([]int{h.keeper.socket, h.keeper.bell})
	h.keeper.socket, h.keeper.bell = -1, -1
	h.keeper.mu.Unlock()
	eventually(t, "it has taken all", k.knows)
	if pipes := held(k.pid); len(pipes) != 2 {
		t.Errorf("it holds %v", pipes)
	}
}
