package host_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/proto/host"
	examplev1 "github.com/blackhole/bhnode/proto/host/example/v1"
)

const (
	serving    = grpc_health_v1.HealthCheckResponse_SERVING
	notServing = grpc_health_v1.HealthCheckResponse_NOT_SERVING
	deadline   = 20 * time.Second
)

// TestMain is also the service that TestSignal starts.
func TestMain(m *testing.M) {
	if os.Getenv("HOST_TEST_CHILD") != "" {
		o, err := host.FromEnv(os.Environ(), os.Stdout)
		if err == nil {
			err = host.Run(context.Background(), o)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// shortDir is a directory whose paths fit into a socket address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func freePort(t *testing.T) int {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	return lis.Addr().(*net.TCPAddr).Port
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start runs a host until stop is called, which returns what Run returned.
func start(t *testing.T, o host.Options) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- host.Run(ctx, o) }()
	stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(deadline):
			return fmt.Errorf("%s did not stop", o.Name)
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

// dial connects to a socket or HOST:PORT.
func dial(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	if filepath.IsAbs(target) {
		target = "unix://" + target
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// watch follows the health of a host.
func watch(t *testing.T, conn grpc.ClientConnInterface) grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse] {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	t.Cleanup(cancel)
	stream, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// expect fails unless the next answer of the stream is want.
func expect(t *testing.T, stream grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse], want grpc_health_v1.HealthCheckResponse_ServingStatus) {
	t.Helper()
	answer, err := stream.Recv()
	if err != nil {
		t.Fatalf("got %v, want %v", err, want)
	}
	if got := answer.GetStatus(); got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// await reads the stream until it says SERVING.
func await(t *testing.T, stream grpc.ServerStreamingClient[grpc_health_v1.HealthCheckResponse]) {
	t.Helper()
	for {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if answer.GetStatus() == serving {
			return
		}
	}
}

func TestServesOnSocketAndPort(t *testing.T) {
	var log lines
	logger, err := host.NewLogger(&log, "identity", "debug")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(shortDir(t), "svc", "identity.sock")
	port := freePort(t)
	stop := start(t, host.Options{Name: "identity", Socket: socket, Port: port, Log: logger})
	bySocket, byPort := dial(t, socket), dial(t, fmt.Sprintf("127.0.0.1:%d", port))
	await(t, watch(t, bySocket))
	await(t, watch(t, byPort))

	checkAnswers(t, bySocket)
	checkReflection(t, bySocket, codes.OK)
	checkReflection(t, byPort, codes.Unimplemented)
	checkMode(t, socket, 0o660)
	checkMode(t, filepath.Dir(socket), 0o750)

	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
	checkLog(t, log.String(), "service started", "service serving", "service stopping", "service stopped")
}

// checkAnswers asks for health in the other two ways.
func checkAnswers(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	client := grpc_health_v1.NewHealthClient(conn)
	answer, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	if err != nil || answer.GetStatus() != serving {
		t.Errorf("Check: got %v, %v, want SERVING", answer, err)
	}
	if _, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("Check of an unknown service: got %v, want NotFound", err)
	}
	list, err := client.List(t.Context(), &grpc_health_v1.HealthListRequest{})
	if err != nil || list.GetStatuses()[""].GetStatus() != serving {
		t.Errorf("List: got %v, %v, want SERVING", list, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: "other"})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, stream, grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN)
}

func checkReflection(t *testing.T, conn *grpc.ClientConn, want codes.Code) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := grpc_reflection_v1.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	})
	if _, err := stream.Recv(); status.Code(err) != want {
		t.Errorf("reflection on %s: got %v, want %v", conn.Target(), err, want)
	}
}

func checkMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != want {
		t.Errorf("%s: mode %v, want %v", path, got, want)
	}
}

// checkLog fails unless the log is JSON lines with exactly these messages.
func checkLog(t *testing.T, log string, want ...string) {
	t.Helper()
	var got []string
	for line := range strings.Lines(log) {
		var entry struct {
			Time    time.Time `json:"time"`
			Level   string    `json:"level"`
			Message string    `json:"message"`
			Service string    `json:"service"`
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time.IsZero() || entry.Level == "" || entry.Service == "" {
			t.Errorf("not an entry: %s (%v)", line, err)
		}
		got = append(got, entry.Message)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNeedsSomewhereToAnswer(t *testing.T) {
	if err := host.Run(t.Context(), host.Options{Name: "x"}); err == nil {
		t.Error("got no error")
	}
}

func TestPortInUseLeavesNoSocket(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	socket := filepath.Join(shortDir(t), "a.sock")
	err = host.Run(t.Context(), host.Options{Name: "a", Socket: socket, Port: lis.Addr().(*net.TCPAddr).Port})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v, want address already in use", err)
	}
	if _, err := os.Lstat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// slowGreeter answers when it is released, and never if that does not come.
type slowGreeter struct {
	examplev1.UnimplementedGreeterServiceServer
	called, release chan struct{}
}

func (g *slowGreeter) Greet(ctx context.Context, _ *examplev1.GreetRequest) (*examplev1.GreetResponse, error) {
	g.called <- struct{}{}
	select {
	case <-g.release:
		return &examplev1.GreetResponse{Greeting: "late"}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestDrain orders a host to stop while a call runs and a watch is open.
func TestDrain(t *testing.T) {
	for _, tc := range []struct {
		name    string
		timeout time.Duration
		release bool
		want    codes.Code
	}{
		{"a begun call is finished", deadline, true, codes.OK},
		{"a call that takes too long is broken off", 10 * time.Millisecond, false, codes.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			socket := filepath.Join(shortDir(t), "a.sock")
			g := &slowGreeter{called: make(chan struct{}), release: make(chan struct{})}
			stop := start(t, host.Options{
				Name: "a", Socket: socket, DrainTimeout: tc.timeout,
				Register: func(s *grpc.Server) { examplev1.RegisterGreeterServiceServer(s, g) },
			})
			conn := dial(t, socket)
			stream := watch(t, conn)
			await(t, stream)
			answered := make(chan error, 1)
			go func() {
				_, err := examplev1.NewGreeterServiceClient(conn).Greet(context.Background(), &examplev1.GreetRequest{})
				answered <- err
			}()
			<-g.called
			go func() { _ = stop() }()
			expect(t, stream, notServing)
			if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
				t.Errorf("end of the watch: got %v, want Unavailable", err)
			}
			if tc.release {
				close(g.release)
			}
			if err := <-answered; status.Code(err) != tc.want {
				t.Errorf("the call: got %v, want %v", err, tc.want)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSignal ends a host that is a process with SIGTERM.
func TestSignal(t *testing.T) {
	socket := filepath.Join(shortDir(t), "a.sock")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "HOST_TEST_CHILD=1", "BLACKHOLE_SERVICE=a", "BLACKHOLE_SOCKET="+socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	var log strings.Builder
	for !strings.Contains(log.String(), "service serving") {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		log.WriteString(line)
	}
	t.Logf("served after %v", time.Since(begun))
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("got %v, want exit code 0", err)
	}
	checkLog(t, log.String()+string(rest), "service started", "service serving", "service stopping", "service stopped")
}
