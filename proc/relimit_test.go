package proc

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A limit that comes, changes or goes holds for what runs already, and for what that starts.
func TestLimitsChangeWhereItRuns(t *testing.T) {
	h := limitedHost(t, ctlMemory)
	for name, c := range map[string]struct {
		before, between Limits
		killed          bool
	}{
		"comes":   {Limits{}, Limits{MemoryMB: 64}, true},
		"shrinks": {Limits{MemoryMB: 900}, Limits{MemoryMB: 64}, true},
		"goes":    {Limits{MemoryMB: 64}, Limits{}, false},
		"grows":   {Limits{MemoryMB: 64}, Limits{MemoryMB: 900}, false},
	} {
		t.Run(name, func(t *testing.T) {
			gate := filepath.Join(t.TempDir(), "go")
			s := childSpec("hog", "100")
			s.Command = []string{"/bin/sh", "-c", `while [ ! -e ` + gate + ` ]; do sleep 0.05; done; "` + os.Args[0] + `"`}
			s.Limits = c.before
			p := start(t, h, s)
			if err := h.Limit(s.Name, c.between); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if e := awaitExit(t, p); e.OOMKilled != c.killed || !c.killed && e.Code != 0 {
				t.Errorf("it ends with %v", e)
			}
			awaitGone(t, p)
			p.Release()
		})
	}
}

func TestOpenFilesChangeWhereItRuns(t *testing.T) {
	h := newHost(t)
	s := childSpec("wait", "")
	p := startReady(t, h, s)
	for _, n := range []int{100, 50} {
		if err := h.Limit(s.Name, Limits{OpenFiles: n}); err != nil {
			t.Fatal(err)
		}
		var is unix.Rlimit
		if err := unix.Prlimit(p.Pid(), unix.RLIMIT_NOFILE, nil, &is); err != nil || is.Cur != uint64(n) {
			t.Errorf("it may open %d files, want %d: %v", is.Cur, n, err)
		}
	}
	if os.Geteuid() != 0 { // who is not root cannot raise what it was
		if err := h.Limit(s.Name, Limits{OpenFiles: 200}); err == nil || !strings.Contains(err.Error(), "open_files of pid") {
			t.Errorf("got %v", err)
		}
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitExit(t, p)
}
