package e2e

import (
	"os"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// chain is three services, each on the one before, whose first does not start
// while there is a file.
const chain = `
defaults: {command: "@self run", restart: {initial_delay: 10ms, jitter: 0, max_restarts: 2}}
services:
  db: {command: "@self exit-if=@dir/broken notify=READY=1 run", health_check: {type: notify}}
  api: {depends_on: [db]}
  web: {depends_on: [api]}
  clock: {}
`

func (n *node) remove(name string) {
	n.t.Helper()
	if err := os.Remove(n.path(name)); err != nil {
		n.t.Fatal(err)
	}
}

func TestADependencyThatFailsTwiceAndThenStartsBringsItsDependentsUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self run", restart: {initial_delay: 10ms, jitter: 0}}
services:
  db: {command: "@self fail-first=2:@dir/starts notify=READY=1 run", health_check: {type: notify}}
  api: {depends_on: [db]}
  web: {depends_on: [api]}
`)
	n.up()
	n.checkBrief(n.log.all(), "starting exited ready failed", "starting /0", "starting db/1", "exited db/1", "starting db/2", "exited db/2", "starting db/3",
		"ready db/3", "starting api/1", "ready api/1", "starting web/1", "ready web/1", "ready /0")
	n.checkStates("db running 3", "api running 1", "web running 1")
	if got := n.service("db").Restarts; got != 2 {
		t.Errorf("got %d restarts of db, want 2", got)
	}
	n.stop()
}

func TestADependencyThatFailsTwiceAfterACrashBringsItsDependentsUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, chain)
	n.up()
	n.write("broken", "")
	before := n.kill("db", syscall.SIGKILL)
	n.awaitAfter(before, "service.backoff", "db", 2)
	n.remove("broken")
	n.await("service.ready", "web", 2)
	n.checkStates("db running 3", "api running 2", "web running 2", "clock running 1")
	n.checkOrder(n.since(before), "exited db/1", "stopping web/1", "stopped web/1", "stopping api/1", "stopped api/1",
		"starting db/2", "exited db/2", "starting db/3", "ready db/3", "starting api/2", "ready api/2", "starting web/2", "ready web/2")
	n.stop()
}

func TestAnExhaustedServiceHasItsDependentsWaitUntilStartClearsIt(t *testing.T) {
	t.Parallel()
	n := newNode(t, chain)
	n.up()
	n.write("broken", "")
	before := n.kill("db", syscall.SIGKILL)
	n.awaitAfter(before, "service.failed", "db", 0)
	n.eventually("both dependents wait", func() bool {
		return cmp.Equal(n.states(), []string{"db failed 3", "api waiting 1", "web waiting 1", "clock running 1"})
	})
	n.checkBrief(n.since(before), "starting exited backoff failed",
		"exited db/1", "backoff db/1", "starting db/2", "exited db/2", "backoff db/2", "starting db/3", "exited db/3", "failed db/3")
	if s := n.service("db"); s.Reason != "exit" || s.Exit.Code == nil || *s.Exit.Code != 1 || !s.Wanted {
		t.Errorf("got reason %q, exit %+v, wanted %v of db, want its exit with 1, still wanted", s.Reason, s.Exit, s.Wanted)
	}
	if got := n.service("api"); got.Reason != "dependency" {
		t.Errorf("got reason %q of api, want dependency", got.Reason)
	}
	if _, _, code := n.cli("health"); code != 1 {
		t.Errorf("got exit code %d of health, want 1", code)
	}
	if _, stderr, code := n.cli("start", "db"); code != 1 || stderr == "" {
		t.Errorf("got exit code %d of a start that cannot succeed, want 1\n%s", code, stderr)
	}
	n.remove("broken")
	n.do("start", "db")
	n.await("service.ready", "web", 2)
	n.do("health")

	n.write("broken", "") // its counter is cleared, too
	before = n.kill("db", syscall.SIGKILL)
	n.awaitAfter(before, "service.failed", "db", 0)
	if got := len(names(n.since(before), "service.starting")); got != 2 {
		t.Errorf("got %d starts before db failed again, want 2", got)
	}
	n.stop()
}

func TestAFailedServiceStartsWhenItsDependencyComesBackInANewLife(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {restart: {initial_delay: 10ms, max_restarts: 1}}
services:
  db: {command: "@self run"}
  web: {command: "@self exit-if=@dir/broken notify=READY=1 run", health_check: {type: notify}, depends_on: [db]}
`)
	n.up()
	n.write("broken", "")
	n.kill("web", syscall.SIGKILL)
	failed := n.await("service.failed", "web", 0)
	n.remove("broken")
	n.kill("db", syscall.SIGKILL)
	ready := n.awaitAfter(failed, "service.ready", "web", 0)
	n.checkOrder(n.since(failed), "exited db/1", "ready db/2", "starting web/3", "ready web/3")
	n.checkStates("db running 2", "web running 3")
	if ready.Incarnation != 3 {
		t.Errorf("got incarnation %d of web, want 3", ready.Incarnation)
	}
	n.stop()
}

func TestALateDependentWaitsForADependencyThatHasBecomeUnhealthy(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  db:
    command: "@self grpc=@dir/sick run"
    unix_socket: db.sock
    health_check: {type: grpc, interval: 50ms, retries: 1, start_interval: 20ms, on_unhealthy: report}
  slow: {command: "@self until=@dir/go notify=READY=1 run", health_check: {type: notify}}
  late: {command: "@self run", depends_on: [db, slow]}
`)
	n.run()
	n.await("service.ready", "db", 1)
	n.write("sick", "")
	n.await("service.unhealthy", "db", 1)
	n.write("go", "")
	n.await("service.ready", "slow", 1)
	n.checkStates("db unhealthy 1", "slow running 1", "late waiting 0")
	n.remove("sick")
	n.await("node.ready", "", 0)
	n.checkOrder(n.log.all(), "unhealthy db/1", "ready slow/1", "healthy db/1", "starting late/1", "ready late/1")
	n.stop()
}

func TestFailedProbesOfOneLifeAreNotHeldAgainstTheNext(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  db:
    command: "@self grpc=@dir/sick run"
    unix_socket: db.sock
    health_check: {type: grpc, interval: 50ms, retries: 1000, start_interval: 20ms}
`)
	n.up()
	n.write("sick", "")
	n.eventually("several probes fail", func() bool { return n.service("db").HealthDetail.Failures > 2 })
	n.remove("sick")
	n.do("restart", "db")
	if got := n.service("db").HealthDetail; got.Failures != 0 || got.LastError != "" {
		t.Errorf("got %d failures, last error %q in the new life, want none", got.Failures, got.LastError)
	}
	n.stop()
}

func TestAnEdgeThatDoesNotRestartOnlyOrdersStartAndStop(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self run", restart: {initial_delay: 10ms}}
services:
  db: {}
  off: {enabled: false}
  loose: {depends_on: {db: {restart: false}, off: {required: false}, gone: {required: false}}}
  early: {depends_on: {db: {condition: started}}}
`)
	n.up()
	n.checkOrder(n.log.all(), "started db/1", "starting early/1")
	n.checkOrder(n.log.all(), "ready db/1", "starting loose/1")
	before := n.kill("db", syscall.SIGKILL)
	n.await("service.ready", "early", 2)
	n.await("service.ready", "db", 2)
	n.checkBrief(n.since(before), "exited stopped", "exited db/1", "stopped early/1")
	before = n.now()
	n.stop()
	n.checkOrder(n.since(before), "stopped loose/1", "stopping db/2")
	n.checkOrder(n.since(before), "stopped early/2", "stopping db/2")
}
