package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

func TestExitCodes(t *testing.T) {
	tests := []struct {
		name string
		node *fakeNode
		args string
		want int
		err  string // stands in what is printed
	}{
		{"status of the well", well(), "status", exitOK, ""},
		{"status of the troubled", troubled(), "status", exitOK, "Next: bhnode status ledger"},
		{"health of the well", well(), "health", exitOK, ""},
		{"health of the troubled", troubled(), "health", exitFailed, "error: ledger, wallet are not healthy"},
		{"health of one that is", troubled(), "health identity", exitOK, ""},
		{"health of one that is not", troubled(), "health ledger", exitFailed, "error: ledger is not healthy\nhint: \"bhnode status ledger\""},
		{"health of one that completed", troubled(), "health migrate", exitOK, ""},
		{"health of one that is held", troubled(), "health cache", exitFailed, "cache is not healthy"},
		{"no such service", well(), "status foo", exitNoService, "error: no service \"foo\"\nhint: \"bhnode status\" lists"},
		{"nearly a service", well(), "status storgae", exitNoService, "hint: did you mean \"storage\"?"},
		{"a supervisor is no service", troubled(), "health data", exitUsage, "error: data is a supervisor: name one of the services below it\nhint: \"bhnode status data\""},
		{"a supervisor and nobody", troubled(), "logs data nope", exitNoService, "error: no service \"nope\"\n"},
		{"events of nobody", troubled(), "events storgae", exitNoService, "error: no service \"storgae\"\nhint: did you mean \"storage\"?"},
		{"following nobody", troubled(), "events -f nope", exitNoService, "error: no service \"nope\"\n"},
		{"events of one without", troubled(), "events wallet", exitOK, ""},
		{"events of a supervisor without", troubled(), "events root", exitOK, ""},
		{"events of one that is gone", gone(), "events old", exitOK, ""},
		{"denied", failing(codes.PermissionDenied, "operators only"), "stop --all", exitDenied, "error: operators only"},
		{"unauthenticated", failing(codes.Unauthenticated, "who?"), "stop --all", exitDenied, "error: who?"},
		{"failed", failing(codes.FailedPrecondition, "ledger failed: exit 3"), "start ledger", exitFailed, "error: ledger failed: exit 3\n"},
		{"aborted", failing(codes.Aborted, "overtaken"), "start ledger", exitFailed, "error: overtaken"},
		{"internal", failing(codes.Internal, "oh"), "pause root", exitFailed, "error: oh"},
		{"timed out there", failing(codes.DeadlineExceeded, "late"), "resume root", exitFailed, "error: late"},
		{"an older node", failing(codes.Unimplemented, "unknown method"), "resume root", exitFailed, "hint: "},
		{"refused argument", failing(codes.InvalidArgument, "bad"), "signal ledger HUP", exitUsage, "error: bad"},
		{"went away", failing(codes.Unavailable, "closing"), "logs", exitNoNode, "the node went away"},
		{"unknown command", well(), "stauts", exitUsage, `hint: did you mean "bhnode status"?`},
		{"no command", well(), "", exitUsage, "error: no command given"},
		{"unknown subcommand", well(), "config shwo", exitUsage, `hint: did you mean "bhnode config show"?`},
		{"unknown flag", well(), "status --wide", exitUsage, `see "bhnode status --help"`},
		{"too many arguments", well(), "status a b", exitUsage, "accepts at most 1 arg"},
		{"too few arguments", well(), "signal ledger", exitUsage, "accepts 2 arg"},
		{"unknown format", well(), "status -o xml", exitUsage, "unknown output format"},
		{"nothing to stop", well(), "stop", exitUsage, "stop what?"},
		{"all and one", well(), "stop --all ledger", exitUsage, "exclude each other"},
		{"all restarts", well(), "restart --all", exitUsage, "unknown flag: --all"},
		{"unknown signal", well(), "signal ledger FOO", exitUsage, `unknown signal "FOO"`},
		{"bad time", well(), "logs --since yesterday", exitUsage, `"yesterday" is no time`},
		{"bad expression", well(), "logs --grep (", exitUsage, "--grep: "},
		{"bad stream", well(), "logs --stream both", exitUsage, "unknown stream"},
		{"negative tail", well(), "events -n -1", exitUsage, "it is a number of lines"},
		{"unknown shell", well(), "completion tcsh", exitUsage, "unknown shell"},
		{"help", well(), "stop --help", exitOK, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			socket, _ := serve(t, tt.node)
			got := at(socket).exec(t, strings.Fields(tt.args)...)
			if got.code != tt.want || !strings.Contains(got.err, tt.err) {
				t.Errorf("exit %d, want %d; stderr %q, want %q", got.code, tt.want, got.err, tt.err)
			}
			if tt.err == "" && got.err != "" {
				t.Errorf("stderr %q", got.err)
			}
		})
	}
}

func failing(code codes.Code, message string) *fakeNode {
	n := well()
	n.fail = status.Error(code, message)
	return n
}

// gone is a node from which a service was taken away.
func gone() *fakeNode {
	n := well()
	n.events = append(n.events, &bhnodev1.Event{Seq: 8122, Time: before(time.Second), Type: "service.stopped", Service: "old"})
	return n
}

func TestNoNode(t *testing.T) {
	for _, args := range []string{"status", "stop --all", "logs", "shutdown", "pause root", "tree --watch", "health"} {
		got := at(filepath.Join(t.TempDir(), "none")).exec(t, strings.Fields(args)...)
		if got.code != exitNoNode || !strings.Contains(got.err, "error: no node answers") ||
			!strings.Contains(got.err, `hint: start one with "bhnode run"`) {
			t.Errorf("%s: exit %d, stderr %q", args, got.code, got.err)
		}
	}
}

func TestWhereNoNodeRunsItIsSaidWhatTheLastHasLeft(t *testing.T) {
	dir := t.TempDir()
	file, events := filepath.Join(dir, "blackhole.yaml"), filepath.Join(dir, "data", "events.jsonl")
	if err := os.WriteFile(file, []byte("node: {runtime_dir: "+dir+"/none}\nservices: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	look := func() string {
		var out bytes.Buffer
		code := run(t.Context(), []string{"why", "app", "--config", file}, stdio{
			stdin: strings.NewReader(""), stdout: &out, stderr: &out, getenv: func(string) (string, bool) { return "", false }, now: time.Now,
		})
		if code != exitNoNode {
			t.Errorf("got exit code %d, want %d", code, exitNoNode)
		}
		return out.String()
	}
	if got := look(); strings.Contains(got, "left") {
		t.Errorf("got %q, and nothing is left", got)
	}
	if err := os.MkdirAll(filepath.Dir(events), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(events, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := look(), "has left: logs in "+dir+"/logs, events in "+events; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

func TestASocketThatMayNotBeOpenedIsDenied(t *testing.T) {
	socket, _ := serve(t, well())
	if err := os.Chmod(socket, 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // who may open every socket: this test is no parallel one
		if err := syscall.Setresuid(-1, 65534, -1); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := syscall.Setresuid(-1, 0, -1); err != nil {
				t.Fatal(err)
			}
		}()
	}
	if got := at(socket).exec(t, "status"); got.code != exitDenied {
		t.Errorf("exit %d, stderr %q", got.code, got.err)
	}
}

func TestASilentNodeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, err := query(t.Context(), func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if !errors.Is(err, errNoAnswer) {
			t.Errorf("got %v", err)
		}
		// another error than that of the deadline stays
		_, err = query(t.Context(), func(context.Context) (int, error) { return 0, errors.New("x") })
		if err == nil || err.Error() != "x" {
			t.Errorf("got %v", err)
		}
	})
}

func TestReport(t *testing.T) {
	tests := []struct {
		name    string
		err     error
		running bool
		want    int
		text    string
	}{
		{"nothing", nil, true, exitOK, ""},
		{"plain", errors.New("no space"), true, exitFailed, "error: no space\n"},
		{"of usage", errors.New("no space"), false, exitUsage, "error: no space\nhint: see \"bhnode --help\"\n"},
		{"interrupted", context.Canceled, true, exitFailed, "error: interrupted\n"},
		{"hostile", failure("", "\x1b[2J"), true, exitFailed, "error: \\x1b[2J\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var err strings.Builder
			a := newApp(stdio{stderr: &err, getenv: os.LookupEnv})
			a.running = tt.running
			if code := a.report(tt.err); code != tt.want || err.String() != tt.text {
				t.Errorf("exit %d, want %d; stderr %q, want %q", code, tt.want, err.String(), tt.text)
			}
		})
	}
}

func TestDistance(t *testing.T) {
	tests := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"storage", "storgae", 1}, {"ledger", "leger", 1}, {"identity", "wallet", 7}, {"é", "e", 1}}
	for _, tt := range tests {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
