package gateway

import (
	"context"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

type noStream struct{ grpc.ServerStream }

func (noStream) Context() context.Context { return context.Background() }

// FuzzGate finds no packet that the gate lets through and that has anything but requests
// from the peer to the actor "node".
func FuzzGate(f *testing.F) {
	p := &Peer{Name: "a.example", Address: "10.0.0.9:1"}
	h := &hand{peer: p}
	for _, c := range hostile {
		data, _ := proto.Marshal(c.packet(h))
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &remote.RemoteMessage{}
		if proto.Unmarshal(data, m) != nil {
			return
		}
		s := &guarded{ServerStream: noStream{}, gate: shared.gate, peer: p, limit: rate.NewLimiter(rate.Inf, 0), greeted: true}
		if pass, err := s.filter(m); err != nil || !pass {
			return
		}
		b := m.GetMessageBatch()
		for _, e := range b.GetEnvelopes() {
			target, name := b.GetTargets()[e.GetTarget()], b.GetTypeNames()[e.GetTypeId()]
			if target.GetAddress() != own || target.GetId() != nodeName || e.GetTargetRequestId() != 0 || e.GetMessageHeader() != nil {
				t.Errorf("%v is let through to %v", name, target)
			}
			if name == "actor.Terminated" {
				gone := &actor.Terminated{}
				if proto.Unmarshal(e.GetMessageData(), gone) != nil || gone.GetWho().GetAddress() != p.Address {
					t.Errorf("the end of %v is let through", gone.GetWho())
				}
				continue
			}
			if !s.gate.took[name] || b.GetSenders()[e.GetSender()-1].GetAddress() != p.Address || e.GetSerializerId() != 0 {
				t.Errorf("%s of sender %d is let through", name, e.GetSender())
			}
		}
	})
}
