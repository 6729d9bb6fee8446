package e2e

import (
	"slices"
	"strings"
	"testing"
)

const boots = `
defaults: {command: "@self run", restart: {initial_delay: 10ms, max_restarts: 1}}
services:
  base: {}
  store: {depends_on: [base]}
  clock: {}
  bad: {command: "@self print=hello complain=no.database exit=3", health_check: {type: notify}, depends_on: [store]}
  web: {depends_on: [bad]}
`

func TestABootThatFailsIsRolledBackAndSaysWhy(t *testing.T) {
	t.Parallel()
	n := newNode(t, boots)
	n.run()
	if code := n.wait(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	all := n.log.all()
	n.checkOrder(all, "ready store/1", "exited bad/1", "starting bad/2", "exited bad/2", "failed bad/2",
		"stopping store/1", "stopped store/1", "stopping base/1", "stopped base/1", "stopped /0")
	n.checkSorted(all, "stopped", "stopped /0", "stopped base/1", "stopped clock/1", "stopped store/1")
	if got := n.count("service.starting", "web"); got != 0 {
		t.Errorf("web was started %d times, want never", got)
	}
	if got := n.count("node.ready", ""); got != 0 {
		t.Errorf("the node was ready %d times, want never", got)
	}
	stderr := n.stderr.String()
	for _, want := range []string{"error: bad could not be started", "exit 3", "  hello\n", "  no.database\n", "hint: "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not on stderr:\n%s", want, stderr)
		}
	}
	if _, _, code := n.cli("status"); code != 3 {
		t.Errorf("got exit code %d of status afterwards, want 3", code)
	}
}

func TestABootUnderBestEffortLeavesTheRestRunning(t *testing.T) {
	t.Parallel()
	n := newNode(t, boots, "boot: best_effort")
	n.run()
	n.await("service.failed", "bad", 0)
	n.await("service.ready", "store", 1)
	n.await("service.ready", "clock", 1)
	n.checkStates("base running 1", "store running 1", "clock running 1", "bad failed 2", "web waiting 0")
	if _, stderr, code := n.cli("health"); code != 1 {
		t.Errorf("got exit code %d of health, want 1\n%s", code, stderr)
	}
	if got := n.count("node.ready", ""); got != 0 {
		t.Errorf("the node was ready %d times, want never: bad is not", got)
	}
	n.stop()
}

func TestABootWaitsForWhatIsSlow(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  slow: {command: "@self until=@dir/go notify=READY=1 run", health_check: {type: notify}}
  fast: {command: "@self run"}
  late: {command: "@self run", depends_on: [slow]}
`)
	n.run()
	n.await("service.ready", "fast", 1)
	n.await("service.started", "slow", 1)
	n.checkStates("slow starting 1", "fast running 1", "late waiting 0")
	n.write("go", "")
	n.await("node.ready", "", 0)
	n.checkOrder(n.log.all(), "ready slow/1", "starting late/1", "ready late/1", "ready /0")
	n.stop()
}

func TestSIGTERMDuringTheBootStopsWhatHasStarted(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  base: {command: "@self run"}
  never: {command: "@self run", health_check: {type: notify}, depends_on: [base]}
  late: {command: "@self run", depends_on: [never]}
`)
	n.run()
	n.await("service.started", "never", 1)
	n.stop()
	n.checkOrder(n.log.all(), "stopping never/1", "stopped never/1", "stopping base/1", "stopped base/1", "stopped /0")
	if got := names(n.log.all(), "service.starting"); slices.Contains(got, "late") {
		t.Errorf("late was started: %q", got)
	}
}

func TestAtMostSoManyServicesStartAtOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self run"}
services: {a: {}, b: {}, c: {}, d: {}, e: {}, f: {}}
`, "max_parallel_starts: 2")
	n.up()
	under, most := 0, 0
	for _, e := range n.log.all() {
		switch e.Type {
		case "service.starting":
			under++
		case "service.ready":
			under--
		}
		most = max(most, under)
	}
	if most != 2 {
		t.Errorf("got %d starts under way at once, want 2", most)
	}
	n.stop()
}
