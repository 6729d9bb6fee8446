package e2e

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// delays are the back-offs of a service, as the events tell them.
func (n *node) delays(service string) []time.Duration {
	var all []time.Duration
	for _, e := range n.log.all() {
		if e.Type == "service.backoff" && e.Service == service {
			seconds, _ := e.Attrs["delay_seconds"].(float64)
			all = append(all, time.Duration(seconds*float64(time.Second)).Round(time.Millisecond))
		}
	}
	return all
}

func TestBackOffGrowsByItsFactorUpToItsLimitAndEndsInExhaustion(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  loop:
    command: "@self exit=7"
    restart: {initial_delay: 20ms, backoff_factor: 2, max_delay: 100ms, jitter: 0, max_restarts: 5}
`, "boot: best_effort")
	n.run()
	n.await("service.failed", "loop", 0)
	const ms = time.Millisecond
	if diff := cmp.Diff([]time.Duration{20 * ms, 40 * ms, 80 * ms, 100 * ms, 100 * ms}, n.delays("loop")); diff != "" {
		t.Errorf("delays: -want +got\n%s", diff)
	}
	var asked event
	for _, e := range n.log.all() {
		switch e.Type {
		case "service.backoff":
			asked = e
		case "service.starting":
			seconds, _ := asked.Attrs["delay_seconds"].(float64)
			if took := e.Time.Sub(asked.Time).Seconds(); asked.Seq != 0 && took < seconds-0.001 {
				t.Errorf("life %d was started after %v s, want %v s at least", e.Incarnation, took, seconds)
			}
		}
	}
	n.checkStates("loop failed 6")
	n.stop()
}

func TestAServiceThatWasHealthyForLongStartsAgainAtTheInitialDelay(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  api:
    command: "@self fail-first=2:@dir/starts run"
    restart: {initial_delay: 10ms, backoff_factor: 3, jitter: 0, reset_after: 200ms}
`)
	n.up()
	ready := n.await("service.ready", "api", 3)
	<-time.After(time.Until(ready.Time.Add(250 * time.Millisecond)))
	n.kill("api", syscall.SIGKILL)
	n.await("service.ready", "api", 4)
	const ms = time.Millisecond
	if diff := cmp.Diff([]time.Duration{10 * ms, 30 * ms, 10 * ms}, n.delays("api")); diff != "" {
		t.Errorf("delays: -want +got\n%s", diff)
	}
	n.stop()
}

func TestALoopWithoutDelayIsLimited(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  loop: {command: "@self exit=0", restart: {initial_delay: 0, max_restarts: 7}}
  calm: {command: "@self run"}
`, "boot: best_effort")
	n.run()
	n.await("service.failed", "loop", 0)
	n.await("service.ready", "calm", 1)
	n.checkStates("loop failed 8", "calm running 1")
	if got := n.count("service.starting", "loop"); got != 8 {
		t.Errorf("got %d starts, want the first and seven more", got)
	}
	n.stop()
}

func TestOnExhaustedKeepGoesOnAtTheLongestDelay(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  db:
    command: "@self exit-if=@dir/broken notify=READY=1 run"
    health_check: {type: notify}
    restart: {initial_delay: 10ms, max_delay: 60ms, jitter: 0, max_restarts: 1, on_exhausted: keep}
`)
	n.up()
	n.write("broken", "")
	n.kill("db", syscall.SIGKILL)
	n.await("service.exited", "db", 5)
	n.remove("broken")
	n.eventually("db runs again", func() bool { return n.service("db").State == "running" })
	const ms = time.Millisecond
	if diff := cmp.Diff([]time.Duration{10 * ms, 60 * ms, 60 * ms, 60 * ms}, n.delays("db")[:4]); diff != "" {
		t.Errorf("delays: -want +got\n%s", diff)
	}
	if got := n.count("service.failed", "db"); got != 0 {
		t.Errorf("got %d failed, want none", got)
	}
	n.stop()
}

func TestOnExhaustedEscalateEndsTheSupervisorAndAtTheRootTheNode(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  base: {command: "@self run"}
  db:
    command: "@self exit-if=@dir/broken notify=READY=1 run"
    health_check: {type: notify}
    depends_on: [base]
    restart: {initial_delay: 10ms, max_restarts: 1, on_exhausted: escalate}
  web: {command: "@self run", depends_on: [db]}
`)
	n.up()
	n.write("broken", "")
	before := n.kill("db", syscall.SIGKILL)
	if code := n.wait(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	n.checkOrder(n.since(before), "exited db/1", "stopped web/1", "starting db/2", "exited db/2", "gave_up root/0", "stopped base/1", "stopped /0")
	if got := n.stderr.String(); !strings.Contains(got, "error: the node gave up") || !strings.Contains(got, "db") || !strings.Contains(got, "hint: ") {
		t.Errorf("got %q on stderr, want that the node gave up, db, and a hint", got)
	}
}
