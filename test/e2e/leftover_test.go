package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkLeftovers starts the node anew after a kill -9 of bhnode and asserts that what
// it left was stopped before anything was started.
func (n *node) checkLeftovers(old []process) {
	n.t.Helper()
	if len(old) == 0 {
		n.t.Fatal("nothing was left to be found")
	}
	var ends []watched
	for _, p := range old {
		ends = append(ends, watch(n.t, p.pid))
	}
	n.up()
	for _, w := range ends {
		w.awaitEnd()
	}
	for _, p := range old {
		if !strings.Contains(n.stderr.String(), strconv.Itoa(p.pid)) {
			n.t.Errorf("run does not name %v among what was left over:\n%s", p, n.stderr)
		}
	}
}

// Where nothing says what a dead bhnode had decided, what it left is not taken over.
func TestWhatADeadBhnodeLeftIsStoppedBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string][]string{
		"recorded":           {"run/state/base.*"},
		"without its record": {"run/state/base.*", "run/state/records"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, `
services:
  web:
    command: [@self, "note=@dir/order:web", "orphan=ignore", "session=wait=1h", bind]
    tcp_port: `+freePort(t)+`
    unix_socket: @dir/run/svc/web/web.sock
    health_check: {type: tcp}
    restart: {max_restarts: 0}
    shutdown: {timeout: 300ms}
  deaf:
    command: [@self, ignore, "child=ignore,notify=READY=1"]
    health_check: {type: notify}
    shutdown: {timeout: 300ms}
    depends_on: [web]
`)
			n.up()
			old := n.processes()
			if len(old) != 5 {
				t.Fatalf("got %v, want five processes", old)
			}
			n.kill9()
			before := n.now()
			for _, pattern := range lose {
				n.lose(pattern)
			}
			n.checkLeftovers(old)
			// With its port or its socket still taken, or one that is stale, web would have failed.
			if diff := cmp.Diff([]string{"web", "deaf"}, names(n.since(before), "service.ready")); diff != "" {
				t.Errorf("the services that are ready again: -want +got\n%s", diff)
			}
			n.do("stop", "--all")
			if err := os.Remove(n.path("run/svc/web/web.sock")); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			n.stop()
		})
	}
}

func TestAStaleSocketOfACrashedServiceIsNoObstacle(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it: {command: [@self, bind], unix_socket: @dir/it.sock, health_check: {type: tcp, start_interval: 20ms}, restart: {initial_delay: 0, max_restarts: 1}}
`)
	n.up()
	before := n.kill("it", 9)
	n.awaitAfter(before, "service.ready", "it", 2)
	n.kill9()
	n.lose("run/state/base.*") // it is stopped and started anew
	n.up()
	n.stop()
}

func TestASocketThatIsNotOursIsLeftAlone(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it: {command: [@self, bind], unix_socket: @dir/it.sock, health_check: {type: tcp}, restart: {max_restarts: 0}}
`)
	n.write("it.sock", "precious")
	n.failsToBoot("it could not be started")
	if got := n.read("it.sock"); got != "precious" {
		t.Errorf("the file is now %q", got)
	}
}

func TestOnDaemonDeathKillEndsTheMainProcessesAtOnce(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  deaf:
    command: [@self, ignore, "session=ignore,notify=READY=1"]
    health_check: {type: notify}
    shutdown: {timeout: brutal_kill}
`, "on_daemon_death: kill")
	n.up()
	main := watch(t, n.service("deaf").PID)
	n.kill9()
	main.awaitEnd()
	n.up()
	for _, p := range n.processes() {
		if p.id != fmt.Sprintf("%s/deaf/2", n.name) {
			t.Errorf("a process of the earlier life is left: %v", p)
		}
	}
	n.stop()
}

// lose removes files of the node; there must be some.
func (n *node) lose(pattern string) {
	n.t.Helper()
	files, err := filepath.Glob(n.path(pattern))
	if err != nil || len(files) == 0 {
		n.t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			n.t.Fatal(err)
		}
	}
}
