package actors

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

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
	s.say("db", "one", "two")
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
