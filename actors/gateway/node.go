package gateway

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/blackhole/bhnode/actors"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// nodeName is the name of the one actor that can be addressed.
const nodeName = "node"

// What a peer may have at a time.
const (
	callsAtOnce   = 32
	subscriptions = 32
	queueBytes    = 8 << 20 // beyond which its subscriptions wait
	queueMost     = 2 * queueBytes
	maxID         = 64 // bytes of the name of a subscription
)

// sendTime is how long one message to a peer may take, the connection included.
const sendTime = 20 * time.Second

// node is the actor: it owns what is known of each peer.
type node struct {
	options  *Options
	links    *links
	gate     *gate
	requests map[string]request
	of       map[string]*peer // by address

	self *actor.PID
	root *actor.RootContext
}

// The messages that the actor gets from goroutines of its own and from the connections. Each
// names the link that it is about: what comes of an earlier one is dropped.
type (
	// entered says that a stream of a peer begins, in place of what it had.
	entered struct{ address, from string }
	// gone says that a direction of the link is lost, so that both are.
	gone struct{ address string }
	// answered says what came of a call.
	answered struct {
		link    *link
		to      *actor.PID
		message proto.Message
	}
	// published is a part of a subscription; taken is closed when the next may come.
	published struct {
		subscription *subscription
		message      *bhnodev1.Publication
		taken        chan<- struct{}
	}
	// sent says that gRPC has taken a message, or will not.
	sent struct {
		address string
		number  uint64
		err     error
	}
	// overdue says that a message has been under way for too long.
	overdue struct {
		address string
		number  uint64
	}
)

// Receive implements actor.Actor.
func (n *node) Receive(c actor.Context) {
	switch m := c.Message().(type) {
	case *actor.Started:
		n.self, n.root = c.Self(), c.ActorSystem().Root
	case *actor.Stopping:
		for _, p := range n.of {
			n.lose(p)
		}
	case *actor.Terminated:
		n.forget(m)
	case entered:
		if p := n.of[m.address]; p != nil {
			n.reset(p)
			p.from = m.from
		}
	case gone:
		if p := n.of[m.address]; p != nil {
			n.lose(p)
		}
	case answered:
		n.answer(m)
	case published:
		n.publish(m)
	case sent:
		n.went(m)
	case overdue:
		if p := n.of[m.address]; p != nil && p.sending == m.number {
			n.options.Log.Warn().Str("peer", p.Name).Msg("the peer does not read what it asked for: the connection is given up")
			n.lose(p)
		}
	case proto.Message:
		n.request(c, m)
	}
}

func (n *node) tell(message any) { n.root.Send(n.self, message) }

// request answers what a peer asks; the gate has seen that the sender is of the peer.
func (n *node) request(c actor.Context, message proto.Message) {
	from := c.Sender()
	p := n.of[from.GetAddress()]
	if p == nil {
		return
	}
	switch m := message.(type) {
	case *bhnodev1.HelloRequest:
		n.call(p, from, m, n.hello)
	case *bhnodev1.SubscribeRequest:
		n.subscribe(c, p, from, m)
	case *bhnodev1.UnsubscribeRequest:
		p.link.unsubscribe(key(from, m.GetId()))
		n.send(p, from, &bhnodev1.UnsubscribeResponse{Id: m.GetId()})
	default:
		if do := n.requests[nameOf(m)]; do != nil {
			n.call(p, from, m, do)
		}
	}
}

// hello says who answers.
func (n *node) hello(ctx context.Context, api bhnodev1.NodeClient, _ proto.Message) (proto.Message, error) {
	who, err := api.GetNode(ctx, &bhnodev1.GetNodeRequest{})
	if err != nil {
		return nil, err
	}
	return &bhnodev1.HelloResponse{Api: "bhnode.v1", Build: n.options.Build, Node: who.GetName()}, nil
}

// call has the node asked on behalf of a peer.
func (n *node) call(p *peer, to *actor.PID, message proto.Message, do request) {
	l := p.link
	if l.calls >= callsAtOnce {
		n.send(p, to, failure(message, status.Errorf(codes.ResourceExhausted, "%d requests of yours are under way already", l.calls)))
		return
	}
	l.calls++
	ctx := actors.OnBehalf(l.ctx, p.Name, p.from)
	go func() {
		response, err := do(ctx, n.options.Node, message)
		if err != nil {
			response = failure(message, err)
		} else if hello, ok := response.(*bhnodev1.HelloResponse); ok {
			hello.Role = p.Role
		}
		n.tell(answered{l, to, response})
	}()
}

func (n *node) answer(m answered) {
	p := m.link.peer
	if m.link != p.link {
		return
	}
	p.link.calls--
	n.send(p, m.to, m.message)
}

// subscribe begins to tell a subscriber.
func (n *node) subscribe(c actor.Context, p *peer, from *actor.PID, m *bhnodev1.SubscribeRequest) {
	l, k := p.link, key(from, m.GetId())
	l.unsubscribe(k)
	switch {
	case m.GetId() == "" || len(m.GetId()) > maxID:
		n.send(p, from, failure(m, status.Errorf(codes.InvalidArgument, "a subscription has a name of up to %d bytes", maxID)))
		return
	case len(l.subscriptions) >= subscriptions:
		n.send(p, from, failure(m, status.Errorf(codes.ResourceExhausted, "you have %d subscriptions already", len(l.subscriptions))))
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	s := &subscription{link: l, key: k, to: &actor.PID{Address: from.GetAddress(), Id: from.GetId()}, cancel: cancel}
	l.subscriptions[k] = s
	c.Watch(s.to)
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
		p.link.unsubscribe(s.key)
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
		l.unsubscribe(s.key)
	}
	n.send(l.peer, s.to, m.message)
	switch {
	case m.taken == nil:
	case l.peer.queued < queueBytes:
		close(m.taken)
	default:
		l.waiting = append(l.waiting, m.taken)
	}
}

// send has a message go to a peer, in its turn.
func (n *node) send(p *peer, to *actor.PID, message proto.Message) {
	size := proto.Size(message)
	if p.queued+size > queueMost {
		n.options.Rejections.Note("certificate "+p.Name, "slow", "it does not read the answers to what it asks")
		return
	}
	p.queue = append(p.queue, outgoing{to, message, size})
	p.queued += size
	n.next(p)
}

// next sends the next message, if none is under way.
func (n *node) next(p *peer) {
	if p.sending != 0 || len(p.queue) == 0 {
		return
	}
	m := p.queue[0]
	p.number++
	p.sending = p.number
	address, number := p.Address, p.number
	p.timer = time.AfterFunc(n.options.sendTime, func() { n.tell(overdue{address, number}) })
	envelope := &actor.MessageEnvelope{Message: m.message, Sender: n.self}
	envelope.SetHeader(numberHeader, strconv.FormatUint(number, 10))
	n.root.Send(m.to, envelope)
}

// went goes on with the next message.
func (n *node) went(m sent) {
	p := n.of[m.address]
	if p == nil || p.sending != m.number {
		return
	}
	if m.err != nil {
		n.lose(p)
		return
	}
	p.timer.Stop()
	p.sending = 0
	p.queued -= p.queue[0].size
	p.queue[0] = outgoing{}
	p.queue = p.queue[1:]
	if p.queued < queueBytes {
		for _, taken := range p.link.waiting {
			close(taken)
		}
		p.link.waiting = nil
	}
	n.next(p)
}

// lose ends a link, in both directions: the peer notices, and subscribes again.
func (n *node) lose(p *peer) {
	if p.link.used() || len(p.queue) > 0 {
		n.reset(p)
		n.gate.cut(p.Peer)
	}
}

// reset forgets all that a peer has asked for, and the connection to it.
func (n *node) reset(p *peer) {
	if !p.link.used() && len(p.queue) == 0 {
		return
	}
	p.link.cancel()
	p.link = newLink(p)
	if p.timer != nil {
		p.timer.Stop()
	}
	p.queue, p.queued, p.sending = nil, 0, 0
	n.links.cut(p.Address)
	n.root.ActorSystem().EventStream.Publish(&remote.EndpointTerminatedEvent{Address: p.Address})
}
