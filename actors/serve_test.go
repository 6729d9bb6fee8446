package actors

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// served is a node on a fake backend whose API is served on a unix socket.
type served struct {
	bhnodev1.NodeClient
	t    *testing.T
	node *Node
	back *fakeBackend
	conn *grpc.ClientConn
	uids atomic.Bool // whoever asks is refused
}

func serve(t *testing.T, cfg Config) *served {
	t.Helper()
	s := &served{t: t, back: newFake(t)}
	var err error
	if s.node, err = Start(cfg, s.back); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	server := NewControl(s.node).Server(Access{OfUser: func(uid int) Role {
		if uid != os.Getuid() || s.uids.Load() {
			return Nobody
		}
		return Admin
	}})
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	s.conn = s.dial(listener.Addr().String())
	s.NodeClient = bhnodev1.NewNodeClient(s.conn)
	t.Cleanup(func() {
		s.node.Close()
		_ = s.conn.Close()
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = os.RemoveAll(dir)
	})
	return s
}

func (s *served) dial(path string) *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// ctx bounds what a test waits for.
func (s *served) ctx() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	s.t.Cleanup(cancel)
	return ctx
}

// await returns the first event of a type about a service.
func (s *served) await(kind, name string) *bhnodev1.Event {
	s.t.Helper()
	stream, err := s.StreamEvents(s.ctx(), &bhnodev1.StreamEventsRequest{Follow: true})
	if err != nil {
		s.t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			s.t.Fatalf("no %s of %s: %v", kind, name, err)
		}
		for _, e := range m.GetEvents() {
			if e.GetType() == kind && e.GetService() == name {
				return e
			}
		}
	}
}

func (s *served) up() *served {
	s.t.Helper()
	s.await(supervision.NodeReady, "")
	return s
}

// say has a service print lines and returns when its log has them.
func (s *served) say(name string, lines ...string) {
	s.t.Helper()
	s.back.last(name).say(lines...)
	for {
		got, err := s.node.LastLines(s.ctx(), name)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(got) >= len(lines) && slices.Equal(got[len(got)-len(lines):], lines) {
			return
		}
	}
}

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func TestAPeerThatIsNotAllowedIsRefused(t *testing.T) {
	s := serve(t, config(t, def{name: "db"}))
	s.uids.Store(true)
	_, err := s.GetNode(s.ctx(), &bhnodev1.GetNodeRequest{})
	wantCode(t, err, codes.PermissionDenied)
	stream, err := s.StreamEvents(s.ctx(), &bhnodev1.StreamEventsRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	wantCode(t, err, codes.PermissionDenied)
	_, err = healthv1.NewHealthClient(s.conn).Check(s.ctx(), &healthv1.HealthCheckRequest{})
	wantCode(t, err, codes.PermissionDenied)
}

func TestOnlyAUnixSocketTellsWhoAsks(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, back: newFake(t)}
	if s.node, err = Start(config(t, def{name: "db"}), s.back); err != nil {
		t.Fatal(err)
	}
	defer s.node.Close()
	server := NewControl(s.node).Server(Access{OfUser: func(int) Role { return Admin }})
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = bhnodev1.NewNodeClient(conn).GetNode(s.ctx(), &bhnodev1.GetNodeRequest{})
	wantCode(t, err, codes.Unavailable)
	wantCode(t, admit(t.Context(), bhnodev1.Node_GetNode_FullMethodName), codes.PermissionDenied)
	if _, _, err := (peerCredentials{}).ClientHandshake(t.Context(), "", nil); err == nil {
		t.Error("a client can be made of the credentials of a server")
	}
}

func TestAPanicOfACallIsAnErrorOfIt(t *testing.T) {
	s := serve(t, config(t, def{name: "db"})).up()
	c := NewControl(s.node)
	call := func() (err error) {
		defer c.contain(&err)
		panic("oops")
	}
	wantCode(t, call(), codes.Internal)
}

func TestHealthAndReflectionAreOn(t *testing.T) {
	s := serve(t, config(t, def{name: "db"}))
	got, err := healthv1.NewHealthClient(s.conn).Check(s.ctx(), &healthv1.HealthCheckRequest{})
	if err != nil || got.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("got %v, %v", got, err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(s.conn).ServerReflectionInfo(s.ctx())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || !strings.Contains(m.String(), "bhnode.v1.Node") {
		t.Errorf("got %v, %v", m, err)
	}
}

// logging is a node with logs on disk.
func logging(t *testing.T, adapt func(*Config), defs ...def) *served {
	t.Helper()
	cfg := config(t, defs...)
	cfg.Logs.Dir, cfg.Logs.MaxSize, cfg.Logs.MaxFiles = t.TempDir(), 1<<30, 2
	if adapt != nil {
		adapt(&cfg)
	}
	return serve(t, cfg).up()
}

// lines returns what a request for lines yields.
func (s *served) lines(r *bhnodev1.StreamLogsRequest) (out []string, err error) {
	stream, err := s.StreamLogs(s.ctx(), r)
	for err == nil {
		var m *bhnodev1.StreamLogsResponse
		m, err = stream.Recv()
		for _, e := range m.GetEntries() {
			out = append(out, e.GetService()+" "+string(e.GetMessage()))
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return out, err
}
