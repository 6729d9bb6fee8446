package e2e

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// of are the events of a type about one service, or supervisor, in order.
func (n *node) of(kind, who string) []event {
	return n.events(func(e event) bool { return e.Type == kind && e.Service+e.Supervisor == who })
}

// attrs are the values that a detail had in events.
func attrs(events []event, name string) []string {
	var out []string
	for _, e := range events {
		out = append(out, e.attr(name))
	}
	return out
}

// failsToBoot runs the node to its end, which must be that of a failed boot and say
// those texts.
func (n *node) failsToBoot(says ...string) {
	n.t.Helper()
	n.run()
	if code := n.wait(); code != 1 {
		n.t.Fatalf("got exit code %d, want 1\n%s", code, n.story())
	}
	for _, text := range append([]string{"error: ", "hint: "}, says...) {
		if !strings.Contains(n.stderr.String(), text) {
			n.t.Errorf("bhnode does not say %q\n%s", text, n.stderr)
		}
	}
}

func TestAServiceThatNeverBecomesHealthyIsTriedAgainUntilTheBootFails(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  base: {command: [@self]}
  mute:
    command: [@self, print=nobody hears me]
    unix_socket: @dir/mute.sock
    health_check: {type: tcp, start_period: 300ms, start_interval: 50ms}
    restart: {max_restarts: 2, initial_delay: 0}
    depends_on: [base]
`)
	n.failsToBoot("mute could not be started", "not healthy within 300ms", "\n  nobody hears me")
	exits := n.of("service.exited", "mute")
	if diff := cmp.Diff([]string{"start_timeout", "start_timeout", "start_timeout"}, attrs(exits, "reason")); diff != "" {
		t.Errorf("why mute ended: -want +got\n%s", diff)
	}
	if got := n.count("service.failed", "mute"); got != 1 {
		t.Errorf("got %d times failed, want once", got)
	}
	if got := n.count("service.stopped", "base"); got != 1 {
		t.Errorf("what had been started was stopped %d times, want once", got)
	}
}

func TestAServiceThatExitsAtOnceIsTriedAgainUntilTheBootFails(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  quitter:
    command: [@self, complain=no such table, exit=3]
    health_check: {type: notify}
    restart: {max_restarts: 3, initial_delay: 0}
  after: {command: [@self], depends_on: [quitter]}
`)
	n.failsToBoot("quitter could not be started", "\n  no such table")
	exits := n.of("service.exited", "quitter")
	if diff := cmp.Diff([]string{"3", "3", "3", "3"}, attrs(exits, "code")); diff != "" {
		t.Errorf("how quitter ended: -want +got\n%s", diff)
	}
	if got := n.of("service.starting", "after"); len(got) != 0 {
		t.Errorf("its dependent was started: %v", got)
	}
}

func TestWhatNoRetryCanMendFailsTheBootAtOnce(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ service, says string }{
		"missing binary":      {"command: [@dir/no-such-program]", "no such file"},
		"unknown program":     {"command: [no-such-program-anywhere]", "no-such-program-anywhere"},
		"not executable":      {"command: [@dir/script]", "permission denied"},
		"no program":          {"command: [@dir/text]", "exec format error"},
		"missing interpreter": {"command: [@dir/odd]", "no such file"},
		"bad working_dir":     {"command: [@self], working_dir: @dir/nowhere", "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, "services: {bad: {"+tc.service+"}}")
			n.write("script", "#!/bin/sh\n")
			for file, text := range map[string]string{"text": "neither script nor program", "odd": "#!/no/such/interpreter\n"} {
				if err := os.WriteFile(n.path(file), []byte(text), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			n.failsToBoot("bad could not be started", tc.says)
			if got := n.count("service.starting", "bad"); got != 1 {
				t.Errorf("it was started %d times, want once", got)
			}
			failed := n.of("service.failed", "bad")
			if diff := cmp.Diff([]string{"spawn_error"}, attrs(failed, "reason")); diff != "" {
				t.Errorf("why it failed: -want +got\n%s", diff)
			}
		})
	}
}

func TestAFailingPreStartIsAFailedStart(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  hooked:
    command: [@self, note=@dir/started:main]
    hooks:
      pre_start: [[@self, note=@dir/hooks:first, exit=0], [@self, complain=migration 7 is broken, exit=4], [@self, note=@dir/hooks:third, exit=0]]
      post_stop: [@self, note=@dir/hooks:post, exit=0]
    restart: {max_restarts: 1, initial_delay: 0}
`)
	n.failsToBoot("hooked could not be started", "pre_start", "migration 7 is broken")
	if diff := cmp.Diff([]string{"pre_start", "pre_start"}, attrs(n.of("service.exited", "hooked"), "stage")); diff != "" {
		t.Errorf("the stages of the failed starts: -want +got\n%s", diff)
	}
	if got := n.read("started"); got != "" {
		t.Error("the service was started although its pre_start failed")
	}
	if diff := cmp.Diff("first\npost\nfirst\npost\n", n.read("hooks")); diff != "" {
		t.Errorf("the hooks that ran: -want +got\n%s", diff)
	}
}

func TestAPreStartThatHangsIsKilledWithAllItStarted(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  hooked:
    command: [@self]
    hooks: {pre_start: [@self, ignore, orphan=ignore], timeout: 500ms}
    restart: {max_restarts: 0}
`)
	n.failsToBoot("hooked could not be started", "not over in time")
	if left := n.processes(); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

func TestPostStopIsToldHowTheServiceEnded(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  ends:
    command: [@self, fail-first=1:@dir/lives, notify=READY=1]
    health_check: {type: notify}
    hooks: {post_stop: [sh, -c, 'echo "$BHNODE_REASON code=$BHNODE_EXIT_CODE signal=$BHNODE_SIGNAL of $BLACKHOLE_SERVICE" >> @dir/ends']}
    restart: {initial_delay: 0}
`)
	n.up()
	before := n.kill("ends", 9)
	n.awaitAfter(before, "service.ready", "ends", 0)
	n.do("stop", "ends")
	want := []string{
		"exit code=1 signal= of ends",
		"signal code= signal=SIGKILL of ends",
		"held code=0 signal= of ends",
	}
	if diff := cmp.Diff(want, strings.Split(strings.TrimSpace(n.read("ends")), "\n")); diff != "" {
		t.Errorf("what post_stop was told: -want +got\n%s", diff)
	}
}

func TestSIGTERMEndsAPreStartThatRuns(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  first: {command: [@self]}
  hooked: {command: [@self], hooks: {pre_start: [@self, ignore, "note=@dir/hook:runs", orphan=ignore], timeout: 1h}, depends_on: [first]}
  never: {command: [@self], depends_on: [hooked]}
`)
	n.run()
	n.await("service.starting", "hooked", 0)
	n.stop()
	if got := n.of("service.started", "hooked"); len(got) > 0 {
		t.Errorf("the service was started after the order to stop: %v", got)
	}
	if got := n.of("service.starting", "never"); len(got) > 0 {
		t.Errorf("its dependent was started: %v", got)
	}
}
