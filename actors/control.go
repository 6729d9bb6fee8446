package actors

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/logstore"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// Control is the control API of a node: a request becomes a message to an actor,
// its answer the response.
type Control struct {
	bhnodev1.UnimplementedNodeServer
	node       *Node
	health     *health.Server
	rejections *Rejections
	strangers  strangers // on the socket
	entrance   *Entrance // of other machines; nil: there is none
	// Successor checks a program and has it put in the place of this one soon after; nil: that
	// is not possible.
	Successor func(ctx context.Context, binary string) (version string, err error)
	// Reloader brings the changed configuration into force, or with dry only says what would
	// change; nil: that is not possible.
	Reloader func(ctx context.Context, dry bool, who string) (*bhnodev1.ReloadResponse, error)
}

// NewControl returns the API of a node.
func NewControl(n *Node) *Control {
	return &Control{node: n, health: health.NewServer(), rejections: NewRejections(n.log.With().Str("endpoint", "control").Logger(), func(reason string) {
		n.metrics.Rejected("control", reason, 1)
	})}
}

// Server returns a gRPC server that serves the API, gRPC health and reflection on a
// unix socket, to users of this machine by their roles.
func (s *Control) Server(access Access) *grpc.Server {
	return s.server(peerCredentials{access, &s.strangers})
}

// Close ends the connections on which nobody has said anything yet: a server waits for them
// when it stops. Nobody comes in any more.
func (s *Control) Close() {
	s.strangers.Close()
	if s.entrance != nil {
		s.entrance.Close()
	}
}

// RemoteServer returns a gRPC server that serves the same over TLS, to certificates by
// their roles; config has to ask for one.
func (s *Control) RemoteServer(access Access, config *tls.Config) *grpc.Server {
	s.entrance = NewEntrance(credentials.NewTLS(config), s.rejections)
	return s.server(certCredentials{s.entrance, access},
		grpc.MaxConcurrentStreams(streamsAtOnce),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: aliveAfter, Timeout: handshakeTime, MaxConnectionIdle: idleTime}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: handshakeTime, PermitWithoutStream: true}),
	)
}

// What a peer on another machine gets: a cable that was cut is noticed, and nobody
// takes all there is.
const (
	handshakeTime = 10 * time.Second
	aliveAfter    = 30 * time.Second
	idleTime      = 5 * time.Minute // without a call: it can come again
	streamsAtOnce = 100
)

func (s *Control) server(creds credentials.TransportCredentials, more ...grpc.ServerOption) *grpc.Server {
	server := grpc.NewServer(append(more,
		grpc.Creds(creds),
		grpc.ConnectionTimeout(handshakeTime),
		grpc.UnaryInterceptor(s.admitUnary),
		grpc.StreamInterceptor(s.admitStream),
		grpc.MaxRecvMsgSize(1<<20),
	)...)
	bhnodev1.RegisterNodeServer(server, s)
	healthv1.RegisterHealthServer(server, s.health)
	reflection.Register(server)
	return server
}

// GetNode implements the API.
func (s *Control) GetNode(ctx context.Context, _ *bhnodev1.GetNodeRequest) (*bhnodev1.GetNodeResponse, error) {
	views, err := s.node.Snapshot(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &bhnodev1.GetNodeResponse{
		Name: s.node.cfg.Name, Version: s.node.cfg.Version, Pid: int32(os.Getpid()), //nolint:gosec // a pid fits
		StartedAt: timestamppb.New(s.node.started), Config: s.node.cfg.Source, State: nodeState(views),
	}, nil
}

// GetStatus implements the API.
func (s *Control) GetStatus(ctx context.Context, r *bhnodev1.GetStatusRequest) (*bhnodev1.GetStatusResponse, error) {
	s.node.sample(ctx, freshTime)
	views, err := s.node.Snapshot(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	services, err := s.node.statusOf(views, r.GetNames())
	if err != nil {
		return nil, toStatus(err)
	}
	if len(r.GetNames()) > 0 {
		for _, svc := range services {
			if svc.LastLines, err = s.node.LastLines(ctx, svc.GetName()); err != nil {
				return nil, toStatus(err)
			}
		}
	}
	return &bhnodev1.GetStatusResponse{Node: s.node.cfg.Name, Services: services, State: nodeState(views), Isolation: s.node.isolation()}, nil
}

// GetTree implements the API.
func (s *Control) GetTree(ctx context.Context, _ *bhnodev1.GetTreeRequest) (*bhnodev1.GetTreeResponse, error) {
	views, err := s.node.Snapshot(ctx)
	if err != nil {
		return nil, toStatus(err)
	}
	return &bhnodev1.GetTreeResponse{Root: s.node.tree(views)}, nil
}

// StartServices implements the API.
func (s *Control) StartServices(ctx context.Context, r *bhnodev1.StartServicesRequest) (*bhnodev1.StartServicesResponse, error) {
	m := operate{op: supervision.OpStart, ids: ids(r.GetNames()), all: r.GetAll(), noWait: r.GetNoWait()}
	what, err := s.operateOrForetell(ctx, m, r.GetDryRun())
	return &bhnodev1.StartServicesResponse{Consequence: what}, err
}

// StopServices implements the API.
func (s *Control) StopServices(ctx context.Context, r *bhnodev1.StopServicesRequest) (*bhnodev1.StopServicesResponse, error) {
	m := operate{op: supervision.OpStop, ids: ids(r.GetNames()), all: r.GetAll(), only: r.GetOnly(), noWait: r.GetNoWait()}
	what, err := s.operateOrForetell(ctx, m, r.GetDryRun())
	return &bhnodev1.StopServicesResponse{Consequence: what}, err
}

// RestartServices implements the API.
func (s *Control) RestartServices(ctx context.Context, r *bhnodev1.RestartServicesRequest) (*bhnodev1.RestartServicesResponse, error) {
	m := operate{op: supervision.OpRestart, ids: ids(r.GetNames()), only: r.GetOnly(), noWait: r.GetNoWait()}
	what, err := s.operateOrForetell(ctx, m, r.GetDryRun())
	return &bhnodev1.RestartServicesResponse{Consequence: what}, err
}

// PauseSupervisor implements the API.
func (s *Control) PauseSupervisor(ctx context.Context, r *bhnodev1.PauseSupervisorRequest) (*bhnodev1.PauseSupervisorResponse, error) {
	err := s.operate(ctx, operate{op: supervision.OpPause, ids: ids([]string{r.GetName()})})
	return &bhnodev1.PauseSupervisorResponse{}, err
}

// ResumeSupervisor implements the API.
func (s *Control) ResumeSupervisor(ctx context.Context, r *bhnodev1.ResumeSupervisorRequest) (*bhnodev1.ResumeSupervisorResponse, error) {
	err := s.operate(ctx, operate{op: supervision.OpResume, ids: ids([]string{r.GetName()})})
	return &bhnodev1.ResumeSupervisorResponse{}, err
}

// SignalService implements the API.
func (s *Control) SignalService(ctx context.Context, r *bhnodev1.SignalServiceRequest) (*bhnodev1.SignalServiceResponse, error) {
	id := supervision.ChildID(r.GetName())
	if svc := s.node.services.get(id); svc == nil || !svc.Enabled {
		return nil, toStatus(&supervision.UnknownChildError{ID: id})
	}
	if r.GetSignal() <= 0 || r.GetSignal() > 64 {
		return nil, status.Errorf(codes.InvalidArgument, "%d is no signal", r.GetSignal())
	}
	sig := syscall.Signal(r.GetSignal())
	got, err := askNow(ctx, s.node.root, func(reply chan<- signalled) any {
		return signalService{id: id, signal: sig, who: who(ctx), reply: reply}
	})
	if err == nil {
		err = got.err
	}
	if err != nil {
		return nil, toStatus(err)
	}
	return &bhnodev1.SignalServiceResponse{Pid: int32(got.pid)}, nil //nolint:gosec // a pid fits
}

// Shutdown implements the API.
func (s *Control) Shutdown(ctx context.Context, r *bhnodev1.ShutdownRequest) (*bhnodev1.ShutdownResponse, error) {
	text := "shutdown"
	if r.GetNow() {
		text += " --now"
	}
	if err := s.node.Stop(ctx, r.GetNow(), who(ctx), text); err != nil {
		return nil, toStatus(err)
	}
	return &bhnodev1.ShutdownResponse{}, nil
}

// Upgrade implements the API.
func (s *Control) Upgrade(ctx context.Context, r *bhnodev1.UpgradeRequest) (*bhnodev1.UpgradeResponse, error) {
	if s.Successor == nil {
		return nil, status.Error(codes.FailedPrecondition, "with on_daemon_death: kill services do not outlive this bhnode; restart it instead")
	}
	if !filepath.IsAbs(r.GetBinary()) {
		return nil, status.Errorf(codes.InvalidArgument, "%q is no absolute path", r.GetBinary())
	}
	version, err := s.Successor(ctx, r.GetBinary())
	if err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	s.node.system.Root.Send(s.node.root.pid, noteAsked{who: who(ctx), text: "upgrade --binary " + r.GetBinary()})
	return &bhnodev1.UpgradeResponse{Version: version}, nil
}

// Reload implements the API.
func (s *Control) Reload(ctx context.Context, r *bhnodev1.ReloadRequest) (*bhnodev1.ReloadResponse, error) {
	if s.Reloader == nil {
		return nil, status.Error(codes.FailedPrecondition, "this node cannot be reloaded")
	}
	resp, err := s.Reloader(ctx, r.GetDryRun(), who(ctx))
	return resp, toStatus(err)
}

// AbandonReload implements the API.
func (s *Control) AbandonReload(ctx context.Context, _ *bhnodev1.AbandonReloadRequest) (*bhnodev1.AbandonReloadResponse, error) {
	reloading, err := s.node.Abandon(ctx, who(ctx), "reload --abandon", "was called off by "+who(ctx))
	return &bhnodev1.AbandonReloadResponse{Reloading: reloading}, toStatus(err)
}

// ReportRejections implements the API.
func (s *Control) ReportRejections(_ context.Context, r *bhnodev1.ReportRejectionsRequest) (*bhnodev1.ReportRejectionsResponse, error) {
	for reason, n := range r.GetRejections() {
		s.node.metrics.Rejected("remote", reason, n)
	}
	return &bhnodev1.ReportRejectionsResponse{}, nil
}

// CertificateEnds has the metrics tell when the certificate of the node ends.
func (n *Node) CertificateEnds(at time.Time) { n.metrics.CertificateEnds(at) }

// toStatus gives an error the code that the client's exit code is made from.
func toStatus(err error) error {
	var unknown *supervision.UnknownChildError
	var operation *supervision.OperationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return status.Error(codes.NotFound, err.Error())
	case errors.As(err, &operation), errors.Is(err, proc.ErrProcessDone), errors.Is(err, logstore.ErrNoStreams):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, errGone), errors.Is(err, errSilent):
		return status.Error(codes.Unavailable, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the time to wait is over; the work goes on")
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Error(codes.Internal, err.Error())
}
