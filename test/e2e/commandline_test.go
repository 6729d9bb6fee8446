package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// detached has the node be ended when the test is, whoever started it.
func (n *node) detached() {
	n.t.Cleanup(func() { n.cli("shutdown", "--now", "--socket", n.socket) })
}

func TestRunDetachedReturnsOnceAllAreHealthy(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  base: {command: [@self, wait=300ms, notify=READY=1], health_check: {type: notify}}
  above: {command: [@self, print=up], depends_on: [base]}
`)
	n.detached()
	_, stderr, code := n.cli("run", "--detach")
	if code != 0 || !strings.Contains(stderr, "runs in the background") {
		t.Fatalf("run --detach exits with %d and says %q", code, stderr)
	}
	if diff := cmp.Diff([]string{"base running 1", "above running 1"}, n.states()); diff != "" {
		t.Errorf("the services: -want +got\n%s", diff)
	}
	if _, stderr, code := n.cli("run", "--detach"); code != 1 || !strings.Contains(stderr, "another bhnode") {
		t.Errorf("a second one exits with %d and says %q, want 1 and why", code, stderr)
	}
	daemon := n.watchDaemon()
	n.do("shutdown")
	daemon.awaitEnd()
}

// What services print has bounds in their logs; a second place for it would have none.
func TestRunDetachedPrintsItsStartOnly(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  early: {command: [@self, print=before, wait=300ms, notify=READY=1], health_check: {type: notify}}
  loud: {command: [sh, -c, "while sleep 0.02; do i=$((i+1)); echo later $i; done"], depends_on: [early]}
`)
	n.detached()
	if _, stderr, code := n.cli("run", "--detach"); code != 0 {
		t.Fatalf("run --detach exits with %d and says %q", code, stderr)
	}
	n.do("restart", "--only", "early")
	n.awaitLine("loud", "later 30")
	start := n.read("logs/bhnode.out")
	for _, text := range []string{"Starting 2 services", "before", "All 2 services healthy"} {
		if !strings.Contains(start, text) {
			t.Errorf("bhnode.out does not say %q:\n%s", text, start)
		}
	}
	_, later, _ := strings.Cut(start, "All 2 services healthy")
	if _, later, _ = strings.Cut(later, "\n"); later != "" {
		t.Errorf("after the start bhnode.out says %q", later)
	}
	n.do("upgrade", "--binary", binary)
	n.do("restart", "--only", "early")
	n.awaitLine("loud", "later 60")
	_, heir, ok := strings.Cut(n.read("logs/bhnode.out"), "Going on with 2 services")
	if !ok || strings.Contains(heir, "later") || strings.Contains(heir, "restart") {
		t.Errorf("after the upgrade bhnode.out says %q", heir)
	}
	daemon := n.watchDaemon()
	n.do("shutdown")
	daemon.awaitEnd()
}

func TestRunDetachedThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	n := newNode(t, `services: {bad: {command: [@self, complain=the disk is gone, exit=1], health_check: {type: notify}, restart: {max_restarts: 0}}}`)
	n.detached()
	_, stderr, code := n.cli("run", "--detach")
	if code != 1 {
		t.Errorf("it exits with %d, want 1", code)
	}
	for _, text := range []string{"error: ", "bad could not be started", "the disk is gone", "hint: "} {
		if !strings.Contains(stderr, text) {
			t.Errorf("it does not say %q:\n%s", text, stderr)
		}
	}
	n.configure(`services: {bad: {comand: [@self]}}`)
	if _, stderr, code := n.cli("run", "--detach"); code != 2 || !strings.Contains(stderr, "did you mean \"command\"?") {
		t.Errorf("with a broken configuration it exits with %d and says\n%s", code, stderr)
	}
}

func TestStartAllStartsANodeWhereNoneRuns(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  a: {command: [@self]}
  b: {command: [@self], depends_on: [a]}
`)
	n.detached()
	if _, _, code := n.cli("start", "a"); code != 3 {
		t.Errorf("start of one service without a node exits with %d, want 3", code)
	}
	n.do("start", "--all")
	if diff := cmp.Diff([]string{"a running 1", "b running 1"}, n.states()); diff != "" {
		t.Errorf("the services: -want +got\n%s", diff)
	}
	n.do("start", "--all")
	if diff := cmp.Diff([]string{"a running 1", "b running 1"}, n.states()); diff != "" {
		t.Errorf("the services after another: -want +got\n%s", diff)
	}
	daemon := n.watchDaemon()
	n.do("shutdown")
	daemon.awaitEnd()
}

func TestShutdownEndsTheNodeInOrderAndHoldsNothing(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  base: {command: [@self]}
  above: {command: [@self], depends_on: [base]}
`)
	n.up()
	n.do("shutdown")
	if code := n.wait(); code != 0 {
		t.Errorf("bhnode exits with %d, want 0", code)
	}
	if diff := cmp.Diff([]string{"above", "base"}, names(n.log.all(), "service.stopped")); diff != "" {
		t.Errorf("the order of the stop: -want +got\n%s", diff)
	}
	n.up()
	if diff := cmp.Diff([]string{"base running 2", "above running 2"}, n.states()); diff != "" {
		t.Errorf("the next run: -want +got\n%s", diff)
	}
	n.stop()
}

func TestShutdownNowWaitsForNobody(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {health_check: {type: notify}, shutdown: {timeout: infinity}}
services:
  base: {command: [@self, ignore, notify=READY=1]}
  above: {command: [@self, ignore, "orphan=ignore,notify=READY=1"], depends_on: [base]}
`)
	n.up()
	if _, stderr, code := n.cli("shutdown", "--timeout", "200ms"); code != 1 || !strings.Contains(stderr, "goes on") {
		t.Errorf("a shutdown that takes too long exits with %d and says %q", code, stderr)
	}
	n.do("shutdown", "--now")
	n.wait()
	for _, e := range n.events(func(e event) bool { return e.Type == "service.stopped" }) {
		if e.attr("signal") != "SIGKILL" {
			t.Errorf("it ended as %v, want SIGKILL", e)
		}
	}
}

func TestSignalReachesTheMainProcessAndIsNoOrderToStop(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it: {command: [@self, report=10, print=reports], health_check: {type: log, target: reports}, restart: {initial_delay: 0}}
`)
	n.up()
	n.do("signal", "it", "USR1")
	n.awaitLine("it", "got user defined signal 1")
	before := n.now()
	n.do("signal", "it", "SIGKILL")
	end := n.awaitAfter(before, "service.exited", "it", 1)
	if end.attr("signal") != "SIGKILL" || end.attr("reason") != "signal" {
		t.Errorf("it ended as %v, want a crash by SIGKILL", end)
	}
	n.awaitAfter(before, "service.ready", "it", 2)
	for _, tc := range []struct {
		args []string
		code int
	}{
		{[]string{"signal", "nosuch", "HUP"}, 4},
		{[]string{"signal", "it", "NOSUCH"}, 2},
		{[]string{"signal", "it"}, 2},
	} {
		if _, _, code := n.cli(tc.args...); code != tc.code {
			t.Errorf("bhnode %v exits with %d, want %d", tc.args, code, tc.code)
		}
	}
	n.do("stop", "it")
	if _, stderr, code := n.cli("signal", "it", "HUP"); code != 1 {
		t.Errorf("a signal to what does not run exits with %d and says %q, want 1", code, stderr)
	}
	n.stop()
}

func TestExitCodesSayWhatHappened(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  well: {command: [@self]}
  ill: {command: [@self], health_check: {type: exec, target: [test, "!", -e, @dir/sick], interval: 20ms, retries: 1, on_unhealthy: report}}
  slow: {command: [@self, slow=2s, notify=READY=1], health_check: {type: notify}}
`)
	expect := func(want int, args ...string) {
		t.Helper()
		if out, stderr, code := n.cli(args...); code != want {
			t.Errorf("bhnode %s exits with %d, want %d\n%s%s", strings.Join(args, " "), code, want, out, stderr)
		} else if want != 0 && !strings.Contains(stderr, "error: ") {
			t.Errorf("bhnode %s does not say why it fails:\n%s", strings.Join(args, " "), stderr)
		}
	}
	for _, args := range [][]string{
		{"status"},
		{"health"},
		{"tree"},
		{"logs"},
		{"events"},
		{"stop", "well"},
		{"restart", "well"},
		{"pause", "root"},
		{"resume", "root"},
		{"signal", "well", "HUP"},
		{"shutdown"},
	} {
		expect(3, args...)
	}
	n.up()
	for want, commands := range map[int][][]string{
		0: {{"status"}, {"status", "well"}, {"health"}, {"tree"}, {"logs"}, {"events"}, {"version"}, {"config", "validate"}, {"config", "show"}, {"--help"}},
		2: {
			{"nosuch"},
			{"status", "--nosuch"},
			{"status", "-o", "xml"},
			{"stop"},
			{"start", "--all", "well"},
			{"signal", "well"},
			{"restart"},
			{"logs", "-n", "x"},
		},
		4: {
			{"status", "nosuch"},
			{"health", "nosuch"},
			{"logs", "nosuch"},
			{"stop", "nosuch"},
			{"start", "nosuch"},
			{"restart", "nosuch"},
			{"pause", "nosuch"},
			{"resume", "nosuch"},
			{"signal", "nosuch", "HUP"},
		},
	} {
		for _, args := range commands {
			expect(want, args...)
		}
	}
	expect(1, "restart", "slow", "--timeout", "100ms")
	n.write("sick", "")
	n.await("service.unhealthy", "ill", 0)
	expect(1, "health")
	expect(1, "health", "ill")
	expect(0, "health", "well")
	expect(3, "status", "--socket", n.path("no.sock"))
	n.write("broken.yaml", "services: {a: {command: []}}\n")
	expect(2, "status", "--config", n.path("broken.yaml"), "-o", "xml")
	n.stop()
	n.configure("services: {a: {command: [@self], depends_on: [b]}, b: {command: [@self], depends_on: [a]}}")
	expect(2, "run")
	expect(2, "config", "validate")
}

func TestTwoBhnodesNeverRunOnOneRuntimeDirectory(t *testing.T) {
	t.Parallel()
	n := newNode(t, `services: {it: {command: [@self, "note=@dir/lives:one"]}}`)
	n.up()
	other := newNode(t, `services: {other: {command: [@self]}}`)
	other.configure(`services: {other: {command: [@self]}}`, "runtime_dir: "+n.rundir)
	other.run()
	if code := other.wait(); code != 1 || !strings.Contains(other.stderr.String(), "another bhnode (pid ") {
		t.Errorf("the second one exits with %d and says\n%s", code, other.stderr)
	}
	if diff := cmp.Diff([]string{"it running 1"}, n.states()); diff != "" {
		t.Errorf("the services of the first: -want +got\n%s", diff)
	}
	n.stop()
	if got := n.read("lives"); got != "one\n" {
		t.Errorf("the service was started %d times, want once", strings.Count(got, "one"))
	}
}

// seed is the configuration that the issue gives, with directories of ours.
const seed = `
services:
  identity:
    enabled: true
    data_dir: @dir/lib/identity
    log_level: info
    unix_socket: @dir/sockets/identity.sock
    tcp_port: @port
    resources: {cpu_percent: 200, memory_mb: 1024, io_weight: 500, open_files: 10000, processes: 100}
    health_check: {interval: 5s, timeout: 3s, retries: 3}
    restart: {max_restarts: 5, initial_delay: 1s, max_delay: 5m, backoff_factor: 2.0, restart_window: 1h}
    config: {database_url: "postgres://user:pa55@localhost/identity", jwt_secret: "${JWT_SECRET}", cache_size: 256MB}
`

func TestTheSeedConfigurationRunsAndKeepsItsSecret(t *testing.T) {
	t.Parallel()
	n := newNode(t, strings.ReplaceAll(seed, "@port", freePort(t)))
	if _, stderr, code := n.cli("run"); code != 2 || !strings.Contains(stderr, "${JWT_SECRET} is not set") {
		t.Errorf("without its variable it exits with %d and says\n%s", code, stderr)
	}
	n.env = []string{"JWT_SECRET=s3cr3t-of-jwt"}
	n.up()
	if got := n.service("identity"); got.State != "running" || got.Health != "healthy" || got.UnixSocket != n.path("sockets/identity.sock") {
		t.Errorf("identity is %+v", got)
	}
	shown := n.do("config", "show")
	if !strings.Contains(shown, "jwt_secret: \"***\"") && !strings.Contains(shown, "jwt_secret: '***'") && !strings.Contains(shown, "jwt_secret: ***") {
		t.Errorf("config show does not mask the secret:\n%s", shown)
	}
	for _, args := range [][]string{
		{"config", "show"}, {"config", "show", "-o", "json"}, {"status", "identity"}, {"status", "-o", "json"}, {"tree", "-o", "json"}, {"events", "-o", "json"}, {"logs"},
	} {
		out := n.do(args...)
		for _, secret := range []string{"s3cr3t-of-jwt", "pa55"} {
			if strings.Contains(out, secret) {
				t.Errorf("bhnode %s shows a secret:\n%s", strings.Join(args, " "), out)
			}
		}
	}
	rendered, err := os.ReadFile(n.path("run/svc/identity/config.yaml"))
	if err != nil || !strings.Contains(string(rendered), "s3cr3t-of-jwt") {
		t.Errorf("the service was given %q, %v", rendered, err)
	}
	limits := n.do("status", "identity")
	for _, limit := range []string{"cpu_percent 200", "memory_mb 1024", "io_weight 500", "open_files 10000", "processes 100"} {
		if !strings.Contains(limits, limit) {
			t.Errorf("status does not say what becomes of %s:\n%s", limit, limits)
		}
	}
	n.stop()
}

func TestACommandLineIsShownWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it:
    command: [sh, -c, 'echo "$@" > @dir/given; exec sleep 1000', sh, "${E2E_WORD}", --password, hush1, --api-token=hush2, postgres://me:hush3@db/x]
    env: {API_KEY: hush4}
`)
	n.env = []string{"E2E_WORD=hush0"}
	n.up()
	if got, want := n.read("given"), "hush0 --password hush1 --api-token=hush2 postgres://me:hush3@db/x\n"; got != want {
		t.Errorf("it was given %q, want %q", got, want)
	}
	for _, args := range [][]string{{"status", "it"}, {"config", "show"}, {"status", "-o", "json"}, {"events", "-o", "json"}} {
		if out := n.do(args...); strings.Contains(out, "hush") {
			t.Errorf("bhnode %v shows a secret:\n%s", args, out)
		}
	}
	n.stop()
}
