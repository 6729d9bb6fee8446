package actors

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// Status returns all services in the order of the configuration.
func (n *Node) Status(ctx context.Context) ([]*bhnodev1.Service, error) {
	views, err := n.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return n.statusOf(views, nil)
}

// statusOf returns services, all or those named, in the order of the
// configuration.
func (n *nodeContext) statusOf(views []supervision.View, names []string) ([]*bhnodev1.Service, error) {
	byID := make(map[supervision.ChildID]supervision.View, len(views))
	for _, v := range views {
		byID[v.ID] = v
	}
	for _, name := range names {
		if n.services.get(supervision.ChildID(name)) == nil {
			return nil, &supervision.UnknownChildError{ID: supervision.ChildID(name)}
		}
	}
	now := time.Now()
	var out []*bhnodev1.Service
	for i := range n.cfg.Services {
		svc := &n.cfg.Services[i]
		if len(names) > 0 && !slices.Contains(names, svc.Spec.Name) {
			continue
		}
		v, enabled := byID[supervision.ChildID(svc.Spec.Name)]
		row := n.serviceOf(svc, v, enabled, now)
		if len(names) > 0 {
			s := n.services.get(supervision.ChildID(svc.Spec.Name))
			row.Limits, row.Counters = limitsOf(s.limits), countersOf(*s.detail.Load())
		}
		out = append(out, row)
	}
	return out, nil
}

func (n *nodeContext) serviceOf(svc *Service, v supervision.View, enabled bool, now time.Time) *bhnodev1.Service {
	out := &bhnodev1.Service{
		Name: svc.Spec.Name, Description: svc.Description, Command: svc.Command, DependsOn: svc.DependsOn,
		UnixSocket: svc.Spec.UnixSocket, TcpPort: int32(svc.Spec.TCPPort), //nolint:gosec // a port fits
		State: bhnodev1.ServiceState_SERVICE_STATE_DISABLED, Health: bhnodev1.Health_HEALTH_DOWN,
		HealthDetail: &bhnodev1.HealthDetail{}, NeededBy: n.neededBy(svc.Spec.Name),
	}
	if !enabled {
		return out
	}
	out.State, out.Health = states[v.State], healthOf(v)
	out.Wanted, out.Held = v.Wanted, v.Held
	out.Incarnation, out.Restarts = v.Incarnation, v.Restarts
	out.Supervisor = string(v.Supervisor)
	out.Reason, out.Message = reasons[v.Reason], v.Detail
	out.RestartsInWindow, out.RestartLimit = uint32(v.InWindow), uint32(max(v.Limit.Max, 0)) //nolint:gosec // small counts
	if l := svc.Spec.Limits; l.MemoryMB > 0 {
		out.MemoryLimitBytes = new(uint64(l.MemoryMB) << 20)
	}
	if l := svc.Spec.Limits; l.CPUPercent > 0 {
		out.CpuLimitPercent = new(uint32(l.CPUPercent)) //nolint:gosec // positive
	}
	if v.State == supervision.StateBackoff {
		out.NextStart = timestamppb.New(v.NextStart)
	}
	s := n.services.get(v.ID)
	fill(out, *s.detail.Load(), v, now)
	u, _ := s.tally.show(v.Incarnation)
	fillUsage(out, u)
	return out
}

func (n *nodeContext) neededBy(name string) []string {
	node := n.cfg.Tree.Node(supervision.ChildID(name))
	if node == nil {
		return nil
	}
	var out []string
	for _, e := range node.NeededBy {
		out = append(out, string(e.From.Spec.ID))
	}
	return out
}

// tree builds the tree from views in list order.
func (n *nodeContext) tree(views []supervision.View) *bhnodev1.TreeNode {
	now := time.Now()
	nodes := make(map[supervision.ChildID]*bhnodev1.TreeNode, len(views))
	var root *bhnodev1.TreeNode
	for _, v := range views {
		t := n.treeNode(v, now)
		nodes[v.ID] = t
		above := nodes[v.Supervisor]
		if above == nil {
			t.Actor = string(v.ID)
			root = t
			continue
		}
		t.Actor = above.GetActor() + "/" + string(v.ID)
		above.Children = append(above.Children, t)
	}
	worstHealth(root)
	return root
}

func (n *nodeContext) treeNode(v supervision.View, now time.Time) *bhnodev1.TreeNode {
	t := &bhnodev1.TreeNode{
		Name: string(v.ID), State: states[v.State], Health: healthOf(v), Incarnation: v.Incarnation, Restarts: v.Restarts,
		RestartsInWindow: uint32(v.InWindow), RestartLimit: uint32(max(v.Limit.Max, 0)), RestartWindow: durationpb.New(v.Limit.Period), //nolint:gosec // small counts
		Paused: v.Paused, Held: v.Held, Message: v.Detail, Reason: reasons[v.Reason],
	}
	if v.Nested {
		t.Kind = bhnodev1.NodeKind_NODE_KIND_SUPERVISOR
		spec := n.cfg.Tree.Node(v.ID).Spec.Supervisor
		t.Strategy, t.Order = spec.Strategy.String(), spec.Order.String()
		t.Uptime = durationpb.New(now.Sub(v.Since))
		return t
	}
	t.Kind = bhnodev1.NodeKind_NODE_KIND_SERVICE
	t.DependsOn = n.services.get(v.ID).DependsOn
	if d := *n.services.get(v.ID).detail.Load(); d.Incarnation == v.Incarnation && d.Pid != 0 {
		t.Pid = new(int32(d.Pid)) //nolint:gosec // a pid fits
		t.Uptime = durationpb.New(now.Sub(d.StartedAt))
	}
	return t
}

// worstHealth gives each supervisor the worst health of the wanted services below
// it.
func worstHealth(t *bhnodev1.TreeNode) (worst bhnodev1.Health) {
	if t.GetKind() == bhnodev1.NodeKind_NODE_KIND_SERVICE {
		if t.GetState() == bhnodev1.ServiceState_SERVICE_STATE_COMPLETED || t.GetReason() == bhnodev1.Reason_REASON_HELD {
			return bhnodev1.Health_HEALTH_HEALTHY
		}
		return t.GetHealth()
	}
	rank := map[bhnodev1.Health]int{
		bhnodev1.Health_HEALTH_HEALTHY: 0, bhnodev1.Health_HEALTH_UNKNOWN: 1, bhnodev1.Health_HEALTH_UNHEALTHY: 2, bhnodev1.Health_HEALTH_DOWN: 3,
	}
	worst = bhnodev1.Health_HEALTH_HEALTHY
	for _, c := range t.GetChildren() {
		if h := worstHealth(c); rank[h] > rank[worst] {
			worst = h
		}
	}
	t.Health = worst
	return worst
}
