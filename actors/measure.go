package actors

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/actors/metrics"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// measure makes the metrics of a node.
func (n *nodeContext) measure() {
	n.metrics = metrics.New(metrics.Options{Version: n.cfg.Version, Compat: n.cfg.CompatMetrics})
	n.system.EventStream.Subscribe(func(event any) {
		if _, ok := event.(*actor.DeadLetterEvent); ok {
			n.metrics.DeadLetter()
		}
	})
}

// MetricsServer returns what serves the metrics and the health of the node over HTTP.
func (n *Node) MetricsServer() *http.Server { return n.metrics.Server(n.look) }

// look is how the node is, for its metrics.
func (n *Node) look(ctx context.Context) (*metrics.Snapshot, error) {
	views, err := n.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s := &metrics.Snapshot{
		Ready: nodeState(views) == bhnodev1.NodeState_NODE_STATE_READY, States: map[string]int{}, Mailboxes: n.mailboxes.waiting(n.kindOf),
	}
	for v := range states {
		s.States[string(v)] = 0
	}
	s.States["disabled"] = len(n.cfg.Services)
	for _, v := range views {
		if v.Nested {
			n.metrics.Supervises(string(v.ID))
			s.Supervisors = append(s.Supervisors, metrics.Supervisor{Name: string(v.ID), InWindow: v.InWindow, Limit: max(v.Limit.Max, 0)})
			continue
		}
		s.States["disabled"]--
		s.States[string(v.State)]++
		s.Services = append(s.Services, n.measured(v, now))
	}
	return s, nil
}

func (n *nodeContext) measured(v supervision.View, now time.Time) metrics.Service {
	svc := n.services.get(v.ID)
	s := metrics.Service{Name: string(v.ID), State: string(v.State), Wanted: v.Wanted}
	s.Healthy = v.State == supervision.StateRunning || v.State == supervision.StateCompleted
	s.MemoryLimit = uint64(max(svc.Spec.Limits.MemoryMB, 0)) << 20
	var u *inUse
	if u, s.Totals = svc.tally.show(v.Incarnation); u != nil {
		s.Sample = &u.Sample
	}
	if d := svc.detail.Load(); d.Incarnation == v.Incarnation && d.Pid != 0 {
		s.Uptime = new(now.Sub(d.StartedAt))
	}
	b := svc.lines
	s.Totals.Lines = map[string]uint64{"stdout": b.written.stdout.Load(), "stderr": b.written.stderr.Load()}
	s.Totals.Dropped = b.disk.gone.Load()
	return s
}

// rootName is that of the supervisor of all.
func (n *nodeContext) rootName() string { return string(n.cfg.Tree.Root.Spec.ID) }

// kindOf is what kind of actor one of a name is.
func (n *nodeContext) kindOf(name string) string {
	kind, _, _ := strings.Cut(name, "/")
	switch {
	case kind == "log", kind == "announcer", name == recordsName, name == journalName, name == samplerName, name == n.rootName():
		return kind
	case n.services.get(supervision.ChildID(name)) != nil:
		return "service"
	}
	return "supervisor"
}
