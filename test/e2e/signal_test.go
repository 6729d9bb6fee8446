package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// line is three services, each on the one before.
const line = `
defaults: {command: "@self run", restart: {initial_delay: 10ms}}
services:
  a: {}
  b: {depends_on: [a]}
  c: {depends_on: [b]}
`

func TestSIGTERMStopsInReverseOrderAndExitsWith0(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t, line)
			n.up()
			before := n.now()
			n.signal(sig)
			if code := n.wait(); code != 0 {
				t.Errorf("got exit code %d, want 0", code)
			}
			n.checkBrief(n.since(before), "command stopping stopped exited starting", "command /0", "stopping /0",
				"stopping c/1", "stopped c/1", "stopping b/1", "stopped b/1", "stopping a/1", "stopped a/1", "stopped /0")
			for _, e := range n.since(before) {
				if chain := n.chain(e); chain[len(chain)-1] != "operator.command" {
					t.Errorf("%v is not traced to the signal: %q", e, chain)
				}
			}
		})
	}
}

func TestASecondSIGTERMKillsWhatIsLeft(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  base: {command: "@self run"}
  deaf:
    command: "@self ignore child=ignore,notify=READY=1,run run"
    health_check: {type: notify}
    shutdown: {timeout: infinity}
    depends_on: [base]
`)
	n.up()
	n.signal(syscall.SIGTERM)
	n.await("service.stopping", "deaf", 1)
	if got := len(n.processes()); got != 3 {
		t.Errorf("got %d processes before the second signal, want 3: %v", got, n.processes())
	}
	n.signal(syscall.SIGTERM)
	if code := n.wait(); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	for _, e := range n.log.all() {
		if e.Type == "service.stopped" && e.Service == "deaf" && e.attr("signal") != "SIGKILL" {
			t.Errorf("got %v, want SIGKILL", e)
		}
	}
	n.checkSorted(n.log.all(), "stopped", "stopped /0", "stopped base/1", "stopped deaf/1")
	if got := n.stderr.String(); !strings.Contains(got, "error: killed before the services had stopped in order") {
		t.Errorf("got %q on stderr, want that it was killed", got)
	}
}

func TestSIGHUPWithoutATerminalReloads(t *testing.T) {
	t.Parallel()
	n := newNode(t, line)
	n.up()
	before := n.now()
	n.configure(strings.Replace(line, "services:", "services:\n  d: {command: [@self]}", 1))
	n.signal(syscall.SIGHUP)
	n.await("node.reloaded", "", 0)
	n.checkStates("d running 1", "a running 1", "b running 1", "c running 1")
	n.configure("services: {a: {comand: [@self]}}")
	n.signal(syscall.SIGHUP)
	n.eventually("it is logged", func() bool { return strings.Contains(n.read("logs/bhnode.log"), "nothing was reloaded") })
	n.checkStates("d running 1", "a running 1", "b running 1", "c running 1")
	if got := names(n.since(before), "service.stopped"); len(got) > 0 {
		t.Errorf("SIGHUP stopped %v", got)
	}
	n.stop()
}

// openTerminal makes a terminal: what its user holds, and what a program has.
func openTerminal(t *testing.T) (user, program *os.File) {
	t.Helper()
	user, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	number, err := unix.IoctlGetInt(int(user.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(user.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return user, program
}

func TestAClosedTerminalStopsTheNodeInOrder(t *testing.T) {
	t.Parallel()
	n := newNode(t, line)
	user, program := openTerminal(t)
	n.tty = program
	n.up()
	before := n.now()
	if err := program.Close(); err != nil {
		t.Error(err)
	}
	if err := user.Close(); err != nil {
		t.Error(err)
	}
	if code := n.wait(); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
	n.checkBrief(n.since(before), "stopping stopped exited", "stopping /0",
		"stopping c/1", "stopped c/1", "stopping b/1", "stopped b/1", "stopping a/1", "stopped a/1", "stopped /0")
}

func TestTheNodeOutlivesWhoReadsWhatItPrints(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
defaults: {restart: {initial_delay: 10ms}}
services:
  talker: {command: "@self print=hello run"}
`)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	n.prints = writer
	n.up()
	for _, end := range []*os.File{reader, writer} {
		if err := end.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for inc := range uint64(3) {
		n.kill("talker", syscall.SIGKILL)
		n.await("service.ready", "talker", inc+2)
	}
	n.stop()
}

func TestTheStopOfTheNodeTakesNoLongerThanItsTimeout(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  base: {command: "@self run"}
  deaf:
    command: "@self ignore notify=READY=1 run"
    health_check: {type: notify}
    shutdown: {timeout: infinity}
    depends_on: [base]
`, "shutdown_timeout: 500ms")
	n.up()
	before := n.now()
	n.signal(syscall.SIGTERM)
	n.wait()
	n.checkSorted(n.since(before), "stopped", "stopped /0", "stopped base/1", "stopped deaf/1")
	var ordered event
	for _, e := range n.since(before) {
		if e.Type == "node.stopping" {
			ordered = e
		}
		if e.Service == "deaf" && e.Type == "service.stopped" && (e.attr("signal") != "SIGKILL" || e.Time.Sub(ordered.Time).Milliseconds() < 499) {
			t.Errorf("got %v after %v, want SIGKILL after 500 ms", e, e.Time.Sub(ordered.Time))
		}
	}
}

func TestStopOrderHoldsWhileServicesWaitOrBackOff(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  a: {command: "@self run"}
  b: {command: "@self run", depends_on: [a]}
  late: {command: "@self exit=1", health_check: {type: notify}, depends_on: [b], restart: {initial_delay: 1h, max_delay: 1h}}
  waits: {command: "@self run", depends_on: [late]}
`)
	n.run()
	n.await("service.backoff", "late", 1)
	before := n.now()
	n.stop()
	n.checkBrief(n.since(before), "stopping stopped starting exited", "stopping /0",
		"stopping b/1", "stopped b/1", "stopping a/1", "stopped a/1", "stopped /0")
}
