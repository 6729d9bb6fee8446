package actors

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// streamBatch is how many entries go into one message, streamBytes how many bytes
// of text, beyond which at most one line comes.
const (
	streamBatch = 256
	streamBytes = 1 << 20
)

// StreamEvents implements the API.
func (s *Control) StreamEvents(r *bhnodev1.StreamEventsRequest, stream grpc.ServerStreamingServer[bhnodev1.StreamEventsResponse]) error {
	ctx := stream.Context()
	var f *Follower[eventRecord]
	if r.GetFollow() {
		s.node.guests.enter()
		defer s.node.guests.leave()
		f = NewFollower[eventRecord]()
		defer s.node.UnfollowEvents(f)
	}
	past, err := s.node.FollowEvents(ctx, f)
	if err != nil {
		return toStatus(err)
	}
	send := &eventSender{names: r.GetNames(), since: r.GetSince().AsTime(), last: r.GetAfter(), stream: stream}
	if r.GetSince() == nil {
		send.since = time.Time{}
	}
	past = send.wanted(past)
	if r.Tail != nil {
		past = past[max(0, len(past)-int(r.GetTail())):]
	}
	if err := send.send(past); err != nil || f == nil {
		return err
	}
	return each(ctx, s.node, f.Batches(), func(batch []eventRecord) error {
		if f.Lost() > 0 { // what was lost is in memory still
			if all, err := s.node.FollowEvents(ctx, nil); err == nil {
				batch = all
			}
		}
		return send.send(send.wanted(batch))
	})
}

// each sends what comes to a follower, until ctx or the node ends; then it sends
// what has come.
func each[T any](ctx context.Context, n *Node, batches <-chan []T, send func([]T) error) error {
	for {
		select {
		case batch := <-batches:
			if err := send(batch); err != nil {
				return err
			}
		case <-ctx.Done():
			return toStatus(ctx.Err())
		case <-n.records.gone:
			for len(batches) > 0 {
				if err := send(<-batches); err != nil {
					return err
				}
			}
			return nil
		}
	}
}

// eventSender sends the events that were asked for, each once.
type eventSender struct {
	names  []string
	since  time.Time
	last   uint64
	stream grpc.ServerStreamingServer[bhnodev1.StreamEventsResponse]
}

func (s *eventSender) wanted(batch []eventRecord) (out []eventRecord) {
	for _, e := range batch {
		if e.Seq <= s.last || e.Time.Before(s.since) {
			continue
		}
		s.last = e.Seq
		if len(s.names) == 0 || slices.Contains(s.names, e.Service) || slices.Contains(s.names, e.Supervisor) {
			out = append(out, e)
		}
	}
	return out
}

func (s *eventSender) send(batch []eventRecord) error {
	for chunk := range slices.Chunk(batch, streamBatch) {
		m := &bhnodev1.StreamEventsResponse{}
		for _, e := range chunk {
			m.Events = append(m.Events, EventOf(e))
		}
		if err := s.stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}
