package proc

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// trackedByFreezer is the tracking of a machine that has cgroup v1 alone.
const trackedByFreezer = "a fresh group of cgroup v1's freezer for every incarnation, killed process by process while frozen"

func isFreezer(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "freezer.state")) //nolint:gosec // of a group of ours
	return err == nil
}

// killFrozen kills all that is in a group of the freezer and below it. What is frozen
// starts nothing more, and what was killed meanwhile runs no more when it thaws.
func killFrozen(dir string) {
	_ = writeGroup(dir, "freezer.state", "FROZEN") // what could not be frozen is looked for again
	had := map[life]bool{}
	for fresh := true; fresh; {
		fresh = false
		for _, st := range aliveBelow(dir) {
			if !had[st.life()] {
				had[st.life()], fresh = true, true
				_ = signalExactly(st, syscall.SIGKILL) // who may not be killed is waited for
			}
		}
	}
	_ = writeGroup(dir, "freezer.state", "THAWED") // the group may be gone
}

// awaitThawed returns when nothing is in a group of the freezer and below it: no event
// tells it.
func awaitThawed(ctx context.Context, dir string) error {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for wait := pollFirst; len(aliveBelow(dir)) > 0; wait = min(2*wait, pollMost) {
		pause.Reset(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// aliveBelow returns what is alive in a group and in those below it.
func aliveBelow(dir string) []procStat {
	var found []procStat
	for _, pid := range pidsBelow(dir) {
		if st, err := readStat(pid); err == nil && !st.dead() {
			found = append(found, st)
		}
	}
	return found
}
