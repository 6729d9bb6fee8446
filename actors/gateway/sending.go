package gateway

import (
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/proto"
)

// sendTime is how long one message to a peer may take, the connection included.
const sendTime = 20 * time.Second

// protoactor takes a while to notice that a connection is lost: what is sent meanwhile goes
// the same way. When a dial has failed it sleeps for 2 s, and then ends whatever leads to
// that address by then.
const (
	pauseAfterLoss = 200 * time.Millisecond
	pauseAfterDial = 2500 * time.Millisecond
)

// send has a message go to a peer, in its turn.
func (n *node) send(p *peer, to *actor.PID, message proto.Message) {
	size := proto.Size(message) + perMessage
	if p.queued+size > queueMost { // what is left out would be missed
		n.turnAway(p, "slow", "too much waits for it: the connection is given up")
		n.lose(p)
		return
	}
	p.queue = append(p.queue, outgoing{to, message, size})
	p.queued += size
	n.next(p)
}

// next sends the next message, if none is under way.
func (n *node) next(p *peer) {
	if p.sending != 0 || p.quiet != 0 || len(p.queue) == 0 {
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

// pause has nothing sent to a peer for a while; a longer one that is under way goes on.
func (n *node) pause(p *peer, d time.Duration) {
	if p.quiet != 0 && d == pauseAfterLoss {
		return
	}
	p.pauses++
	p.quiet = p.pauses
	address, number := p.Address, p.pauses
	time.AfterFunc(d, func() { n.tell(paused{address, number}) })
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
	n.pause(p, pauseAfterLoss)
	n.dialler.cut(p.Address)
	n.root.ActorSystem().EventStream.Publish(&remote.EndpointTerminatedEvent{Address: p.Address})
}
