package configs

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// outline writes a supervisor and its children in one line.
func outline(s supervision.SupervisorSpec) string {
	var children []string
	for _, c := range s.Children {
		if c.Supervisor != nil {
			children = append(children, outline(*c.Supervisor))
		} else {
			children = append(children, string(c.ID))
		}
	}
	return fmt.Sprintf("%s(%s)", s.ID, strings.Join(children, " "))
}

func TestTree(t *testing.T) {
	c := mustParse(t, `
supervisor: {strategy: one_for_all, order: sequence, max_restarts: 3, restart_window: 10s, auto_shutdown: all_significant}
services:
  late: {command: [x]}
  identity: {command: [x]}
  ledger: {command: [x]}
  storage: {command: [x]}
  off: {enabled: false}
  deep: {command: [x], restart: {type: never}, significant: true}
tree:
  - identity
  - supervisor: data
    strategy: one_for_one
    restart: transient
    significant: true
    initial_delay: 10m
    children:
      - storage
      - off
      - {supervisor: inner, auto_shutdown: any_significant, children: [deep]}
      - ledger
`)
	if got, want := outline(c.Tree), "root(identity data(storage inner(deep) ledger) late)"; got != want {
		t.Errorf("tree is %s, want %s", got, want)
	}
	if c.Tree.Strategy != supervision.OneForAll || c.Tree.Order != supervision.Sequence || c.Tree.AutoShutdown != supervision.AllSignificant ||
		c.Tree.Intensity != (supervision.Intensity{Max: 3, Period: 10 * time.Second}) {
		t.Errorf("root is %+v", c.Tree)
	}
	data := c.Tree.Children[1]
	want := supervision.ChildSpec{
		ID: "data", Restart: supervision.Transient, Significant: true,
		Shutdown: supervision.Shutdown{Mode: supervision.Infinity},
		Backoff:  supervision.Backoff{Initial: 10 * time.Minute, Max: 10 * time.Minute, Factor: 2, Jitter: 0.1, ResetAfter: time.Minute},
	}
	got := data
	got.Supervisor = nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	var supervisors []string
	for i := range c.Services {
		supervisors = append(supervisors, c.Services[i].Name+":"+c.Services[i].Supervisor)
	}
	wantOf := []string{"late:root", "identity:root", "ledger:data", "storage:data", "off:data", "deep:inner"}
	if diff := cmp.Diff(wantOf, supervisors); diff != "" {
		t.Errorf("supervisors (-want +got):\n%s", diff)
	}
}

func TestDependencies(t *testing.T) {
	c := mustParse(t, `
services:
  a: {tcp_port: 7}
  job: {command: [x]}
  off: {enabled: false, depends_on: [gone-too]}
  gone-too: {enabled: false}
  b:
    depends_on:
      a: {condition: started}
      job: {condition: completed}
      off: {required: false}
      gone: {required: false}
  c: {depends_on: {a: , job: {condition: completed, restart: true}}}
`)
	b, last := c.Tree.Children[2], c.Tree.Children[3]
	if diff := cmp.Diff([]supervision.Dependency{
		{On: "a", Condition: supervision.WhenStarted, Restart: true},
		{On: "job", Condition: supervision.WhenCompleted},
	}, b.DependsOn); diff != "" {
		t.Errorf("edges of b (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]supervision.Dependency{
		{On: "a", Condition: supervision.WhenHealthy, Restart: true},
		{On: "job", Condition: supervision.WhenCompleted, Restart: true},
	}, last.DependsOn); diff != "" {
		t.Errorf("edges of c (-want +got):\n%s", diff)
	}
	if job := c.Tree.Children[1]; job.Restart != supervision.Transient {
		t.Errorf("a service needed as completed has restart type %d, want transient", job.Restart)
	}
	svc := c.Services[4]
	wantPeers := []proc.Peer{{Name: "a", UnixSocket: "/etc/bh/run/svc/a/a.sock", TCPPort: 7}, {Name: "job"}}
	if diff := cmp.Diff(wantPeers, svc.Peers); diff != "" {
		t.Errorf("peers of b (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"a", "job"}, svc.DependsOn); diff != "" {
		t.Errorf("dependencies of b (-want +got):\n%s", diff)
	}
}

func TestSequenceThatRespectsItsEdgesIsAccepted(t *testing.T) {
	c := mustParse(t, `
supervisor: {order: sequence}
services:
  wallet: {depends_on: [ledger]}
  identity: {}
  ledger: {depends_on: [identity]}
tree:
  - identity
  - {supervisor: data, children: [ledger]}
`)
	if got, want := outline(c.Tree), "root(identity data(ledger) wallet)"; got != want {
		t.Errorf("tree is %s, want %s", got, want)
	}
}

func TestWarningsNameEachThingOnce(t *testing.T) {
	for text, want := range map[string]int{
		"services: {a: {command: [a]}}": 0,
		"metrics: {listen: \"\"}\nnode: {on_daemon_death: kill}\nservices: {a: {command: [a]}}":                                      0,
		"metrics: {listen: \"\"}\nnode: {on_daemon_death: kill}\ndefaults: {resources: {memory_mb: 1}}\nservices: {a: , b: }":        0,
		"metrics: {listen: \"\", tls: none, compat_names: false}\nremote: {listen: \"\"}\naccess: []\ntls: {ca: \"\"}\nservices: {}": 0,
	} {
		if c := mustParse(t, text); len(c.Warnings) != want {
			t.Errorf("%s\nwarnings are %q, want %d", text, c.Warnings, want)
		}
	}
}
