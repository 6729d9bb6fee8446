package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// limited has a node with one service, it, and skips the test where the kernel does not
// enforce the limit it is about: a harmless one tells that before.
func limited(t *testing.T, limit, text string) *node {
	t.Helper()
	n := newNode(t, limitedService)
	n.up()
	enforced := false
	for _, l := range n.detail().Limits {
		enforced = enforced || l.Name == limit && l.EnforcedBy != nil
	}
	n.stop()
	if !enforced {
		t.Skipf("needs a machine and a user with %s enforced by the kernel", limit)
	}
	n.configure(text)
	n.up()
	return n
}

// detail is `status it -o json`.
func (n *node) detail() (out struct {
	Limits []struct {
		Name, Value, Why, Help string
		EnforcedBy             *string `json:"enforced_by"`
	}
	Counters struct {
		OOMKills         int     `json:"oom_kills"`
		ThrottledPeriods int     `json:"throttled_periods"`
		Throttled        float64 `json:"throttled_seconds"`
		ForksRefused     int     `json:"forks_refused"`
	}
},
) {
	n.t.Helper()
	var status struct{ Services []json.RawMessage }
	if err := json.Unmarshal([]byte(n.do("status", "it", "-o", "json")), &status); err != nil {
		n.t.Fatal(err)
	}
	if err := json.Unmarshal(status.Services[0], &out); err != nil {
		n.t.Fatal(err)
	}
	return out
}

func TestIsolationAHogIsToldFromAKilledServiceAndRestarted(t *testing.T) {
	t.Parallel()
	n := limited(t, "memory_mb", `
services:
  it:
    command: [sh, -c, 'while [ ! -e @dir/eat ]; do sleep 0.05; done; rm @dir/eat; exec tail /dev/zero']
    resources: {memory_mb: 32}
    restart: {initial_delay: 0}
`)
	before := n.now()
	n.write("eat", "")
	end := n.awaitAfter(before, "service.exited", "it", 2)
	if end.attr("reason") != "oom" || end.attr("oom_killed") != "true" || !strings.HasSuffix(end.Message, "out of memory, memory_mb 32") {
		t.Errorf("it ended as %v, want for want of memory", end)
	}
	n.awaitAfter(before, "service.ready", "it", 3)
	if out := n.do("why", "it"); !strings.Contains(out, "out of memory, memory_mb 32") {
		t.Errorf("why does not say it:\n%s", out)
	}
	before = n.now()
	n.do("signal", "it", "KILL")
	if end := n.awaitAfter(before, "service.exited", "it", 3); end.attr("reason") != "signal" || end.attr("oom_killed") != "false" {
		t.Errorf("it ended as %v, want a plain SIGKILL", end)
	}
	n.stop()
}

func TestIsolationForksThatAreRefusedAreTold(t *testing.T) {
	t.Parallel()
	n := limited(t, "processes", `
services:
  it:
    command: [sh, -c, 'while [ ! -e @dir/fork ]; do sleep 0.05; done; i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; sleep 1000']
    resources: {processes: 10}
    restart: {type: temporary}
`)
	n.write("fork", "")
	end := n.awaitAfter(event{}, "service.exited", "it", 2)
	if end.attr("forks_refused") == "" || !strings.Contains(end.Message, ", processes 10") {
		t.Errorf("it ended as %v, want forks refused", end)
	}
	if got := n.detail().Counters.ForksRefused; got < 1 {
		t.Errorf("status counts %d forks refused", got)
	}
	n.stop()
}

func TestIsolationABusyLoopGetsItsShare(t *testing.T) {
	n := limited(t, "cpu_percent", `
services:
  it: {command: [sh, -c, 'while :; do :; done'], resources: {cpu_percent: 20}}
`)
	pid := n.service("it").PID
	var got []float64
	for range 5 { // who is not let run by others gets less
		used, began := cpuTime(t, pid), time.Now()
		<-time.After(5 * time.Second)
		share := 100 * float64(cpuTime(t, pid)-used) / float64(time.Since(began))
		if got = append(got, share); 17 <= share && share <= 23 {
			t.Logf("it got %.1f %% of a processor", share)
			n.stop()
			return
		}
	}
	t.Errorf("it got %.1f %% of a processor, want 20 ± 3", got)
}

// cpuTime is the processor time that a process has used.
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	user, userErr := strconv.Atoi(f[11])
	system, systemErr := strconv.Atoi(f[12])
	if err := errors.Join(userErr, systemErr); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

func TestIsolationAForkBombStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	n := limited(t, "processes", `
services:
  it:
    command: [sh, -c, 'bomb() { bomb & bomb & sleep 1000; }; bomb']
    resources: {processes: 50}
    shutdown: {timeout: 200ms}
  other: {command: [@self]}
`)
	most := 0
	n.eventually("it has used its limit up", func() bool {
		most = max(most, len(n.processes())-1)
		return n.detail().Counters.ForksRefused > 10
	})
	if most > 50 {
		t.Errorf("it has %d processes", most)
	}
	if got := n.service("other").State; got != "running" {
		t.Errorf("the other service is %s", got)
	}
	n.do("stop", "it")
	if left := n.lives("it"); len(left) > 0 {
		t.Errorf("of it is alive after its stop: %v", left)
	}
	n.stop()
}

func TestIsolationOpenFilesStopAtTheirLimit(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it: {command: [@self, open-files, print=.], resources: {open_files: 64}}
`)
	n.up()
	if said := n.said("it"); !strings.HasSuffix(said[0], "too many open files") || strings.HasPrefix(said[0], "65") {
		t.Errorf("it says %q", said)
	}
	n.stop()
}

func TestIsolationThrottlingIsTold(t *testing.T) {
	t.Parallel()
	n := limited(t, "cpu_percent", `
services:
  it: {command: [sh, -c, 'while :; do :; done'], resources: {cpu_percent: 5}}
`)
	n.eventually("it is throttled", func() bool { return n.detail().Counters.Throttled > 0 })
	if out := n.do("status", "it"); !strings.Contains(out, "throttled for") {
		t.Errorf("status does not tell:\n%s", out)
	}
	before := n.now()
	n.do("restart", "it")
	if end := n.awaitAfter(before, "service.stopped", "it", 2); end.attr("throttled_seconds") == "" {
		t.Errorf("the end does not tell: %v", end)
	}
	n.stop()
}
