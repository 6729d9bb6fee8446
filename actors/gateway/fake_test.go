package gateway

import (
	"context"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// fakeNode is the API of a node that does as tests say.
type fakeNode struct {
	bhnodev1.NodeClient // of what is not asked for

	mu       sync.Mutex
	restarts []string                   // certificate, and names
	events   map[string]chan fakeEvents // by certificate: what is to be published
}

// fakeEvents is a part of a stream, or its end.
type fakeEvents struct {
	part *bhnodev1.StreamEventsResponse
	err  error
}

func behalf(ctx context.Context) string {
	md, _ := metadata.FromOutgoingContext(ctx)
	if name := md.Get("bhnode-certificate"); len(name) == 1 && len(md.Get("bhnode-from")) == 1 {
		return name[0]
	}
	return "nobody"
}

func (f *fakeNode) GetNode(context.Context, *bhnodev1.GetNodeRequest, ...grpc.CallOption) (*bhnodev1.GetNodeResponse, error) {
	return &bhnodev1.GetNodeResponse{Name: "n1"}, nil
}

func (f *fakeNode) GetTree(context.Context, *bhnodev1.GetTreeRequest, ...grpc.CallOption) (*bhnodev1.GetTreeResponse, error) {
	return &bhnodev1.GetTreeResponse{Root: &bhnodev1.TreeNode{Name: "root"}}, nil
}

func (f *fakeNode) GetStatus(ctx context.Context, r *bhnodev1.GetStatusRequest, _ ...grpc.CallOption) (*bhnodev1.GetStatusResponse, error) {
	if len(r.GetNames()) > 0 && r.GetNames()[0] == "huge" {
		return &bhnodev1.GetStatusResponse{Node: string(make([]byte, maxMessage+1))}, nil
	}
	<-ctx.Done() // never, by itself
	return nil, status.FromContextError(ctx.Err()).Err()
}

func (f *fakeNode) RestartServices(ctx context.Context, r *bhnodev1.RestartServicesRequest, _ ...grpc.CallOption) (*bhnodev1.RestartServicesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	who := behalf(ctx)
	if r.GetNames()[0] == "forbidden" {
		return nil, status.Errorf(codes.PermissionDenied, "%s is a viewer", who)
	}
	f.restarts = append(f.restarts, who+" "+r.GetNames()[0])
	return &bhnodev1.RestartServicesResponse{}, nil
}

// source is where the events come from that a certificate follows.
func (f *fakeNode) source(certificate string) chan fakeEvents {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.events[certificate] == nil {
		f.events[certificate] = make(chan fakeEvents)
	}
	return f.events[certificate]
}

func (f *fakeNode) StreamEvents(ctx context.Context, _ *bhnodev1.StreamEventsRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[bhnodev1.StreamEventsResponse], error) {
	return &fakeStream{ctx: ctx, from: f.source(behalf(ctx))}, nil
}

type fakeStream struct {
	grpc.ClientStream
	ctx  context.Context //nolint:containedctx // that of the stream
	from chan fakeEvents
}

func (s *fakeStream) Recv() (*bhnodev1.StreamEventsResponse, error) {
	select {
	case e, ok := <-s.from:
		if !ok {
			return nil, io.EOF
		}
		return e.part, e.err
	case <-s.ctx.Done():
		return nil, status.FromContextError(s.ctx.Err()).Err()
	}
}
