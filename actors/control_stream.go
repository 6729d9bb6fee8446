package actors

import (
	"context"
	"regexp"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/proc/logstore"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// streamBatch is how many entries go into one message.
const streamBatch = 256

// StreamEvents implements the API.
func (s *Control) StreamEvents(r *bhnodev1.StreamEventsRequest, stream grpc.ServerStreamingServer[bhnodev1.StreamEventsResponse]) error {
	ctx := stream.Context()
	var f *Follower[eventRecord]
	if r.GetFollow() {
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
	for {
		select {
		case batch := <-f.Batches():
			if f.Lost() > 0 { // what was lost is in memory still
				if batch, err = s.node.FollowEvents(ctx, nil); err != nil {
					return toStatus(err)
				}
			}
			if err := send.send(send.wanted(batch)); err != nil {
				return err
			}
		case <-ctx.Done():
			return toStatus(ctx.Err())
		case <-s.node.stopped:
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

// StreamLogs implements the API.
func (s *Control) StreamLogs(r *bhnodev1.StreamLogsRequest, stream grpc.ServerStreamingServer[bhnodev1.StreamLogsResponse]) error {
	send, err := s.newLogSender(r, stream)
	if err != nil {
		return err
	}
	ctx := stream.Context()
	f := NewFollower[logstore.Entry]()
	defer s.node.UnfollowLogs(send.services, f)
	var live *Follower[logstore.Entry]
	if r.GetFollow() {
		live = f
	}
	last, err := s.node.FollowLogs(ctx, send.services, live)
	if err != nil {
		return toStatus(err)
	}
	if err := send.past(ctx, s.node, last, r); err != nil {
		return toStatus(err)
	}
	if err := send.flush(0); err != nil || !r.GetFollow() {
		return err
	}
	for {
		select {
		case batch := <-f.Batches():
			for _, e := range batch {
				if e.Seq > last[e.Service] && send.matches(e) {
					send.buffer = append(send.buffer, LineOf(e))
				}
			}
			if err := send.flush(f.Lost()); err != nil {
				return err
			}
		case <-ctx.Done():
			return toStatus(ctx.Err())
		case <-s.node.stopped:
			return nil
		}
	}
}

// logSender sends the lines that were asked for.
type logSender struct {
	services []string
	since    time.Time
	stream   string
	grep     *regexp.Regexp
	buffer   []*bhnodev1.LogEntry
	out      grpc.ServerStreamingServer[bhnodev1.StreamLogsResponse]
}

func (s *Control) newLogSender(r *bhnodev1.StreamLogsRequest, out grpc.ServerStreamingServer[bhnodev1.StreamLogsResponse]) (*logSender, error) {
	l := &logSender{stream: r.GetStream(), out: out}
	if r.GetSince() != nil {
		l.since = r.GetSince().AsTime()
	}
	if r.GetGrep() != "" {
		var err error
		if l.grep, err = regexp.Compile(r.GetGrep()); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "the pattern is no regular expression: %v", err)
		}
	}
	for _, name := range r.GetServices() {
		id := supervision.ChildID(name)
		if s.node.services[id] == nil {
			return nil, toStatus(&supervision.UnknownChildError{ID: id})
		}
		if !slices.Contains(l.services, name) {
			l.services = append(l.services, name)
		}
	}
	if len(l.services) == 0 {
		for i := range s.node.cfg.Services {
			l.services = append(l.services, s.node.cfg.Services[i].Spec.Name)
		}
	}
	return l, nil
}

func (l *logSender) matches(e logstore.Entry) bool {
	return (l.stream == "" || e.Stream == l.stream) && (l.grep == nil || l.grep.Match(e.Line)) && !e.Time.Before(l.since)
}

// flush sends what has gathered.
func (l *logSender) flush(dropped uint64) error {
	if len(l.buffer) == 0 && dropped == 0 {
		return nil
	}
	m := &bhnodev1.StreamLogsResponse{Entries: l.buffer, Dropped: dropped}
	l.buffer = nil
	return l.out.Send(m)
}

// past sends what is on disk, merged by time.
func (l *logSender) past(ctx context.Context, n *Node, last map[string]uint64, r *bhnodev1.StreamLogsRequest) error {
	q := logstore.Query{Since: l.since, Stream: l.stream, Grep: l.grep}
	if r.Tail != nil {
		tail := int(r.GetTail())
		q.Tail = &tail
	}
	if n.cfg.Logs.Dir == "" || q.Tail != nil && *q.Tail == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	merged := newMerge(ctx, n.cfg.Logs, l.services, q)
	var gathered []logstore.Entry
	for {
		e, ok, err := merged.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if e.Seq > last[e.Service] {
			continue // it comes to the follower
		}
		if q.Tail != nil {
			gathered = append(gathered, e)
			continue
		}
		l.buffer = append(l.buffer, LineOf(e))
		if len(l.buffer) >= streamBatch {
			if err := l.flush(0); err != nil {
				return err
			}
		}
	}
	if q.Tail != nil {
		gathered = gathered[max(0, len(gathered)-*q.Tail):]
	}
	for _, e := range gathered {
		l.buffer = append(l.buffer, LineOf(e))
	}
	return nil
}
