package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// fakeNode answers from its fields and keeps what it was asked.
type fakeNode struct {
	isolation *bhnodev1.Isolation
	bhnodev1.UnimplementedNodeServer

	mu       sync.Mutex
	services []*bhnodev1.Service
	asked    []proto.Message

	tree    *bhnodev1.TreeNode
	entries []*bhnodev1.LogEntry
	dropped uint64
	events  []*bhnodev1.Event
	fail    error                       // of every command
	act     func(context.Context) error // during start, stop, restart that are no dry run
	stop    func()                      // on shutdown

	watchOnce bool // a watch ends after one snapshot
}

func (n *fakeNode) note(m proto.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, m)
}

// last is the last request that was no question for the status.
func (n *fakeNode) last() proto.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.asked) == 0 {
		return nil
	}
	return n.asked[len(n.asked)-1]
}

// set changes the state of a service, and starts a new life with a pid.
func (n *fakeNode) set(name string, state bhnodev1.ServiceState, health bhnodev1.Health) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, s := range n.services {
		if s.GetName() == name {
			s = proto.CloneOf(s)
			s.State, s.Health, s.Message, s.Reason = state, health, "", bhnodev1.Reason_REASON_UNSPECIFIED
			n.services[i] = s
		}
	}
}

func (n *fakeNode) GetNode(context.Context, *bhnodev1.GetNodeRequest) (*bhnodev1.GetNodeResponse, error) {
	return &bhnodev1.GetNodeResponse{Name: "alpha", Version: "v1", Pid: 4000}, nil
}

func (n *fakeNode) GetStatus(_ context.Context, req *bhnodev1.GetStatusRequest) (*bhnodev1.GetStatusResponse, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := &bhnodev1.GetStatusResponse{Node: "alpha", Services: n.services, Isolation: n.isolation}
	if len(req.GetNames()) == 0 {
		return out, nil
	}
	out.Services = nil
	for _, name := range req.GetNames() {
		i := slices.IndexFunc(n.services, func(s *bhnodev1.Service) bool { return s.GetName() == name })
		if i < 0 {
			return nil, status.Errorf(codes.NotFound, "no service %q", name)
		}
		s := proto.CloneOf(n.services[i])
		if name == "storage" {
			s.Counters = &bhnodev1.Counters{ThrottledPeriods: 34, Throttled: durationpb.New(3200 * time.Millisecond), ForksRefused: 1}
			s.Limits = []*bhnodev1.Limit{
				{Name: "cpu_percent", Value: "200", EnforcedBy: "cgroup v2"},
				{Name: "io_weight", Value: "500", Why: "not effective: no disk has the scheduler bfq", Help: "echo bfq > /sys/block/DISK/queue/scheduler"},
			}
		}
		s.LastLines = []string{"12:02:08 INF compaction done", "\x1b[31mred\x1b[0m \x1b]0;title\x07"}
		out.Services = append(out.Services, s)
	}
	return out, nil
}

func (n *fakeNode) WatchStatus(req *bhnodev1.WatchStatusRequest, out bhnodev1.Node_WatchStatusServer) error {
	st, _ := n.GetStatus(out.Context(), &bhnodev1.GetStatusRequest{})
	now := &bhnodev1.WatchStatusResponse{Status: st, Tree: &bhnodev1.GetTreeResponse{Root: n.tree}}
	if err := out.Send(now); err != nil {
		return err
	}
	if req.GetUse() { // a rate takes two looks
		if err := out.Send(used(st, n.tree, 2)); err != nil {
			return err
		}
	}
	if !n.watchOnce {
		<-out.Context().Done()
	}
	return nil
}

func (n *fakeNode) GetTree(context.Context, *bhnodev1.GetTreeRequest) (*bhnodev1.GetTreeResponse, error) {
	return &bhnodev1.GetTreeResponse{Root: n.tree}, nil
}

func (n *fakeNode) do(ctx context.Context, req proto.Message) error {
	n.note(req)
	if dry, ok := req.(interface{ GetDryRun() bool }); ok && dry.GetDryRun() {
		return n.fail
	}
	if n.act != nil {
		return n.act(ctx)
	}
	return n.fail
}

func (n *fakeNode) StartServices(ctx context.Context, req *bhnodev1.StartServicesRequest) (*bhnodev1.StartServicesResponse, error) {
	return &bhnodev1.StartServicesResponse{}, n.do(ctx, req)
}

func (n *fakeNode) StopServices(ctx context.Context, req *bhnodev1.StopServicesRequest) (*bhnodev1.StopServicesResponse, error) {
	return &bhnodev1.StopServicesResponse{}, n.do(ctx, req)
}

func (n *fakeNode) RestartServices(ctx context.Context, req *bhnodev1.RestartServicesRequest) (*bhnodev1.RestartServicesResponse, error) {
	out := &bhnodev1.RestartServicesResponse{}
	if req.GetDryRun() {
		out.Consequence = &bhnodev1.Consequence{
			Stops:  []*bhnodev1.Wave{{Services: []string{"ledger"}}, {Services: []string{"storage"}}},
			Starts: []*bhnodev1.Wave{{Services: []string{"storage"}}, {Services: []string{"ledger"}}},
		}
	}
	return out, n.do(ctx, req)
}

func (n *fakeNode) PauseSupervisor(ctx context.Context, req *bhnodev1.PauseSupervisorRequest) (*bhnodev1.PauseSupervisorResponse, error) {
	return &bhnodev1.PauseSupervisorResponse{}, n.do(ctx, req)
}

func (n *fakeNode) ResumeSupervisor(ctx context.Context, req *bhnodev1.ResumeSupervisorRequest) (*bhnodev1.ResumeSupervisorResponse, error) {
	return &bhnodev1.ResumeSupervisorResponse{}, n.do(ctx, req)
}

func (n *fakeNode) SignalService(ctx context.Context, req *bhnodev1.SignalServiceRequest) (*bhnodev1.SignalServiceResponse, error) {
	return &bhnodev1.SignalServiceResponse{Pid: 4188}, n.do(ctx, req)
}

func (n *fakeNode) Shutdown(ctx context.Context, req *bhnodev1.ShutdownRequest) (*bhnodev1.ShutdownResponse, error) {
	if n.stop != nil {
		n.stop()
	}
	return &bhnodev1.ShutdownResponse{}, n.do(ctx, req)
}

func (n *fakeNode) StreamLogs(req *bhnodev1.StreamLogsRequest, out bhnodev1.Node_StreamLogsServer) error {
	n.note(req)
	if _, err := n.GetStatus(out.Context(), &bhnodev1.GetStatusRequest{Names: req.GetServices()}); err != nil {
		return err
	}
	if err := out.Send(&bhnodev1.StreamLogsResponse{Entries: n.entries, Dropped: n.dropped}); err != nil {
		return err
	}
	if req.GetFollow() {
		<-out.Context().Done()
	}
	return n.fail
}

func (n *fakeNode) StreamEvents(req *bhnodev1.StreamEventsRequest, out bhnodev1.Node_StreamEventsServer) error {
	n.note(req)
	events := slices.Clone(n.events)
	if names := req.GetNames(); len(names) > 0 && req.GetTail() == 1 { // the question whether there is any
		events = slices.DeleteFunc(events, func(e *bhnodev1.Event) bool { return !slices.Contains(names, e.GetService()+e.GetSupervisor()) })
	}
	if err := out.Send(&bhnodev1.StreamEventsResponse{Events: events}); err != nil {
		return err
	}
	if req.GetFollow() {
		<-out.Context().Done()
	}
	return n.fail
}

// Shorthands of the values below.
const (
	running = bhnodev1.ServiceState_SERVICE_STATE_RUNNING
	healthy = bhnodev1.Health_HEALTH_HEALTHY
	down    = bhnodev1.Health_HEALTH_DOWN
)

func before(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(noon.Add(-d)) }

// troubled is a node on which much is going on.
func troubled() *fakeNode {
	return &fakeNode{services: []*bhnodev1.Service{
		{
			Name: "identity", State: running, Health: healthy, Wanted: true, Pid: new(int32(4021)), Incarnation: 1,
			Supervisor: "root", StartedAt: before(12 * time.Minute), Uptime: durationpb.New(12 * time.Minute),
			NeededBy: []string{"storage", "ledger"}, UnixSocket: "/run/bh/identity.sock",
		},
		{
			Name: "storage", State: running, Health: healthy, Wanted: true, Pid: new(int32(4188)), Incarnation: 3, Restarts: 2,
			Supervisor: "data", Description: "block store", StartedAt: before(38 * time.Second), Uptime: durationpb.New(38 * time.Second),
			Exit:         &bhnodev1.Exit{Signal: new("SIGKILL"), OomKilled: true, Time: before(41 * time.Second)},
			HealthDetail: &bhnodev1.HealthDetail{LastCheck: before(2 * time.Second), Latency: durationpb.New(1240 * time.Microsecond)},
			CpuPercent:   new(8.04), MemoryRssBytes: new(uint64(211 << 20)), MemoryVmsBytes: new(uint64(1 << 30)),
			Threads: new(uint32(7)), OpenFiles: new(uint32(88)), Connections: new(uint32(1)),
			IoReadBytes: new(uint64(1258291)), IoWriteBytes: new(uint64(0)),
			UnixSocket: "/run/bh/storage.sock", TcpPort: 7002, DependsOn: []string{"identity"}, NeededBy: []string{"ledger"},
			Reason: bhnodev1.Reason_REASON_OOM, Command: []string{"/opt/bh/storage", "--name", "a store", "--token", "***"},
		},
		{
			Name: "ledger", State: bhnodev1.ServiceState_SERVICE_STATE_BACKOFF, Health: down, Wanted: true, Incarnation: 2, Restarts: 1,
			Supervisor: "data", Exit: &bhnodev1.Exit{Code: new(int32(3)), Time: before(time.Second)},
			HealthDetail: &bhnodev1.HealthDetail{LastCheck: before(90 * time.Second), LastError: new("connection refused"), Failures: 3},
			DependsOn:    []string{"identity", "storage"}, NeededBy: []string{"wallet"}, Reason: bhnodev1.Reason_REASON_EXIT,
			Message: "exit 3", NextStart: timestamppb.New(noon.Add(2 * time.Second)),
		},
		{
			Name: "wallet", State: bhnodev1.ServiceState_SERVICE_STATE_WAITING, Health: bhnodev1.Health_HEALTH_UNKNOWN, Wanted: true,
			Supervisor: "root", DependsOn: []string{"ledger"}, Message: "for ledger (healthy)",
		},
		{
			Name: "cache", State: bhnodev1.ServiceState_SERVICE_STATE_STOPPED, Health: down, Held: true,
			Supervisor: "root", Reason: bhnodev1.Reason_REASON_HELD, Incarnation: 1,
		},
		{
			Name: "migrate", State: bhnodev1.ServiceState_SERVICE_STATE_COMPLETED, Health: down, Wanted: true,
			Supervisor: "root", Exit: &bhnodev1.Exit{Code: new(int32(0)), Time: before(26 * time.Hour)}, Incarnation: 1,
		},
	}, tree: troubledTree(), entries: troubledLogs(), events: troubledEvents()}
}

// well is a node on which everything runs.
func well() *fakeNode {
	n := troubled()
	n.services = n.services[:2]
	return n
}

func troubledTree() *bhnodev1.TreeNode {
	supervisor, service := bhnodev1.NodeKind_NODE_KIND_SUPERVISOR, bhnodev1.NodeKind_NODE_KIND_SERVICE
	minute := durationpb.New(time.Minute)
	return &bhnodev1.TreeNode{
		Name: "root", Kind: supervisor, Strategy: "rest_for_one", Order: "graph", State: running, Health: bhnodev1.Health_HEALTH_UNHEALTHY,
		RestartsInWindow: 1, RestartLimit: 10, RestartWindow: minute, Uptime: durationpb.New(12 * time.Minute), Actor: "root",
		Children: []*bhnodev1.TreeNode{
			{
				Name: "identity", Kind: service, State: running, Health: healthy, Pid: new(int32(4021)), Incarnation: 1,
				Uptime: durationpb.New(12 * time.Minute), Actor: "root/identity",
			},
			{
				Name: "data", Kind: supervisor, Strategy: "one_for_one", Order: "graph", State: running, Health: bhnodev1.Health_HEALTH_UNHEALTHY,
				RestartsInWindow: 3, RestartLimit: 10, RestartWindow: minute, Paused: true, Actor: "root/data",
				Children: []*bhnodev1.TreeNode{
					{
						Name: "storage", Kind: service, State: running, Health: healthy, Pid: new(int32(4188)), Incarnation: 3,
						Restarts: 2, Uptime: durationpb.New(38 * time.Second), DependsOn: []string{"identity"}, Actor: "root/data/storage",
					},
					{
						Name: "ledger", Kind: service, State: bhnodev1.ServiceState_SERVICE_STATE_BACKOFF, Health: down, Restarts: 1,
						DependsOn: []string{"identity", "storage"}, Message: "exit 3", Actor: "root/data/ledger",
					},
				},
			},
			{
				Name: "cache", Kind: service, State: bhnodev1.ServiceState_SERVICE_STATE_STOPPED, Health: down, Held: true, Actor: "root/cache",
			},
		},
	}
}

func troubledLogs() []*bhnodev1.LogEntry {
	return []*bhnodev1.LogEntry{
		{Time: before(3 * time.Second), Service: "storage", Stream: "stdout", Pid: 4188, Seq: 1, Message: []byte("ready <&>")},
		{
			Time: before(2 * time.Second), Service: "identity", Stream: "stdout", Pid: 4021, Seq: 9, Message: []byte("signed in"),
			Level: "info", Fields: []byte(`{"user":"anna lee","n":3,"time":"x","who":"bo"}`),
		},
		{
			Time: before(time.Second), Service: "storage", Stream: "stderr", Pid: 4188, Seq: 2, Partial: true,
			Message: []byte("\x1b[31mred\x1b[0m \x1b]0;evil\x07\x1b[2J tab\there caf\u00e9 \u202eabc \x9b1m \xff\r"),
		},
		{Time: before(26 * time.Hour), Service: "storage", Stream: "stderr", Pid: 4188, Seq: 3, Level: "error", Message: []byte("old")},
	}
}

func troubledEvents() []*bhnodev1.Event {
	attrs, _ := structpb.NewStruct(map[string]any{"code": 3})
	return []*bhnodev1.Event{
		{Seq: 8119, Time: before(3 * time.Second), Type: "service.exited", Service: "ledger", Incarnation: 2, Pid: 4190, Message: "exit 3", Attrs: attrs},
		{Seq: 8120, Time: before(3 * time.Second), Type: "supervisor.restarting", Supervisor: "data", Cause: 8119, Message: "ledger"},
		{Seq: 8121, Time: before(2 * time.Second), Type: "node.ready", Message: "6 services"},
	}
}
