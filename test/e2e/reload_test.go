package e2e

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what the reload scenarios have come to into their files; read it then")

// TestReload plays the scenarios of testdata/reload. A file has, besides what it is about,
//
//	before   the configuration that runs
//	x.env    a file of that name, as it is at first
//	do       commands before the reload: of bhnode, or "write FILE TEXT"
//	after    the configuration that is reloaded
//	plan     what `reload --dry-run` says, and its exit code
//	order    "x < y", what of it has to come before what
//	events   what happens then, in the order of names
//	end      what `reload` ends with: its exit code, and the error
//	states   what the services are in the end: name, state, incarnation
func TestReload(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/reload/*.txtar")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d scenarios: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			playReload(t, file)
		})
	}
}

func playReload(t *testing.T, file string) {
	t.Helper()
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, section(ar, "before"))
	n.env = append(n.env, "BHNODE_SOCKET="+n.socket) // a file that cannot be read does not name it
	for _, f := range ar.Files {
		if strings.Contains(f.Name, ".") {
			n.write(f.Name, string(f.Data))
		}
	}
	n.up()
	n.arrange(section(ar, "do"))
	pids := n.pids()
	n.configure(section(ar, "after"))
	got := map[string]string{}
	out, stderr, code := n.cli("reload", "--dry-run")
	got["plan"] = n.plain(fmt.Sprintf("%s%sexit %d\n", out, stderr, code))
	before := n.now()
	if dry := n.since(before); len(dry) > 0 {
		t.Errorf("a dry run made happen\n%v", dry)
	}
	_, stderr, code = n.cli("reload")
	got["end"] = n.plain(fmt.Sprintf("%sexit %d\n", ending(stderr), code))
	happened := n.since(before)
	got["events"] = n.plain(inShort(happened))
	got["states"] = strings.Join(n.states(), "\n") + "\n"
	for name, pid := range n.pids() { // who runs on is who ran before
		if slices.Contains(names(happened, "service.starting"), name) == (pid == pids[name]) && pids[name] != 0 {
			t.Errorf("%s was pid %d and is %d", name, pids[name], pid)
		}
	}
	order := section(ar, "order")
	checkReloadOrder(t, happened, order)
	n.stop()
	for _, name := range []string{"plan", "events", "end", "states"} {
		if *update {
			setSection(ar, name, got[name])
		} else if diff := cmp.Diff(section(ar, name), got[name]); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func section(ar *txtar.Archive, name string) string {
	for _, f := range ar.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func setSection(ar *txtar.Archive, name, text string) {
	for i := range ar.Files {
		if ar.Files[i].Name == name {
			ar.Files[i].Data = []byte(text)
			return
		}
	}
	ar.Files = append(ar.Files, txtar.File{Name: name, Data: []byte(text)})
}

// arrange does what a scenario begins with.
func (n *node) arrange(steps string) {
	n.t.Helper()
	for line := range strings.Lines(steps) {
		words := strings.Fields(n.fill(line))
		switch {
		case len(words) == 0:
		case words[0] == "write":
			n.write(words[1], strings.Join(words[2:], " ")+"\n")
		case words[0] == "await":
			n.awaitWhere(line, func(e event) bool { return e.Type == words[1] && e.Service+e.Supervisor == words[2] })
		default:
			n.do(words...)
		}
	}
}

func (n *node) pids() map[string]int {
	pids := map[string]int{}
	for _, s := range n.status().Services {
		if s.PID != 0 {
			pids[s.Name] = s.PID
		}
	}
	return pids
}

// plain is a text without what differs from one run to the next.
func (n *node) plain(text string) string {
	text = places.ReplaceAllString(text, "$1")
	text = carets.ReplaceAllString(text, "")
	return strings.NewReplacer(n.config, "FILE", n.dir, "DIR", self, "@self", n.name, "NODE").Replace(text)
}

// Where something stands in a line depends on the names of temporary directories.
var (
	places = regexp.MustCompile(`(\.yaml:\d+):\d+`)
	carets = regexp.MustCompile(`(?m)^ +\| +\^.*\n`)
)

// ending is what a reload says at last, without the events and the hint.
func ending(stderr string) string {
	var kept strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, "  service.") && !strings.Contains(line, "  node.") && !strings.Contains(line, "  supervisor.") && !strings.HasPrefix(line, "hint:") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// inShort lists what happened in the order of names; what is told of every reload is left
// out, and of ends all but that there was one.
func inShort(events []event) string {
	var lines []string
	for _, e := range events {
		switch e.Type {
		case "operator.command", "service.adopted", "service.started", "service.waiting", "node.reloading":
		case "node.reloaded", "node.reload_failed":
			lines = append(lines, "~ "+e.Type+": "+e.Message)
		default:
			lines = append(lines, fmt.Sprintf("%s%s/%d %s", e.Service, e.Supervisor, e.Incarnation, e.Type[strings.Index(e.Type, ".")+1:]))
		}
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		x, _, _ := strings.Cut(a, " ")
		y, _, _ := strings.Cut(b, " ")
		return strings.Compare(x, y)
	})
	return strings.Join(append(lines, ""), "\n")
}

// checkReloadOrder checks lines as "stopping b < stopping a".
func checkReloadOrder(t *testing.T, events []event, order string) {
	t.Helper()
	at := func(what string) int {
		kind, who, _ := strings.Cut(strings.TrimSpace(what), " ")
		return slices.IndexFunc(events, func(e event) bool { return strings.HasSuffix(e.Type, "."+kind) && e.Service+e.Supervisor == who })
	}
	for line := range strings.Lines(order) {
		first, then, ok := strings.Cut(line, "<")
		if i, j := at(first), at(then); !ok || i < 0 || j < 0 || i > j {
			t.Errorf("%q does not hold: they are events %d and %d", strings.TrimSpace(line), i, j)
		}
	}
}
