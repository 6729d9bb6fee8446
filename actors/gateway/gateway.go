package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/blackhole/bhnode/actors"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// Options are what a gateway needs.
type Options struct {
	// Listen is the address and port for actors of other machines, Advertise how those
	// name it; "": Listen.
	Listen, Advertise string
	// Peers are those who may come in.
	Peers []Peer
	// Server is TLS for who comes in, and has to ask for a certificate; Client returns TLS
	// to reach peers, whose names are checked besides.
	Server *tls.Config
	Client func() (*tls.Config, error)
	// Node is the control API, called as an admin.
	Node bhnodev1.NodeClient
	// Build is the version that is told.
	Build string
	// Rejections counts what is turned away.
	Rejections *actors.Rejections
	Log        zerolog.Logger

	sendTime time.Duration // 0: sendTime
}

// What protoactor's remote and gRPC are bounded to.
const (
	handshakeTime = 10 * time.Second // with the first frame
	maxHeaders    = 16 << 10
	streamsAtOnce = 4  // of a connection
	queueSize     = 64 // where protoactor's queues begin; they grow
	listenAgain   = time.Second
	idleTime      = 5 * time.Minute // without a stream
	pingsApart    = 5 * time.Second // of a peer that looks whether we are there
)

// Gateway is a running one.
type Gateway struct {
	system   *actor.ActorSystem
	entrance *actors.Entrance
	remote   *remote.Remote
	node     *node
	gate     *gate
	failed   chan error
}

// Run serves until ctx ends. A port that is taken is tried again. It returns an error when
// the actor has failed: then this process had better be another one.
func Run(ctx context.Context, o Options) error {
	if err := awaitPort(ctx, o); err != nil {
		return err
	}
	g, err := start(o)
	if err != nil {
		return err
	}
	defer g.stop()
	o.Log.Info().Str("address", o.address()).Int("peers", len(o.Peers)).Msg("actors are served")
	select {
	case err := <-g.failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (o *Options) address() string {
	if o.Advertise != "" {
		return o.Advertise
	}
	return o.Listen
}

// awaitPort returns when the port can be listened on, as remote panics where it cannot.
func awaitPort(ctx context.Context, o Options) error {
	again := time.NewTicker(listenAgain)
	defer again.Stop()
	for said := false; ; said = true {
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
		if err == nil {
			return listener.Close()
		}
		if !said {
			o.Log.Error().Err(err).Msg("actors are not served until this is mended")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// start spawns the actor, at the address that remote will have, and listens.
func start(o Options) (g *Gateway, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("cannot serve actors on %s: %v", o.Listen, reason)
		}
	}()
	host, portText, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	o.sendTime = cmp.Or(o.sendTime, sendTime)
	logger := slog.New(zerolog.NewSlogHandler(o.Log.Level(zerolog.ErrorLevel + 1))) // what matters we say ourselves
	g = &Gateway{failed: make(chan error, 1), system: actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return logger }),
		actor.WithDeadLetterRequestLogging(false), actor.WithDeadLetterThrottleCount(0),
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)}
	g.entrance = actors.NewEntrance(credentials.NewTLS(o.Server), o.Rejections)
	dialler := &dialler{peers: map[string]*Peer{}, tls: o.Client, streams: map[string]*outward{}}
	g.gate = newGate(o.address(), o.Rejections)
	g.node = &node{options: &o, dialler: dialler, gate: g.gate, requests: table(), of: map[string]*peer{}}
	for i := range o.Peers {
		p := &o.Peers[i]
		dialler.peers[p.Address], g.gate.peers[p.Name] = p, p
		known := &peer{Peer: p, fresh: rate.NewLimiter(freshSecond, freshAtOnce)}
		known.link = newLink(known)
		g.node.of[p.Address] = known
	}
	dialler.sent = func(address string, number uint64, err error) { g.node.tell(sent{address, number, err}) }
	dialler.failed = func(address string, err error) { g.node.tell(unreachable{address, err}) }
	dialler.lost = func(address string) { g.node.tell(gone{address}) }
	g.gate.entered = func(p *Peer, from string) { g.node.tell(entered{p.Address, from}) }
	g.gate.left = func(p *Peer) { g.node.tell(gone{p.Address}) }

	config := remote.Configure(bracketed(host), port,
		remote.WithAdvertisedHost(o.address()),
		remote.WithServerOptions(g.serverOptions()...),
		remote.WithDialOptions(dialler.options()...),
		remote.WithEndpointManagerQueueSize(queueSize),
		remote.WithEndpointWriterQueueSize(queueSize),
		remote.WithEndpointWriterBatchSize(1),
	)
	config.MaxRetryCount = 1 // more than one leaks connections
	g.remote = remote.NewRemote(g.system, config)
	g.system.ProcessRegistry.Address = o.address()
	g.node.root, g.node.self = g.system.Root, g.system.NewLocalPID(nodeName)
	return g, g.begin()
}

// begin begins to serve. The actor is there before the first message can come.
func (g *Gateway) begin() error {
	_, err := g.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return g.node }, actor.WithGuardian(g)), nodeName)
	if err == nil {
		g.remote.Start()
	}
	return err
}

// HandleFailure implements actor.SupervisorStrategy: a process whose actor has failed ends,
// and the node starts another.
func (g *Gateway) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	sup.StopChildren(who)
	select {
	case g.failed <- fmt.Errorf("the actor has failed: %v", reason):
	default:
	}
}

func (g *Gateway) serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(g.entrance),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.MaxConcurrentStreams(streamsAtOnce),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingsApart, PermitWithoutStream: true}),
		grpc.MaxRecvMsgSize(maxBatch),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTime}),
		grpc.UnknownServiceHandler(unknown),
		grpc.UnaryInterceptor(g.gate.unary),
		grpc.StreamInterceptor(g.gate.stream),
	}
}

// stop ends it: the peers notice at once.
func (g *Gateway) stop() {
	g.system.Root.Stop(g.node.self)
	g.entrance.Close()
	g.gate.close()
	for _, p := range g.gate.peers {
		g.node.dialler.cut(p.Address)
		g.system.EventStream.Publish(&remote.EndpointTerminatedEvent{Address: p.Address})
	}
	g.remote.Shutdown(true)
	g.system.Shutdown()
}

// bracketed is a host as remote puts it before a colon and the port.
func bracketed(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}
