package gateway

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/remote"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/actors"
)

// What a peer may send. Requests of the API are small; who sends faster is read more slowly.
const (
	maxBatch     = 256 << 10 // bytes of a message with all that is packed into it: decoded, it has many times that
	maxPayload   = 64 << 10  // bytes of one request
	maxEnvelopes = 1000      // protoactor packs so many
	maxNames     = 1000      // of targets, senders and types in a batch
	maxName      = 256       // bytes
	perSecond    = 200       // requests
)

// receiveMethod is the only one that is served.
const receiveMethod = "/" + "remote.Remoting" + "/Receive"

// gate is the stream guard before protoactor's remote.
type gate struct {
	own        string              // the address of PIDs of ours
	peers      map[string]*Peer    // by the name of the certificate
	took       map[string]bool     // the types that are let through
	entered    func(*Peer, string) // a stream of a peer begins; from where
	left       func(*Peer)         // the last one has ended
	rejections *actors.Rejections
	now        func() time.Time

	handlers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	streams map[*Peer]map[*guarded]bool
	limits  map[*Peer]*rate.Limiter
}

func newGate(own string, rejections *actors.Rejections) *gate {
	return &gate{
		own: own, peers: map[string]*Peer{}, took: taken(), rejections: rejections, now: time.Now,
		streams: map[*Peer]map[*guarded]bool{}, limits: map[*Peer]*rate.Limiter{},
	}
}

// rejection is why something is turned away.
type rejection struct{ reason, detail string }

func (r *rejection) Error() string { return r.detail }

func reject(reason, format string, args ...any) error {
	return &rejection{reason, fmt.Sprintf(format, args...)}
}

// unary refuses every call that is no stream: protoactor's panic.
func (g *gate) unary(ctx context.Context, _ any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
	return nil, g.turnAway(ctx, reject("call", "%s is not served", info.FullMethod))
}

// stream lets the messages of a peer in that may come in.
func (g *gate) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	ctx := stream.Context()
	if info.FullMethod != receiveMethod {
		return g.turnAway(ctx, reject("call", "%s is not served", info.FullMethod))
	}
	p, cert := g.identify(ctx)
	if p == nil {
		return g.turnAway(ctx, reject("certificate", "this certificate has no remote_address under access"))
	}
	s := &guarded{ServerStream: stream, gate: g, peer: p, expires: cert.NotAfter, cut: make(chan struct{}), read: make(chan *remote.RemoteMessage)}
	if !g.enter(s) {
		return errCut
	}
	defer g.leave(s)
	defer func() {
		if reason := recover(); reason != nil { // it was the packet's fault, whatever it was
			err = g.turnAway(ctx, reject("malformed", "%v", reason))
		}
	}()
	go s.pump()
	err = handle(server, s)
	if _, ok := errors.AsType[*rejection](err); ok {
		return g.turnAway(ctx, err)
	}
	if err != nil && !s.over(err) {
		return g.turnAway(ctx, reject("malformed", "%v", err))
	}
	return err
}

// turnAway counts what is turned away.
func (g *gate) turnAway(ctx context.Context, err error) error {
	why, ok := errors.AsType[*rejection](err)
	if !ok {
		return err
	}
	g.rejections.Note(g.describe(ctx), why.reason, why.detail)
	return status.Error(codes.PermissionDenied, why.detail)
}

// describe names a peer for the log: by its certificate, else by its address.
func (g *gate) describe(ctx context.Context) string {
	if p, _ := g.identify(ctx); p != nil {
		return "certificate " + p.Name
	}
	p, _ := grpcpeer.FromContext(ctx)
	if cert := certificateOf(ctx); cert != nil {
		host, _, _ := net.SplitHostPort(p.Addr.String()) // each connection has another port
		return fmt.Sprintf("certificate %s from %s", strings.Join(actors.NamesOf(cert), ", "), host)
	}
	return "unknown"
}

func certificateOf(ctx context.Context) *x509.Certificate {
	p, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return nil
	}
	session, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(session.State.PeerCertificates) == 0 {
		return nil
	}
	return session.State.PeerCertificates[0]
}

// identify returns the peer that a connection is of; nil: it may not come in.
func (g *gate) identify(ctx context.Context) (*Peer, *x509.Certificate) {
	cert := certificateOf(ctx)
	if cert == nil {
		return nil, nil
	}
	for _, name := range actors.NamesOf(cert) {
		if p := g.peers[name]; p != nil {
			return p, cert
		}
	}
	return nil, cert
}

// enter lets a stream in. It takes the place of those that the peer has had: it has lost
// them, or is another life of it.
func (g *gate) enter(s *guarded) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.handlers.Add(1)
	for older := range g.streams[s.peer] {
		older.end()
	}
	if g.streams[s.peer] == nil {
		g.streams[s.peer] = map[*guarded]bool{}
		g.limits[s.peer] = rate.NewLimiter(perSecond, maxEnvelopes)
	}
	g.streams[s.peer][s], s.limit = true, g.limits[s.peer]
	p, _ := grpcpeer.FromContext(s.Context())
	g.entered(s.peer, p.Addr.String())
	return true
}

func (g *gate) leave(s *guarded) {
	defer g.handlers.Done()
	g.mu.Lock()
	defer g.mu.Unlock()
	if delete(g.streams[s.peer], s); len(g.streams[s.peer]) == 0 {
		g.left(s.peer)
	}
}

// close ends all streams, lets nobody in any more, and waits until all are gone.
func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	for _, streams := range g.streams {
		for s := range streams {
			s.end()
		}
	}
	g.mu.Unlock()
	g.handlers.Wait()
}

// unknown is what becomes of calls of services that are not served.
func unknown(any, grpc.ServerStream) error { return nil } // the guard comes first

// cut ends all streams of a peer: it notices, and comes again.
func (g *gate) cut(p *Peer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for s := range g.streams[p] {
		s.end()
	}
}
