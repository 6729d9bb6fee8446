package actors

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	hostv1 "github.com/blackhole/bhnode/proto/bhnode/host/v1"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// DebugService implements the API.
func (s *Control) DebugService(ctx context.Context, r *bhnodev1.DebugServiceRequest) (*bhnodev1.DebugServiceResponse, error) {
	out := &bhnodev1.DebugServiceResponse{}
	word := map[bool]string{true: "on", false: "off"}[r.GetOn()]
	err := s.inspect(ctx, r.GetName(), "debug "+r.GetName()+" "+word, func(host hostv1.HostClient) error {
		got, err := host.SetDebug(ctx, &hostv1.SetDebugRequest{On: r.GetOn()})
		out.Level = got.GetLevel()
		return err
	})
	return out, err
}

// ProfileService implements the API.
func (s *Control) ProfileService(r *bhnodev1.ProfileServiceRequest, out grpc.ServerStreamingServer[bhnodev1.ProfileServiceResponse]) error {
	ctx, text := out.Context(), "profile "+r.GetName()+" --heap"
	if r.GetCpu() != nil {
		text = "profile " + r.GetName() + " --cpu " + r.GetCpu().AsDuration().String()
	}
	return s.inspect(ctx, r.GetName(), text, func(host hostv1.HostClient) error {
		parts, err := host.Profile(ctx, &hostv1.ProfileRequest{Cpu: r.GetCpu()})
		for err == nil {
			var part *hostv1.ProfileResponse
			if part, err = parts.Recv(); err == nil {
				err = out.Send(&bhnodev1.ProfileServiceResponse{Data: part.GetData()})
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	})
}

// inspect asks a service that is built on bhnode's host, and has it in the journal with
// what words.
func (s *Control) inspect(ctx context.Context, name, text string, ask func(hostv1.HostClient) error) error {
	svc := s.node.services.get(supervision.ChildID(name))
	if svc == nil || !svc.Enabled {
		return toStatus(&supervision.UnknownChildError{ID: supervision.ChildID(name)})
	}
	target := "unix:" + svc.Spec.UnixSocket
	if svc.Spec.UnixSocket == "" {
		return status.Errorf(codes.FailedPrecondition, "%s has no unix_socket, on which a service of bhnode's host is looked into", name)
	}
	s.node.system.Root.Send(s.node.root.pid, noteAsked{who: who(ctx), text: text})
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials())) // of this machine
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	defer func() { _ = conn.Close() }()
	err = ask(hostv1.NewHostClient(conn))
	switch status.Code(err) { //nolint:exhaustive // the rest is as the service says
	case codes.Unimplemented:
		return status.Errorf(codes.FailedPrecondition, "%s is not built on bhnode's service host (proto/host), or on an old one", name)
	case codes.Unavailable:
		return status.Errorf(codes.FailedPrecondition, "%s does not answer on %s: %s", name, svc.Spec.UnixSocket, status.Convert(err).Message())
	}
	return err
}
