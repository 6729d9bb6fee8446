package actors

import (
	"context"
	"regexp"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/proc/logstore"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// StreamLogs implements the API.
func (s *Control) StreamLogs(r *bhnodev1.StreamLogsRequest, stream grpc.ServerStreamingServer[bhnodev1.StreamLogsResponse]) error {
	send, err := s.newLogSender(r, stream)
	if err != nil {
		return err
	}
	ctx, n := stream.Context(), s.node
	if !r.GetFollow() {
		if err := send.past(ctx, n, r); err != nil {
			return toStatus(err)
		}
		return send.flush(0)
	}
	n.guests.enter()
	defer n.guests.leave()
	live := NewFollower[logstore.Entry]()
	defer n.UnfollowLogs(send.services, live)
	if err := send.begin(ctx, n, r, live); err != nil {
		return toStatus(err)
	}
	return each(ctx, n, live.Batches(), func(batch []logstore.Entry) error { return send.live(batch, live.Lost()) })
}

// begin sends the past, and has the follower begin where it ends. It follows only
// when the past was sent, for that may take long; what came meanwhile is read from
// the disk then.
func (l *logSender) begin(ctx context.Context, n *Node, r *bhnodev1.StreamLogsRequest, live *Follower[logstore.Entry]) (err error) {
	if n.cfg.Logs.Raw { // its lines on disk have no numbers: it begins to follow at once
		if l.last, err = n.FollowLogs(ctx, l.services, live); err != nil {
			return err
		}
		if err := l.past(ctx, n, r); err != nil {
			return err
		}
		return l.flush(0)
	}
	if l.last, err = n.FollowLogs(ctx, l.services, nil); err != nil {
		return err
	}
	if err := l.past(ctx, n, r); err != nil {
		return err
	}
	before := l.last
	if l.last, err = n.FollowLogs(ctx, l.services, live); err != nil {
		return err
	}
	if err := l.between(ctx, n, before); err != nil {
		return err
	}
	return l.flush(0)
}

// logSender sends the lines that were asked for.
type logSender struct {
	services []string
	query    logstore.Query
	last     map[string]uint64 // where the follower begins; nil: there is none
	buffer   []*bhnodev1.LogEntry
	bytes    int
	out      grpc.ServerStreamingServer[bhnodev1.StreamLogsResponse]
}

func (s *Control) newLogSender(r *bhnodev1.StreamLogsRequest, out grpc.ServerStreamingServer[bhnodev1.StreamLogsResponse]) (*logSender, error) {
	l := &logSender{query: logstore.Query{Stream: r.GetStream()}, out: out}
	if r.GetSince() != nil {
		l.query.Since = r.GetSince().AsTime()
	}
	if r.GetGrep() != "" {
		var err error
		if l.query.Grep, err = regexp.Compile(r.GetGrep()); err != nil {
			return nil, status.Errorf(codes.InvalidArgument, "the pattern is no regular expression: %v", err)
		}
	}
	if l.query.Level = r.GetLevel(); l.query.Level != "" && !slices.Contains(logstore.Levels, l.query.Level) {
		return nil, status.Errorf(codes.InvalidArgument, "there is no level %q", l.query.Level)
	}
	for _, name := range r.GetServices() {
		id := supervision.ChildID(name)
		if s.node.services.get(id) == nil {
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

// live sends lines as they come, but for those that the past has shown.
func (l *logSender) live(batch []logstore.Entry, lost uint64) error {
	for _, e := range batch {
		if e.Seq <= l.last[e.Service] {
			continue
		}
		logstore.Parse(&e)
		if !l.query.Match(&e) {
			continue
		}
		if err := l.send(e); err != nil {
			return err
		}
	}
	return l.flush(lost)
}

// send gathers a line, and sends what has gathered if that is enough.
func (l *logSender) send(e logstore.Entry) error {
	line := LineOf(e)
	l.buffer = append(l.buffer, line)
	l.bytes += len(line.GetMessage()) + len(line.GetFields())
	if len(l.buffer) < streamBatch && l.bytes < streamBytes {
		return nil
	}
	return l.flush(0)
}

// flush sends what has gathered.
func (l *logSender) flush(dropped uint64) error {
	if len(l.buffer) == 0 && dropped == 0 {
		return nil
	}
	m := &bhnodev1.StreamLogsResponse{Entries: l.buffer, Dropped: dropped}
	l.buffer, l.bytes = nil, 0
	return l.out.Send(m)
}

// past sends what is on disk, merged by time.
func (l *logSender) past(ctx context.Context, n *Node, r *bhnodev1.StreamLogsRequest) error {
	q := l.query
	if r.Tail != nil {
		tail := int(r.GetTail())
		q.Tail = &tail
	}
	if n.cfg.Logs.Dir == "" || q.Tail != nil && *q.Tail == 0 {
		return nil
	}
	if err := n.flushLogs(ctx, l.services); err != nil {
		return err
	}
	query := func(string) logstore.Query { return q }
	if q.Tail == nil || len(l.services) == 1 {
		return l.read(ctx, n, query, l.send)
	}
	last := latest{want: *q.Tail}
	err := l.read(ctx, n, query, last.add)
	if ctx.Err() != nil {
		return err
	}
	if !last.many {
		for _, e := range last.entries {
			if err := l.send(e); err != nil {
				return err
			}
		}
		return err
	}
	surplus := last.found - last.want
	return l.read(ctx, n, query, func(e logstore.Entry) error {
		if surplus > 0 {
			surplus--
			return nil
		}
		return l.send(e)
	})
}

// gapMargin is how many lines may come between a look at the number of the last
// one and the reading.
const gapMargin = 1000

// between sends what is on disk after the lines numbered so, and does not come to
// the follower.
func (l *logSender) between(ctx context.Context, n *Node, before map[string]uint64) error {
	if n.cfg.Logs.Dir == "" {
		return nil
	}
	if err := n.flushLogs(ctx, l.services); err != nil {
		return err
	}
	now, err := n.FollowLogs(ctx, l.services, nil)
	if err != nil {
		return err
	}
	return l.read(ctx, n, func(service string) logstore.Query {
		tail := int(now[service]-before[service]) + gapMargin //nolint:gosec // a number of lines
		return logstore.Query{Tail: &tail}
	}, func(e logstore.Entry) error {
		if e.Seq <= before[e.Service] || !l.query.Match(&e) {
			return nil
		}
		return l.send(e)
	})
}

// read yields what is on disk and does not come to the follower.
func (l *logSender) read(ctx context.Context, n *Node, query func(string) logstore.Query, yield func(logstore.Entry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	merged := newMerge(ctx, n.cfg.Logs, l.services, query)
	for {
		e, ok, err := merged.next()
		if err != nil || !ok {
			return err
		}
		if l.last != nil && e.Seq > l.last[e.Service] {
			continue
		}
		if err := yield(e); err != nil {
			return err
		}
	}
}
