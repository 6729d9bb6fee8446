package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// maxMessage is the most that is sent in one message: protoactor's default takes 4 MiB with
// all that is around it.
const maxMessage = 3 << 20

// request is how the node answers one type of message.
type request func(ctx context.Context, node bhnodev1.NodeClient, message proto.Message) (proto.Message, error)

func nameOf(m proto.Message) string { return string(m.ProtoReflect().Descriptor().FullName()) }

// taken are the types that the gate lets through.
func taken() map[string]bool {
	names := map[string]bool{}
	for name := range table() {
		names[name] = true
	}
	for _, m := range []proto.Message{&bhnodev1.HelloRequest{}, &bhnodev1.SubscribeRequest{}, &bhnodev1.UnsubscribeRequest{}} {
		names[nameOf(m)] = true
	}
	return names
}

// table returns the requests. What takes an admin is among them to be told so.
func table() map[string]request {
	t := map[string]request{}
	add(t, bhnodev1.NodeClient.GetNode)
	add(t, bhnodev1.NodeClient.GetStatus)
	add(t, bhnodev1.NodeClient.GetTree)
	add(t, bhnodev1.NodeClient.StartServices)
	add(t, bhnodev1.NodeClient.StopServices)
	add(t, bhnodev1.NodeClient.RestartServices)
	add(t, bhnodev1.NodeClient.PauseSupervisor)
	add(t, bhnodev1.NodeClient.ResumeSupervisor)
	add(t, bhnodev1.NodeClient.SignalService)
	add(t, bhnodev1.NodeClient.DebugService)
	add(t, profile)
	refuse[*bhnodev1.ShutdownRequest](t)
	refuse[*bhnodev1.UpgradeRequest](t)
	refuse[*bhnodev1.ReloadRequest](t)
	refuse[*bhnodev1.AbandonReloadRequest](t)
	return t
}

func add[Q, R proto.Message](t map[string]request, call func(bhnodev1.NodeClient, context.Context, Q, ...grpc.CallOption) (R, error)) {
	var zero Q
	t[nameOf(zero)] = func(ctx context.Context, node bhnodev1.NodeClient, message proto.Message) (proto.Message, error) {
		q, ok := message.(Q)
		if !ok {
			return nil, status.Errorf(codes.Internal, "%T is not %T", message, zero)
		}
		r, err := call(node, ctx, q, grpc.MaxCallRecvMsgSize(maxMessage+maxPayload))
		if err != nil {
			return nil, err
		}
		if size := proto.Size(r); size > maxMessage {
			return nil, status.Errorf(codes.ResourceExhausted, "the answer has %d bytes, and a message to an actor %d at most; ask for less at a time", size, maxMessage)
		}
		return r, nil
	}
}

// refuse answers what nobody may ask for from another machine.
func refuse[Q proto.Message](t map[string]request) {
	var zero Q
	t[nameOf(zero)] = func(context.Context, bhnodev1.NodeClient, proto.Message) (proto.Message, error) {
		return nil, status.Errorf(codes.PermissionDenied, "%s takes an admin on the control socket of the node", nameOf(zero))
	}
}

// profile gathers the parts of a profile.
func profile(node bhnodev1.NodeClient, ctx context.Context, q *bhnodev1.ProfileServiceRequest, _ ...grpc.CallOption) (*bhnodev1.ProfileServiceResponse, error) { //nolint:revive // as the other calls have it
	stream, err := node.ProfileService(ctx, q)
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	for all.Len() <= maxMessage {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return &bhnodev1.ProfileServiceResponse{Data: all.Bytes()}, nil
		}
		if err != nil {
			return nil, err
		}
		all.Write(part.GetData())
	}
	return nil, status.Errorf(codes.ResourceExhausted, "the profile has more than the %d bytes of a message to an actor; take it over the control API", maxMessage)
}

// failure is what is answered to a request that nothing came of.
func failure(request proto.Message, err error) *bhnodev1.Failure {
	s := status.Convert(err)
	return &bhnodev1.Failure{Code: int32(s.Code()), Message: s.Message(), Request: nameOf(request)} //nolint:gosec // codes are small
}

// subscribe begins what a subscriber is to be told, part by part.
func subscribe(ctx context.Context, node bhnodev1.NodeClient, q *bhnodev1.SubscribeRequest) (next func() (*bhnodev1.Publication, error), err error) {
	switch what := q.GetWhat().(type) {
	case *bhnodev1.SubscribeRequest_Events:
		stream, err := node.StreamEvents(ctx, what.Events)
		return parts(stream, err, func(m *bhnodev1.StreamEventsResponse) *bhnodev1.Publication {
			return &bhnodev1.Publication{Id: q.GetId(), What: &bhnodev1.Publication_Events{Events: m}}
		})
	case *bhnodev1.SubscribeRequest_Logs:
		stream, err := node.StreamLogs(ctx, what.Logs)
		return parts(stream, err, func(m *bhnodev1.StreamLogsResponse) *bhnodev1.Publication {
			return &bhnodev1.Publication{Id: q.GetId(), What: &bhnodev1.Publication_Logs{Logs: m}}
		})
	case *bhnodev1.SubscribeRequest_Status:
		stream, err := node.WatchStatus(ctx, what.Status)
		return parts(stream, err, func(m *bhnodev1.WatchStatusResponse) *bhnodev1.Publication {
			return &bhnodev1.Publication{Id: q.GetId(), What: &bhnodev1.Publication_Status{Status: m}}
		})
	}
	return nil, status.Error(codes.InvalidArgument, "it says not to what: events, logs or status")
}

func parts[T any](stream grpc.ServerStreamingClient[T], err error, publication func(*T) *bhnodev1.Publication) (func() (*bhnodev1.Publication, error), error) {
	if err != nil {
		return nil, err
	}
	return func() (*bhnodev1.Publication, error) {
		m, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		p := publication(m)
		if size := proto.Size(p); size > maxMessage {
			return nil, status.Errorf(codes.ResourceExhausted, "a part of it has %d bytes, and a message to an actor %d at most", size, maxMessage)
		}
		return p, nil
	}, nil
}
