package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// survivors lists the processes whose command line holds a word, which also finds those
// that have no environment.
func survivors(word string) []int {
	var pids []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		line, err := os.ReadFile(path)
		if err == nil && bytes.Contains(line, []byte(word)) {
			pid, _ := strconv.Atoi(strings.Split(path, "/")[2])
			pids = append(pids, pid)
		}
	}
	return pids
}

// What double-forks, makes a session of its own and ignores SIGTERM is gone with its
// service: 50 times by a stop, a restart, a SIGKILL of its leader and the end of the
// node. Where groups of the kernel tell, what has dropped its environment too.
func TestIsolationNothingEscapes(t *testing.T) {
	const services, rounds = 10, 5
	n := newNode(t, "services: {}")
	each := 1
	leaves := `"orphan=ignore,until=@dir/never"`
	n.configure(oneService(leaves))
	n.up()
	if tracked(n) {
		each, leaves = 2, leaves+`, "stray=ignore,until=@dir/never"`
	}
	n.stop()
	text, names := "defaults: {restart: {initial_delay: 0, max_restarts: unlimited}, shutdown: {timeout: 200ms}}\nsupervisor: {max_restarts: 1000}\nservices:\n", []string{}
	for i := range services {
		names = append(names, fmt.Sprintf("s%d", i))
		text += fmt.Sprintf("  s%d: {command: [@self, %s, print=up], health_check: {type: log, target: ^up}}\n", i, leaves)
	}
	n.configure(text)
	n.up()
	born := func(before []int) (now []int) {
		t.Helper()
		n.eventually("all have left somebody behind", func() bool { now = survivors(n.path("never")); return len(now) == services*(each+1) }) // and the services themselves
		for _, pid := range before {
			if slices.Contains(now, pid) {
				t.Errorf("process %d has outlived its service", pid)
			}
		}
		return now
	}
	gone := func(how string) {
		t.Helper()
		if left := survivors(n.path("never")); len(left) > 0 {
			t.Errorf("left after %s: %v", how, left)
		}
	}
	for range rounds {
		born(nil)
		n.do("stop", "--all")
		gone("a stop")
		n.do("start", "--all")
		before := born(nil)
		n.do(append([]string{"restart"}, names...)...)
		before = born(before)
		mark := n.now()
		for _, s := range n.status().Services {
			if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range names {
			n.awaitAfter(mark, "service.ready", name, 0)
		}
		born(before)
		n.stop()
		gone("the end of the node")
		n.up()
	}
	n.stop()
	gone("the end of the node")
}

func oneService(steps string) string {
	return "services:\n  it: {command: [@self, " + steps + "], shutdown: {timeout: 200ms}}\n"
}

// tracked tells whether the kernel knows what is of a service of the node.
func tracked(n *node) bool {
	n.t.Helper()
	list, err := os.ReadFile(filepath.Join(n.rundir, "groups"))
	if err != nil {
		n.t.Fatal(err)
	}
	for base := range strings.Lines(string(list)) {
		if _, err := os.Stat(filepath.Join(strings.TrimSpace(base), "it", "run-1", "cgroup.kill")); err == nil {
			return true
		}
	}
	return false
}
