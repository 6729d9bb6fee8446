package host

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	hostv1 "github.com/blackhole/bhnode/proto/bhnode/host/v1"
)

// errUnasked is the verdict on a dependency that has not answered yet.
var errUnasked = errors.New("it has not answered yet")

// Run serves until ctx ends, or SIGTERM or SIGINT comes, then drains and returns nil.
// A second signal ends the process as it would without Run. What keeps the service
// from starting or from serving on is an error.
func Run(ctx context.Context, o Options) error {
	ctx, restore := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer restore()

	h := &host{Options: o, health: newHealth(), served: make(chan error, 2)}
	if err := h.listen(ctx); err != nil {
		return err
	}
	err := h.serve(ctx)
	restore()
	h.drain()
	return err
}

// host is one running service.
type host struct {
	Options
	health  *health
	servers []*grpc.Server
	served  chan error // how each server ended
}

// listen opens what Options name and starts to serve on it, NOT_SERVING at first.
// On an error nothing is left open.
func (h *host) listen(ctx context.Context) error {
	if h.Socket == "" && h.Port == 0 {
		return errors.New("neither a socket nor a port to answer on")
	}
	var listeners []net.Listener
	if h.Socket != "" {
		lis, err := listenUnix(ctx, h.Socket)
		if err != nil {
			return err
		}
		listeners = append(listeners, lis)
	}
	if h.Port != 0 {
		lis, err := listenTCP(ctx, h.Port)
		if err != nil {
			for _, open := range listeners {
				err = errors.Join(err, open.Close())
			}
			return err
		}
		listeners = append(listeners, lis)
	}
	for _, lis := range listeners {
		h.start(lis)
	}
	return nil
}

func (h *host) start(lis net.Listener) {
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, h.health)
	if h.Register != nil {
		h.Register(server)
	}
	if lis.Addr().Network() == "unix" {
		hostv1.RegisterHostServer(server, inspector{level: h.Level})
		reflection.Register(server)
	}
	h.servers = append(h.servers, server)
	go func() { h.served <- server.Serve(lis) }()
}

// serve watches the dependencies and keeps health to what they say, until ctx or a
// server ends.
func (h *host) serve(ctx context.Context) error {
	watching, cancel := context.WithCancel(ctx)
	verdicts := make(chan verdict)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer cancel()
	for i, d := range h.Dependencies {
		conn, err := dialDependency(d)
		if err != nil {
			return err
		}
		report := func(err error) {
			select {
			case verdicts <- verdict{i, err}:
			case <-watching.Done():
			}
		}
		watchers.Go(func() {
			defer func() { _ = conn.Close() }()
			(&watcher{grpc_health_v1.NewHealthClient(conn), report}).run(watching)
		})
	}
	h.Log.Info().Str("socket", h.Socket).Int("port", h.Port).Int("dependencies", len(h.Dependencies)).Msg("service started")
	return h.follow(ctx, verdicts)
}

// follow is the loop that owns the verdicts.
func (h *host) follow(ctx context.Context, verdicts <-chan verdict) error {
	known := slices.Repeat([]error{errUnasked}, len(h.Dependencies))
	serving := len(known) == 0
	h.announce(known)
	for {
		select {
		case v := <-verdicts:
			h.logVerdict(v, known[v.dependency])
			known[v.dependency] = v.err
			if all := len(h.missing(known)) == 0; all != serving {
				serving = all
				h.announce(known)
			}
		case err := <-h.served:
			return err
		case <-ctx.Done():
			h.Log.Info().Msg("service stopping")
			return nil
		}
	}
}

// announce puts what is known into health and into one log line.
func (h *host) announce(known []error) {
	missing := h.missing(known)
	h.health.set(len(missing) == 0)
	if len(missing) == 0 {
		h.Log.Info().Msg("service serving")
	} else {
		h.Log.Info().Strs("waiting_for", missing).Msg("service not serving")
	}
}

// missing names the dependencies that do not answer SERVING.
func (h *host) missing(known []error) []string {
	var names []string
	for i, err := range known {
		if err != nil {
			names = append(names, h.Dependencies[i].Name)
		}
	}
	return names
}

// logVerdict writes one line when a dependency comes, goes or is lost for another
// reason.
func (h *host) logVerdict(v verdict, before error) {
	name := h.Dependencies[v.dependency].Name
	switch {
	case v.err == nil && before != nil:
		h.Log.Debug().Str("dependency", name).Msg("dependency serving")
	case v.err != nil && before == nil:
		h.Log.Warn().Str("dependency", name).Err(v.err).Msg("dependency lost")
	}
}

// drain says NOT_SERVING, lets begun calls end within the drain timeout and breaks
// off what is left.
func (h *host) drain() {
	h.health.drain()
	var draining sync.WaitGroup
	for _, s := range h.servers {
		draining.Go(s.GracefulStop)
	}
	done := make(chan struct{})
	go func() { draining.Wait(); close(done) }()
	timer := time.NewTimer(cmp.Or(h.DrainTimeout, defaultDrain))
	defer timer.Stop()
	select {
	case <-done:
		h.Log.Info().Msg("service stopped")
	case <-timer.C:
		for _, s := range h.servers {
			s.Stop()
		}
		<-done
		h.Log.Warn().Msg("service stopped with calls unfinished")
	}
}
