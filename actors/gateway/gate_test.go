package gateway

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

func ownPID(id string) *actor.PID { return &actor.PID{Address: own, Id: id} }

// forged is a batch with so many senders, none of which is the peer's.
func forged(h *hand, n int) *remote.MessageBatch {
	b := batchOf(h.pid("a"), ownPID(nodeName), &bhnodev1.HelloRequest{})
	for i := range n {
		b.Senders = append(b.Senders, &actor.PID{Address: fmt.Sprintf("10.%d.%d.1:1", i/250, i%250), Id: "x"})
		e, _ := proto.Clone(b.GetEnvelopes()[0]).(*remote.MessageEnvelope)
		e.Sender = int32(i + 2)
		b.Envelopes = append(b.Envelopes, e)
	}
	return b
}

// hostile are the packets of those who hold a certificate and want something else, by the
// reason they are turned away for.
var hostile = map[string]struct {
	reason string
	packet func(h *hand) *remote.RemoteMessage
}{
	"stop of the actor":              {"type", to(nodeName, &actor.Stop{})},
	"stop of the activator":          {"target", to("activator", &actor.Stop{})},
	"stop of the EndpointSupervisor": {"target", to("EndpointSupervisor", &actor.Stop{})},
	"poison":                         {"type", to(nodeName, &actor.PoisonPill{})},
	"poison of a guardian":           {"target", to("guardian$1", &actor.PoisonPill{})},
	"a message to a guardian":        {"target", to("guardian$1", &bhnodev1.HelloRequest{})},
	"a message to a future":          {"target", to("future$1", &bhnodev1.HelloRequest{})},
	"a message to the eventstream":   {"target", to("eventstream", &bhnodev1.HelloRequest{})},
	"spawning":                       {"target", to("activator", &remote.ActorPidRequest{Name: "x", Kind: "y"})},
	"a response":                     {"type", to(nodeName, &bhnodev1.GetTreeResponse{})},
	"a report":                       {"type", to(nodeName, &bhnodev1.ReportRejectionsRequest{})},
	"somebody else's end": {"sender", to(nodeName, &actor.Terminated{
		Who: &actor.PID{Address: "10.0.0.1:1", Id: "x"},
	})},
	"an actor elsewhere": {"target", func(h *hand) *remote.RemoteMessage {
		return packed(batchOf(h.pid("a"), &actor.PID{Address: "10.0.0.1:1", Id: nodeName}, &bhnodev1.HelloRequest{}))
	}},
	"an actor of its own": {"target", func(h *hand) *remote.RemoteMessage {
		return packed(batchOf(h.pid("a"), h.pid("b"), &bhnodev1.HelloRequest{}))
	}},
	"a forged sender": {"sender", func(*hand) *remote.RemoteMessage {
		return packed(batchOf(&actor.PID{Address: "10.0.0.1:1", Id: "a"}, ownPID(nodeName), &bhnodev1.HelloRequest{}))
	}},
	"our own address as a sender": {"sender", func(*hand) *remote.RemoteMessage {
		return packed(batchOf(ownPID("activator"), ownPID(nodeName), &bhnodev1.HelloRequest{}))
	}},
	"no sender": {"sender", func(*hand) *remote.RemoteMessage {
		return packed(batchOf(nil, ownPID(nodeName), &bhnodev1.HelloRequest{}))
	}},
	"999 forged senders": {"sender", func(h *hand) *remote.RemoteMessage { return packed(forged(h, 999)) }},
	"too many senders":   {"malformed", func(h *hand) *remote.RemoteMessage { return packed(forged(h, 5000)) }},
	"an unknown type":    {"type", edited(func(b *remote.MessageBatch) { b.TypeNames[0] = "no.such.Type" })},
	"a type beyond":      {"malformed", edited(func(b *remote.MessageBatch) { b.Envelopes[0].TypeId = 7 })},
	"a type before":      {"malformed", edited(func(b *remote.MessageBatch) { b.Envelopes[0].TypeId = -1 })},
	"a target beyond":    {"malformed", edited(func(b *remote.MessageBatch) { b.Envelopes[0].Target = 7 })},
	"a target before":    {"malformed", edited(func(b *remote.MessageBatch) { b.Envelopes[0].Target = -1 })},
	"a sender beyond":    {"malformed", edited(func(b *remote.MessageBatch) { b.Envelopes[0].Sender = 7 })},
	"a sender before":    {"malformed", edited(func(b *remote.MessageBatch) { b.Envelopes[0].Sender = -1 })},
	"another serializer": {"malformed", edited(func(b *remote.MessageBatch) { b.Envelopes[0].SerializerId = 9 })},
	"the JSON serializer": {"malformed", edited(func(b *remote.MessageBatch) {
		b.Envelopes[0].SerializerId, b.Envelopes[0].MessageData = 1, []byte("{}")
	})},
	"rubbish of a type": {"malformed", edited(func(b *remote.MessageBatch) { b.Envelopes[0].MessageData = []byte{0xff, 0xff} })},
	"a long name":       {"sender", edited(func(b *remote.MessageBatch) { b.Senders[0].Id = strings.Repeat("x", 300) })},
	"a large message":   {"too_large", edited(func(b *remote.MessageBatch) { b.Envelopes[0].MessageData = make([]byte, maxPayload+1) })},
	"a larger message":  {"too_large", edited(func(b *remote.MessageBatch) { b.Envelopes[0].MessageData = make([]byte, maxBatch) })},
	"two greetings":     {"malformed", func(h *hand) *remote.RemoteMessage { h.greet(h.peer.Address); return &remote.RemoteMessage{} }},
	"nothing at all":    {"malformed", func(*hand) *remote.RemoteMessage { return &remote.RemoteMessage{} }},
	"a disconnect": {"malformed", func(*hand) *remote.RemoteMessage {
		return &remote.RemoteMessage{MessageType: &remote.RemoteMessage_DisconnectRequest{DisconnectRequest: &remote.DisconnectRequest{}}}
	}},
}

// to is a message to an actor of ours.
func to(id string, m proto.Message) func(h *hand) *remote.RemoteMessage {
	return func(h *hand) *remote.RemoteMessage { return packed(batchOf(h.pid("a"), ownPID(id), m)) }
}

// edited is a good packet, spoilt.
func edited(spoil func(*remote.MessageBatch)) func(h *hand) *remote.RemoteMessage {
	return func(h *hand) *remote.RemoteMessage {
		b := batchOf(h.pid("a"), ownPID(nodeName), &bhnodev1.HelloRequest{})
		spoil(b)
		return packed(b)
	}
}

// Whatever who has a certificate sends, the stream ends, it is counted, and everybody else
// is served as before.
func TestHostilePacketsAreTurnedAway(t *testing.T) {
	good := newHand(t, takePeer(t))
	good.wantHello()
	p := takePeer(t)
	before, actorsBefore := runtime.NumGoroutine(), actorsThere()
	for name, c := range hostile {
		h := &hand{t: t, peer: p, cert: ca.issue(p.Name, time.Hour)}
		h.connect()
		h.greet(p.Address)
		counted := rejections.Counts()[c.reason]
		h.send(c.packet(h))
		if code := status.Code(h.end()); code != codes.PermissionDenied && (c.reason != "too_large" || code != codes.ResourceExhausted) {
			t.Errorf("%s: the stream ends with %v", name, code)
		}
		eventually(t, name+" is counted once", func() bool { return rejections.Counts()[c.reason] == counted+1 })
		_ = h.conn.Close()
		good.wantHello()
	}
	eventually(t, "the goroutines of those end", func() bool { return runtime.NumGoroutine() <= before })
	if n := strings.Count(logged.String(), `"peer":"certificate `+p.Name+`"`); n == 0 || n > 5 {
		t.Errorf("%d lines are logged, want one for each reason", n)
	}
	if now := actorsThere(); now > actorsBefore {
		t.Errorf("there are %d actors, were %d: something was spawned, or dialled", now, actorsBefore)
	}
}

// actorsThere counts them: each connection to a peer has two, in protoactor's remote.
func actorsThere() (n int) {
	for _, bucket := range shared.system.ProcessRegistry.LocalPIDs.LocalPIDs {
		n += bucket.Count()
	}
	return n
}

// wantHello asks who is there.
func (h *hand) wantHello() {
	h.t.Helper()
	h.ask("good", &bhnodev1.HelloRequest{})
	l := h.next()
	hello, ok := l.message.(*bhnodev1.HelloResponse)
	if !ok || hello.GetNode() != "n1" || hello.GetApi() != "bhnode.v1" || hello.GetRole() != h.peer.Role {
		h.t.Fatalf("got %v", l.message)
	}
	if l.to.GetId() != "good" || l.from.GetId() != nodeName || l.from.GetAddress() != own {
		h.t.Errorf("it comes from %v to %v", l.from, l.to)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !is(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within %v: %s; the gateway says:\n%s", patience, what, logged)
		}
	}
}

// Who has no certificate, or a bad one, does not come as far as to send anything.
func TestBadCertificatesAreTurnedAway(t *testing.T) {
	p := takePeer(t)
	for name, c := range map[string]struct {
		hand   *hand
		code   codes.Code
		reason string
	}{
		"none":             {&hand{}, codes.Unavailable, "handshake"},
		"of another CA":    {&hand{cert: newAuthority("other").issue(p.Name, time.Hour)}, codes.Unavailable, "handshake"},
		"ended":            {&hand{cert: ca.issue(p.Name, -time.Minute)}, codes.Unavailable, "handshake"},
		"not under access": {&hand{cert: ca.issue("else.example", time.Hour)}, codes.PermissionDenied, "certificate"},
		"a wildcard":       {&hand{cert: ca.issue("*.example", time.Hour)}, codes.PermissionDenied, "certificate"},
	} {
		counted := rejections.Counts()[c.reason]
		h := c.hand
		h.t, h.peer = t, p
		h.connect()
		h.greet(p.Address)
		if err := h.end(); status.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		eventually(t, name+" is counted", func() bool { return rejections.Counts()[c.reason] > counted })
	}
}

// What comes before or in place of a greeting is turned away, and calls that are none of
// a stream of actors.
func TestOtherCallsAreTurnedAway(t *testing.T) {
	p := takePeer(t)
	for name, greet := range map[string]func(h *hand){
		"as somebody else": func(h *hand) { h.greet("10.0.0.1:1") },
		"not at all":       func(h *hand) { h.ask("a", &bhnodev1.HelloRequest{}) },
		"as a client": func(h *hand) {
			h.send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectRequest{ConnectRequest: &remote.ConnectRequest{
				ConnectionType: &remote.ConnectRequest_ClientConnection{ClientConnection: &remote.ClientConnection{SystemId: "x"}},
			}}})
		},
	} {
		h := &hand{t: t, peer: p, cert: ca.issue(p.Name, time.Hour)}
		h.connect()
		greet(h)
		if err := h.end(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("greeting %s: %v", name, err)
		}
	}
	h := &hand{t: t, peer: p, cert: ca.issue(p.Name, time.Hour)}
	h.connect()
	client := remote.NewRemotingClient(h.conn)
	_, err := client.ListProcesses(t.Context(), &remote.ListProcessesRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("ListProcesses: %v", err)
	}
	_, err = client.GetProcessDiagnostics(t.Context(), &remote.GetProcessDiagnosticsRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("GetProcessDiagnostics: %v", err)
	}
}

// A peer that goes on after its certificate has ended is turned away.
func TestACertificateEndsWhileConnected(t *testing.T) {
	s := &guarded{
		gate: shared.gate, peer: &Peer{Address: "10.0.0.9:1"}, expires: time.Now().Add(-time.Second), read: make(chan *remote.RemoteMessage, 1), cut: make(chan struct{}),
	}
	s.read <- &remote.RemoteMessage{}
	if err := s.RecvMsg(&remote.RemoteMessage{}); err == nil || !strings.Contains(err.Error(), "certificate is over") {
		t.Errorf("got %v", err)
	}
}

// A peer that says nothing any more is let go when its certificate ends.
func TestAConnectionEndsWithItsCertificate(t *testing.T) {
	p := takePeer(t)
	counted := rejections.Counts()["certificate"]
	h := &hand{t: t, peer: p, cert: ca.issue(p.Name, 3*time.Second)}
	h.connect()
	h.greet(p.Address)
	if err := h.end(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ends with %v", err)
	}
	eventually(t, "it is counted", func() bool { return rejections.Counts()["certificate"] > counted })
}

// A watch of the actor is dropped: it is no request.
func TestAWatchIsNoRequest(t *testing.T) {
	h := newHand(t, takePeer(t))
	h.send(packed(batchOf(h.pid("good"), ownPID(nodeName), &actor.Watch{Watcher: h.pid("good")}, &actor.Unwatch{Watcher: h.pid("good")})))
	h.wantHello()
}

// Ten thousand forged senders cost no memory to speak of.
func TestForgedSendersCostNothing(t *testing.T) {
	good := newHand(t, takePeer(t))
	good.wantHello()
	p := takePeer(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 10 {
		h := &hand{t: t, peer: p, cert: ca.issue(p.Name, time.Hour)}
		h.connect()
		h.greet(p.Address)
		h.send(packed(forged(h, 998)))
		if err := h.end(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%v", err)
		}
		_ = h.conn.Close()
	}
	good.wantHello()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse); grown > 20<<20 {
		t.Errorf("it takes %d bytes more", grown)
	}
}
