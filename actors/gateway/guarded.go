package gateway

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// errCut ends a stream whose other direction is lost.
var errCut = status.Error(codes.Unavailable, "the way back to you is lost; connect and subscribe again")

// guarded is the stream of a peer, without what it may not send.
type guarded struct {
	grpc.ServerStream
	gate    *gate
	peer    *Peer
	expires time.Time // its certificate
	limit   *rate.Limiter
	read    chan *remote.RemoteMessage
	ended   error // why read is closed
	cut     chan struct{}
	cutOnce sync.Once
	greeted bool
}

// end has the stream end.
func (s *guarded) end() { s.cutOnce.Do(func() { close(s.cut) }) }

func (s *guarded) isCut() bool {
	select {
	case <-s.cut:
		return true
	default:
		return false
	}
}

// pump reads ahead one message, so that the stream can be cut while nothing comes.
func (s *guarded) pump() {
	defer close(s.read)
	for {
		m := &remote.RemoteMessage{}
		if s.ended = s.ServerStream.RecvMsg(m); s.ended != nil {
			return
		}
		select {
		case s.read <- m:
		case <-s.Context().Done():
			s.ended = s.Context().Err()
			return
		}
	}
}

// over tells whether an error is only that a stream has ended.
func (s *guarded) over(err error) bool {
	code := status.Code(err)
	return errors.Is(err, io.EOF) || errors.Is(err, errCut) || s.Context().Err() != nil || code == codes.Canceled || code == codes.Unavailable
}

// RecvMsg implements grpc.ServerStream: the next message, with what of it may come in.
func (s *guarded) RecvMsg(into any) error {
	out, ok := into.(*remote.RemoteMessage)
	if !ok {
		return reject("malformed", "%T is no message of actors", into)
	}
	for {
		var in *remote.RemoteMessage
		var more bool
		if s.isCut() {
			return errCut
		}
		select {
		case in, more = <-s.read:
		case <-s.cut:
			return errCut
		}
		if !more && status.Code(s.ended) == codes.ResourceExhausted {
			return reject("too_large", "%v", s.ended)
		}
		if !more {
			return s.ended
		}
		if s.gate.now().After(s.expires) {
			return reject("certificate", "its certificate is over since %s", s.expires.Format(time.RFC3339))
		}
		pass, err := s.filter(in)
		if err != nil {
			return err
		}
		if s.isCut() { // while it had to wait
			return errCut
		}
		if pass {
			out.MessageType = in.GetMessageType()
			return nil
		}
	}
}

// filter takes out what is not let through; nothing may be left.
func (s *guarded) filter(m *remote.RemoteMessage) (pass bool, err error) {
	switch {
	case m.GetConnectRequest() != nil && !s.greeted:
		s.greeted = true
		return true, s.checkGreeting(m.GetConnectRequest())
	case m.GetMessageBatch() != nil && s.greeted:
		batch := m.GetMessageBatch()
		if err := s.checkNames(batch); err != nil {
			return false, err
		}
		if err := s.limit.WaitN(s.Context(), max(1, len(batch.GetEnvelopes()))); err != nil {
			return false, err
		}
		kept, err := s.filterBatch(batch)
		return kept > 0, err
	}
	return false, reject("malformed", "%T is not what comes here", m.GetMessageType())
}

// filterBatch takes out of a batch what is not let through, and returns how many messages are
// left.
func (s *guarded) filterBatch(b *remote.MessageBatch) (int, error) {
	all := b.GetEnvelopes()
	kept := all[:0]
	for _, e := range all {
		keep, err := s.check(b, e)
		if err != nil {
			return 0, err
		}
		if keep {
			kept = append(kept, e)
		}
	}
	b.Envelopes = kept
	return len(kept), nil
}

func (s *guarded) checkGreeting(c *remote.ConnectRequest) error {
	hello := c.GetServerConnection()
	switch {
	case hello == nil:
		return reject("malformed", "a connection of %T is not served", c.GetConnectionType())
	case len(hello.GetSystemId()) > maxName:
		return reject("malformed", "the id of its system has %d bytes", len(hello.GetSystemId()))
	case hello.GetAddress() != s.peer.Address:
		return reject("sender", "it says it is %.100q, and its remote_address is %s", hello.GetAddress(), s.peer.Address)
	}
	return nil
}

// checkNames checks what the envelopes of a batch refer to.
func (s *guarded) checkNames(b *remote.MessageBatch) error {
	if n := max(len(b.GetTypeNames()), len(b.GetTargets()), len(b.GetSenders())); n > maxNames {
		return reject("malformed", "a batch names %d things", n)
	}
	if n := len(b.GetEnvelopes()); n > maxEnvelopes {
		return reject("malformed", "a batch of %d messages", n)
	}
	for _, target := range b.GetTargets() {
		if target.GetAddress() != s.gate.own || target.GetId() != nodeName {
			return reject("target", "%.100q at %.100q cannot be addressed, only %s at %s", target.GetId(), target.GetAddress(), nodeName, s.gate.own)
		}
	}
	for _, sender := range b.GetSenders() {
		if sender.GetAddress() != s.peer.Address || len(sender.GetId()) > maxName || sender.GetId() == "" {
			return reject("sender", "%.100q at %.100q is not its own, which are at %s", sender.GetId(), sender.GetAddress(), s.peer.Address)
		}
	}
	return nil
}

// check tells whether a message is let through. What a watch of the actor "node" sends is
// left out: who watches it learns from its own system when we are gone.
func (s *guarded) check(b *remote.MessageBatch, e *remote.MessageEnvelope) (bool, error) {
	switch {
	case e.GetTarget() < 0 || int(e.GetTarget()) >= len(b.GetTargets()),
		e.GetTypeId() < 0 || int(e.GetTypeId()) >= len(b.GetTypeNames()),
		e.GetSender() < 0 || int(e.GetSender()) > len(b.GetSenders()):
		return false, reject("malformed", "a message refers to what its batch does not name")
	case e.GetSerializerId() != 0:
		return false, reject("malformed", "serializer %d is not served", e.GetSerializerId())
	case len(e.GetMessageData()) > maxPayload:
		return false, reject("too_large", "a message of %d bytes", len(e.GetMessageData()))
	}
	e.MessageHeader, e.TargetRequestId = nil, 0
	switch name := b.GetTypeNames()[e.GetTypeId()]; {
	case name == "actor.Watch" || name == "actor.Unwatch":
		return false, nil
	case name == "actor.Terminated":
		return s.checkTerminated(e)
	case !s.gate.took[name]:
		return false, reject("type", "%.100q is not taken", name)
	case e.GetSender() == 0:
		return false, reject("sender", "a %s without a sender", name)
	}
	return true, nil
}

// checkTerminated lets a peer say that an actor of its own, which we watch, is gone.
func (s *guarded) checkTerminated(e *remote.MessageEnvelope) (bool, error) {
	gone := &actor.Terminated{}
	if err := proto.Unmarshal(e.GetMessageData(), gone); err != nil {
		return false, reject("malformed", "%v", err)
	}
	if gone.GetWho().GetAddress() != s.peer.Address {
		return false, reject("sender", "%.100q at %.100q is not its own to say gone", gone.GetWho().GetId(), gone.GetWho().GetAddress())
	}
	e.Sender = 0
	return true, nil
}
