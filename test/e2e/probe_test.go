package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// probes are services with a health check each, that are well unless @dir/sick is there.
var probes = map[string]string{
	"grpc on a socket": `
    command: [@self, grpc=@dir/sick]
    unix_socket: @dir/it.sock
    health_check: {interval: 50ms, timeout: 5s, retries: 2`,
	"grpc on a port": `
    command: [@self, grpc=@dir/sick]
    tcp_port: @port
    health_check: {type: grpc, interval: 50ms, timeout: 5s, retries: 2`,
	"http": `
    command: [@self, http=@dir/sick]
    tcp_port: @port
    health_check: {type: http, target: "http://127.0.0.1:${BLACKHOLE_PORT}/health", interval: 50ms, timeout: 5s, retries: 2`,
	"tcp on a socket": `
    command: [@self, tcp-until=@dir/sick]
    unix_socket: @dir/it.sock
    health_check: {type: tcp, interval: 50ms, timeout: 5s, retries: 2`,
	"tcp on a port": `
    command: [@self, tcp-until=@dir/sick]
    tcp_port: @port
    health_check: {type: tcp, target: "localhost:${BLACKHOLE_PORT}", interval: 50ms, timeout: 5s, retries: 2`,
	"exec": `
    command: [@self]
    env: {SICK: @dir/sick}
    health_check: {type: exec, target: [sh, -c, 'test ! -e "$SICK" && test "$1" = probed', sh, "${BLACKHOLE_SERVICE}"], interval: 50ms, timeout: 5s, retries: 2`,
}

// newProbed is a node with one of probes, whose check has further keys.
func newProbed(t *testing.T, service, keys string) *node {
	t.Helper()
	return newNode(t, `
services:
  probed:`+strings.ReplaceAll(service, "@port", freePort(t))+keys+`}
    restart: {initial_delay: 0, max_restarts: 1000}
  above: {command: [@self], depends_on: [probed]}
  beside: {command: [@self]}
`)
}

func TestAServiceThatBecomesUnhealthyIsRestartedWithWhatNeedsIt(t *testing.T) {
	t.Parallel()
	for name, service := range probes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newProbed(t, service, "")
			n.up()
			before := n.now()
			n.write("sick", "")
			n.awaitAfter(before, "service.unhealthy", "probed", 1)
			end := n.awaitAfter(before, "service.exited", "probed", 1)
			if end.attr("reason") != "probe" {
				t.Errorf("it ended as %v, want reason probe", end)
			}
			if err := os.Remove(n.path("sick")); err != nil {
				t.Fatal(err)
			}
			back := n.awaitAfter(before, "service.ready", "probed", 0)
			n.awaitAfter(back, "service.ready", "above", 0)
			if back.Incarnation < 2 {
				t.Errorf("it became ready as incarnation %d, want a new one", back.Incarnation)
			}
			if got := n.count("service.starting", "beside"); got != 1 {
				t.Errorf("what does not need it was started %d times, want once", got)
			}
			n.stop()
		})
	}
}

func TestAnUnhealthyServiceIsOnlyReportedWhereThatIsWanted(t *testing.T) {
	t.Parallel()
	for name, service := range probes {
		if strings.HasPrefix(name, "tcp") {
			continue // its listener does not come back
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newProbed(t, service, ", on_unhealthy: report")
			n.up()
			n.write("sick", "")
			n.await("service.unhealthy", "probed", 1)
			s := n.service("probed")
			if s.State != "unhealthy" || s.Health != "unhealthy" || s.HealthDetail.LastError == "" || s.HealthDetail.Failures < 2 {
				t.Errorf("status says %+v, want unhealthy with the error", s)
			}
			if _, _, code := n.cli("health"); code != 1 {
				t.Errorf("health exits with %d, want 1", code)
			}
			if err := os.Remove(n.path("sick")); err != nil {
				t.Fatal(err)
			}
			n.await("service.healthy", "probed", 1)
			n.do("health")
			n.stop()
			for _, who := range []string{"probed", "above", "beside"} {
				if got := n.count("service.starting", who); got != 1 {
					t.Errorf("%s was started %d times, want once", who, got)
				}
			}
		})
	}
}

func TestDependentsWaitUntilAServiceSaysThatItIsReady(t *testing.T) {
	t.Parallel()
	for name, service := range map[string]string{
		"notify": `
    command: [@self, "notify=STATUS=warming up", until=@dir/warm, notify=READY=1]
    health_check: {type: notify}`,
		"notify from a child": `
    command: [@self, "child=until=@dir/warm,notify=READY=1"]
    health_check: {type: notify}`,
		"log": `
    command: [@self, print=not yet listening, until=@dir/warm, complain=now listening on 7]
    health_check: {type: log, target: "^now listening on [0-9]+$"}`,
		"exec": `
    command: [@self]
    health_check: {type: exec, target: [test, -e, @dir/warm], start_interval: 20ms}`,
		"socket": `
    command: [@self, until=@dir/warm, tcp]
    unix_socket: @dir/late.sock
    health_check: {type: tcp, start_interval: 20ms}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, `
services:
  warming:`+service+`
    restart: {initial_delay: 0}
  above: {command: [@self], depends_on: [warming]}
  early: {command: [@self], depends_on: {warming: {condition: started}}}
`)
			n.run()
			n.await("service.ready", "early", 1)
			if got := n.states(); got[0] != "warming starting 1" || got[1] != "above waiting 0" {
				t.Errorf("before it is ready they are %v", got)
			}
			n.write("warm", "")
			n.await("node.ready", "", 0)
			n.await("service.ready", "above", 1)
			ready, starting := n.of("service.ready", "warming")[0], n.of("service.starting", "above")[0]
			if starting.Seq < ready.Seq || starting.Cause != ready.Seq {
				t.Errorf("its dependent started as %v, want because of %v", starting, ready)
			}
			before := n.kill("warming", syscall.SIGKILL)
			n.awaitAfter(before, "service.ready", "above", 2)
			n.stop()
		})
	}
}

func TestACheckThatNobodyAnswersFailsTheStart(t *testing.T) {
	t.Parallel()
	for name, check := range map[string]string{
		"grpc": "type: grpc",
		"http": `type: http, target: "http://127.0.0.1:${BLACKHOLE_PORT}/"`,
		"exec": `type: exec, target: [@self, ignore]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, `
services:
  silent:
    command: [@self, own]
    tcp_port: `+freePort(t)+`
    health_check: {`+check+`, timeout: 100ms, start_interval: 20ms, start_period: 500ms}
    restart: {max_restarts: 0}
`)
			n.failsToBoot("silent could not be started", "not healthy within 500ms", "100ms")
			if left := n.processes(); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

func TestAServiceWithoutACheckMustOutliveItsStart(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  short: {command: [sh, -c, 'echo life >> @dir/lives; test "$(wc -l < @dir/lives)" -gt 2 && exec sleep 1000'], restart: {initial_delay: 0}}
  above: {command: [@self], depends_on: [short]}
`)
	n.up()
	if diff := cmp.Diff([]string{"short running 3", "above running 1"}, n.states()); diff != "" {
		t.Errorf("the services: -want +got\n%s", diff)
	}
	if got := n.count("service.ready", "short"); got != 1 {
		t.Errorf("it was ready %d times, want once", got)
	}
	n.stop()
}
