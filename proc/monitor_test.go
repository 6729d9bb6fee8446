package proc

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTheMonitorIsCalmAndNobodyElse looks at the thread that was started second, and at a child
// that is forked on a thread of which timers are late.
func TestTheMonitorIsCalmAndNobodyElse(t *testing.T) {
	h := newHost(t)
	if h.slack == 0 {
		t.Skip("timers of other threads need CAP_SYS_NICE")
	}
	threads := threadsInOrder(t)
	if got, err := timerSlack(threads[1]); err != nil || got != monitorSlack {
		t.Errorf("the monitor's slack is %d, %v, want %d", got, err, monitorSlack)
	}
	own, err := timerSlack(threads[0])
	if err != nil || own == monitorSlack {
		t.Fatalf("that of bhnode is %d, %v", own, err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, monitorSlack, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	p := startReady(t, h, childSpec("wait", ""))
	if got, err := timerSlack(strconv.Itoa(p.Pid())); err != nil || got != own {
		t.Errorf("that of a service is %d, %v, want %d", got, err, own)
	}
}

// threadsInOrder lists our threads as the kernel does, the oldest first.
func threadsInOrder(t *testing.T) []string {
	t.Helper()
	names, err := readNames("/proc/self/task")
	if err != nil || len(names) < 2 || names[0] != filepath.Base(readLink(t, "/proc/self")) {
		t.Fatalf("threads %v, %v", names, err)
	}
	return names
}

func readLink(t *testing.T, path string) string {
	t.Helper()
	to, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	return to
}
