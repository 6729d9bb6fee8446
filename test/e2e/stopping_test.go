package e2e

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAServiceThatIgnoresTERMIsKilledAfterItsTimeoutAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  deaf: {command: [@self, ignore, notify=READY=1], health_check: {type: notify}, shutdown: {timeout: 2s}}
  polite: {command: [@self, notify=READY=1], health_check: {type: notify}}
  base: {command: [@self]}
  above: {command: [@self], depends_on: [base]}
`)
	n.up()
	before := n.now()
	n.stop()
	stopped := names(n.since(before), "service.stopped")
	if len(stopped) != 4 || stopped[3] != "deaf" {
		t.Errorf("they stopped as %v, want the deaf one last", stopped)
	}
	ordered, gone := n.of("service.stopping", "deaf")[0], n.of("service.stopped", "deaf")[0]
	if gone.attr("signal") != "SIGKILL" || gone.Time.Sub(ordered.Time) < 2*time.Second {
		t.Errorf("it ended as %v after %v, want SIGKILL after 2s at the earliest", gone, gone.Time.Sub(ordered.Time))
	}
	if got := n.of("service.stopped", "polite")[0]; got.attr("code") != "0" {
		t.Errorf("the polite one ended as %v, want code 0", got)
	}
}

func TestAStopSaysWhatItWaitsForAndHowLong(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  deaf: {command: [@self, ignore, notify=READY=1], health_check: {type: notify}, shutdown: {timeout: 3s}}
  base: {command: [@self, wait=400ms, print=later]}
`)
	n.up()
	n.awaitLine("base", "later") // until when nothing has been drawn for long
	n.stop()
	if said := n.stderr.String(); !regexp.MustCompile(`(?m)^waiting for deaf \(SIGKILL in [123]s\)$`).MatchString(said) || strings.Count(said, "waiting for") > 2 {
		t.Errorf("it says:\n%s", said)
	}
}

func TestServicesThatIgnoreTERMAreKilledSideBySide(t *testing.T) {
	t.Parallel()
	const grace, many = 2 * time.Second, 8
	services := "services:\n"
	for i := range many {
		services += fmt.Sprintf("  deaf%d: {command: [@self, ignore, notify=READY=1], health_check: {type: notify}, shutdown: {timeout: %v}}\n", i, grace)
	}
	n := newNode(t, services)
	n.up()
	before := n.now()
	n.stop()
	events := n.since(before)
	took := events[len(events)-1].Time.Sub(events[0].Time)
	if took < grace || took > many/2*grace {
		t.Errorf("the stop of %d took %v, want about %v", many, took, grace)
	}
}

func TestHowAServiceIsAskedToStopIsItsOwnChoice(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {health_check: {type: notify}}
services:
  int: {command: [@self, notify=READY=1], shutdown: {signal: SIGINT}}
  brutal: {command: [@self, notify=READY=1], shutdown: {timeout: brutal_kill}}
  patient: {command: [@self, slow=2s, notify=READY=1], shutdown: {timeout: infinity}}
  hasty: {command: [@self, slow=1h, notify=READY=1], shutdown: {timeout: 1s}}
`)
	n.up()
	n.stop()
	got := map[string]string{}
	for _, e := range n.events(func(e event) bool { return e.Type == "service.stopped" }) {
		got[e.Service] = e.attr("code") + e.attr("signal")
	}
	want := map[string]string{"int": "SIGINT", "brutal": "SIGKILL", "patient": "0", "hasty": "SIGKILL"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("how they ended: -want +got\n%s", diff)
	}
}

// families are the ways in which a service leaves somebody behind who holds its pipes
// and pays no heed to SIGTERM.
var families = map[string]string{
	"child in its group":           "child=ignore",
	"child in a session":           "session=ignore",
	"orphan in a session":          "orphan=ignore",
	"child of a child":             "child=child=ignore",
	"nobody who carries our marks": "bare=ignore",
}

func TestNothingOfAServiceOutlivesItsStopItsCrashOrItsRestart(t *testing.T) {
	t.Parallel()
	for name, step := range families {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, `
services:
  parent:
    command: [@self, "`+step+`,pid=@dir/child", until=@dir/child]
    shutdown: {timeout: 500ms}
    restart: {initial_delay: 0}
    hooks: {pre_start: [rm, -f, @dir/child]}
    health_check: {type: exec, target: [test, -e, @dir/child], start_interval: 20ms}
`)
			n.up()
			first := n.childPid()
			before := n.kill("parent", syscall.SIGKILL)
			n.awaitAfter(before, "service.ready", "parent", 2)
			second := n.childPid()
			expectGone(t, first)
			n.do("restart", "parent")
			third := n.childPid()
			expectGone(t, second)
			n.do("stop", "parent")
			expectGone(t, third)
			if left := n.processes(); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
			if first == second || second == third {
				t.Errorf("the children were %d, %d, %d: one lived on", first, second, third)
			}
			n.stop()
		})
	}
}

// childPid is the process that the newest life of the service has left behind.
func (n *node) childPid() int {
	n.t.Helper()
	pid, err := strconv.Atoi(n.read("child"))
	if err != nil {
		n.t.Fatal(err)
	}
	return pid
}

// expectGone asserts that a process has ended; a zombie has.
func expectGone(t *testing.T, pid int) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("process %d is alive", pid)
	}
}

func TestAPortIsFreeWhenStopReturns(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	n := newNode(t, `
services:
  web:
    command: [@self, "session=ignore,tcp,pid=@dir/child", until=@dir/child]
    tcp_port: `+port+`
    health_check: {type: tcp, start_interval: 20ms}
    shutdown: {timeout: 300ms}
`)
	n.up()
	n.do("stop", "web")
	lis, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	n.do("start", "web")
	n.do("restart", "web")
	n.stop()
}

// freePort is a port on which nobody listens. Somebody else may take it.
func freePort(t *testing.T) string {
	t.Helper()
	_, port, err := net.SplitHostPort(freeAddress(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}
