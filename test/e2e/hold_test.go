package e2e

import (
	"syscall"
	"testing"
)

const holds = `
defaults: {command: "@self run", restart: {initial_delay: 10ms}}
services:
  base: {}
  db: {depends_on: [base]}
  api: {depends_on: [db]}
  clock: {}
`

// checkHeld asserts that db is held and keeps api down, and that nothing of the two
// is alive.
func (n *node) checkHeld() {
	n.t.Helper()
	for _, s := range n.status().Services {
		held := s.Name == "db"
		under := held || s.Name == "api"
		if s.Held != held || s.Wanted == under {
			n.t.Errorf("got held %v, wanted %v of %s, want %v, %v", s.Held, s.Wanted, s.Name, held, !under)
		}
		if under && (s.State != "stopped" || s.Reason != "held" || s.PID != 0) {
			n.t.Errorf("got %s, reason %q, pid %d of %s, want stopped, held, no pid", s.State, s.Reason, s.PID, s.Name)
		}
		if got := n.lives(s.Name); under == (len(got) > 0) {
			n.t.Errorf("got lives %q of %s", got, s.Name)
		}
	}
	n.do("health") // speaks of those that are wanted
}

func TestAHoldOutlivesRestartsOfBhnodeUntilStart(t *testing.T) {
	t.Parallel()
	n := newNode(t, holds)
	n.up()
	n.do("stop", "db")
	n.checkOrder(n.log.all(), "stopped api/1", "stopping db/1", "stopped db/1")
	n.checkHeld()

	n.stop()
	n.up()
	n.checkHeld()

	n.kill9()
	n.again()
	n.checkHeld()

	n.kill("base", syscall.SIGKILL) // the restart of a group does not lift it either
	n.await("service.ready", "base", 3)
	n.checkHeld()

	n.do("start", "db")
	n.await("service.ready", "api", 2)
	n.do("health")
	n.stop()
	n.up()
	n.checkStates("base running 4", "db running 3", "api running 3", "clock running 3")
	n.stop()
}

func TestStartLiftsTheHoldsOfWhatAServiceNeeds(t *testing.T) {
	t.Parallel()
	n := newNode(t, holds)
	n.up()
	n.do("stop", "base", "clock")
	n.checkStates("base stopped 1", "db stopped 1", "api stopped 1", "clock stopped 1")
	n.do("start", "api")
	n.checkStates("base running 2", "db running 2", "api running 2", "clock stopped 1")
	if s := n.service("clock"); !s.Held {
		t.Errorf("clock is not held any more, though nobody asked for it")
	}
	n.stop()
}

func TestStopOnlyLeavesDependentsRunning(t *testing.T) {
	t.Parallel()
	n := newNode(t, holds)
	n.up()
	n.do("stop", "--only", "db")
	n.checkStates("base running 1", "db stopped 1", "api running 1", "clock running 1")
	if s := n.service("api"); !s.Wanted {
		t.Errorf("api is not wanted any more")
	}
	n.do("start", "db")
	n.checkStates("base running 1", "db running 2", "api running 1", "clock running 1")
	n.stop()
}

func TestStopAllHoldsTheServicesAndTheNodeRunsOn(t *testing.T) {
	t.Parallel()
	n := newNode(t, holds)
	n.up()
	n.do("stop", "--all")
	n.checkStates("base stopped 1", "db stopped 1", "api stopped 1", "clock stopped 1")
	if left := n.processes(); len(left) > 0 {
		t.Errorf("after stop --all there are %v", left)
	}
	n.do("start", "--all")
	n.checkStates("base running 2", "db running 2", "api running 2", "clock running 2")
	n.stop()
}
