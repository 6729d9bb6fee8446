package e2e

import (
	"strings"
	"testing"
)

const shop = `
services:
  a: {command: [@self, run], env: {TOKEN: hunter2, LEVEL: "1"}}
  b: {command: [@self, run]}
`

func TestAnEarlierConfigurationComesBack(t *testing.T) {
	t.Parallel()
	n := newNode(t, shop)
	n.up()
	n.configure(strings.Replace(shop, `LEVEL: "1"`, `LEVEL: "2"`, 1))
	n.do("reload")
	n.configure(strings.Replace(shop, "hunter2", "hunter3", 1))
	n.do("reload")
	n.configure(strings.Replace(shop, "run]}", "exit=1]}", 1))
	if _, stderr, code := n.cli("reload"); code != 1 || !strings.Contains(stderr, "rolled back") {
		t.Fatalf("got %d, %s", code, stderr)
	}
	entries := parse[[]struct {
		Number  int
		By      string
		Current bool
	}](t, n.do("config", "history", "-o", "json"))
	if len(entries) != 3 || entries[0].Number != 3 || !entries[0].Current || !strings.HasPrefix(entries[0].By, "reload by uid ") || entries[2].By != "run" {
		t.Errorf("the history is %+v", entries)
	}
	for _, c := range []struct{ args, want string }{
		{"config diff 1 2", "services.a.env.LEVEL\n  - 1\n  + 2\n"},
		{"config diff 2 3", "services.a.env.LEVEL\n  - 2\n  + 1\n"},
		{"config diff 1 3", "services.a (a secret)\n  - ***\n  + ***\n"},
		{"config diff", "services.b.command\n  - [@self, run]\n  + [@self, exit=1]\nservices.a (a secret)\n  - ***\n  + ***\n"},
	} {
		if got := n.do(strings.Fields(c.args)...); got != n.fill(c.want) {
			t.Errorf("%s: got %q, want %q", c.args, got, n.fill(c.want))
		}
	}
	rejected := n.read("blackhole.yaml")
	n.do("config", "rollback", "2")
	n.checkStates("a running 6", "b running 3")
	if got := n.read("blackhole.yaml~"); got != rejected {
		t.Errorf("what the file said is not kept: %q", got)
	}
	if _, stderr, code := n.cli("config", "rollback", "17"); code != 2 || !strings.Contains(stderr, "no configuration number 17") {
		t.Errorf("got %d, %s", code, stderr)
	}
	n.stop()
	n.do("config", "rollback", "1") // without a node
	n.up()
	n.stop()
}

// What was rolled back does not come into force when bhnode dies later, and what was
// edited since does, or goes back.
func TestAfterADeathTheConfigurationIsTheOneInForce(t *testing.T) {
	t.Parallel()
	n := newNode(t, shop)
	n.up()
	n.configure(strings.Replace(shop, "run]}", "exit=1]}", 1))
	if _, _, code := n.cli("reload"); code != 1 {
		t.Fatalf("got %d", code)
	}
	states, pids := n.states(), n.pids()
	n.kill9()
	n.again()
	if !strings.Contains(n.stderr.String(), "was rolled back when it was reloaded last") {
		t.Errorf("stderr is %s", n.stderr)
	}
	if got := n.pids(); got["a"] != pids["a"] || got["b"] != pids["b"] {
		t.Errorf("got %v, want %v as in %v", got, pids, states)
	}
	n.configure(strings.Replace(shop, "run]}", "exit=2]}", 1))
	n.kill9()
	before := n.now()
	n.run()
	back := n.awaitWhere("node.reloaded", func(e event) bool { return e.Seq > before.Seq && e.Type == "node.reloaded" })
	if back.attr("rolled_back") != "true" || n.pids()["a"] != pids["a"] {
		t.Errorf("got %v, and pids %v", back, n.pids())
	}
	n.stop()
}

// Cut off in the middle, a reload goes on.
func TestAReloadGoesOnAfterADeath(t *testing.T) {
	t.Parallel()
	n := newNode(t, shop)
	n.up()
	slow := strings.Replace(shop, "run]}", "wait=1s, run], health_check: {type: exec, target: [@self, exit-unless=@dir/go], start_interval: 50ms}}", 1)
	n.configure(slow)
	n.do("reload", "--no-wait")
	n.awaitWhere("b starts", func(e event) bool { return e.Type == "service.started" && e.Service == "b" && e.Incarnation == 2 })
	if _, stderr, code := n.cli("reload"); code != 1 || !strings.Contains(stderr, "a reload is under way") {
		t.Errorf("got %d, %s", code, stderr)
	}
	n.kill9()
	n.again()
	n.write("go", "")
	if e := n.awaitWhere("node.reloaded", func(e event) bool { return e.Type == "node.reloaded" }); e.attr("rolled_back") != "false" {
		t.Errorf("got %v", e)
	}
	n.checkStates("a running 1", "b running 2")
	n.stop()
}

func TestAReloadIsGivenUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, shop)
	n.up()
	n.configure(strings.Replace(shop, "run]}", "run, run], health_check: {type: exec, target: [@self, exit-unless=@dir/go], start_interval: 50ms}}", 1))
	n.do("reload", "--no-wait")
	n.awaitWhere("b starts", func(e event) bool { return e.Type == "service.started" && e.Service == "b" && e.Incarnation == 2 })
	n.do("reload", "--abandon")
	if e := n.awaitWhere("node.reloaded", func(e event) bool { return e.Type == "node.reloaded" }); !strings.Contains(e.attr("why"), "called off by uid") {
		t.Errorf("got %v", e)
	}
	n.checkStates("a running 1", "b running 3")
	n.stop()
}
