package actors

import (
	"context"
	"time"

	"google.golang.org/grpc"

	"github.com/blackhole/bhnode/proc"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

const (
	// watchTime lies at least between two responses to a watcher.
	watchTime = 50 * time.Millisecond
	// useTime does so for one who wants to know what the services use.
	useTime = 500 * time.Millisecond
)

// WatchStatus implements the API.
func (s *Control) WatchStatus(r *bhnodev1.WatchStatusRequest, stream grpc.ServerStreamingServer[bhnodev1.WatchStatusResponse]) error {
	least := watchTime
	if r.GetUse() {
		least = useTime
	}
	interval := max(r.GetInterval().AsDuration(), least)
	events := NewFollower[eventRecord]()
	if _, err := s.node.FollowEvents(stream.Context(), events); err != nil {
		return toStatus(err)
	}
	defer s.node.UnfollowEvents(events)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		now, err := s.watched(stream.Context(), r.GetUse())
		if err != nil {
			return toStatus(err)
		}
		if err := stream.Send(now); err != nil {
			return err
		}
		if err := s.awaitChange(stream.Context(), events, tick.C, r.GetUse()); err != nil {
			return toStatus(err)
		}
	}
}

// watched is what a watcher is told, with what the services use if he wants to know.
func (s *Control) watched(ctx context.Context, use bool) (*bhnodev1.WatchStatusResponse, error) {
	out := &bhnodev1.WatchStatusResponse{}
	if use {
		s.node.sample(ctx, useTime)
		out.Machine = machineOf(proc.LookAtMachine())
	}
	views, err := s.node.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	services, err := s.node.statusOf(views, nil)
	if err != nil {
		return nil, err
	}
	out.Status = &bhnodev1.GetStatusResponse{Node: s.node.cfg.Name, Services: services, State: nodeState(views)}
	out.Tree = &bhnodev1.GetTreeResponse{Root: s.node.tree(views)}
	return out, nil
}

// awaitChange returns at the first tick after something has happened, or with always at
// the next one.
func (s *Control) awaitChange(ctx context.Context, events *Follower[eventRecord], tick <-chan time.Time, always bool) error {
	if !always {
		select {
		case <-events.Batches():
		case <-ctx.Done():
			return ctx.Err()
		case <-s.node.root.gone:
			return errGone
		}
	}
	select {
	case <-tick:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.node.root.gone:
		return errGone
	}
	for {
		select {
		case <-events.Batches():
		default:
			return nil
		}
	}
}

func machineOf(m proc.Machine) *bhnodev1.Machine {
	return &bhnodev1.Machine{
		Processors: uint32(m.Processors), Load: m.Load, MemoryBytes: m.Memory, MemoryAvailableBytes: m.Available, //nolint:gosec // a small count
		CpuPressure: m.CPUPressure, MemoryPressure: m.MemoryPressure, IoPressure: m.IOPressure,
	}
}
