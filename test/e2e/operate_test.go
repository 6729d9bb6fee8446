package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

func TestRestartStopsDependentsAndStartsAllInOrderUncounted(t *testing.T) {
	t.Parallel()
	n := newNode(t, line)
	n.up()
	before := n.now()
	n.do("restart", "b")
	n.checkBrief(n.since(before), "stopping stopped starting ready exited backoff",
		"stopping c/1", "stopped c/1", "stopping b/1", "stopped b/1", "starting b/2", "ready b/2", "starting c/2", "ready c/2")
	for _, s := range n.status().Services {
		if s.Restarts != 0 {
			t.Errorf("got %d restarts of %s, want none: a person asked for it", s.Restarts, s.Name)
		}
	}
	before = n.now()
	n.do("restart", "--only", "b")
	n.checkBrief(n.since(before), "stopping stopped starting ready", "stopping b/2", "stopped b/2", "starting b/3", "ready b/3")
	n.checkStates("a running 1", "b running 3", "c running 2")
	n.stop()
}

func TestRestartDuringTheBackOffStartsAtOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  db: {command: "@self run", restart: {initial_delay: 1h, max_delay: 1h}}
  web: {command: "@self run", depends_on: [db]}
`)
	n.up()
	n.kill("db", syscall.SIGKILL)
	n.await("service.backoff", "db", 1)
	n.do("restart", "db")
	n.await("service.ready", "web", 2)
	n.kill("db", syscall.SIGKILL)
	n.await("service.backoff", "db", 2)
	n.do("start", "db")
	n.await("service.ready", "web", 3)
	n.checkStates("db running 3", "web running 3")
	n.stop()
}

func TestARestartOfTheOnlyServiceIsNotTheEndOfTheNode(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
supervisor: {auto_shutdown: all_significant, max_restarts: 0}
services:
  only: {command: "@self run", significant: true, restart: {type: transient, max_restarts: 0}}
`)
	n.up()
	for inc := range 3 {
		n.do("restart", "only")
		n.checkStates(fmt.Sprintf("only running %d", inc+2))
	}
	n.do("stop", "only")
	n.do("start", "only")
	if got := n.count("service.failed", "only") + n.count("supervisor.gave_up", "root") + n.count("node.stopping", ""); got != 0 {
		t.Errorf("a restart by hand was held against it")
	}
	n.checkStates("only running 5")
	n.stop()
}

func TestStartDuringAStopWaitsForItAndThenStarts(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  db: {command: "@self slow=500ms"}
`)
	n.up()
	before := n.now()
	n.do("stop", "--no-wait", "db")
	n.awaitAfter(before, "service.stopping", "db", 1)
	n.do("start", "db")
	n.checkStates("db running 2")
	n.checkBrief(n.since(before), "stopping stopped starting ready", "stopping db/1", "stopped db/1", "starting db/2", "ready db/2")
	n.stop()
}

func TestCommandsAboutWhatDoesNotExistSaySo(t *testing.T) {
	t.Parallel()
	n := newNode(t, line)
	n.up()
	for _, args := range [][]string{{"start", "d"}, {"stop", "d"}, {"restart", "a", "d"}, {"pause", "d"}, {"status", "d"}, {"signal", "d", "HUP"}} {
		if _, stderr, code := n.cli(args...); code != 4 {
			t.Errorf("got exit code %d of %q, want 4\n%s", code, args, stderr)
		}
	}
	n.checkStates("a running 1", "b running 1", "c running 1")
	n.stop()
}

// watchLives looks at the machine until ctx ends and returns an error as soon as two
// lives of a service are there at once.
func (n *node) watchLives(ctx context.Context, service string) error {
	for ctx.Err() == nil {
		if ids := n.lives(service); len(ids) > 1 {
			return fmt.Errorf("there are lives %q at once", ids)
		}
	}
	return nil
}

func TestFiftyConcurrentCommandsNeverMakeTwoLives(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {restart: {initial_delay: 0, max_restarts: 1000}}
services:
  base: {command: "@self run"}
  db: {command: "@self run", depends_on: [base]}
  web: {command: "@self run", depends_on: [db]}
`)
	n.up()
	api, err := client.Dial(client.Options{Socket: n.socket})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = api.Close() }()
	watching, enough := context.WithCancel(t.Context())
	twice := make(chan error, 1)
	go func() { twice <- n.watchLives(watching, "db") }()

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var calls sync.WaitGroup
	for i := range 50 {
		calls.Go(func() {
			db := []string{"db"}
			switch i % 5 {
			case 0:
				_, _ = api.StopServices(ctx, &bhnodev1.StopServicesRequest{Names: db})
			case 1, 2:
				_, _ = api.RestartServices(ctx, &bhnodev1.RestartServicesRequest{Names: db, Only: i%2 == 0})
			case 3:
				_, _ = api.StartServices(ctx, &bhnodev1.StartServicesRequest{Names: db})
			case 4:
				<-time.After(rand.N(200 * time.Millisecond))
				_, _ = api.SignalService(ctx, &bhnodev1.SignalServiceRequest{Name: "db", Signal: int32(syscall.SIGKILL)})
			}
		})
	}
	calls.Wait()
	if ctx.Err() != nil {
		t.Error("not every command was answered")
	}
	n.do("start", "web")
	enough()
	if err := <-twice; err != nil {
		t.Error(err)
	}
	for _, s := range n.status().Services {
		if got := n.lives(s.Name); s.State != "running" || len(got) != 1 || got[0] != fmt.Sprintf("%s/%s/%d", n.name, s.Name, s.Incarnation) {
			t.Errorf("got %s %s/%d, lives %q, want one that runs", s.Name, s.State, s.Incarnation, got)
		}
	}
	n.checkTurns("db")
	n.stop()
}

// checkTurns asserts that each life of a service began after the one before was gone.
func (n *node) checkTurns(service string) {
	n.t.Helper()
	alive, last := false, uint64(0)
	for _, e := range n.log.all() {
		if e.Service != service {
			continue
		}
		switch e.Type {
		case "service.starting":
			if alive || e.Incarnation != last+1 {
				n.t.Errorf("life %d began while life %d was there: %v, or the numbers have a gap", e.Incarnation, last, alive)
			}
			alive, last = true, e.Incarnation
		case "service.exited", "service.stopped":
			alive = false
		}
	}
}
