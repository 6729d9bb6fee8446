package proc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// grpcProbe is good when grpc.health.v1 answers SERVING for the whole server. Its
// connection is kept as long as it works; after an error the next check makes a new
// one, so that gRPC's own back-off never delays a verdict.
type grpcProbe struct {
	endpoint endpoint
	conn     *grpc.ClientConn

	mu      sync.Mutex
	dialErr error // of the last attempt to connect; gRPC keeps only its text
}

func newGRPCProbe(target string) (*grpcProbe, error) {
	e, err := parseEndpoint(target)
	if err != nil {
		return nil, err
	}
	return &grpcProbe{endpoint: e}, nil
}

func (p *grpcProbe) check(ctx context.Context) error {
	if p.conn == nil {
		if err := p.connect(); err != nil {
			return err
		}
	}
	resp, err := healthpb.NewHealthClient(p.conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return errors.Join(p.explain(err), p.close())
	}
	if got := resp.GetStatus(); got != healthpb.HealthCheckResponse_SERVING {
		return fmt.Errorf("gRPC health is %s", got)
	}
	return nil
}

// connect makes the client; the first call connects.
func (p *grpcProbe) connect() error {
	p.setDialErr(nil)
	conn, err := grpc.NewClient("passthrough:///"+p.endpoint.address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(p.dial),
		grpc.WithAuthority("localhost"),
		grpc.WithDisableServiceConfig(),
		// A check is a few bytes, and there is a connection a service.
		grpc.WithReadBufferSize(1<<10), grpc.WithWriteBufferSize(1<<10),
	)
	if err != nil {
		return fmt.Errorf("cannot check %s: %w", p.endpoint.address, err)
	}
	p.conn = conn
	return nil
}

// dial connects and remembers why it could not.
func (p *grpcProbe) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := p.endpoint.dial(ctx)
	p.setDialErr(err)
	return conn, err
}

func (p *grpcProbe) setDialErr(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialErr = err
}

// explain says why a call failed: by the error of the dial where there was one.
func (p *grpcProbe) explain(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := status.Convert(err)
	switch {
	case s.Code() == codes.Unavailable && p.dialErr != nil:
		return p.dialErr
	case s.Code() == codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case s.Code() == codes.Unimplemented:
		return errors.New("the service does not answer gRPC health checks (grpc.health.v1)")
	}
	return fmt.Errorf("gRPC %s: %s", s.Code(), s.Message())
}

func (p *grpcProbe) close() error {
	if p.conn == nil {
		return nil
	}
	conn := p.conn
	p.conn = nil
	return conn.Close()
}
