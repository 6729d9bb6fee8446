package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// facts are what must be the same in the next life of bhnode, a line a service.
func (n *node) facts() (lines []string) {
	n.t.Helper()
	for _, s := range n.status().Services {
		lines = append(lines, fmt.Sprintf("%s %s %s pid %d, life %d, restarts %d, held %v, wanted %v, last exit %s",
			s.Name, s.State, s.Health, s.PID, s.Incarnation, s.Restarts, s.Held, s.Wanted, s.Exit.text()))
	}
	return lines
}

// checkJournal asserts that no event is missing in the journal, nor there twice.
func (n *node) checkJournal() {
	n.t.Helper()
	last := uint64(0)
	for _, e := range n.onDisk() {
		if e.Seq != last+1 {
			n.t.Errorf("event %d follows %d", e.Seq, last)
		}
		last = e.Seq
	}
}

// onDisk are the events in the journal, the last of which may be half written yet.
func (n *node) onDisk() (all []event) {
	n.t.Helper()
	text, err := os.ReadFile(n.journal())
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasSuffix(line, "\n") {
			all = append(all, parse[event](n.t, line))
		}
	}
	return all
}

// journaled are those of a type about a service or supervisor.
func (n *node) journaled(kind, who string) (found []event) {
	n.t.Helper()
	for _, e := range n.onDisk() {
		if e.Type == kind && e.Service+e.Supervisor == who {
			found = append(found, e)
		}
	}
	return found
}

func TestTheNextBhnodeGoesOnWhereOneWasKilled(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  base: {command: [@self], restart: {initial_delay: 0}}
  checked: {command: [@self, grpc], unix_socket: @dir/checked.sock, health_check: {type: grpc}, depends_on: [base]}
  told: {command: [@self, notify=READY=1], health_check: {type: notify}}
  said: {command: [@self, print=up], health_check: {type: log, target: ^up}}
  delayed: {command: [@self, "once=@dir/delayed"], restart: {initial_delay: 4m}}
  done: {command: [@self, wait=150ms, exit=0], restart: {type: transient}}
  spent: {command: [@self], restart: {initial_delay: 0, max_restarts: 1}}
  held: {command: [@self]}
`)
	n.up()
	n.await("service.completed", "done", 1)
	n.kill("base", syscall.SIGKILL)
	n.await("service.ready", "checked", 2)
	n.kill("delayed", syscall.SIGKILL)
	n.await("service.backoff", "delayed", 1)
	n.kill("spent", syscall.SIGKILL)
	n.await("service.ready", "spent", 2)
	n.kill("spent", syscall.SIGKILL)
	n.await("service.failed", "spent", 2)
	n.do("stop", "held")
	before := n.facts()
	for range 2 { // the second goes on where the first went on
		n.kill9()
		n.again()
		if diff := cmp.Diff(before, n.facts()); diff != "" {
			t.Errorf("the services: -want +got\n%s", diff)
		}
	}
	mark := n.now()
	n.kill("base", syscall.SIGKILL) // it is supervised as before: its window, its rest
	n.awaitAfter(mark, "service.ready", "checked", 3)
	n.checkOrder(n.since(mark), "exited base/2", "stopped checked/2", "starting base/3", "ready base/3", "starting checked/3")
	n.do("start", "held")
	n.do("restart", "told", "said")
	n.stop()
	n.checkJournal()
}

func TestAServiceThatDiedWithoutBhnodeIsRestartedByItsPolicy(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  db: {command: [@self, "orphan=ignore"], restart: {initial_delay: 0}, shutdown: {timeout: 200ms}}
  app: {command: [@self], depends_on: [db]}
  other: {command: [@self]}
  once: {command: [@self], restart: {type: temporary}}
`)
	n.up()
	n.eventually("its orphan is there", func() bool { return len(n.processes()) == 5 })
	other := n.service("other").PID
	db, once := n.service("db").PID, n.service("once").PID
	n.kill9()
	for _, pid := range []int{db, once} {
		end := watch(t, pid)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		end.awaitEnd()
	}
	mark := n.now()
	n.again()
	n.awaitAfter(mark, "service.ready", "app", 2)
	n.checkOrder(n.since(mark), "exited db/1", "stopped app/1", "starting db/2", "ready db/2", "starting app/2")
	n.awaitAfter(mark, "service.failed", "once", 1)
	if got := n.service("other"); got.PID != other || got.Incarnation != 1 {
		t.Errorf("another service is %+v now", got)
	}
	if lives := n.lives("db"); !slices.Equal(lives, []string{n.name + "/db/2"}) {
		t.Errorf("of db is alive: %v", lives)
	}
	n.stop()
	n.checkJournal()
}

func TestAHalfFinishedRestartIsFinished(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  db: {command: [@self], restart: {initial_delay: 0}}
  app: {command: [@self, "slow=1s"], depends_on: [db]}
  top: {command: [@self, "slow=300ms"], depends_on: [app]}
`)
	n.up()
	mark := n.kill("db", syscall.SIGKILL)
	n.awaitAfter(mark, "service.stopping", "top", 1)
	n.kill9()
	n.again()
	n.awaitAfter(mark, "service.ready", "top", 2)
	n.checkOrder(n.since(mark), "exited db/1", "stopped top/1", "stopping app/1", "stopped app/1", "starting db/2", "starting app/2", "starting top/2")
	if n.count("service.exited", "db") != 1 || n.service("db").Restarts != 1 {
		t.Errorf("the crash was counted more than once: %+v", n.service("db"))
	}
	n.stop()
	n.checkJournal()
}

// A configuration that changed meanwhile is applied: who is to run as before does so.
func TestTheNextBhnodeHasAnotherConfiguration(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  same: {command: [@self]}
  changed: {command: [@self, print=old]}
  gone: {command: [@self]}
  above: {command: [@self], depends_on: [same]}
  on: {command: [@self], depends_on: [changed]}
`)
	n.up()
	pids := map[string]int{}
	for _, s := range n.status().Services {
		pids[s.Name] = s.PID
	}
	n.kill9()
	n.configure(`
services:
  same: {command: [@self]}
  changed: {command: [@self, print=new]}
  added: {command: [@self], depends_on: [same]}
  above: {command: [@self], depends_on: [same]}
  on: {command: [@self], depends_on: [changed]}
`)
	mark := n.now()
	n.again()
	// It becomes another bhnode once the first of them has ended, and answers nobody meanwhile.
	n.await("service.starting", "changed", 2)
	n.eventually("all run", func() bool {
		return slices.Equal(n.states(), []string{"same running 1", "changed running 2", "added running 1", "above running 1", "on running 2"})
	})
	n.checkOrder(n.since(mark), "stopping on/1", "stopped on/1", "stopping changed/1", "stopped changed/1", "starting changed/2", "starting on/2")
	for _, name := range []string{"same", "above"} {
		if got := n.service(name).PID; got != pids[name] {
			t.Errorf("%s was restarted", name)
		}
	}
	for _, p := range n.processes() {
		if strings.Contains(p.id, "/gone/") {
			t.Errorf("what is not configured any more lives: %v", p)
		}
	}
	n.stop()
	n.checkJournal()
}

// What was decided cannot be read any more: what runs is found by looking at the kernel.
func TestDamagedStateIsSurvivedByLookingAtTheKernel(t *testing.T) {
	t.Parallel()
	for _, damaged := range []string{"steps.*", "base.*", "records", "*"} {
		t.Run(damaged, func(t *testing.T) {
			t.Parallel()
			n := newNode(t, `
services:
  it: {command: [@self, trickle=stdout], resources: {open_files: 100}}
  on: {command: [@self, notify=READY=1], health_check: {type: notify}, depends_on: [it]}
  crashed: {command: [@self, wait=150ms, exit=3], restart: {initial_delay: 4m}}
`)
			n.up()
			n.await("service.backoff", "crashed", 1)
			it, on := n.service("it").PID, n.service("on").PID
			n.kill9()
			damage(t, n.path("run/state/"+damaged))
			n.again()
			if damaged != "records" && !strings.Contains(n.stderr.String(), "going on with what is found running") {
				t.Errorf("run does not say so:\n%s", n.stderr)
			}
			if strings.Contains(n.stderr.String(), "critical path") && strings.Contains(n.stderr.String(), "d23h") {
				t.Errorf("run counts from the beginning of time:\n%s", n.stderr)
			}
			want := []string{fmt.Sprint("it running 1 ", it), fmt.Sprint("on running 1 ", on)}
			n.eventually("what ran runs, once it is known to be healthy", func() bool {
				var got []string
				for _, s := range n.status().Services[:2] {
					got = append(got, fmt.Sprint(s.Name, " ", s.State, " ", s.Incarnation, " ", s.PID))
				}
				return slices.Equal(want, got)
			})
			n.stop()
			n.checkJournal()
			n.checkComplete("it", "json")
		})
	}
}

// damage makes the files of a pattern such that nobody understands them.
func damage(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s are %v, %v", pattern, files, err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.IsDir() {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 20 {
			data[20] ^= 1
		}
		data[0] ^= 1
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// stays is a moment for bhnode to live, a few of its steps or many.
func stay() { <-time.After(time.Duration(rand.IntN(120)) * time.Millisecond) }

// Whenever bhnode is killed, no line is lost and none is written twice.
func TestNoLineIsLostWhenBhnodeIsKilled(t *testing.T) {
	for _, format := range []string{"json", "raw"} {
		t.Run(format, func(t *testing.T) {
			n := newNode(t, `
logs: {format: `+format+`, max_size_mb: 1, max_files: 1000, compress: false}
services:
  single: {command: [@self, pour=stdout]}
  both: {command: [@self, "child=pour=stderr", trickle=stdout]}
  crashes: {command: [@self, wait=150ms, exit=1], restart: {initial_delay: 0, max_restarts: unlimited}}
supervisor: {max_restarts: 100000}
`)
			n.up()
			pids := []int{n.service("single").PID, n.service("both").PID}
			for range 20 {
				stay()
				n.kill9()
				n.again()
			}
			if got := []int{n.service("single").PID, n.service("both").PID}; !slices.Equal(got, pids) {
				t.Errorf("services were restarted: %v, were %v", got, pids)
			}
			n.stop()
			n.checkJournal()
			for _, service := range []string{"single", "both"} {
				n.checkComplete(service, format)
			}
		})
	}
}

// checkComplete asserts that the numbered lines of each stream of a service are all in its
// files, in order, each once.
func (n *node) checkComplete(service, format string) {
	n.t.Helper()
	files, err := filepath.Glob(n.path("logs/" + service + ".log*"))
	if err != nil || len(files) == 0 {
		n.t.Fatalf("the logs are %v, %v", files, err)
	}
	age := func(path string) int {
		number, _ := strconv.Atoi(strings.TrimPrefix(filepath.Ext(path), "."))
		return number
	}
	slices.SortFunc(files, func(a, b string) int { return age(b) - age(a) })
	lines := n.numberedLines(files, format)
	for stream, texts := range lines {
		for i, text := range texts {
			want := fmt.Sprintf("%s line %d", stream, i+1)
			if text == want || i == len(texts)-1 && strings.HasPrefix(want, text) { // SIGTERM may end it amid its last line
				continue
			}
			n.t.Errorf("%s: line %d of %s is %q", service, i+1, stream, text)
			break
		}
		n.t.Logf("%s: %d lines of %s in %d files", service, len(texts), stream, len(files))
	}
}

// numberedLines reads logs, the oldest first; in the format json it checks their numbers.
func (n *node) numberedLines(files []string, format string) map[string][]string {
	n.t.Helper()
	lines, seq := map[string][]string{}, uint64(0)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			n.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			message := strings.TrimSuffix(line, "\n")
			stream := map[bool]string{true: "stderr", false: "stdout"}[strings.HasPrefix(message, "stde")]
			if format == "json" {
				e := parse[struct {
					Stream, Message string
					Seq             uint64
				}](n.t, line)
				stream, message = e.Stream, e.Message
				if seq++; e.Seq != seq {
					n.t.Fatalf("%s: number %d comes in the place of %d", file, e.Seq, seq)
				}
			}
			lines[stream] = append(lines[stream], message)
		}
	}
	return lines
}
