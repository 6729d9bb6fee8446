package e2e

import (
	"strings"
	"syscall"
	"testing"
)

func TestASupervisorOverItsLimitEscalatesUpToTheEndOfTheNode(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
supervisor: {max_restarts: 1}
tree:
  - base
  - supervisor: data
    max_restarts: 2
    initial_delay: 10ms
    children: [flaky, calm]
  - clock
defaults: {command: "@self run", restart: {max_restarts: unlimited, initial_delay: 10ms}}
services:
  base: {}
  flaky: {command: "@self exit-if=@dir/broken notify=READY=1 run", health_check: {type: notify}, depends_on: [base]}
  calm: {depends_on: [base]}
  clock: {depends_on: [base]}
`)
	n.up()
	n.write("broken", "")
	before := n.kill("flaky", syscall.SIGKILL)
	if code := n.wait(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	events := n.since(before)
	n.checkBrief(events, "gave_up escalated", "gave_up data/0", "escalated root/0", "gave_up data/0", "escalated root/0", "gave_up root/0")
	n.checkBrief(n.events(func(e event) bool { return e.Seq > before.Seq && e.Service == "flaky" }), "exited starting",
		"exited flaky/1", "starting flaky/2", "exited flaky/2", "starting flaky/3", "exited flaky/3",
		"starting flaky/4", "exited flaky/4", "starting flaky/5", "exited flaky/5", "starting flaky/6", "exited flaky/6")
	n.checkOrder(events, "gave_up data/0", "stopped calm/1", "starting calm/2", "gave_up root/0", "stopped base/1", "stopped /0")
	n.checkOrder(events, "gave_up root/0", "stopped clock/1", "stopped base/1")
	if got := n.stderr.String(); !strings.Contains(got, "error: the node gave up") || !strings.Contains(got, "hint: ") {
		t.Errorf("got %q on stderr, want that the node gave up, and a hint", got)
	}
}

func TestASupervisorAtItsLimitDoesNotGiveUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
supervisor: {max_restarts: 2}
defaults: {command: "@self run", restart: {max_restarts: unlimited, initial_delay: 10ms}}
services:
  a: {}
  b: {}
`)
	n.up()
	for i, victim := range []string{"a", "b"} {
		n.kill(victim, syscall.SIGKILL)
		n.await("service.ready", victim, 2)
		if got := n.count("supervisor.gave_up", "root"); got != 0 {
			t.Errorf("it gave up after %d restarts", i+1)
		}
	}
	before := n.kill("b", syscall.SIGKILL)
	if code := n.wait(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	n.checkOrder(n.since(before), "exited b/2", "gave_up root/0", "stopped a/2")
}

func TestANestedSupervisorThatGivesUpIsRestartedByItsParent(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
tree:
  - supervisor: data
    max_restarts: 1
    initial_delay: 10ms
    children: [flaky, calm]
defaults: {command: "@self run", restart: {max_restarts: unlimited, initial_delay: 10ms}}
services:
  flaky: {}
  calm: {}
  clock: {}
  view: {depends_on: [flaky]}
`)
	n.up()
	n.kill("flaky", syscall.SIGKILL)
	n.await("service.ready", "flaky", 2)
	n.await("service.ready", "view", 2)
	before := n.kill("flaky", syscall.SIGKILL)
	n.awaitAfter(before, "service.ready", "view", 3)
	n.awaitAfter(before, "service.ready", "calm", 2)
	n.checkStates("flaky running 3", "calm running 2", "clock running 1", "view running 3")
	n.checkOrder(n.since(before), "exited flaky/2", "gave_up data/0", "stopped view/2", "starting flaky/3", "ready flaky/3", "starting view/3")
	n.tree().each(func(r treeReport) {
		if r.Name == "data" && r.Incarnation != 2 {
			t.Errorf("got incarnation %d of the supervisor, want 2", r.Incarnation)
		}
	})
	n.stop()
}

func TestATransientSupervisorThatGivesUpStaysDownAndTheNodeRunsOn(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
tree:
  - supervisor: data
    max_restarts: 0
    restart: transient
    children: [flaky, calm]
defaults: {command: "@self run", restart: {max_restarts: unlimited, initial_delay: 10ms}}
services:
  flaky: {}
  calm: {}
  clock: {}
`)
	n.up()
	before := n.kill("flaky", syscall.SIGKILL)
	n.awaitAfter(before, "supervisor.gave_up", "data", 0)
	n.awaitAfter(before, "service.stopped", "calm", 1)
	n.checkBrief(n.since(before), "exited stopped starting", "exited flaky/1", "stopped calm/1")
	for _, s := range n.status().Services {
		if up := s.State == "running"; up != (s.Name == "clock") {
			t.Errorf("got %s %s, want only clock to run", s.Name, s.State)
		}
	}
	n.do("start", "flaky") // a person may
	if got := n.service("flaky"); got.State != "running" || got.Incarnation != 2 {
		t.Errorf("got flaky %s/%d after start, want running, incarnation 2", got.State, got.Incarnation)
	}
	n.stop()
}
