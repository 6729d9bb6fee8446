package host_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/blackhole/bhnode/proto/host"
)

func TestServesOnlyWhileDependenciesServe(t *testing.T) {
	var log lines
	logger, err := host.NewLogger(&log, "wallet", "debug")
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	identity := host.Options{Name: "identity", Socket: filepath.Join(dir, "identity.sock")}
	ledger := host.Options{Name: "ledger", Port: freePort(t)}
	socket := filepath.Join(dir, "wallet.sock")
	start(t, host.Options{
		Name: "wallet", Socket: socket, Log: logger,
		Dependencies: []host.Dependency{
			{Name: "identity", Socket: identity.Socket},
			{Name: "ledger", Port: ledger.Port},
		},
	})
	stream := watch(t, dial(t, socket))
	expect(t, stream, notServing)

	start(t, ledger)
	stop := start(t, identity)
	expect(t, stream, serving)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	expect(t, stream, notServing)
	start(t, identity)
	expect(t, stream, serving)

	for _, want := range []string{
		`"waiting_for":["identity","ledger"]`, `"waiting_for":["identity"]`,
		`"message":"dependency serving"`, `"message":"dependency lost"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, log.String())
		}
	}
}

// TestChainStartsQuickly starts nine services, the last of the chain first.
func TestChainStartsQuickly(t *testing.T) {
	const length = 9
	dir := shortDir(t)
	socket := func(i int) string { return filepath.Join(dir, fmt.Sprintf("%d.sock", i)) }
	begun := time.Now()
	for i := length - 1; i >= 0; i-- {
		o := host.Options{Name: fmt.Sprint(i), Socket: socket(i)}
		if i > 0 {
			o.Dependencies = []host.Dependency{{Name: fmt.Sprint(i - 1), Socket: socket(i - 1)}}
		}
		start(t, o)
	}
	await(t, watch(t, dial(t, socket(length-1))))
	took := time.Since(begun)
	t.Logf("the last of %d serves after %v", length, took)
	if took > 2*time.Second {
		t.Errorf("took %v, want less than 2 s", took)
	}
}

// checkOnly is a server whose health knows Check and no Watch.
type checkOnly struct {
	grpc_health_v1.UnimplementedHealthServer
	sick atomic.Bool
}

func (c *checkOnly) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if c.sick.Load() {
		return &grpc_health_v1.HealthCheckResponse{Status: notServing}, nil
	}
	return &grpc_health_v1.HealthCheckResponse{Status: serving}, nil
}

func TestDependencyWithoutWatchIsAsked(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "old.sock")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	old := &checkOnly{}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, old)
	go func() { _ = server.Serve(lis) }()
	defer server.Stop()

	socket := filepath.Join(dir, "a.sock")
	start(t, host.Options{Name: "a", Socket: socket, Dependencies: []host.Dependency{{Name: "old", Socket: path}}})
	stream := watch(t, dial(t, socket))
	await(t, stream)
	old.sick.Store(true)
	expect(t, stream, notServing)
	old.sick.Store(false)
	expect(t, stream, serving)
	server.Stop()
	expect(t, stream, notServing)
}

func TestSocketInTheWay(t *testing.T) {
	t.Run("a stale socket is replaced", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "a.sock")
		lis, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		lis.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := lis.Close(); err != nil {
			t.Fatal(err)
		}
		start(t, host.Options{Name: "a", Socket: path})
		await(t, watch(t, dial(t, path)))
	})
	t.Run("a live socket is left alone", func(t *testing.T) {
		path := filepath.Join(shortDir(t), "a.sock")
		start(t, host.Options{Name: "a", Socket: path})
		stream := watch(t, dial(t, path))
		await(t, stream)
		err := host.Run(t.Context(), host.Options{Name: "b", Socket: path})
		if err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("got %v, want in use", err)
		}
		await(t, watch(t, dial(t, path)))
	})
	t.Run("what is no socket is left alone", func(t *testing.T) {
		path := shortDir(t)
		err := host.Run(t.Context(), host.Options{Name: "a", Socket: path})
		if err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("got %v, want no socket", err)
		}
	})
}
