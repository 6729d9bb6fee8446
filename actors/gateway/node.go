package gateway

import (
	"context"

	"github.com/asynkron/protoactor-go/actor"
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
	maxID         = 64  // bytes of the name of a subscription
	perMessage    = 512 // bytes that one takes besides what is in it
	freshSecond   = 5   // subscriptions a second, after so many at once
	freshAtOnce   = 64
)

// node is the actor: it owns what is known of each peer.
type node struct {
	options  *Options
	dialler  *dialler
	gate     *gate
	requests map[string]request
	of       map[string]*peer // by address

	self *actor.PID
	root *actor.RootContext
}

// The messages that the actor gets from goroutines of its own and from the connections. They
// name the link, the message or the pause that they are about: what comes of an earlier one is
// dropped. Those of connections name an address, as they come in the order in which it was
// lost and found.
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
	// unreachable says that a peer could not be dialled.
	unreachable struct {
		address string
		err     error
	}
	// paused says that a pause is over.
	paused struct {
		address string
		number  uint64
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
			n.turnAway(p, "slow", "it does not take what it asked for: the connection is given up")
			n.lose(p)
		}
	case unreachable:
		if p := n.of[m.address]; p != nil {
			n.turnAway(p, "unreachable", "its remote_address cannot be dialled: "+m.err.Error())
			n.lose(p) // with what was under way
			n.pause(p, pauseAfterDial)
		}
	case paused:
		if p := n.of[m.address]; p != nil && p.quiet == m.number {
			p.quiet = 0
			n.next(p)
		}
	case proto.Message:
		n.request(c, m)
	}
}

// turnAway counts what a peer does not get.
func (n *node) turnAway(p *peer, reason, detail string) {
	n.options.Rejections.Note("certificate "+p.Name, reason, detail)
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
		n.call(p, from, m, n.hello(p.Role))
	case *bhnodev1.SubscribeRequest:
		n.subscribe(c, p, from, m)
	case *bhnodev1.UnsubscribeRequest:
		n.unsubscribe(p.link, key(from, m.GetId()))
		n.send(p, from, &bhnodev1.UnsubscribeResponse{Id: m.GetId()})
	default:
		if do := n.requests[nameOf(m)]; do != nil {
			n.call(p, from, m, do)
		}
	}
}

// hello says who answers, and what the role is of who asks.
func (n *node) hello(role string) request {
	return func(ctx context.Context, api bhnodev1.NodeClient, _ proto.Message) (proto.Message, error) {
		who, err := api.GetNode(ctx, &bhnodev1.GetNodeRequest{})
		if err != nil {
			return nil, err
		}
		return &bhnodev1.HelloResponse{Api: "bhnode.v1", Build: n.options.Build, Node: who.GetName(), Role: role}, nil
	}
}

// call has the node asked on behalf of a peer.
func (n *node) call(p *peer, to *actor.PID, message proto.Message, do request) {
	l := p.link
	if l.calls >= callsAtOnce || p.queued >= queueBytes {
		n.turnAway(p, "busy", "it asks for more while it has not taken what it asked for")
		n.send(p, to, failure(message, status.Errorf(codes.ResourceExhausted, "%d requests of yours are under way, and %d bytes wait for you", l.calls, p.queued)))
		return
	}
	l.calls++
	ctx := actors.OnBehalf(l.ctx, p.Name, p.from)
	go func() {
		response, err := do(ctx, n.options.Node, message)
		if err != nil {
			if status.Code(err) == codes.PermissionDenied {
				n.turnAway(p, "denied", status.Convert(err).Message())
			}
			response = failure(message, err)
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
