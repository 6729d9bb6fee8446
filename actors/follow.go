package actors

import (
	"context"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/proc/logstore"
	"github.com/blackhole/bhnode/supervision"
)

// FollowEvents has a follower receive the events to come and returns those of
// late. Without a follower it only returns them.
func (n *Node) FollowEvents(ctx context.Context, f *Follower[journal.Record]) ([]journal.Record, error) {
	got, err := askFollow(ctx, n, n.journalPID, f)
	return got.recent, err
}

// UnfollowEvents ends that.
func (n *Node) UnfollowEvents(f *Follower[journal.Record]) {
	n.system.Root.Send(n.journalPID, unfollow[journal.Record]{f})
}

// FollowLogs has a follower receive the lines of services to come. It returns the
// number of the last earlier line of each.
func (n *Node) FollowLogs(ctx context.Context, services []string, f *Follower[logstore.Entry]) (map[string]uint64, error) {
	last := map[string]uint64{}
	for _, name := range services {
		got, err := n.followLog(ctx, name, f)
		if err != nil {
			return nil, err
		}
		last[name] = got.last
	}
	return last, nil
}

// UnfollowLogs ends that.
func (n *Node) UnfollowLogs(services []string, f *Follower[logstore.Entry]) {
	for _, name := range services {
		if s := n.services.get(supervision.ChildID(name)); s != nil {
			n.system.Root.Send(s.logPID, unfollow[logstore.Entry]{f})
		}
	}
}

// LastLines returns the last lines of a service as text.
func (n *Node) LastLines(ctx context.Context, service string) ([]string, error) {
	got, err := n.followLog(ctx, service, nil)
	if err != nil {
		return nil, err
	}
	lines := make([]string, len(got.recent))
	for i, e := range got.recent {
		lines[i] = strings.ToValidUTF8(string(LineOf(e).GetMessage()), "\uFFFD")
	}
	return lines, nil
}

func (n *Node) followLog(ctx context.Context, name string, f *Follower[logstore.Entry]) (followed[logstore.Entry], error) {
	s := n.services.get(supervision.ChildID(name))
	if s == nil {
		return followed[logstore.Entry]{}, &supervision.UnknownChildError{ID: supervision.ChildID(name)}
	}
	return askFollow(ctx, n, s.logPID, f)
}

func askFollow[T any](ctx context.Context, n *Node, pid *actor.PID, f *Follower[T]) (followed[T], error) {
	return askNow(ctx, n.at(pid), func(reply chan<- followed[T]) any { return follow[T]{f, reply} })
}
