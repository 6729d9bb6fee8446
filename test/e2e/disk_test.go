package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk puts a disk of 3 MiB in the place of a directory, for this thread and what it
// becomes.
func smallDisk(dir string) {
	runtime.LockOSThread()
	must(unix.Unshare(unix.CLONE_NEWNS))
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(unix.Mount("small", dir, "tmpfs", 0, "size=3m,mode=700"))
}

var droppedLines = regexp.MustCompile(`(?m)^blackhole_process_log_dropped_total{service="flood"} (.+)$`)

// linesLost returns how many lines of the service flood the metrics say are lost.
func linesLost(t *testing.T, address string) float64 {
	t.Helper()
	_, body, err := fetch(http.DefaultClient, "http://"+address+"/metrics")
	m := droppedLines.FindStringSubmatch(body)
	if err != nil || m == nil {
		t.Fatalf("%v, the metrics tell nothing of lines that are lost", err)
	}
	lost, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return lost
}

// A disk that is full costs lines, which are counted, and no service; when there is room
// again lines are kept again.
func TestAFullDiskCostsLinesAndNoService(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small disk")
	}
	const services = `
logs: {max_size_mb: 1, max_files: 100, compress: false, block_timeout: 100ms}
services:
  flood: {command: [@self, pour=stdout]}
  calm: {command: [@self, trickle=stdout]}
`
	n, address := measuredNode(t, services, "")
	if err := os.Mkdir(n.path("logs"), 0o700); err != nil {
		t.Fatal(err)
	}
	n.under = []string{self, "small-disk=" + n.path("logs"), "exec"}
	n.up()
	facts := n.facts()
	dropped := func() float64 { return linesLost(t, address) }
	n.eventually("lines are lost", func() bool { return dropped() > 0 })
	before := dropped()
	n.eventually("and more of them: it goes on", func() bool { return dropped() > before })
	if got := n.facts(); fmt.Sprint(got) != fmt.Sprint(facts) {
		t.Errorf("the services are\n%q, were\n%q", got, facts)
	}
	there := fmt.Sprintf("/proc/%d/root%s", n.cmd.Process.Pid, n.path("logs"))
	full, err := filepath.Glob(there + "/*.log.*") // whoever came first has filled it
	if err != nil || len(full) == 0 {
		t.Fatalf("there is nothing to make room of: %v", err)
	}
	for _, name := range full {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	n.eventually("lines are kept again", func() bool {
		info, err := os.Stat(there + "/flood.log")
		return err == nil && info.Size() > 0 && n.do("logs", "flood", "-n", "1") != ""
	})
	n.stop()
}

// In a directory made read-only logs cannot be rotated: they grow, also under the next
// bhnode, and are rotated when it can be written to again. No line is lost.
func TestALogDirectoryMadeReadOnlyCostsNoLine(t *testing.T) {
	t.Parallel()
	n, address := measuredNode(t, `
logs: {max_size_mb: 1, max_files: 1000, compress: false}
services: {flood: {command: [@self, pour=stdout]}}
`, "")
	if os.Getuid() == 0 { // whom no mode stops
		uid, gid := nobody(t)
		n.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		n.give()
	}
	healthy := func() bool { _, _, code := n.cli("health"); return code == 0 }
	files := func() int {
		names, err := filepath.Glob(n.path("logs/flood.log*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	over := func(mib int64) func() bool {
		return func() bool {
			info, err := os.Stat(n.path("logs/flood.log"))
			return err == nil && info.Size() > mib<<20
		}
	}
	n.run()
	n.eventually("it is healthy", healthy)
	n.eventually("its log is rotated", func() bool { return files() > 2 })

	mustChmod(t, n.path("logs"), 0o500)
	defer mustChmod(t, n.path("logs"), 0o700)
	rotated := files()
	n.eventually("its log grows", over(3))
	n.kill9()
	n.run()
	n.eventually("it is healthy under the next bhnode", healthy)
	n.eventually("its log grows more", over(5))
	if got := files(); got != rotated {
		t.Errorf("there are %d files, there were %d", got, rotated)
	}

	mustChmod(t, n.path("logs"), 0o700)
	n.eventually("its log is rotated again", func() bool { return files() > rotated })
	if lost := linesLost(t, address); lost != 0 {
		t.Errorf("%v lines are lost", lost)
	}
	n.stop()
	n.checkComplete("flood", "json")
}

func mustChmod(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}
