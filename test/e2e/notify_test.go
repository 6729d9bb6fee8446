package e2e

import (
	"strings"
	"syscall"
	"testing"
)

func TestCommandsAreToldOfEvents(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
notify:
  - command: [sh, -c, 'echo "$BHNODE_EVENT_TYPE $BHNODE_EVENT_NAME $BHNODE_EVENT_MESSAGE" >> @dir/told']
    on: [service.exited, node.stopped]
  - {command: [@self, ignore, "session=ignore"], on: [node.ready], timeout: 200ms}
services:
  db: {command: [@self], restart: {initial_delay: 0}}
`)
	n.up()
	n.kill("db", syscall.SIGKILL)
	n.eventually("it is told", func() bool { return strings.Contains(n.read("told"), "service.exited db SIGKILL\n") })
	n.eventually("what does not end is killed, and so is said", func() bool {
		return strings.Contains(n.read("logs/bhnode.log"), "event could not be told")
	})
	n.stop()
	if got := n.read("told"); !strings.HasSuffix(got, "node.stopped  ordered to stop\n") {
		t.Errorf("told %q", got)
	}
}
