package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childrenOf lists the children of a process, zombies too.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	var pids []int
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(list)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}

// awaitChildren waits until a process has so many children.
func awaitChildren(t *testing.T, pid, want int) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		got := childrenOf(t, pid)
		if len(got) == want {
			return
		}
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("process %d has children %v, want %d", pid, got, want)
		}
	}
}

func TestAsPID1BhnodeReapsOrphansThatAreNobodys(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root, to make a pid namespace")
	}
	unshare, err := exec.LookPath("unshare")
	if err != nil {
		t.Skip("needs unshare, to make a pid namespace")
	}
	under := []string{unshare, "--pid", "--fork", "--kill-child", "--mount-proc"}
	if out, err := exec.Command(unshare, append(under[1:], "true")...).CombinedOutput(); err != nil {
		t.Skipf("a pid namespace cannot be made here: %v: %s", err, out)
	}
	n := newNode(t, `
services:
  it: {command: [@self, "orphan=ignore"], shutdown: {timeout: 200ms}}
`)
	n.under = under
	n.up()
	init := childrenOf(t, n.cmd.Process.Pid)
	if len(init) != 1 {
		t.Fatalf("unshare has children %v, want bhnode", init)
	}
	awaitChildren(t, init[0], 2) // the service and its orphan
	stranger := exec.Command("nsenter", "--target", strconv.Itoa(init[0]), "--pid", "--mount",
		self, "session=until="+n.path("end")+",exit=0", "exit=0")
	if err := stranger.Run(); err != nil { // its output is not read: the child holds it
		t.Fatalf("cannot enter the namespace: %v", err)
	}
	awaitChildren(t, init[0], 3)
	n.do("restart", "it")
	awaitChildren(t, init[0], 3) // the service, its orphan, and the stranger, who is none of its
	n.write("end", "")
	awaitChildren(t, init[0], 2)
	n.do("stop", "it")
	awaitChildren(t, init[0], 0)
	n.do("shutdown")
	if code := n.wait(); code != 0 {
		t.Errorf("bhnode exits with %d, want 0", code)
	}
}
