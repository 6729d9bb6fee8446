package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
	"google.golang.org/grpc"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// leakCheck fails the test binary when goroutines are left after all tests.
type leakCheck struct{ m *testing.M }

func (l leakCheck) Run() int {
	code := l.m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

func TestMain(m *testing.M) {
	time.Local = time.UTC
	testscript.Main(leakCheck{m}, map[string]func(){"bhnode": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits CODE COMMAND ARGS... runs a command that prints no data and exits so.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS...")
	}
	err := ts.Exec(args[1], args[2:]...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("got %v, want exit code %s", err, args[0])
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output holds %q", out)
	}
}

// noon is the present of the tests.
var noon = time.Date(2026, 11, 23, 12, 2, 11, 0, time.UTC)

// world is the environment of one command line.
type world struct {
	env    map[string]string
	stdout *os.File // nil: a buffer
	stderr *os.File
	ctx    context.Context //nolint:containedctx // one command line of a test; nil: that of the test
}

// result is what a command line did.
type result struct {
	code     int
	out, err string
}

// exec runs one command line in this process.
func (w world) exec(t *testing.T, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	std := stdio{
		stdin: strings.NewReader(""), stdout: &out, stderr: &errs,
		getenv: func(name string) (string, bool) { v, ok := w.env[name]; return v, ok },
		now:    func() time.Time { return noon },
	}
	if w.stdout != nil {
		std.stdout = w.stdout
	}
	if w.stderr != nil {
		std.stderr = w.stderr
	}
	ctx := w.ctx
	if ctx == nil {
		ctx = t.Context()
	}
	code := run(ctx, args, std)
	return result{code, out.String(), errs.String()}
}

// at is the world of a user whose node listens on socket.
func at(socket string) world {
	return world{env: map[string]string{"BHNODE_SOCKET": socket, "LANG": "en_US.UTF-8"}}
}

// golden compares text with a file of testdata/golden.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s\ngot:\n%s", name, diff, got)
	}
}

// serve answers as a node on a socket of its own, until the test ends.
func serve(t *testing.T, node bhnodev1.NodeServer) (socket string, server *grpc.Server) {
	t.Helper()
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server = grpc.NewServer()
	bhnodev1.RegisterNodeServer(server, node)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-served
		_ = os.RemoveAll(dir)
	})
	return socket, server
}
