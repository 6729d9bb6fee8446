package actors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blackhole/bhnode/proc"
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
	server := NewControl(s.node).Server(func(uid int) bool { return uid == os.Getuid() && !s.uids.Load() })
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	s.conn = s.dial(listener.Addr().String())
	s.NodeClient = bhnodev1.NewNodeClient(s.conn)
	t.Cleanup(func() {
		s.node.Close()
		_ = s.conn.Close()
		server.Stop()
		_ = <-ended // it was stopped
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
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
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

func wantCode(t *testing.T, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}

func TestTheAPIShowsTheNode(t *testing.T) {
	cfg := nested(t)
	off := def{name: "off"}.service()
	off.Enabled = false
	cfg.Services = append(cfg.Services, off)
	s := serve(t, cfg).up()
	node, err := s.GetNode(s.ctx(), &bhnodev1.GetNodeRequest{})
	if err != nil || node.GetName() != "n" || node.GetState() != bhnodev1.NodeState_NODE_STATE_READY || int(node.GetPid()) != os.Getpid() || node.GetConfig() != "test" {
		t.Errorf("got %v, %v", node, err)
	}
	s.back.last("db").say("one", "two")
	s.back.last("cache").exit(3, 0)
	e := s.await("service.backoff", "cache")
	if e.GetAttrs().GetFields()["delay_seconds"].GetNumberValue() != 1 || e.GetCause() == 0 {
		t.Errorf("got %v, want the delay and a cause", e)
	}
	got, err := s.GetStatus(s.ctx(), &bhnodev1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, svc := range got.GetServices() {
		rows = append(rows, fmt.Sprintf("%s %s %s wanted=%v %d under=%s pid=%v next=%v exit=%v", svc.GetName(),
			strings.TrimPrefix(svc.GetState().String(), "SERVICE_STATE_"), strings.TrimPrefix(svc.GetHealth().String(), "HEALTH_"), svc.GetWanted(),
			svc.GetIncarnation(), svc.GetSupervisor(), svc.Pid != nil, svc.GetNextStart() != nil, svc.GetExit().GetCode()))
	}
	want := []string{
		"api RUNNING HEALTHY wanted=true 1 under=root pid=true next=false exit=0",
		"db RUNNING HEALTHY wanted=true 1 under=data pid=true next=false exit=0",
		"cache BACKOFF DOWN wanted=true 1 under=data pid=false next=true exit=3",
		"off DISABLED DOWN wanted=false 0 under= pid=false next=false exit=0",
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("status: -want +got\n%s", diff)
	}
	one, err := s.GetStatus(s.ctx(), &bhnodev1.GetStatusRequest{Names: []string{"db"}})
	if err != nil || len(one.GetServices()) != 1 || !slices.Equal(one.GetServices()[0].GetLastLines(), []string{"one", "two"}) ||
		!slices.Equal(one.GetServices()[0].GetNeededBy(), []string{"cache"}) {
		t.Errorf("got %v, %v, want db, its last lines and who needs it", one, err)
	}
	_, err = s.GetStatus(s.ctx(), &bhnodev1.GetStatusRequest{Names: []string{"db", "nobody"}})
	wantCode(t, err, codes.NotFound)

	tree, err := s.GetTree(s.ctx(), &bhnodev1.GetTreeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	var walk func(*bhnodev1.TreeNode)
	walk = func(n *bhnodev1.TreeNode) {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %s", n.GetActor(), strings.TrimPrefix(n.GetHealth().String(), "HEALTH_"), n.GetStrategy())))
		for _, c := range n.GetChildren() {
			walk(c)
		}
	}
	walk(tree.GetRoot())
	want = []string{"root DOWN rest_for_one", "root/api HEALTHY", "root/data DOWN one_for_one", "root/data/db HEALTHY", "root/data/cache DOWN"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("tree: -want +got\n%s", diff)
	}
}

func TestTheAPIOperates(t *testing.T) {
	cfg := config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}})
	off := def{name: "off"}.service()
	off.Enabled = false
	cfg.Services = append(cfg.Services, off)
	s := serve(t, cfg).up()
	ctx := s.ctx()
	for _, tc := range []struct {
		what string
		do   func() error
		want codes.Code
	}{
		{"stop", func() error {
			_, err := s.StopServices(ctx, &bhnodev1.StopServicesRequest{Names: []string{"db"}})
			return err
		}, codes.OK},
		{"start", func() error {
			_, err := s.StartServices(ctx, &bhnodev1.StartServicesRequest{Names: []string{"web"}})
			return err
		}, codes.OK},
		{"start all", func() error {
			_, err := s.StartServices(ctx, &bhnodev1.StartServicesRequest{All: true})
			return err
		}, codes.OK},
		{"restart only", func() error {
			_, err := s.RestartServices(ctx, &bhnodev1.RestartServicesRequest{Names: []string{"db"}, Only: true})
			return err
		}, codes.OK},
		{"restart without waiting", func() error {
			_, err := s.RestartServices(ctx, &bhnodev1.RestartServicesRequest{Names: []string{"db"}, NoWait: true})
			return err
		}, codes.OK},
		{"pause", func() error {
			_, err := s.PauseSupervisor(ctx, &bhnodev1.PauseSupervisorRequest{Name: "root"})
			return err
		}, codes.OK},
		{"resume", func() error {
			_, err := s.ResumeSupervisor(ctx, &bhnodev1.ResumeSupervisorRequest{Name: "root"})
			return err
		}, codes.OK},
		{"an unknown name", func() error {
			_, err := s.StopServices(ctx, &bhnodev1.StopServicesRequest{Names: []string{"nobody"}})
			return err
		}, codes.NotFound},
		{"an unknown supervisor", func() error {
			_, err := s.ResumeSupervisor(ctx, &bhnodev1.ResumeSupervisorRequest{Name: "nobody"})
			return err
		}, codes.NotFound},
		{"a disabled one", func() error {
			_, err := s.StartServices(ctx, &bhnodev1.StartServicesRequest{Names: []string{"off"}})
			return err
		}, codes.FailedPrecondition},
		{"pause a service", func() error {
			_, err := s.PauseSupervisor(ctx, &bhnodev1.PauseSupervisorRequest{Name: "db"})
			return err
		}, codes.FailedPrecondition},
		{"nothing", func() error {
			_, err := s.StartServices(ctx, &bhnodev1.StartServicesRequest{})
			return err
		}, codes.InvalidArgument},
		{"an empty name", func() error {
			_, err := s.PauseSupervisor(ctx, &bhnodev1.PauseSupervisorRequest{})
			return err
		}, codes.InvalidArgument},
		{"no signal", func() error {
			_, err := s.SignalService(ctx, &bhnodev1.SignalServiceRequest{Name: "db"})
			return err
		}, codes.InvalidArgument},
		{"a signal that is none", func() error {
			_, err := s.SignalService(ctx, &bhnodev1.SignalServiceRequest{Name: "db", Signal: 65})
			return err
		}, codes.InvalidArgument},
		{"a signal to nobody", func() error {
			_, err := s.SignalService(ctx, &bhnodev1.SignalServiceRequest{Name: "nobody", Signal: 1})
			return err
		}, codes.NotFound},
		{"a signal to a disabled one", func() error {
			_, err := s.SignalService(ctx, &bhnodev1.SignalServiceRequest{Name: "off", Signal: 1})
			return err
		}, codes.NotFound},
	} {
		t.Run(tc.what, func(t *testing.T) { wantCode(t, tc.do(), tc.want) })
	}
	s.t = t
	if _, err := s.StartServices(ctx, &bhnodev1.StartServicesRequest{All: true}); err != nil {
		t.Fatal(err)
	}
	p := s.back.last("db")
	sent, err := s.SignalService(ctx, &bhnodev1.SignalServiceRequest{Name: "db", Signal: 1})
	if err != nil || int(sent.GetPid()) != p.pid || p.called("Signal hangup") != 1 {
		t.Errorf("got %v, %v, want the signal sent to %d", sent, err, p.pid)
	}
	if e := s.await("operator.command", ""); e.GetAttrs().GetFields()["who"].GetStringValue() != fmt.Sprintf("uid %d", os.Getuid()) || e.GetMessage() != "stop db" {
		t.Errorf("got %v, want who stopped db", e)
	}
	if _, err := s.StopServices(ctx, &bhnodev1.StopServicesRequest{Names: []string{"db"}, Only: true}); err != nil {
		t.Fatal(err)
	}
	_, err = s.SignalService(ctx, &bhnodev1.SignalServiceRequest{Name: "db", Signal: 1})
	wantCode(t, err, codes.FailedPrecondition)
}

func TestTheTimeToWaitEndsTheWaitingNotTheWork(t *testing.T) {
	s := serve(t, config(t, def{name: "db", child: func(c *supervision.ChildSpec) { c.Shutdown.Grace = time.Hour }})).up()
	p := s.back.last("db")
	p.plan.deaf = true
	ctx, cancel := context.WithTimeout(s.ctx(), 50*time.Millisecond)
	defer cancel()
	_, err := s.StopServices(ctx, &bhnodev1.StopServicesRequest{Names: []string{"db"}})
	wantCode(t, err, codes.DeadlineExceeded)
	s.await("service.stopping", "db")
	p.exit(0, 0)
	s.await("service.stopped", "db")
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
	server := NewControl(s.node).Server(func(int) bool { return true })
	go func() { _ = server.Serve(listener) }()
	defer server.Stop()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = bhnodev1.NewNodeClient(conn).GetNode(s.ctx(), &bhnodev1.GetNodeRequest{})
	wantCode(t, err, codes.Unavailable)
	wantCode(t, admit(t.Context()), codes.PermissionDenied)
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

func TestWatchStatusSendsAtOnceAndAfterAChange(t *testing.T) {
	s := serve(t, config(t, def{name: "db"})).up()
	stream, err := s.WatchStatus(s.ctx(), &bhnodev1.WatchStatusRequest{Interval: durationpb.New(10 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetStatus().GetServices()[0].GetState() != bhnodev1.ServiceState_SERVICE_STATE_RUNNING || first.GetTree().GetRoot().GetName() != "root" {
		t.Fatalf("got %v, %v", first, err)
	}
	s.back.last("db").exit(1, 0)
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetStatus().GetServices()[0].GetState() == bhnodev1.ServiceState_SERVICE_STATE_BACKOFF {
			break
		}
	}
	s.node.Close()
	for err == nil {
		_, err = stream.Recv()
	}
	wantCode(t, err, codes.Unavailable)
}

func TestShutdownEndsTheNodeAndItsStreams(t *testing.T) {
	for name, now := range map[string]bool{"in order": false, "at once": true} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t, def{name: "db"})
			cfg.Logs.Dir, cfg.Logs.MaxSize, cfg.Logs.MaxFiles = t.TempDir(), 1<<20, 2
			s := serve(t, cfg).up()
			events, err := s.StreamEvents(s.ctx(), &bhnodev1.StreamEventsRequest{Follow: true})
			if err != nil {
				t.Fatal(err)
			}
			logs, err := s.StreamLogs(s.ctx(), &bhnodev1.StreamLogsRequest{Follow: true})
			if err != nil {
				t.Fatal(err)
			}
			s.back.last("db").plan.deaf = now
			s.back.last("db").say("hi")
			if _, err := logs.Recv(); err != nil { // it follows
				t.Fatal(err)
			}
			s.back.last("db").say("bye")
			if _, err := s.Shutdown(s.ctx(), &bhnodev1.ShutdownRequest{Now: now}); err != nil {
				t.Fatal(err)
			}
			if o := <-s.node.Ended(); o.Why != supervision.EndOrdered {
				t.Errorf("got %+v", o)
			}
			s.node.Close()
			last := ""
			for err == nil {
				var m *bhnodev1.StreamEventsResponse
				if m, err = events.Recv(); err == nil {
					last = m.GetEvents()[len(m.GetEvents())-1].GetType()
				}
			}
			if !errors.Is(err, io.EOF) || last != "node.stopped" {
				t.Errorf("the events ended with %v after %s, want the end of the node", err, last)
			}
			text := ""
			for err = nil; err == nil; {
				var m *bhnodev1.StreamLogsResponse
				if m, err = logs.Recv(); err == nil {
					text += string(m.GetEntries()[0].GetMessage())
				}
			}
			if !errors.Is(err, io.EOF) || text != "bye" {
				t.Errorf("the lines ended with %v after %q", err, text)
			}
			_, err = s.GetNode(s.ctx(), &bhnodev1.GetNodeRequest{})
			wantCode(t, err, codes.Unavailable)
			_, err = s.StopServices(s.ctx(), &bhnodev1.StopServicesRequest{Names: []string{"db"}})
			wantCode(t, err, codes.Unavailable)
			_, err = s.GetStatus(s.ctx(), &bhnodev1.GetStatusRequest{Names: []string{"db"}})
			wantCode(t, err, codes.Unavailable)
		})
	}
}

func TestEventsAreStreamed(t *testing.T) {
	s := serve(t, config(t, def{name: "db"}, def{name: "web", needs: []string{"db"}})).up()
	all, err := s.node.FollowEvents(s.ctx(), nil)
	if err != nil {
		t.Fatal(err)
	}
	tail := uint32(3)
	middle := all[len(all)/2]
	var after, ofWeb []uint64
	for _, e := range all {
		if e.Seq > middle.Seq {
			after = append(after, e.Seq)
		}
		if e.Service == "web" {
			ofWeb = append(ofWeb, e.Seq)
		}
	}
	for name, tc := range map[string]struct {
		request *bhnodev1.StreamEventsRequest
		want    []uint64
	}{
		"after":        {&bhnodev1.StreamEventsRequest{After: middle.Seq}, after},
		"tail":         {&bhnodev1.StreamEventsRequest{Tail: &tail}, []uint64{all[len(all)-3].Seq, all[len(all)-2].Seq, all[len(all)-1].Seq}},
		"names":        {&bhnodev1.StreamEventsRequest{Names: []string{"web"}}, ofWeb},
		"since":        {&bhnodev1.StreamEventsRequest{Since: timestamppb.New(time.Now())}, nil},
		"tail of none": {&bhnodev1.StreamEventsRequest{Names: []string{"nobody"}, Tail: &tail}, nil},
	} {
		stream, err := s.StreamEvents(s.ctx(), tc.request)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for {
			m, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range m.GetEvents() {
				got = append(got, e.GetSeq())
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, want %v", name, got, tc.want)
		}
	}
}

// What a slow follower of events has lost is still in memory: it gets all, once.
func TestAFollowerOfEventsThatFellBehindLosesNone(t *testing.T) {
	s := serve(t, config(t, def{name: "db"})).up()
	stream, err := s.StreamEvents(s.ctx(), &bhnodev1.StreamEventsRequest{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	next := first.GetEvents()[len(first.GetEvents())-1].GetSeq() + 1
	last := next + 5000
	padding := strings.Repeat("x", 1000)
	for seq := next; seq <= last; seq++ {
		s.node.system.Root.Send(s.node.journalPID, writeEvents{[]eventRecord{{Seq: seq, Time: time.Now(), Type: "test", Message: padding}}})
	}
	if _, err := s.node.FollowEvents(s.ctx(), nil); err != nil { // all are published
		t.Fatal(err)
	}
	for next <= last {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range m.GetEvents() {
			if e.GetSeq() != next {
				t.Fatalf("got event %d, want %d", e.GetSeq(), next)
			}
			next++
		}
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

func TestLogsAreStreamed(t *testing.T) {
	s := logging(t, nil, def{name: "a"}, def{name: "b"})
	say := func(name, stream, text string) {
		p := s.back.last(name)
		p.out[stream] <- []proc.Line{{Data: []byte(text)}}
		f := s.node.services[supervision.ChildID(name)]
		for got, _ := s.node.LastLines(s.ctx(), name); len(got) == 0 || !strings.Contains(text, got[len(got)-1]); {
			got, _ = s.node.LastLines(s.ctx(), name)
		}
		if err := s.node.flushOne(s.ctx(), f.logPID); err != nil {
			t.Fatal(err)
		}
	}
	say("a", "stdout", "a1")
	say("b", "stdout", "b1")
	say("a", "stderr", "a2 bad")
	middle := time.Now()
	say("b", "stdout", `{"msg":"b2","level":"warn","user":"eve"}`)
	say("a", "stdout", "a3")
	n := func(i uint32) *uint32 { return &i }
	for name, tc := range map[string]struct {
		request *bhnodev1.StreamLogsRequest
		want    []string
	}{
		"all":          {&bhnodev1.StreamLogsRequest{}, []string{"a a1", "b b1", "a a2 bad", "b b2", "a a3"}},
		"one":          {&bhnodev1.StreamLogsRequest{Services: []string{"b", "b"}}, []string{"b b1", "b b2"}},
		"tail of all":  {&bhnodev1.StreamLogsRequest{Tail: n(3)}, []string{"a a2 bad", "b b2", "a a3"}},
		"tail of one":  {&bhnodev1.StreamLogsRequest{Services: []string{"a"}, Tail: n(1)}, []string{"a a3"}},
		"tail of none": {&bhnodev1.StreamLogsRequest{Tail: n(0)}, nil},
		"since":        {&bhnodev1.StreamLogsRequest{Since: timestamppb.New(middle)}, []string{"b b2", "a a3"}},
		"grep":         {&bhnodev1.StreamLogsRequest{Grep: "bad|eve"}, []string{"a a2 bad", "b b2"}},
		"stream":       {&bhnodev1.StreamLogsRequest{Stream: "stderr"}, []string{"a a2 bad"}},
		"long tail":    {&bhnodev1.StreamLogsRequest{Tail: n(100), Grep: "^a"}, []string{"a a1", "a a2 bad", "a a3"}},
	} {
		got, err := s.lines(tc.request)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, tc.want)
		}
	}
	_, err := s.lines(&bhnodev1.StreamLogsRequest{Services: []string{"nobody"}})
	wantCode(t, err, codes.NotFound)
	_, err = s.lines(&bhnodev1.StreamLogsRequest{Grep: "("})
	wantCode(t, err, codes.InvalidArgument)
}

func TestARawLogHasNoStreamsToChooseFrom(t *testing.T) {
	s := logging(t, func(c *Config) { c.Logs.Raw = true }, def{name: "a"})
	_, err := s.lines(&bhnodev1.StreamLogsRequest{Stream: "stderr"})
	wantCode(t, err, codes.FailedPrecondition)
}

// While lines come, a stream that begins with the past goes on with the present:
// each line once, in order.
func TestThePastAndThePresentMeetUnderLoad(t *testing.T) {
	s := logging(t, nil, def{name: "a"}, def{name: "b"})
	const lines = 20000
	for _, name := range []string{"a", "b"} {
		p := s.back.last(name)
		go func() {
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for i := 0; i < lines; i += 10 {
				<-pace.C
				batch := make([]proc.Line, 10)
				for k := range batch {
					batch[k].Data = fmt.Appendf(nil, "line %d", i+k+1)
				}
				p.out["stdout"] <- batch
			}
		}()
	}
	late := time.NewTicker(300 * time.Millisecond)
	defer late.Stop()
	done := make(chan error, 5)
	for range 5 {
		go func() { done <- s.follow(lines) }()
		<-late.C
	}
	for range 5 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// follow reads the lines of a and b up to a number.
func (s *served) follow(upTo uint64) error {
	stream, err := s.StreamLogs(s.ctx(), &bhnodev1.StreamLogsRequest{Follow: true})
	if err != nil {
		return err
	}
	next := map[string]uint64{"a": 1, "b": 1}
	for next["a"] <= upTo || next["b"] <= upTo {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.GetDropped() > 0 {
			return fmt.Errorf("%d were lost", m.GetDropped())
		}
		for _, e := range m.GetEntries() {
			if e.GetSeq() != next[e.GetService()] || string(e.GetMessage()) != fmt.Sprintf("line %d", e.GetSeq()) {
				return fmt.Errorf("got line %d %q of %s, want number %d", e.GetSeq(), e.GetMessage(), e.GetService(), next[e.GetService()])
			}
			next[e.GetService()]++
		}
	}
	return nil
}

func TestASlowFollowerOfLinesLosesAndIsToldAndHoldsNobodyUp(t *testing.T) {
	s := logging(t, nil, def{name: "a"})
	stream, err := s.StreamLogs(s.ctx(), &bhnodev1.StreamLogsRequest{Follow: true, Grep: "x"})
	if err != nil {
		t.Fatal(err)
	}
	p := s.back.last("a")
	p.say("x first")
	if _, err := stream.Recv(); err != nil { // it follows
		t.Fatal(err)
	}
	long := strings.Repeat("x", 10<<10)
	const lines = 2000
	for range lines { // 20 MB, which nobody takes
		p.say(long)
	}
	last := make(chan struct{})
	go func() {
		defer close(last)
		for len(p.out["stdout"]) > 0 {
			_, _ = s.node.LastLines(s.ctx(), "a")
		}
		_ = s.node.flushOne(s.ctx(), s.node.services["a"].logPID)
	}()
	<-last
	p.say("x last")
	var got, dropped uint64
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got += uint64(len(m.GetEntries()))
		dropped += m.GetDropped()
		if n := len(m.GetEntries()); n > 0 && string(m.GetEntries()[n-1].GetMessage()) == "x last" || got+dropped == lines+1 {
			break
		}
	}
	if dropped == 0 || got+dropped > lines+1 {
		t.Errorf("got %d lines and %d lost of %d", got, dropped, lines+1)
	}
	p.exit(1, 0)
	s.await("service.exited", "a")
	kept, err := s.lines(&bhnodev1.StreamLogsRequest{})
	if err != nil || len(kept) != lines+2 {
		t.Errorf("on disk: %d lines, %v, want all %d", len(kept), err, lines+2)
	}
}

// A message of several long lines was more than a client takes.
func TestLongLinesFitIntoMessages(t *testing.T) {
	s := logging(t, nil, def{name: "a"})
	p := s.back.last("a")
	long := strings.Repeat("x", 1<<20)
	p.say(long, long, long, long, long, long)
	p.say("end")
	stream, err := s.StreamLogs(s.ctx(), &bhnodev1.StreamLogsRequest{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < 7; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		n += len(m.GetEntries())
	}
}
