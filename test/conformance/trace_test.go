package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/blackhole/bhnode/supervision"
)

// trace is one recorded scenario.
type trace struct {
	Format string
	Name   string
	Flags  []string
	Tree   *node
	Steps  []step
}

// node is a child of a tree, or what a simple_one_for_one makes its children from.
type node struct {
	ID           string
	Type         string
	Strategy     string
	Intensity    int
	PeriodS      int    `json:"period_s"`
	AutoShutdown string `json:"auto_shutdown"`
	Restart      string
	Shutdown     string
	ShutdownMS   int `json:"shutdown_ms"`
	Significant  bool
	Start        []attempt
	OnStop       onStop `json:"on_stop"`
	DynStart     map[string][]attempt
	DynOnStop    map[string]onStop
	Children     []*node
}

// UnmarshalJSON reads a node; the keys of dynamic children are spelled out.
func (n *node) UnmarshalJSON(text []byte) error {
	type plain node
	keys := struct {
		*plain

		DynStart  map[string][]attempt `json:"dyn_start"`
		DynOnStop map[string]onStop    `json:"dyn_on_stop"`
	}{plain: (*plain)(n)}
	if err := json.Unmarshal(text, &keys); err != nil {
		return err
	}
	n.DynStart, n.DynOnStop = keys.DynStart, keys.DynOnStop
	return nil
}

// attempt is what one attempt to start a child comes to.
type attempt struct {
	Result      string
	Reason      string
	DelayMS     int    `json:"delay_ms"`
	ExitAfterMS *int   `json:"exit_after_ms"`
	ExitReason  string `json:"exit_reason"`
	Forever     bool
}

// attempt is what the n-th attempt to start a child comes to.
func (n *node) attempt(number uint64) attempt {
	for i, a := range n.Start {
		if uint64(i)+1 == number || a.Forever {
			return a
		}
	}
	return attempt{Result: "ok"}
}

// onStop is what a process does when it is ordered to stop.
type onStop struct {
	Exit    string
	DelayMS int `json:"delay_ms"`
	Ignore  bool
}

type step struct {
	Do     op
	Result any
	Events []event
	State  any
}

// op is something that is done to the tree.
type op struct {
	Op       string
	Child    string
	Dyn      string
	Reason   string
	Sup      string
	Fn       string
	Spec     *node
	MS       int
	Sups     []string
	Ops      []op
	AtMS     int `json:"at_ms"`
	SettleMS int `json:"settle_ms"`
}

// event is something that was seen.
type event struct {
	Ev         string
	Sup        string
	Child      string
	N          uint64
	Result     string
	How        string
	Context    string
	Reason     string
	TargetDead bool `json:"target_dead"`
	Group      int
	TMS        int `json:"t_ms"`
}

func (e event) String() string {
	switch e.Ev {
	case "start":
		return fmt.Sprintf("%s starts %s/%d: %s", e.Sup, e.Child, e.N, e.Result)
	case "stop":
		return fmt.Sprintf("%s stops %s/%d: %s", e.Sup, e.Child, e.N, e.How)
	case "report", "give_up":
		return fmt.Sprintf("%s: %s reports %s of %s: %s", e.Ev, e.Sup, e.Context, e.Child, e.Reason)
	}
	return fmt.Sprintf("%s %s/%d: %s", e.Ev, e.Child, e.N, e.Reason)
}

// traces reads the traces of the folder.
func traces(t *testing.T) []*trace {
	t.Helper()
	dir := os.Getenv("BHNODE_GOLDEN_DIR")
	if dir == "" {
		dir = filepath.Join("testdata", "golden")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no traces in %s: %v", dir, err)
	}
	var all []*trace
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tr := &trace{}
		if err := json.Unmarshal(text, tr); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if tr.Format != "otp-golden/1" {
			t.Fatalf("%s: format %q is not known", file, tr.Format)
		}
		all = append(all, tr)
	}
	return all
}

func (tr *trace) flagged(flag string) bool { return slices.Contains(tr.Flags, flag) }

// find is the node of that name below n, and the name of the supervisor above it.
func (n *node) find(id, above string) (*node, string) {
	if n.ID == id {
		return n, above
	}
	if n.Strategy == "simple_one_for_one" {
		return nil, ""
	}
	for _, k := range n.Children {
		if found, sup := k.find(id, n.ID); found != nil {
			return found, sup
		}
	}
	return nil, ""
}

// prefixed is n with other names.
func (n *node) prefixed(prefix string) *node {
	if n == nil {
		return nil
	}
	other := *n
	other.ID = prefix + n.ID
	other.Children = nil
	for _, k := range n.Children {
		other.Children = append(other.Children, k.prefixed(prefix))
	}
	other.DynStart, other.DynOnStop = map[string][]attempt{}, map[string]onStop{}
	for name, script := range n.DynStart {
		other.DynStart[prefix+name] = script
	}
	for name, on := range n.DynOnStop {
		other.DynOnStop[prefix+name] = on
	}
	return &other
}

// prefixed is o with other names.
func (o op) prefixed(prefix string) op {
	name := func(s string) string {
		if s == "" {
			return ""
		}
		return prefix + s
	}
	o.Child, o.Dyn, o.Sup, o.Spec = name(o.Child), name(o.Dyn), name(o.Sup), o.Spec.prefixed(prefix)
	o.Sups, o.Ops = slices.Clone(o.Sups), slices.Clone(o.Ops)
	for i := range o.Sups {
		o.Sups[i] = name(o.Sups[i])
	}
	for i := range o.Ops {
		o.Ops[i] = o.Ops[i].prefixed(prefix)
	}
	return o
}

// inexpressible says why real processes cannot do what a trace is about ("": they
// can).
func (tr *trace) inexpressible() string {
	if tr.flagged("informative") {
		return "a hazard of OTP's own, which is not followed"
	}
	nodes := []*node{tr.Tree}
	for _, s := range tr.Steps {
		for _, o := range append(s.Do.Ops, s.Do) {
			if o.Spec != nil {
				nodes = append(nodes, o.Spec)
			}
		}
	}
	for _, n := range nodes {
		if n.declines() {
			return "a process cannot decline to start"
		}
	}
	return ""
}

// declines tells whether a start at or below n declines.
func (n *node) declines() bool {
	scripts := [][]attempt{n.Start}
	for _, s := range n.DynStart {
		scripts = append(scripts, s)
	}
	for _, s := range scripts {
		if slices.ContainsFunc(s, func(a attempt) bool { return a.Result == "ignore" }) {
			return true
		}
	}
	return slices.ContainsFunc(n.Children, (*node).declines)
}

func (n *node) isSupervisor() bool { return n.Type == "supervisor" }

// spec is the node as supervision takes it.
func (n *node) spec() supervision.ChildSpec {
	c := supervision.ChildSpec{
		ID: supervision.ChildID(n.ID), Significant: n.Significant, Shutdown: n.shutdown(),
		Restart: map[string]supervision.Restart{
			"permanent": supervision.Permanent, "transient": supervision.Transient, "temporary": supervision.Temporary,
		}[n.Restart],
	}
	if n.isSupervisor() {
		s := n.supervisor()
		c.Supervisor = &s
	}
	return c
}

func (n *node) shutdown() supervision.Shutdown {
	switch n.Shutdown {
	case "brutal_kill":
		return supervision.Shutdown{Mode: supervision.BrutalKill}
	case "infinity":
		return supervision.Shutdown{Mode: supervision.Infinity}
	}
	return supervision.Shutdown{Mode: supervision.Timed, Grace: time.Duration(n.ShutdownMS) * time.Millisecond}
}

func (n *node) supervisor() supervision.SupervisorSpec {
	s := supervision.SupervisorSpec{
		ID: supervision.ChildID(n.ID), Order: supervision.Sequence,
		Intensity: supervision.Intensity{Max: n.Intensity, Period: time.Duration(n.PeriodS) * time.Second},
		Strategy: map[string]supervision.Strategy{
			"one_for_one": supervision.OneForOne, "rest_for_one": supervision.RestForOne,
			"one_for_all": supervision.OneForAll, "simple_one_for_one": supervision.SimpleOneForOne,
		}[n.Strategy],
		AutoShutdown: map[string]supervision.AutoShutdown{
			"never": supervision.Never, "any_significant": supervision.AnySignificant, "all_significant": supervision.AllSignificant,
		}[n.AutoShutdown],
	}
	for _, k := range n.Children {
		s.Children = append(s.Children, k.spec())
	}
	return s
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
