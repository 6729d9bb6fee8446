package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// The next attempt follows within a fifth of how long a dependency was down and
// within maxRetry, so a chain of services that start together starts quickly.
const (
	minRetry    = 20 * time.Millisecond
	maxRetry    = time.Second
	retryFactor = 1.2
)

// checkInterval is how often a dependency that knows no Watch is asked.
const checkInterval = time.Second

// verdict is what is known about a dependency; a nil err is SERVING.
type verdict struct {
	dependency int // index in Options.Dependencies
	err        error
}

// watcher follows one dependency until its context ends.
type watcher struct {
	client grpc_health_v1.HealthClient
	report func(error) // called in the watcher's goroutine, with each answer
}

// dialDependency returns a connection that is made again whenever it breaks.
func dialDependency(d Dependency) (*grpc.ClientConn, error) {
	network, address := d.endpoint()
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	conn, err := grpc.NewClient("passthrough:///"+d.Name,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a local socket or the loopback interface
		grpc.WithAuthority("localhost"),
		grpc.WithContextDialer(dial),
		grpc.WithIdleTimeout(0),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: minRetry, Multiplier: retryFactor, Jitter: 0.1, MaxDelay: maxRetry},
			MinConnectTimeout: 2 * time.Second,
		}))
	if err != nil {
		return nil, fmt.Errorf("dependency %s: %w", d.Name, err)
	}
	return conn, nil
}

// run watches until ctx ends. What ends a watch is a verdict too: a dependency that
// cannot be asked is not serving.
func (w *watcher) run(ctx context.Context) {
	delay := minRetry
	for ctx.Err() == nil {
		answered, err := w.watch(ctx)
		if status.Code(err) == codes.Unimplemented {
			answered, err = w.poll(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		w.report(err)
		if answered {
			delay = minRetry
		}
		if !pause(ctx, delay) {
			return
		}
		delay = min(time.Duration(float64(delay)*retryFactor), maxRetry)
	}
}

// watch reports each answer of one stream and returns why the stream ended.
func (w *watcher) watch(ctx context.Context) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return false, err
	}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return answered, errors.New("it ended the watch")
		}
		if err != nil {
			return answered, err
		}
		answered = true
		w.report(verdictOf(answer))
	}
}

// poll asks a dependency that knows no Watch again and again, until it cannot be
// asked.
func (w *watcher) poll(ctx context.Context) (answered bool, err error) {
	for {
		ask, cancel := context.WithTimeout(ctx, checkInterval)
		answer, err := w.client.Check(ask, &grpc_health_v1.HealthCheckRequest{})
		cancel()
		if err != nil {
			return answered, err
		}
		answered = true
		w.report(verdictOf(answer))
		if !pause(ctx, checkInterval) {
			return answered, ctx.Err()
		}
	}
}

func verdictOf(answer *grpc_health_v1.HealthCheckResponse) error {
	if s := answer.GetStatus(); s != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("it answers %s", s)
	}
	return nil
}

// pause waits for d; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
