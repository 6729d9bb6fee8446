package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// limited has a node with one service, it, and skips the test where the kernel does not
// enforce the limit it is about.
func limited(t *testing.T, limit, text string) *node {
	t.Helper()
	n := newNode(t, text)
	n.up()
	for _, l := range n.detail("it").Limits {
		if l.Name == limit && l.EnforcedBy != nil {
			return n
		}
	}
	n.stop()
	t.Skipf("needs a machine and a user with %s enforced by the kernel", limit)
	return nil
}

// detail is `status NAME -o json`.
func (n *node) detail(name string) (out struct {
	Limits []struct {
		Name       string
		EnforcedBy *string `json:"enforced_by"`
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
	if err := json.Unmarshal([]byte(n.do("status", name, "-o", "json")), &status); err != nil {
		n.t.Fatal(err)
	}
	if err := json.Unmarshal(status.Services[0], &out); err != nil {
		n.t.Fatal(err)
	}
	return out
}

func TestAHogIsToldFromAKilledServiceAndRestarted(t *testing.T) {
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
	end := n.awaitAfter(before, "service.exited", "it", 1)
	if end.attr("reason") != "oom" || end.attr("oom_killed") != "true" || !strings.HasSuffix(end.Message, "out of memory, memory_mb 32") {
		t.Errorf("it ended as %v, want for want of memory", end)
	}
	n.awaitAfter(before, "service.ready", "it", 2)
	if out := n.do("why", "it"); !strings.Contains(out, "out of memory, memory_mb 32") {
		t.Errorf("why does not say it:\n%s", out)
	}
	before = n.now()
	n.do("signal", "it", "KILL")
	if end := n.awaitAfter(before, "service.exited", "it", 2); end.attr("reason") != "signal" || end.attr("oom_killed") != "false" {
		t.Errorf("it ended as %v, want a plain SIGKILL", end)
	}
	n.stop()
}

func TestForksThatAreRefusedAreTold(t *testing.T) {
	t.Parallel()
	n := limited(t, "processes", `
services:
  it:
    command: [sh, -c, 'while [ ! -e @dir/fork ]; do sleep 0.05; done; i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done; sleep 1000']
    resources: {processes: 10}
    restart: {type: temporary}
`)
	n.write("fork", "")
	end := n.awaitAfter(event{}, "service.exited", "it", 1)
	if end.attr("forks_refused") == "" || !strings.Contains(end.Message, ", processes 10") {
		t.Errorf("it ended as %v, want forks refused", end)
	}
	if got := n.detail("it").Counters.ForksRefused; got < 1 {
		t.Errorf("status counts %d forks refused", got)
	}
	n.stop()
}

func TestThrottlingIsTold(t *testing.T) {
	t.Parallel()
	n := limited(t, "cpu_percent", `
services:
  it: {command: [sh, -c, 'while :; do :; done'], resources: {cpu_percent: 5}}
`)
	n.eventually("it is throttled", func() bool { return n.detail("it").Counters.Throttled > 0 })
	if out := n.do("status", "it"); !strings.Contains(out, "throttled for") {
		t.Errorf("status does not tell:\n%s", out)
	}
	before := n.now()
	n.do("restart", "it")
	if end := n.awaitAfter(before, "service.stopped", "it", 1); end.attr("throttled_seconds") == "" {
		t.Errorf("the end does not tell: %v", end)
	}
	n.stop()
}
