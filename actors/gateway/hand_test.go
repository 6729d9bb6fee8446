package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// patience is how long anything may take on a machine that is busy.
const patience = 30 * time.Second

// hand speaks protoactor's wire protocol by hand: it is a peer, or pretends to be one.
type hand struct {
	remote.UnimplementedRemotingServer
	t      *testing.T
	peer   *Peer
	cert   tls.Certificate
	conn   *grpc.ClientConn
	stream remote.Remoting_ReceiveClient
	server *grpc.Server
	got    chan letter
	deaf   chan struct{} // closed: it reads; nil: at once

	watched atomic.Int32 // so many actors of its own, by the gateway
}

// letter is a message that came.
type letter struct {
	to      *actor.PID
	from    *actor.PID
	message proto.Message
}

// newHand returns a peer that is connected and can be answered.
func newHand(t *testing.T, p *Peer) *hand {
	t.Helper()
	h := &hand{t: t, peer: p, cert: ca.issue(p.Name, time.Hour), got: make(chan letter, 10_000)}
	h.serve()
	h.connect()
	h.greet(p.Address)
	return h
}

// serve takes what the gateway sends.
func (h *hand) serve() {
	h.t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(h.t.Context(), "tcp", h.peer.Address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.server = grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{h.cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(),
	})))
	remote.RegisterRemotingServer(h.server, h)
	go func() { _ = h.server.Serve(listener) }()
	h.t.Cleanup(h.server.Stop)
}

// connect opens a stream to the gateway, with whatever certificate there is.
func (h *hand) connect() {
	h.t.Helper()
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: ca.pool()}
	if h.cert.PrivateKey != nil {
		config.Certificates = []tls.Certificate{h.cert}
	}
	conn, err := grpc.NewClient("passthrough:///"+own, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		h.t.Fatal(err)
	}
	h.conn = conn
	h.t.Cleanup(func() { _ = conn.Close() })
	h.stream, _ = remote.NewRemotingClient(conn).Receive(h.t.Context())
}

func (h *hand) greet(address string) {
	h.send(&remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectRequest{ConnectRequest: &remote.ConnectRequest{
		ConnectionType: &remote.ConnectRequest_ServerConnection{ServerConnection: &remote.ServerConnection{SystemId: "hand", Address: address}},
	}}})
}

// send sends whatever: what becomes of it the end of the stream tells.
func (h *hand) send(m *remote.RemoteMessage) {
	if h.stream != nil {
		_ = h.stream.Send(m)
	}
}

// end is how the gateway ended the stream.
func (h *hand) end() error {
	h.t.Helper()
	if h.stream == nil {
		_, err := remote.NewRemotingClient(h.conn).Receive(h.t.Context())
		return err
	}
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := h.stream.Recv(); err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		h.t.Fatal("the stream goes on")
		return nil
	}
}

func (h *hand) pid(id string) *actor.PID { return &actor.PID{Address: h.peer.Address, Id: id} }

// batchOf packs messages from an actor to another one.
func batchOf(from, to *actor.PID, messages ...proto.Message) *remote.MessageBatch {
	b := &remote.MessageBatch{Targets: []*actor.PID{to}}
	sender := int32(0)
	if from != nil {
		b.Senders, sender = []*actor.PID{from}, 1
	}
	for i, m := range messages {
		data, _ := proto.Marshal(m)
		b.TypeNames = append(b.TypeNames, nameOf(m))
		b.Envelopes = append(b.Envelopes, &remote.MessageEnvelope{TypeId: int32(i), MessageData: data, Sender: sender})
	}
	return b
}

func packed(b *remote.MessageBatch) *remote.RemoteMessage {
	return &remote.RemoteMessage{MessageType: &remote.RemoteMessage_MessageBatch{MessageBatch: b}}
}

// ask sends requests from an actor of its own to the node.
func (h *hand) ask(from string, requests ...proto.Message) {
	h.send(packed(batchOf(h.pid(from), &actor.PID{Address: own, Id: nodeName}, requests...)))
}

// next is the next message that comes.
func (h *hand) next() letter {
	h.t.Helper()
	select {
	case l := <-h.got:
		return l
	case <-time.After(patience):
		h.t.Fatalf("nothing comes; the gateway says:\n%s", logged)
		return letter{}
	}
}

// Receive implements remote.RemotingServer.
func (h *hand) Receive(stream remote.Remoting_ReceiveServer) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.GetConnectRequest() != nil {
			answer := &remote.RemoteMessage{MessageType: &remote.RemoteMessage_ConnectResponse{ConnectResponse: &remote.ConnectResponse{MemberId: "hand"}}}
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
		h.take(stream.Context(), m.GetMessageBatch())
	}
}

func (h *hand) take(ctx context.Context, b *remote.MessageBatch) {
	if h.deaf != nil {
		select {
		case <-h.deaf:
		case <-ctx.Done():
		}
	}
	for _, e := range b.GetEnvelopes() {
		name := b.GetTypeNames()[e.GetTypeId()]
		kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
		if err != nil {
			h.t.Errorf("%s came: %v", name, err)
			return
		}
		l := letter{to: b.GetTargets()[e.GetTarget()], message: kind.New().Interface()}
		if e.GetSender() > 0 {
			l.from = b.GetSenders()[e.GetSender()-1]
		}
		if err := proto.Unmarshal(e.GetMessageData(), l.message); err != nil {
			h.t.Errorf("%s: %v", name, err)
		}
		switch l.message.(type) {
		case *actor.Watch:
			h.watched.Add(1)
		case *actor.Unwatch:
			h.watched.Add(-1)
		default:
			h.got <- l
		}
	}
}

func addName(c *x509.Certificate, name string) {
	switch ip := net.ParseIP(name); {
	case ip != nil:
		c.IPAddresses = append(c.IPAddresses, ip)
	case strings.Contains(name, "://"):
		uri, _ := url.Parse(name)
		c.URIs = append(c.URIs, uri)
	default:
		c.DNSNames = append(c.DNSNames, name)
	}
}
