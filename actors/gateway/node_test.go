package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// The name of a peer may be a URI; requests are called on its behalf, and answered in turn.
func TestRequestsAreCallsOnBehalfOfTheCertificate(t *testing.T) {
	h := newHand(t, takePeer(t))
	h.wantHello()
	h.ask("a", &bhnodev1.GetTreeRequest{})
	if tree, ok := h.next().message.(*bhnodev1.GetTreeResponse); !ok || tree.GetRoot().GetName() != "root" {
		t.Errorf("got %v", tree)
	}
	h.ask("a", &bhnodev1.RestartServicesRequest{Names: []string{"db"}})
	if _, ok := h.next().message.(*bhnodev1.RestartServicesResponse); !ok {
		t.Error("it is not answered")
	}
	api.mu.Lock()
	got := api.restarts[len(api.restarts)-1]
	api.mu.Unlock()
	if want := h.peer.Name + " db"; got != want {
		t.Errorf("restarted: %q, want %q", got, want)
	}
	h.ask("a", &bhnodev1.RestartServicesRequest{Names: []string{"forbidden"}})
	h.wantFailure(codes.PermissionDenied, "bhnode.v1.RestartServicesRequest")
	h.ask("a", &bhnodev1.ShutdownRequest{})
	h.wantFailure(codes.PermissionDenied, "bhnode.v1.ShutdownRequest")
	h.ask("a", &bhnodev1.GetStatusRequest{Names: []string{"huge"}})
	h.wantFailure(codes.ResourceExhausted, "bhnode.v1.GetStatusRequest")
}

func (h *hand) wantFailure(code codes.Code, request string) {
	h.t.Helper()
	m := h.next().message
	if f, ok := m.(*bhnodev1.Failure); !ok || codes.Code(f.GetCode()) != code || f.GetRequest() != request {
		h.t.Errorf("got %v, want %v of %s", m, code, request)
	}
}

func (h *hand) subscribe(from, id string) {
	h.t.Helper()
	h.ask(from, &bhnodev1.SubscribeRequest{Id: id, What: &bhnodev1.SubscribeRequest_Events{Events: &bhnodev1.StreamEventsRequest{Follow: true}}})
	if m, ok := h.next().message.(*bhnodev1.SubscribeResponse); !ok || m.GetId() != id {
		h.t.Fatalf("got %v", m)
	}
}

// again connects and subscribes, as often as the connection is lost again before that has
// come about.
func (h *hand) again(from, id string) {
	h.t.Helper()
	for late := time.After(patience); ; {
		h.connect()
		h.greet(h.peer.Address)
		h.ask(from, &bhnodev1.SubscribeRequest{Id: id, What: &bhnodev1.SubscribeRequest_Events{Events: &bhnodev1.StreamEventsRequest{Follow: true}}})
		ended := make(chan struct{})
		go func(stream remote.Remoting_ReceiveClient) {
			defer close(ended)
			for err := error(nil); err == nil; {
				_, err = stream.Recv()
			}
		}(h.stream)
		for more := true; more; {
			select {
			case l := <-h.got:
				if m, ok := l.message.(*bhnodev1.SubscribeResponse); ok && m.GetId() == id {
					return
				}
			case <-ended:
				more = false
			case <-late:
				h.t.Fatalf("it does not come about; the gateway says:\n%s", logged)
			}
		}
	}
}

func part(seq uint64) fakeEvents {
	return fakeEvents{part: &bhnodev1.StreamEventsResponse{Events: []*bhnodev1.Event{{Seq: seq}}}}
}

func (h *hand) wantEvent(id string, seq uint64) {
	h.t.Helper()
	m, ok := h.next().message.(*bhnodev1.Publication)
	if !ok || m.GetId() != id || len(m.GetEvents().GetEvents()) != 1 || m.GetEvents().GetEvents()[0].GetSeq() != seq {
		h.t.Fatalf("got %v, want event %d", m, seq)
	}
}

func TestASubscriptionTellsAllInOrder(t *testing.T) {
	h := newHand(t, takePeer(t))
	h.subscribe("watcher", "e")
	source := api.source(h.peer.Name)
	for i := range uint64(1000) {
		source <- part(i + 1)
	}
	for i := range uint64(1000) {
		h.wantEvent("e", i+1)
	}
	source <- fakeEvents{err: status.Error(codes.Unavailable, "the node is ending")}
	m, _ := h.next().message.(*bhnodev1.Publication)
	if f := m.GetEnded().GetFailure(); codes.Code(f.GetCode()) != codes.Unavailable {
		t.Errorf("it ends with %v", m)
	}
	h.subscribe("watcher", "e")
	source <- part(1)
	h.wantEvent("e", 1)
	close(source) // all was told
	if m, _ = h.next().message.(*bhnodev1.Publication); m.GetEnded() == nil || m.GetEnded().GetFailure() != nil {
		t.Errorf("it ends with %v", m)
	}
}

func TestASubscriptionIsEnded(t *testing.T) {
	h := newHand(t, takePeer(t))
	source := api.source(h.peer.Name)
	h.subscribe("watcher", "e")
	h.ask("watcher", &bhnodev1.UnsubscribeRequest{Id: "e"})
	if m, ok := h.next().message.(*bhnodev1.UnsubscribeResponse); !ok || m.GetId() != "e" {
		t.Errorf("got %v", m)
	}
	eventually(t, "nobody is watched any more", func() bool { return h.watched.Load() == 0 })
	h.subscribe("watcher", "f")
	h.send(packed(batchOf(h.pid("watcher"), ownPID(nodeName), &actor.Terminated{Who: h.pid("watcher")})))
	m, _ := h.next().message.(*bhnodev1.Publication)
	if m.GetId() != "f" || m.GetEnded() == nil {
		t.Errorf("when its actor is gone: %v", m)
	}
	h.subscribe("other", "g")
	source <- part(7) // there is nobody else to take it
	h.wantEvent("g", 7)
	h.ask("other", &bhnodev1.SubscribeRequest{Id: "nothing"})
	if m, _ := h.next().message.(*bhnodev1.SubscribeResponse); m.GetId() != "nothing" {
		t.Errorf("got %v", m)
	}
	if m, _ := h.next().message.(*bhnodev1.Publication); codes.Code(m.GetEnded().GetFailure().GetCode()) != codes.InvalidArgument {
		t.Errorf("a subscription to nothing: %v", m)
	}
	h.ask("other", &bhnodev1.SubscribeRequest{Id: strings.Repeat("x", 100)})
	h.wantFailure(codes.InvalidArgument, "bhnode.v1.SubscribeRequest")
}

func TestAPeerHasSoMuchAtATime(t *testing.T) {
	h := newHand(t, takePeer(t))
	for i := range subscriptions {
		h.subscribe("watcher", fmt.Sprint(i))
	}
	h.ask("watcher", &bhnodev1.SubscribeRequest{Id: "more", What: &bhnodev1.SubscribeRequest_Events{Events: &bhnodev1.StreamEventsRequest{}}})
	h.wantFailure(codes.ResourceExhausted, "bhnode.v1.SubscribeRequest")
	for range callsAtOnce {
		h.ask("a", &bhnodev1.GetStatusRequest{}) // is not answered
	}
	h.ask("a", &bhnodev1.GetStatusRequest{})
	h.wantFailure(codes.ResourceExhausted, "bhnode.v1.GetStatusRequest")
}

// Both directions of a connection are lost together, so that a peer never waits for what
// does not come any more.
func TestBothDirectionsAreLostTogether(t *testing.T) {
	h := newHand(t, takePeer(t))
	h.subscribe("watcher", "e")
	h.server.Stop() // we cannot be answered any more
	if err := h.end(); status.Code(err) != codes.Unavailable {
		t.Errorf("our stream ends with %v", err)
	}
	h.serve()
	h.again("watcher", "e2")
	api.source(h.peer.Name) <- part(3)
	h.wantEvent("e2", 3)

	_ = h.conn.Close() // we are gone: what was subscribed is, too
	h.again("watcher", "e3")
	api.source(h.peer.Name) <- part(4)
	h.wantEvent("e3", 4)
}

// A peer that does not read costs what its queue holds, and is given up.
func TestAPeerThatDoesNotReadIsGivenUp(t *testing.T) {
	good := newHand(t, takePeer(t))
	h := &hand{t: t, peer: takePeer(t), deaf: make(chan struct{}), got: make(chan letter, 10_000)}
	h.cert = ca.issue(h.peer.Name, patience)
	h.serve()
	h.connect()
	h.greet(h.peer.Address)
	h.ask("watcher", &bhnodev1.SubscribeRequest{Id: "e", What: &bhnodev1.SubscribeRequest_Events{Events: &bhnodev1.StreamEventsRequest{}}})
	source := api.source(h.peer.Name)
	large := fakeEvents{part: &bhnodev1.StreamEventsResponse{Events: []*bhnodev1.Event{{Message: strings.Repeat("x", 1<<20)}}}}
	sent := 0
	for taken := true; taken; {
		select {
		case source <- large:
			sent++
		case <-h.stream.Context().Done():
			taken = false
		}
		if sent == 1 {
			go func() { _ = h.end() }() // notices that the stream is cut
		}
	}
	if sent > 12 {
		t.Errorf("%d MiB were taken for who does not read", sent)
	}
	close(h.deaf)
	good.wantHello()
}
