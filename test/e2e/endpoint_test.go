package e2e

import (
	"context"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
)

func TestTheControlSocketSpeaksReflectionAndHealth(t *testing.T) {
	t.Parallel()
	n := newNode(t, `services: {it: {command: [@self]}}`)
	n.up()
	conn, err := grpc.NewClient("unix:"+n.socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	health, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil || health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("gRPC health says %v, %v", health, err)
	}
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var services []string
	for _, s := range answer.GetListServicesResponse().GetService() {
		services = append(services, s.GetName())
	}
	if !slices.Contains(services, "bhnode.v1.Node") {
		t.Errorf("reflection lists %v", services)
	}
	n.stop()
}

func TestTheNineServicesAnswerOnTheirSockets(t *testing.T) {
	t.Parallel()
	n := newDefaultNode(t)
	n.up()
	for _, s := range n.status().Services {
		conn, err := grpc.NewClient("unix:"+s.UnixSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		health, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err != nil || health.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%s answers %v, %v", s.Name, health, err)
		}
		cancel()
		_ = conn.Close()
	}
	if !strings.Contains(n.stderr.String(), "critical path") {
		t.Errorf("run does not print the critical path:\n%s", n.stderr)
	}
	n.stop()
}

func TestBhnodeTellsItsServiceManagerHowItIs(t *testing.T) {
	t.Parallel()
	n := newNode(t, `services: {it: {command: [@self, until=@dir/go, notify=READY=1], health_check: {type: notify}}}`)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: n.path("manager"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	n.env = []string{"NOTIFY_SOCKET=" + n.path("manager"), "WATCHDOG_USEC=200000"}
	heard := func() string {
		t.Helper()
		if err := socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		words := make([]byte, 4096)
		size, err := socket.Read(words)
		if err != nil {
			t.Fatalf("bhnode tells nothing: %v\n%s", err, n.story())
		}
		return string(words[:size])
	}
	n.run()
	if got := heard(); got != "WATCHDOG=1" {
		t.Errorf("while it starts it says %q", got)
	}
	n.write("go", "")
	for !strings.HasPrefix(heard(), "READY=1") {
	}
	if got := heard(); got != "WATCHDOG=1" {
		t.Errorf("after it has started it says %q", got)
	}
	n.signal(syscall.SIGTERM)
	for heard() != "STOPPING=1" {
	}
	if code := n.wait(); code != 0 {
		t.Errorf("it exits with %d, want 0", code)
	}
}
