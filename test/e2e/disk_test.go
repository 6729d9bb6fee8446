package e2e

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
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
	dropped := func() float64 {
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
	n.eventually("lines are lost", func() bool { return dropped() > 0 })
	before := dropped()
	n.eventually("and more of them: it goes on", func() bool { return dropped() > before })
	if got := n.facts(); fmt.Sprint(got) != fmt.Sprint(facts) {
		t.Errorf("the services are\n%q, were\n%q", got, facts)
	}
	there := fmt.Sprintf("/proc/%d/root%s", n.cmd.Process.Pid, n.path("logs"))
	for i := 1; ; i++ { // room
		if err := os.Remove(fmt.Sprintf("%s/flood.log.%d", there, i)); err != nil {
			break
		}
	}
	n.eventually("lines are kept again", func() bool {
		info, err := os.Stat(there + "/flood.log")
		return err == nil && info.Size() > 0 && n.do("logs", "flood", "-n", "1") != ""
	})
	n.stop()
}
