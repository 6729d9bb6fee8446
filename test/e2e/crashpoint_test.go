package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A bhnode that is killed after any one of its writes of state is followed by one that goes
// on: what was asked for comes to be, nothing lives twice, no event is missing. The
// program is built to be killed after the n-th write, and every n is tried.
func TestBhnodeMayDieAfterAnyWriteOfItsState(t *testing.T) {
	if testing.Short() {
		t.Skip("tries some fifty deaths")
	}
	t.Parallel()
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	mortal := dir + "/bhnode"
	if err := goTool("build", "-tags", "crashpoints", "-o", mortal, program); err != nil {
		t.Fatal(err)
	}
	for at, more := first(), true; more; at++ {
		t.Run(fmt.Sprint(at), func(t *testing.T) { more = dieAt(t, mortal, at) })
		if t.Failed() {
			return
		}
	}
}

// dieAt has bhnode killed after a write; false says that it does not write so often.
func dieAt(t *testing.T, mortal string, at int) bool {
	t.Helper()
	n := newNode(t, `
defaults: {restart: {initial_delay: 0}, shutdown: {timeout: 200ms}}
services:
  db: {command: [@self], hooks: {pre_start: ["true"]}}
  app: {command: [@self, "orphan=ignore"], depends_on: [db]}
  held: {command: [@self]}
`)
	n.program, n.env = mortal, []string{fmt.Sprintf("BHNODE_CRASH_AT=%d", at)}
	n.run()
	n.provoke()
	died := n.asAsked()
	_ = n.cmd.Process.Signal(syscall.SIGTERM) // it may die just now
	if n.wait() != 0 {
		died = n.asAsked()
		n.stop()
	}
	n.checkJournal()
	return died
}

// asAsked waits until all is as was asked for. It starts bhnode anew, and one that lives
// on, if it has died, and tells whether it has.
func (n *node) asAsked() (died bool) {
	n.t.Helper()
	want := []string{"db running", "app running", "held stopped"}
	n.eventually("all is as was asked for", func() bool {
		if !n.running() {
			died = true
			n.program, n.env = "", nil
			n.run()
		}
		out, _, code := n.cli("status", "-o", "json")
		if code != 0 {
			return false
		}
		var got []string
		for _, s := range parse[statusReport](n.t, out).Services {
			got = append(got, s.Name+" "+s.State)
		}
		if got[2] == "held running" { // the command was lost with the one who took it
			_, _, _ = n.cli("stop", "held")
		}
		return slices.Equal(got, want)
	})
	for _, name := range []string{"db", "app"} {
		if lives := n.lives(name); len(lives) != 1 {
			n.t.Errorf("of %s live %v", name, lives)
		}
	}
	return died
}

// provoke has a service crash and stops another one, unless bhnode is dead before.
func (n *node) provoke() {
	n.t.Helper()
	n.eventually("it is healthy, or dead", func() bool {
		_, _, code := n.cli("health")
		return code == 0 || !n.running()
	})
	out, _, code := n.cli("status", "db", "-o", "json")
	if code != 0 {
		return
	}
	if got := parse[statusReport](n.t, out).Services; len(got) == 1 && got[0].PID > 0 {
		_ = syscall.Kill(got[0].PID, syscall.SIGKILL)
	}
	n.eventually("it is healthy again, or dead", func() bool {
		out, _, code := n.cli("status", "app", "-o", "json")
		return !n.running() || code == 0 && strings.Contains(out, `"incarnation": 2`) && strings.Contains(out, `"state": "running"`)
	})
	_, _, _ = n.cli("stop", "held") // it may die of it
}

// first is where to begin, to look into one death.
func first() int {
	at, err := strconv.Atoi(os.Getenv("BHNODE_FIRST_DEATH"))
	if err != nil {
		return 1
	}
	return at
}
