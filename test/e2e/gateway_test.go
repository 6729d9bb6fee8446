package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tooling builds the example of cluster tooling, once for all tests.
var tooling = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "tooling")
	return path, goTool("build", "-o", path, "github.com/blackhole/bhnode/test/tooling")
})

// actorNode is a node that serves actors, one of which is that of op.example and another
// that of view.example.
type actorNode struct {
	*remoteNode
	actors   string            // where it serves them
	ofTools  map[string]string // where theirs are, by certificate
	prefix   []string          // what runs the tooling, nil: nothing
	services string
}

func newActorNode(t *testing.T, services string) *actorNode {
	t.Helper()
	n := &actorNode{
		remoteNode: newRemoteNode(t, operateOnly), actors: freeAddress(t), services: services,
		ofTools: map[string]string{"op.example": freeAddress(t), "view.example": freeAddress(t)},
	}
	n.serve()
	return n
}

// serve writes the configuration.
func (n *actorNode) serve() {
	n.t.Helper()
	n.configure(fmt.Sprintf(`
control: {listen: %q}
remote: {listen: %q}
tls: {ca: certs/ca.pem, cert: certs/node.pem, key: certs/node.key}
access:
  - {cert: op.example, role: operator, remote_address: %q}
  - {cert: view.example, role: viewer, remote_address: %q}
`, n.address, n.actors, n.ofTools["op.example"], n.ofTools["view.example"]) + n.services)
}

// tool is a command line of the tooling, with a certificate.
func (n *actorNode) tool(ctx context.Context, cert string, args ...string) *exec.Cmd {
	n.t.Helper()
	program, err := tooling()
	if err != nil {
		n.t.Fatal(err)
	}
	line := append(append([]string(nil), n.prefix...), program, "--node", n.actors, "--listen", n.ofTools[cert],
		"--ca", n.path("certs/ca.pem"), "--cert", n.path("certs/"+cert+".pem"), "--key", n.path("certs/"+cert+".key"))
	cmd := exec.CommandContext(ctx, line[0], append(line[1:], args...)...)
	cmd.WaitDelay = time.Second
	return cmd
}

func (n *actorNode) ask(cert string, args ...string) (string, error) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	out, err := n.tool(ctx, cert, args...).CombinedOutput()
	return string(out), err
}

// A second actor system gets the tree, restarts a service and follows the events, as far
// as its role goes, and the node knows who it is.
func TestActorsDoWhatTheirRolesMay(t *testing.T) {
	t.Parallel()
	n := newActorNode(t, remoteServices)
	n.up()
	n.checkStates("db running 1", "web running 1", "gateway running 1")
	for _, cert := range []string{"op.example", "view.example"} {
		if out, err := n.ask(cert, "tree"); err != nil || !strings.Contains(out, `"web"`) {
			t.Errorf("%s, tree: %v\n%s", cert, err, out)
		}
	}
	if out, err := n.ask("view.example", "hello"); err != nil || !strings.Contains(out, `"viewer"`) || !strings.Contains(out, n.name) {
		t.Errorf("hello: %v\n%s", err, out)
	}
	if out, err := n.ask("view.example", "restart", "db"); err == nil || !strings.Contains(out, "certificate view.example is a viewer, and RestartServices takes an operator") {
		t.Errorf("a viewer restarts: %v\n%s", err, out)
	}
	if out, err := n.ask("op.example", "restart", "no-such"); err == nil || !strings.Contains(out, "no-such") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := n.ask("op.example", "restart", "db"); err != nil {
		t.Errorf("an operator restarts: %v\n%s", err, out)
	}
	n.await("service.ready", "web", 2)
	var who []string
	for _, e := range n.onDisk() {
		if e.Type == "operator.command" {
			text, _ := e.Attrs["who"].(string)
			who = append(who, text)
		}
	}
	if len(who) != 2 || !strings.HasPrefix(who[0], "certificate op.example from 127.0.0.1:") { // the one that failed, too
		t.Errorf("commands were given by %q", who)
	}
	n.stop()
}

// killGateway kills it so many times, each time that it is back.
func (n *actorNode) killGateway(times int) {
	n.t.Helper()
	for i := range times {
		n.kill("gateway", syscall.SIGKILL)
		n.await("service.ready", "gateway", uint64(i+2))
	}
}

// follower is a tooling that follows the events.
type follower struct {
	t   *testing.T
	out *output
	end func()
}

func (n *actorNode) follow(cert string) *follower {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{t: n.t, out: &output{}}
	cmd := n.tool(ctx, cert, "events")
	cmd.Stdout, cmd.Stderr = f.out, f.out
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	f.end = func() { cancel(); _ = cmd.Wait() }
	n.t.Cleanup(f.end)
	return f
}

// check finds every event in what was printed, once and in order, and returns how often
// the node went away.
func (f *follower) check(want []event) (away int) {
	f.t.Helper()
	next := uint64(1)
	for line := range strings.SplitSeq(strings.TrimSpace(f.out.String()), "\n") {
		switch seq, err := strconv.ParseUint(strings.Fields(line)[0], 10, 64); {
		case line == "the node went away":
			away++
		case err == nil && seq == next:
			next++
		case err == nil:
			f.t.Errorf("event %d comes where %d should", seq, next)
			next = seq + 1
		}
	}
	if last := want[len(want)-1].Seq; next <= last {
		f.t.Errorf("the last event that comes is %d of %d", next-1, last)
	}
	return away
}

// The gateway may die, the node be upgraded, reloaded or killed: subscribers miss
// nothing, and no service notices what becomes of the gateway.
func TestSubscribersMissNothing(t *testing.T) {
	t.Parallel()
	n := newActorNode(t, remoteServices)
	n.up()
	f := n.follow("op.example")
	f.await("the node is there")
	n.killGateway(3)
	n.do("upgrade", "--binary", n.anotherBinary())
	n.do("restart", "web")
	n.kill9()
	n.again()
	n.do("restart", "web")
	n.services = strings.Replace(remoteServices, "web:", "web: {command: [@self], depends_on: [db]}\n  more:", 1)
	n.serve()
	n.do("reload")
	n.do("restart", "more")
	last := n.onDisk()
	f.await(fmt.Sprintf("\n%d ", last[len(last)-1].Seq))
	if away := f.check(last); away == 0 {
		t.Error("it was never told that the node went away")
	}
	if e := n.of("service.exited", "db"); len(e) > 0 {
		t.Errorf("db ended: %v", e)
	}
	f.end()
	n.stop()
}

func (f *follower) await(text string) {
	f.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(2 * patience); !strings.Contains(f.out.String(), text); {
		select {
		case <-tick.C:
		case <-late:
			f.t.Fatalf("%q does not come:\n%s", text, f.out.String())
		}
	}
}

// Who is taken out of access is cut off; what the gateway turns away is counted by the
// node, and logged by the gateway once.
func TestActorsOfWhoLosesAccessAreCutOff(t *testing.T) {
	t.Parallel()
	n := newActorNode(t, remoteServices)
	metrics := freeAddress(t)
	n.metrics = fmt.Sprintf("listen: %q", metrics)
	n.serve()
	n.up()
	f := n.follow("view.example")
	f.await("the node is there")
	n.configure(fmt.Sprintf(`
control: {listen: %q}
remote: {listen: %q}
tls: {ca: certs/ca.pem, cert: certs/node.pem, key: certs/node.key}
access: [{cert: op.example, role: operator, remote_address: %q}]
`, n.address, n.actors, n.ofTools["op.example"]) + n.services)
	n.do("reload")
	f.await("the node went away")
	if out, err := n.ask("op.example", "tree"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	n.eventually("it is turned away, and counted", func() bool {
		_, text, err := fetch(http.DefaultClient, "http://"+metrics+"/metrics")
		return err == nil && strings.Contains(text, `bhnode_rejections_total{endpoint="remote",reason="certificate"}`)
	})
	if lines := strings.Count(string(n.logFile("gateway")), "a peer is turned away"); lines != 1 {
		t.Errorf("%d lines are logged", lines)
	}
	f.end()
	n.stop()
}

// Under a root that restarts all of its children together the gateway has a supervisor of
// its own: that it dies is no reason for anything.
func TestTheGatewayTakesNobodyWithIt(t *testing.T) {
	t.Parallel()
	n := newActorNode(t, "supervisor: {strategy: one_for_all, max_restarts: 0}\n"+remoteServices)
	n.up()
	facts := n.service("db")
	n.killGateway(7) // its own limit is 5
	if now := n.service("db"); now.PID != facts.PID {
		t.Errorf("db was %+v and is %+v", facts, now)
	}
	n.stop()
}

// A port that is taken keeps nothing from running.
func TestATakenPortOfTheGateway(t *testing.T) {
	t.Parallel()
	n := newActorNode(t, remoteServices)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", n.actors)
	if err != nil {
		t.Fatal(err)
	}
	n.up()
	n.checkStates("db running 1", "web running 1", "gateway running 1")
	n.awaitLine("gateway", "actors are not served until this is mended")
	_ = l.Close()
	n.awaitLine("gateway", "actors are served")
	if out, err := n.ask("op.example", "tree"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	n.stop()
}
