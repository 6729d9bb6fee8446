package proc

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// monitorSlack is how late the kernel may wake the monitor of Go's runtime, in nanoseconds. A system
// call that blocks holds a processor of Go for two of its rounds at most, so for that much longer.
const monitorSlack = 200_000

// calmMonitor lets the kernel wake the monitor of Go's runtime later. While anything runs that
// sleeps for 20 us at a time, which takes more than all else of a restart (prctl(2),
// PR_SET_TIMERSLACK). Threads that the monitor starts have its slack, so any timer of bhnode may
// be that late. It returns the slack that bhnode was born with, which its children are to have;
// 0: nothing was changed, as that needs CAP_SYS_NICE.
//
// The monitor is the first thread that the runtime starts, and the kernel lists threads in the
// order in which they were started.
func calmMonitor() (own uintptr, err error) {
	dir, err := os.Open("/proc/self/task")
	if err != nil {
		return 0, err
	}
	threads, err := dir.Readdirnames(2)
	if err := errors.Join(err, dir.Close()); err != nil {
		return 0, err
	}
	if len(threads) < 2 || threads[0] != strconv.Itoa(os.Getpid()) {
		return 0, errors.New("cannot tell which thread is the monitor of the runtime")
	}
	slack, err := timerSlack(threads[0])
	if err != nil {
		return 0, err
	}
	if err := os.WriteFile(slackFile(threads[1]), strconv.AppendInt(nil, monitorSlack, 10), 0); err != nil {
		return 0, err
	}
	return slack, nil
}

func slackFile(thread string) string { return filepath.Join("/proc", thread, "timerslack_ns") }

// timerSlack is how late timers of a thread may be, in nanoseconds.
func timerSlack(thread string) (uintptr, error) {
	text, err := os.ReadFile(slackFile(thread))
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return uintptr(n), err
}

// forkAsOurs forks with the timer slack of bhnode: that of this thread may be the monitor's,
// which starts threads too.
func (h *Host) forkAsOurs(r forkRequest) (int, error) {
	if h.slack > 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, h.slack, 0, 0, 0) // timers a little late are no reason not to start
	}
	return syscall.ForkExec(r.path, r.argv, r.attr)
}
