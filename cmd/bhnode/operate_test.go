package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

func TestRequests(t *testing.T) {
	tail := func(n uint32) *uint32 { return &n }
	tests := []struct {
		args string
		want proto.Message
		err  string
		out  string
	}{
		{"start ledger", &bhnodev1.StartServicesRequest{Names: []string{"ledger"}}, "ledger  ↻ backoff  exit 3, next start in 2s\n", ""},
		{"start --services=ledger,wallet cache", &bhnodev1.StartServicesRequest{Names: []string{"ledger", "wallet", "cache"}}, "cache ", ""},
		{"start --all --no-wait", &bhnodev1.StartServicesRequest{All: true, NoWait: true}, "start of all services is under way\n", ""},
		{"stop --only data", &bhnodev1.StopServicesRequest{Names: []string{"data"}, Only: true}, "nothing to stop\n", ""},
		{"stop --all", &bhnodev1.StopServicesRequest{All: true}, "identity", ""},
		{"stop --no-wait ledger data", &bhnodev1.StopServicesRequest{Names: []string{"ledger", "data"}, NoWait: true}, "stop of ledger, data is under way\n", ""},
		{"restart root --only", &bhnodev1.RestartServicesRequest{Names: []string{"root"}, Only: true}, "", ""},
		{"pause data", &bhnodev1.PauseSupervisorRequest{Name: "data"}, "data paused: nothing below it is restarted until \"bhnode resume data\"\n", ""},
		{"resume data", &bhnodev1.ResumeSupervisorRequest{Name: "data"}, "data resumed\n", ""},
		{"resume data -o json", &bhnodev1.ResumeSupervisorRequest{Name: "data"}, "", "{\n  \"paused\": false,\n  \"supervisor\": \"data\"\n}\n"},
		{"signal storage hup", &bhnodev1.SignalServiceRequest{Name: "storage", Signal: 1}, "SIGHUP sent to storage (pid 4188)\n", ""},
		{"signal storage SIGUSR1", &bhnodev1.SignalServiceRequest{Name: "storage", Signal: 10}, "SIGUSR1 sent", ""},
		{"signal storage 40", &bhnodev1.SignalServiceRequest{Name: "storage", Signal: 40}, "signal 40 sent", ""},
		{"shutdown --no-wait --now", &bhnodev1.ShutdownRequest{Now: true}, "shutdown of alpha is under way\n", ""},
		{"logs data identity", &bhnodev1.StreamLogsRequest{
			Services: []string{"storage", "ledger", "identity"},
		}, "", "12:02:08"},
		{"logs", &bhnodev1.StreamLogsRequest{}, "", "12:02:08"},
		{
			"logs ledger storage -n 5 --since 10m --grep a.b --stream stderr", &bhnodev1.StreamLogsRequest{
				Services: []string{"ledger", "storage"}, Tail: tail(5), Since: timestamppb.New(noon.Add(-10 * time.Minute)), Grep: "a.b", Stream: "stderr",
			}, "", "",
		},
		{"logs --since 2026-11-23T12:00:00Z", &bhnodev1.StreamLogsRequest{Since: timestamppb.New(noon.Add(-131 * time.Second))}, "", ""},
		{"events ledger --tail 0", &bhnodev1.StreamEventsRequest{Names: []string{"ledger"}, Tail: tail(0)}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			node := troubled()
			socket, _ := serve(t, node)
			got := at(socket).exec(t, strings.Fields(tt.args)...)
			if got.code != exitOK || !strings.Contains(got.err, tt.err) || !strings.Contains(got.out, tt.out) {
				t.Errorf("exit %d, stdout %q, stderr %q", got.code, got.out, got.err)
			}
			if diff := cmp.Diff(tt.want, node.last(), protocmp.Transform()); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatWentAlongIsNamed(t *testing.T) {
	node := troubled()
	node.act = func(context.Context) error {
		node.set("storage", bhnodev1.ServiceState_SERVICE_STATE_STARTING, down)
		node.set("ledger", bhnodev1.ServiceState_SERVICE_STATE_STOPPED, down)
		node.set("identity", bhnodev1.ServiceState_SERVICE_STATE_UNHEALTHY, bhnodev1.Health_HEALTH_UNHEALTHY) // meanwhile, by itself
		return nil
	}
	socket, _ := serve(t, node)
	got := at(socket).exec(t, "restart", "storage")
	if want := "storage  ◐ starting\nledger   ○ stopped\n"; got.err != want || got.out != "" {
		t.Errorf("stdout %q, stderr %q, want %q", got.out, got.err, want)
	}
	got = at(socket).exec(t, "restart", "wallet", "-o", "json")
	var names []string
	for _, s := range parse(t, got.out)["services"].([]any) {
		names = append(names, s.(map[string]any)["name"].(string))
	}
	if diff := cmp.Diff([]string{"storage", "ledger", "wallet"}, names); diff != "" {
		t.Errorf("named or touched (-want +got):\n%s", diff)
	}
}

func TestTimeoutEndsTheWaitingOnly(t *testing.T) {
	block := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, args := range []string{"start ledger", "stop ledger", "restart ledger", "shutdown"} {
		node := well()
		node.act = block
		socket, _ := serve(t, node)
		got := at(socket).exec(t, append(strings.Fields(args), "--timeout", "20ms")...)
		if got.code != exitFailed || !strings.Contains(got.err, "not done after 20ms; the work goes on\nhint: \"bhnode status\"") {
			t.Errorf("%s: exit %d, stderr %q", args, got.code, got.err)
		}
	}
}

func TestInterruptEndsTheWaitingOnly(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	node := well()
	node.act = func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() }
	socket, _ := serve(t, node)
	w := at(socket)
	w.ctx = ctx
	got := w.exec(t, "restart", "storage")
	if got.code != exitFailed || !strings.Contains(got.err, "restart: interrupted; the work goes on") {
		t.Errorf("exit %d, stderr %q", got.code, got.err)
	}
}

func TestWaitingIsShownOnATerminal(t *testing.T) {
	term := newTerminal(t, 80, 24)
	node := troubled()
	shown := make(chan struct{})
	node.act = func(context.Context) error { <-shown; return nil }
	socket, _ := serve(t, node)
	w := at(socket)
	w.stderr = term.File
	done := make(chan result)
	go func() { done <- w.exec(t, "restart", "ledger") }()
	term.waitFor(t, "waiting for ledger backoff")
	close(shown)
	<-done
	if got := term.finish(); !strings.Contains(got, "\x1b[1A\r\x1b[Jstorage") {
		t.Errorf("the line was not taken back in %q", got)
	}
}

func TestShutdownWaitsUntilTheNodeIsGone(t *testing.T) {
	node := well()
	socket, server := serve(t, node)
	stopped := make(chan struct{})
	node.stop = func() {
		go func() { server.GracefulStop(); close(stopped) }() // it answers what it was asked first
	}
	got := at(socket).exec(t, "shutdown")
	<-stopped
	if got.code != exitOK || got.err != "alpha stopped\n" {
		t.Errorf("exit %d, stderr %q", got.code, got.err)
	}
}

func TestANodeThatEndsBeforeItAnswersIsShutDown(t *testing.T) {
	node := well()
	socket, server := serve(t, node)
	stopped := make(chan struct{})
	node.act = func(ctx context.Context) error {
		go func() { server.Stop(); close(stopped) }()
		<-ctx.Done()
		return ctx.Err()
	}
	got := at(socket).exec(t, "shutdown", "--now", "-o", "json")
	<-stopped
	if v := parse(t, got.out); got.code != exitOK || v["stopped"] != true {
		t.Errorf("exit %d, stdout %q, stderr %q", got.code, got.out, got.err)
	}
}

func TestFollowEndsWithTheUser(t *testing.T) {
	for _, command := range []string{"logs", "events"} {
		t.Run(command, func(t *testing.T) {
			term := newTerminal(t, 200, 24)
			node := troubled()
			socket, _ := serve(t, node)
			ctx, cancel := context.WithCancel(t.Context())
			w := at(socket)
			w.stdout, w.ctx = term.File, ctx
			done := make(chan result)
			go func() { done <- w.exec(t, command, "-f") }()
			term.waitFor(t, "12:02:08")
			cancel()
			if got := <-done; got.code != exitOK || got.err != "" {
				t.Errorf("exit %d, stderr %q", got.code, got.err)
			}
			switch req := node.last().(type) {
			case *bhnodev1.StreamLogsRequest:
				if req.GetTail() != followTail || !req.GetFollow() {
					t.Errorf("asked for %v", req)
				}
			case *bhnodev1.StreamEventsRequest:
				if req.GetTail() != followTail || !req.GetFollow() {
					t.Errorf("asked for %v", req)
				}
			}
		})
	}
}

func TestWatch(t *testing.T) {
	watch := func(t *testing.T, term *terminal, wait string, args ...string) string {
		t.Helper()
		socket, _ := serve(t, troubled())
		ctx, cancel := context.WithCancel(t.Context())
		w := at(socket)
		w.stdout, w.ctx = term.File, ctx
		done := make(chan result)
		go func() { done <- w.exec(t, append([]string{"tree", "--watch"}, args...)...) }()
		term.waitFor(t, wait)
		cancel()
		if got := <-done; got.code != exitOK {
			t.Errorf("exit %d, stderr %q", got.code, got.err)
		}
		return term.finish()
	}
	t.Run("redraws in place, no more than fits", func(t *testing.T) {
		got := watch(t, newTerminal(t, 60, 5), "\x1b[4A\r") // the clock of the uptimes has drawn it again
		if strings.Contains(got, "cache") {
			t.Errorf("more lines than the terminal has: %q", got)
		}
	})
	t.Run("json is one object a line", func(t *testing.T) {
		got := watch(t, newTerminal(t, 60, 5), "}\n", "-o", "json")
		assertKeys(t, "tree", treeKeys, parse(t, got))
	})
}

func TestWatchAppendsWhereThereIsNoTerminal(t *testing.T) {
	node := troubled()
	node.watchOnce = true
	socket, _ := serve(t, node)
	got := at(socket).exec(t, "tree", "--watch")
	once := at(socket).exec(t, "tree")
	if want := "2026-11-23T12:02:11Z\n" + once.out; got.out != want || got.code != exitOK {
		t.Errorf("exit %d, stdout %q, want %q", got.code, got.out, want)
	}
}

func TestStartAllStartsNoNodeThatWouldListenElsewhere(t *testing.T) {
	w := at(filepath.Join(t.TempDir(), "none"))
	w.env["BHNODE_CONFIG"] = "../../configs/minimal.yaml"
	if got := w.exec(t, "start", "--all"); got.code != exitNoNode {
		t.Errorf("exit %d, stderr %q", got.code, got.err)
	}
}
