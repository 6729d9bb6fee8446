package e2e

import (
	"syscall"
	"testing"
)

func TestACompletedOneShotIsNotRunAgain(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self run", restart: {initial_delay: 10ms}}
services:
  db: {}
  migrate: {command: "@self note=@dir/runs:migrate exit=0", depends_on: [db]}
  web: {depends_on: {migrate: {condition: completed}, db: {}}}
`)
	n.up()
	n.checkOrder(n.log.all(), "ready db/1", "starting migrate/1", "exited migrate/1", "completed migrate/1", "starting web/1", "ready web/1")
	n.kill("db", syscall.SIGKILL)
	n.await("service.ready", "web", 2)
	n.checkStates("db running 2", "migrate completed 1", "web running 2")
	if got := n.read("runs"); got != "migrate\n" {
		t.Errorf("got runs %q, want one", got)
	}
	n.do("health") // completed counts as healthy
	n.do("restart", "web")
	n.checkStates("db running 2", "migrate completed 1", "web running 3")
	n.do("start", "migrate") // a person may
	n.await("service.completed", "migrate", 2)
	n.stop()
	n.up() // and a new boot
	n.checkStates("db running 3", "migrate completed 3", "web running 4")
	n.stop()
}

func TestAOneShotThatFailsTwiceIsRetriedUntilItCompletes(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  migrate: {command: "@self fail-first=2:@dir/runs exit=0", restart: {initial_delay: 10ms}}
  web: {command: "@self run", depends_on: {migrate: {condition: completed}}}
`)
	n.up()
	n.checkStates("migrate completed 3", "web running 1")
	n.checkOrder(n.log.all(), "exited migrate/1", "exited migrate/2", "exited migrate/3", "completed migrate/3", "starting web/1")
	n.stop()
}

func TestHowARestartTypeTakesAnEnd(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self until=@dir/go exit=0", restart: {initial_delay: 10ms, type: transient}}
services:
  permanent: {command: "@self once=@dir/permanent until=@dir/go exit=0", restart: {type: permanent}}
  transient: {}
  success: {command: "@self until=@dir/go exit=9", restart: {success_codes: [9]}}
  signalled: {command: "@self until=@dir/go die=1", restart: {success_codes: [SIGHUP]}}
  retried: {command: "@self once=@dir/retried until=@dir/go exit=1"}
  temporary: {command: "@self until=@dir/go exit=1", restart: {type: temporary}}
  finished: {restart: {type: temporary}}
  user: {command: "@self run", depends_on: [temporary, transient]}
`)
	n.up()
	n.write("go", "")
	n.await("service.ready", "permanent", 2)
	n.await("service.ready", "retried", 2)
	for _, name := range []string{"transient", "success", "signalled", "finished"} {
		n.await("service.completed", name, 1)
	}
	n.await("service.failed", "temporary", 1)
	n.checkStates("permanent running 2", "transient completed 1", "success completed 1", "signalled completed 1",
		"retried running 2", "temporary failed 1", "finished completed 1", "user running 1")
	if got := n.service("temporary").Reason; got != "temporary" {
		t.Errorf("got reason %q of temporary, want temporary", got)
	}
	n.stop()
}

func TestASignalThatIsNoPartOfAStopIsAnAbnormalEnd(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  job: {command: "@self run", restart: {type: transient, initial_delay: 10ms}}
`)
	n.up()
	for inc, send := range []func(){
		func() { n.kill("job", syscall.SIGHUP) },
		func() { n.do("signal", "job", "HUP") },
	} {
		send()
		life := uint64(inc + 1)
		if e := n.await("service.exited", "job", life); e.attr("signal") != "SIGHUP" || e.attr("reason") != "signal" {
			t.Errorf("got %v, want SIGHUP", e)
		}
		n.await("service.ready", "job", life+1)
	}
	n.stop()
}

func TestASignificantEndEndsTheNode(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		job, shutdown string
		code          int
	}{
		"any, normal":   {"until=@dir/go exit=0", "any_significant", 0},
		"any, abnormal": {"until=@dir/go exit=3", "any_significant", 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, `
supervisor: {auto_shutdown: `+tc.shutdown+`}
services:
  base: {command: "@self run"}
  job: {command: "@self `+tc.job+`", significant: true, restart: {type: temporary}, depends_on: [base]}
  other: {command: "@self run", significant: true, restart: {type: transient}, depends_on: [base]}
`)
			n.up()
			n.write("go", "")
			if code := n.wait(); code != tc.code {
				t.Errorf("got exit code %d, want %d", code, tc.code)
			}
			n.checkOrder(n.log.all(), "exited job/1", "stopped other/1", "stopped base/1", "stopped /0")
		})
	}
}

func TestTheNodeEndsWhenAllSignificantServicesHave(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
supervisor: {auto_shutdown: all_significant}
defaults: {restart: {type: transient}}
services:
  base: {command: "@self run"}
  first: {command: "@self until=@dir/first exit=0", significant: true}
  second: {command: "@self until=@dir/second exit=0", significant: true}
`)
	n.up()
	n.write("first", "")
	n.await("service.completed", "first", 1)
	n.checkStates("base running 1", "first completed 1", "second running 1")
	n.write("second", "")
	if code := n.wait(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	n.checkOrder(n.log.all(), "completed second/1", "stopped base/1", "stopped /0")
}

func TestATemporaryServiceStoppedWithItsGroupStaysDown(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {command: "@self run", restart: {initial_delay: 10ms}}
services:
  db: {}
  job: {depends_on: [db], restart: {type: temporary}}
  web: {depends_on: [db]}
`)
	n.up()
	n.kill("db", syscall.SIGKILL)
	n.await("service.ready", "web", 2)
	n.checkStates("db running 2", "job stopped 1", "web running 2")
	n.do("start", "job")
	n.checkStates("db running 2", "job running 2", "web running 2")
	n.stop()
}
