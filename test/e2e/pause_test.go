package e2e

import (
	"syscall"
	"testing"
	"time"
)

func TestAPausedSupervisorRestartsNothingUntilResume(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self run", restart: {initial_delay: 0}}
tree:
  - supervisor: data
    children: [db]
services:
  db: {}
  api: {depends_on: [db]}
  clock: {}
`)
	n.up()
	n.do("pause", "root")
	paused := n.await("supervisor.paused", "root", 0)
	n.kill("db", syscall.SIGKILL) // root is above its supervisor
	n.await("service.exited", "db", 1)
	n.kill("clock", syscall.SIGKILL)
	n.await("service.exited", "clock", 1)
	n.do("restart", "--no-wait", "api") // a person may; what it needs is down, so it waits
	n.checkBrief(n.since(paused), "backoff restarting ready")
	n.do("resume", "root")
	n.await("service.ready", "db", 2)
	n.await("service.ready", "clock", 2)
	n.checkOrder(n.since(paused), "exited db/1", "resumed root/0", "starting db/2", "ready db/2")
	n.eventually("all is well", func() bool {
		_, _, code := n.cli("health")
		return code == 0
	})
	n.stop()
}

func TestAPausedNestedSupervisorLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self run", restart: {initial_delay: 0}}
tree:
  - supervisor: data
    children: [db, cache]
services:
  db: {}
  cache: {}
  clock: {}
`)
	n.up()
	n.do("pause", "data")
	n.kill("db", syscall.SIGKILL)
	n.await("service.exited", "db", 1)
	n.kill("clock", syscall.SIGKILL)
	n.await("service.ready", "clock", 2)
	if got := n.service("db"); got.PID != 0 || got.Incarnation != 1 {
		t.Errorf("got db %s/%d under a paused supervisor, want it down", got.State, got.Incarnation)
	}
	n.do("resume", "data")
	n.await("service.ready", "db", 2)
	n.checkStates("db running 2", "cache running 1", "clock running 2")
	n.stop()
}

// stopTime is how long bhnode is stopped.
func stopTime() time.Duration {
	if testing.Short() {
		return 8 * time.Second
	}
	return 20 * time.Second
}

func TestBhnodeStoppedForLongAndContinuedRestartsNothing(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self run", restart: {initial_delay: 10ms}}
services:
  grpc:
    command: "@self grpc run"
    unix_socket: grpc.sock
    health_check: {type: grpc, interval: 100ms, timeout: 200ms, retries: 1}
  http:
    command: "@self http run"
    unix_socket: http.sock
    health_check: {type: tcp, interval: 100ms, timeout: 200ms, retries: 1}
  exec:
    health_check: {type: exec, target: "true", interval: 100ms, timeout: 1s, retries: 1}
  plain: {}
  slow:
    command: "@self until=@dir/go notify=READY=1 run"
    health_check: {type: notify, start_period: 4s}
`)
	n.run()
	for _, name := range []string{"grpc", "http", "exec", "plain"} {
		n.await("service.ready", name, 1)
	}
	n.await("service.started", "slow", 1)
	before := n.states()
	n.signal(syscall.SIGSTOP)
	<-time.After(stopTime() / 2)
	n.write("go", "") // becomes ready while nobody looks
	<-time.After(stopTime() / 2)
	n.signal(syscall.SIGCONT)
	n.await("service.ready", "slow", 0)
	n.await("node.ready", "", 0)
	n.do("health")
	for i, s := range n.states() {
		if s != before[i] && s != "slow running 1" {
			t.Errorf("got %s, was %s", s, before[i])
		}
	}
	n.checkBrief(n.log.all(), "exited backoff unhealthy failed restarting stopped")
	n.stop()
}
