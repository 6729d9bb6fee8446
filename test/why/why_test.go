// Package why compares what bhnode foretells with what then happens on a real
// node.
package why

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is how long anything may take.
const patience = time.Minute

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "bhnode")
	build := exec.Command("go", "build", "-o", program, "github.com/blackhole/bhnode/cmd/bhnode")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// event is one line of `bhnode events -o json`.
type event struct {
	Seq     uint64 `json:"seq"`
	Type    string `json:"type"`
	Service string `json:"service"`
}

// node is a real node and its journal.
type node struct {
	t      *testing.T
	config string
	events <-chan event
}

// run starts a node with that configuration; it has come up when run returns.
func run(t *testing.T, config string) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "bh") // sockets need short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &node{t: t, config: filepath.Join(dir, "node.yaml")}
	if err := os.WriteFile(n.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.bhnode("shutdown", "--timeout", "30s") })
	n.bhnode("run", "--detach")
	n.follow()
	return n
}

// bhnode runs one command against the node and returns what it prints.
func (n *node) bhnode(args ...string) []byte {
	n.t.Helper()
	cmd := exec.Command(program, append(args, "--config", n.config)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("bhnode %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out
}

// follow reads the journal from its beginning.
func (n *node) follow() {
	cmd := exec.Command(program, "events", "-f", "-n", "1000", "-o", "json", "--config", n.config)
	out, err := cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	events := make(chan event, 10_000)
	go func() {
		defer close(events)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e event
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				events <- e
			}
		}
	}()
	n.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	n.events = events
}

// until returns the events up to the first that done accepts.
func (n *node) until(done func(event) bool) (seen []event) {
	n.t.Helper()
	late := time.After(patience)
	for {
		select {
		case e, ok := <-n.events:
			if !ok {
				n.t.Fatal("the journal has ended")
			}
			seen = append(seen, e)
			if done(e) {
				return seen
			}
		case <-late:
			n.t.Fatalf("nothing more happened within %v after %v", patience, seen)
		}
	}
}

// crash kills the process of a service.
func (n *node) crash(name string) {
	n.t.Helper()
	var status struct {
		Services []struct {
			PID int `json:"pid"`
		} `json:"services"`
	}
	if err := json.Unmarshal(n.bhnode("status", name, "-o", "json"), &status); err != nil {
		n.t.Fatal(err)
	}
	if err := syscall.Kill(status.Services[0].PID, syscall.SIGKILL); err != nil {
		n.t.Fatal(err)
	}
}

// foretold is `bhnode whatif -o json`.
type foretold struct {
	Stop  [][]string `json:"stop"`
	Start [][]string `json:"start"`
}

// graph is a random configuration: six services, the last ones in a supervisor
// of their own.
func graph(random *rand.Rand) string {
	strategy := func() string { return []string{"one_for_one", "rest_for_one", "one_for_all"}[random.IntN(3)] }
	var b strings.Builder
	fmt.Fprintf(&b, "node: {name: t, data_dir: data, runtime_dir: run, on_daemon_death: kill}\nmetrics: {listen: \"\"}\n"+
		"defaults: {command: [sleep, infinity], restart: {initial_delay: 50ms}}\nsupervisor: {strategy: %s}\nservices:\n", strategy())
	for i := range 6 {
		var needs []string
		for j := range i {
			if random.IntN(3) == 0 {
				needs = append(needs, fmt.Sprintf("s%d", j))
			}
		}
		fmt.Fprintf(&b, "  s%d: {depends_on: [%s]}\n", i, strings.Join(needs, ", "))
	}
	fmt.Fprintf(&b, "tree:\n  - s0\n  - s1\n  - s2\n  - {supervisor: inner, strategy: %s, children: [s3, s4, s5]}\n", strategy())
	return b.String()
}

func TestWhatIsForetoldComesToPass(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			config := graph(random)
			t.Log(config)
			n := run(t, config)
			n.until(func(e event) bool { return e.Type == "node.ready" })
			for range 2 {
				n.compare(fmt.Sprintf("s%d", random.IntN(6)))
			}
		})
	}
}

// compare crashes a service and compares the journal with what was foretold.
func (n *node) compare(name string) {
	n.t.Helper()
	var want foretold
	if err := json.Unmarshal(n.bhnode("whatif", name, "-o", "json"), &want); err != nil {
		n.t.Fatal(err)
	}
	n.crash(name)
	missing := slices.Concat(want.Start...)
	var stopped, started []string
	for _, e := range n.until(func(e event) bool {
		if e.Type == "service.ready" {
			missing = slices.DeleteFunc(missing, func(s string) bool { return s == e.Service })
		}
		return len(missing) == 0
	}) {
		switch e.Type {
		case "service.stopping":
			stopped = append(stopped, e.Service)
		case "service.starting":
			started = append(started, e.Service)
		}
	}
	for what, pair := range map[string][2][]string{
		"stopped": {slices.Concat(want.Stop...), stopped}, "started": {slices.Concat(want.Start...), started},
	} {
		slices.Sort(pair[0])
		slices.Sort(pair[1])
		if diff := cmp.Diff(pair[0], pair[1], cmp.Transformer("empty", func(s []string) string { return strings.Join(s, " ") })); diff != "" {
			n.t.Errorf("%s when %s crashes (-foretold +came to pass):\n%s", what, name, diff)
		}
	}
	n.explained(name, slices.Concat(want.Start...))
}

// explained asserts that why leads from each service that was started back to the
// crash.
func (n *node) explained(crashed string, started []string) {
	n.t.Helper()
	for _, name := range started {
		var why struct {
			Name  string `json:"name"`
			State string `json:"state"`
			Steps []struct {
				Text string `json:"text"`
			} `json:"steps"`
		}
		if err := json.Unmarshal(n.bhnode("why", name, "-o", "json"), &why); err != nil {
			n.t.Fatal(err)
		}
		var texts []string
		for _, s := range why.Steps {
			texts = append(texts, s.Text)
		}
		if !slices.ContainsFunc(texts, func(s string) bool { return strings.HasPrefix(s, crashed+" exited (SIGKILL) ") }) ||
			!strings.HasPrefix(texts[0], name+" restarted ") {
			n.t.Errorf("%s crashed, why %s:\n%s", crashed, name, strings.Join(texts, "\n"))
		}
	}
}
