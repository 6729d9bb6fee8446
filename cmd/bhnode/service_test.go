package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
)

func TestServiceHostAnswersAndDrains(t *testing.T) {
	dir, err := os.MkdirTemp("", "bh") // t.TempDir() may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket, config := filepath.Join(dir, "identity.sock"), filepath.Join(dir, "identity.yaml")
	if err := os.WriteFile(config, []byte("cache_size: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("BLACKHOLE_SERVICE", "other")
	t.Setenv("BLACKHOLE_SOCKET", filepath.Join(dir, "other.sock"))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	running, stop := context.WithCancel(ctx)
	cmd := newServiceCommand()
	var log bytes.Buffer // read after the command has ended
	cmd.SetOut(&log)
	cmd.SetArgs([]string{"identity", "--socket", socket, "--config", config})
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(running) }()

	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	for got := grpc_health_v1.HealthCheckResponse_UNKNOWN; got != grpc_health_v1.HealthCheckResponse_SERVING; {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got = answer.GetStatus()
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), `"service":"identity"`) {
		t.Errorf("the name is not in the log: %s", log.String())
	}
}

func TestServiceHostRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"a configuration it cannot read": {[]string{"a", "--socket", "a.sock", "--config", missing}, "none.yaml"},
		"no name":                        {nil, "accepts 1 arg"},
		"nowhere to answer":              {[]string{"a"}, "neither a socket nor a port"},
		"a port that is none":            {[]string{"a", "--port", "70000"}, "70000"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := newServiceCommand()
			cmd.SetArgs(tc.args)
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			err := cmd.ExecuteContext(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q in it", err, tc.want)
			}
		})
	}
}
