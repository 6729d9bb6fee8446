package host

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// health answers for the whole host, the service "". Unlike the server of the grpc
// module it ends its watchers when the host drains: they would hold up the stop.
type health struct {
	grpc_health_v1.UnimplementedHealthServer

	mu       sync.Mutex
	serving  bool
	draining bool
	changed  chan struct{} // closed at the next change
}

func newHealth() *health { return &health{changed: make(chan struct{})} }

// set says whether the host serves. After drain it says no for good.
func (h *health) set(serving bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining || h.serving == serving {
		return
	}
	h.serving = serving
	h.wake()
}

// drain says NOT_SERVING and ends every watch.
func (h *health) drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serving, h.draining = false, true
	h.wake()
}

func (h *health) wake() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *health) state() (s grpc_health_v1.HealthCheckResponse_ServingStatus, draining bool, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if h.serving {
		s = grpc_health_v1.HealthCheckResponse_SERVING
	}
	return s, h.draining, h.changed
}

// Check answers once.
func (h *health) Check(_ context.Context, req *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if req.GetService() != "" {
		return nil, status.Error(codes.NotFound, "only the service \"\" is known")
	}
	s, _, _ := h.state()
	return &grpc_health_v1.HealthCheckResponse{Status: s}, nil
}

// List answers for everything the host knows: the service "".
func (h *health) List(context.Context, *grpc_health_v1.HealthListRequest) (*grpc_health_v1.HealthListResponse, error) {
	s, _, _ := h.state()
	return &grpc_health_v1.HealthListResponse{
		Statuses: map[string]*grpc_health_v1.HealthCheckResponse{"": {Status: s}},
	}, nil
}

// Watch answers at once and again after each change.
func (h *health) Watch(req *grpc_health_v1.HealthCheckRequest, stream grpc.ServerStreamingServer[grpc_health_v1.HealthCheckResponse]) error {
	last := grpc_health_v1.HealthCheckResponse_UNKNOWN
	for {
		s, draining, changed := h.state()
		if req.GetService() != "" {
			s = grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
		}
		if s != last {
			if err := stream.Send(&grpc_health_v1.HealthCheckResponse{Status: s}); err != nil {
				return err
			}
			last = s
		}
		if draining {
			return status.Error(codes.Unavailable, "the service is stopping")
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}
