package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
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

// statusReport is `status -o json`, as far as tests look at it.
type statusReport struct {
	Node     string
	Services []serviceReport
}

type serviceReport struct {
	Name         string
	State        string
	Health       string
	Wanted       bool
	Held         bool
	PID          int
	Incarnation  uint64
	Supervisor   string
	Restarts     uint64
	Exit         exitReport
	HealthDetail struct {
		LastError string `json:"last_error"`
		Failures  int
	} `json:"health_detail"`
	UnixSocket string   `json:"unix_socket"`
	DependsOn  []string `json:"depends_on"`
	Reason     string
	Message    string
}

// exitReport is how the last life of a service ended.
type exitReport struct {
	Code   *int
	Signal string
	Time   *time.Time
}

func (e exitReport) text() string {
	switch {
	case e.Time == nil:
		return "none"
	case e.Code != nil:
		return strconv.Itoa(*e.Code)
	}
	return e.Signal
}

// treeReport is `tree -o json`, as far as tests look at it.
type treeReport struct {
	Name        string
	Kind        string
	Strategy    string
	Order       string
	State       string
	Health      string
	PID         int
	Incarnation uint64
	Restarts    uint64
	Actor       string
	Children    []treeReport
}

// status asks for all services.
func (n *node) status() statusReport {
	n.t.Helper()
	return parse[statusReport](n.t, n.do("status", "-o", "json"))
}

// service asks for one service.
func (n *node) service(name string) serviceReport {
	n.t.Helper()
	s := parse[statusReport](n.t, n.do("status", name, "-o", "json"))
	if len(s.Services) != 1 {
		n.t.Fatalf("got %d services for %s, want one", len(s.Services), name)
	}
	return s.Services[0]
}

// tree asks for the supervision tree.
func (n *node) tree() treeReport {
	n.t.Helper()
	return parse[treeReport](n.t, n.do("tree", "-o", "json"))
}

// each calls f for a node of the tree and all below it.
func (r treeReport) each(f func(treeReport)) {
	f(r)
	for _, c := range r.Children {
		c.each(f)
	}
}

// eventually waits until a look at the node finds it so.
func (n *node) eventually(what string, so func() bool) {
	n.t.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(patience); !so(); <-again.C {
		if time.Now().After(end) {
			n.t.Fatalf("it never was so: %s", what)
		}
	}
}

// checkStates asserts what the services are, as "name state incarnation".
func (n *node) checkStates(want ...string) {
	n.t.Helper()
	if diff := cmp.Diff(want, n.states()); diff != "" {
		n.t.Errorf("states: -want +got\n%s", diff)
	}
}

// states is what the services are, as "name state incarnation", in order.
func (n *node) states() []string {
	n.t.Helper()
	var out []string
	for _, s := range n.status().Services {
		out = append(out, fmt.Sprintf("%s %s %d", s.Name, s.State, s.Incarnation))
	}
	return out
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return v
}

// kill sends a signal to the main process of a service and returns what was its
// newest event then.
func (n *node) kill(service string, sig syscall.Signal) event {
	n.t.Helper()
	pid := n.service(service).PID
	if pid == 0 {
		n.t.Fatalf("%s does not run", service)
	}
	now := n.now()
	if err := syscall.Kill(pid, sig); err != nil {
		n.t.Fatalf("cannot send %v to %s: %v", sig, service, err)
	}
	return now
}

// process is a process that carries the identity of a node.
type process struct {
	pid  int
	id   string // BHNODE_ID
	args string
}

func (p process) String() string { return fmt.Sprintf("%d %s: %s", p.pid, p.id, p.args) }

// processes lists what is alive of the node, hooks and grandchildren included.
func (n *node) processes() []process {
	instance, err := os.ReadFile(filepath.Join(n.rundir, "instance"))
	if err != nil {
		return nil // it never ran
	}
	return livingOf(strings.TrimSpace(string(instance)))
}

// lives lists the BHNODE_IDs of what is alive of one service.
func (n *node) lives(service string) []string {
	var ids []string
	for _, p := range n.processes() {
		if parts := strings.Split(p.id, "/"); len(parts) == 3 && parts[1] == service && !slices.Contains(ids, p.id) {
			ids = append(ids, p.id)
		}
	}
	return ids
}

// livingOf lists the processes of a BHNODE_INSTANCE. A zombie has no environment.
func livingOf(instance string) []process { return carrying("BHNODE_INSTANCE=" + instance) }

// keepers are those that hold the pipes of a node.
func (n *node) keepers() []process {
	instance, err := os.ReadFile(filepath.Join(n.rundir, "instance"))
	if err != nil {
		return nil // it never ran
	}
	return carrying("BHNODE_KEEPER=" + strings.TrimSpace(string(instance)))
}

// carrying lists the processes with a variable in their environment.
func carrying(variable string) []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	mark := []byte(variable)
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !bytes.Contains(environ, mark) {
			continue
		}
		p := process{pid: pid}
		for v := range strings.SplitSeq(string(environ), "\x00") {
			if id, ok := strings.CutPrefix(v, "BHNODE_ID="); ok {
				p.id = id
			}
		}
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		p.args = strings.ReplaceAll(string(args), "\x00", " ")
		found = append(found, p)
	}
	return found
}

// socketsBelow lists the sockets in a directory.
func socketsBelow(dir string) []string {
	var found []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type() == fs.ModeSocket {
			found = append(found, path)
		}
		return nil
	})
	return found
}
