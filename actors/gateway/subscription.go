package gateway

import (
	"context"
	"errors"
	"io"

	"github.com/asynkron/protoactor-go/actor"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/actors"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// subscribe begins to tell a subscriber.
func (n *node) subscribe(c actor.Context, p *peer, from *actor.PID, m *bhnodev1.SubscribeRequest) {
	l, k := p.link, key(from, m.GetId())
	n.unsubscribe(l, k)
	switch {
	case m.GetId() == "" || len(m.GetId()) > maxID:
		n.send(p, from, failure(m, status.Errorf(codes.InvalidArgument, "a subscription has a name of up to %d bytes", maxID)))
		return
	case !p.fresh.Allow() || p.queued >= queueBytes:
		n.turnAway(p, "busy", "it subscribes again and again, or does not take what it asked for")
		n.send(p, from, failure(m, status.Errorf(codes.ResourceExhausted, "%d bytes wait for you, and %d subscriptions a second are enough", p.queued, freshSecond)))
		return
	case len(l.subscriptions) >= subscriptions:
		n.send(p, from, failure(m, status.Errorf(codes.ResourceExhausted, "you have %d subscriptions already", len(l.subscriptions))))
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	s := &subscription{link: l, key: k, to: &actor.PID{Address: from.GetAddress(), Id: from.GetId()}, cancel: cancel}
	if len(l.of(s.to)) == 0 {
		c.Watch(s.to)
	}
	l.subscriptions[k] = s
	n.send(p, from, &bhnodev1.SubscribeResponse{Id: m.GetId()})
	ctx = actors.OnBehalf(ctx, p.Name, p.from)
	go n.follow(ctx, s, m)
}

// forget ends the subscriptions of an actor that is no more. That the whole peer is gone is
// said by its link.
func (n *node) forget(m *actor.Terminated) {
	p := n.of[m.GetWho().GetAddress()]
	if p == nil || m.GetWhy() == actor.TerminatedReason_AddressTerminated {
		return
	}
	for _, s := range p.link.of(m.GetWho()) {
		n.unsubscribe(p.link, s.key)
		n.send(p, s.to, &bhnodev1.Publication{Id: s.id(), What: &bhnodev1.Publication_Ended{Ended: &bhnodev1.SubscriptionEnded{
			Failure: &bhnodev1.Failure{Code: int32(codes.Aborted), Message: "your actor has stopped"},
		}}})
	}
}

// follow has the parts of a subscription published, one by one.
func (n *node) follow(ctx context.Context, s *subscription, m *bhnodev1.SubscribeRequest) {
	next, err := subscribe(ctx, n.options.Node, m)
	for err == nil {
		var part *bhnodev1.Publication
		if part, err = next(); err != nil {
			break
		}
		taken := make(chan struct{})
		n.tell(published{s, part, taken})
		select {
		case <-taken:
		case <-ctx.Done():
			return
		}
	}
	if ctx.Err() != nil {
		return
	}
	ended := &bhnodev1.SubscriptionEnded{}
	if !errors.Is(err, io.EOF) {
		ended.Failure = failure(m, err)
	}
	n.tell(published{s, &bhnodev1.Publication{Id: m.GetId(), What: &bhnodev1.Publication_Ended{Ended: ended}}, nil})
}

func (n *node) publish(m published) {
	s := m.subscription
	l := s.link
	if l != l.peer.link || l.subscriptions[s.key] != s {
		return
	}
	if m.taken == nil {
		n.unsubscribe(l, s.key)
	}
	n.send(l.peer, s.to, m.message)
	switch {
	case m.taken == nil || l != l.peer.link:
	case l.peer.queued < queueBytes:
		close(m.taken)
	default:
		l.waiting = append(l.waiting, m.taken)
	}
}

// unsubscribe ends a subscription, and the watch of its actor with the last one.
func (n *node) unsubscribe(l *link, key string) {
	s := l.subscriptions[key]
	if s == nil {
		return
	}
	s.cancel()
	delete(l.subscriptions, key)
	if len(l.of(s.to)) > 0 {
		return
	}
	if process, ok := n.root.ActorSystem().ProcessRegistry.Get(s.to); ok {
		process.SendSystemMessage(s.to, &actor.Unwatch{Watcher: n.self})
	}
}
