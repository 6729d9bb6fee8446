//go:build crashpoints

package state

import (
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
)

// In a program that is built with the tag crashpoints, BHNODE_CRASH_AT=N has it killed
// after the N-th write of state. Tests try every N.
func init() { //nolint:gochecknoinits // for tests alone
	at, err := strconv.ParseInt(os.Getenv("BHNODE_CRASH_AT"), 10, 64)
	if err != nil {
		return
	}
	var writes atomic.Int64
	written = func() {
		if writes.Add(1) == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}
