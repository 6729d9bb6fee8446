package e2e

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// What a service writes last is kept even if it ends while no bhnode runs, and whatever
// becomes of the keeper.
func TestTheLastLinesOfAServiceThatDiedWithoutBhnodeAreKept(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it: {command: [@self, until=@dir/go, lines=1000, complaints=1000, exit=3], restart: {type: temporary}, shutdown: {timeout: 200ms}}
`)
	n.up()
	keeper := n.keepers()
	if len(keeper) != 1 {
		t.Fatalf("the keepers are %v", keeper)
	}
	if err := syscall.Kill(keeper[0].pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n.eventually("another keeper has come", func() bool { k := n.keepers(); return len(k) == 1 && k[0].pid != keeper[0].pid })
	for range 2 { // it hands over from life to life
		n.kill9()
		n.again()
		n.eventually("one keeper is left", func() bool { return len(n.keepers()) == 1 })
	}
	end := watch(t, n.service("it").PID)
	n.kill9()
	if err := os.WriteFile(n.path("go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	end.awaitEnd()
	n.again()
	n.await("service.failed", "it", 1)
	n.stop()
	for _, stream := range []string{"stdout", "stderr"} {
		var got int
		for line := range strings.Lines(n.read("logs/it.log")) {
			e := parse[struct{ Stream, Message string }](t, line)
			if e.Stream != stream {
				continue
			}
			if want := numberedLine(got); e.Message != want {
				t.Fatalf("line %d of %s is %q", got, e.Stream, e.Message)
			}
			got++
		}
		if got != 1000 {
			t.Errorf("%d lines of %s are there, want 1000", got, stream)
		}
	}
}
