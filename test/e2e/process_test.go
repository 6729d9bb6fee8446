package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watched is a process whose end can be waited for, whoever its parent is.
type watched struct {
	t     *testing.T
	pid   int
	pidfd int
}

// watch begins to watch a process that is alive.
func watch(t *testing.T, pid int) watched {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("cannot watch process %d: %v", pid, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return watched{t, pid, fd}
}

// awaitEnd waits until it has ended.
func (w watched) awaitEnd() {
	w.t.Helper()
	until := time.Now().Add(patience)
	for {
		left := time.Until(until)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.pidfd), Events: unix.POLLIN}}, int(left.Milliseconds()))
		if errors.Is(err, syscall.EINTR) && left > 0 {
			continue
		}
		if err != nil || n != 1 {
			w.t.Fatalf("process %d does not end: %v", w.pid, err)
		}
		return
	}
}

// watchDaemon watches the bhnode that holds the runtime directory.
func (n *node) watchDaemon() watched {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.rundir, "lock"))
	if err != nil {
		n.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		n.t.Fatal(err)
	}
	return watch(n.t, pid)
}
