package proc

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/proc/state"
)

// nodeChild is a bhnode on a runtime directory: it starts the services and waits.
func nodeChild(dir string, kill bool, services []*ServiceSpec) {
	runtime.LockOSThread()
	h, err := OpenHost(HostOptions{Node: "inner", RuntimeDir: dir, KillOnDeath: kill, Log: zerolog.Nop()})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go func() {
		for _, s := range services {
			p, err := h.Start(context.Background(), s, 7)
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			if s.Name == "gone" {
				<-p.Exited()
			}
			line := make([]byte, len("ready\n"))
			if _, err := p.Stdout().Read(line); err != nil || string(line) != "ready\n" {
				fmt.Println(s.Name, err, string(line))
				os.Exit(1)
			}
		}
		fmt.Println("ready")
	}()
	h.Serve(context.Background())
}

func leftBehind(dir string) []*ServiceSpec {
	good, deaf, gone, bare := childSpec("wait", ""), childSpec("stubborn", ""), childSpec("escape", ""), childSpec("background", "")
	good.Name, deaf.Name, gone.Name, bare.Name = "good", "deaf", "gone", "bare"
	good.UnixSocket = filepath.Join(dir, "svc", "good", "stale.sock")
	bare.Command = []string{"/bin/sh", "-c", `"` + os.Args[0] + `" >/dev/null; echo ready; exec sleep 1000`}
	for _, s := range []*ServiceSpec{deaf, gone, bare} {
		s.StopGrace = 300 * time.Millisecond
	}
	bare.StopGrace = 3 * time.Second // its main process does as it is told, in its time
	return []*ServiceSpec{good, deaf, gone, bare}
}

func TestSweepStopsWhatADeadNodeLeft(t *testing.T) {
	outer := newHost(t)
	dir := filepath.Join(shortDir(t), "run")
	node := startReady(t, outer, childSpec("node", dir))
	stale := filepath.Join(dir, "svc", "good", "stale.sock")
	makeStaleSocket(t, stale)
	if err := node.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitExit(t, node) // what it has started lives on in its group

	h, err := OpenHost(HostOptions{Node: "renamed", RuntimeDir: dir, Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	if got := len(h.State().All()); got != 4 {
		t.Errorf("%d records were left, want 4", got)
	}
	eventually(t, "all that was left shows whose it is", func() bool { return len(carriers(t, "", h.instance)) >= 4 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := h.Sweep(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Leftover{
		{Service: "bare", Incarnation: 7},
		{Service: "bare", Incarnation: 7, Killed: true},
		{Service: "deaf", Incarnation: 7, Killed: true},
		{Service: "gone", Incarnation: 7, Killed: true},
		{Service: "good", Incarnation: 7},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Leftover{}, "Pid", "Name"),
		cmpopts.SortSlices(func(a, b Leftover) bool { return fmt.Sprint(a.Service, a.Killed) < fmt.Sprint(b.Service, b.Killed) })); diff != "" {
		t.Errorf("left over (-want +got):\n%s", diff)
	}
	for _, l := range got {
		if alive(l.Pid) {
			t.Errorf("%+v is alive", l)
		}
	}
	if found := carriers(t, "", h.instance); len(found) != 0 {
		t.Errorf("still alive: %v", found)
	}
	if got := h.State().All(); len(got) != 0 {
		t.Errorf("still recorded: %+v", got)
	}
	if _, err := os.Lstat(stale); err == nil {
		t.Error("the stale socket is still there")
	}
	if got := h.State().LastIncarnations()["good"]; got != 7 {
		t.Errorf("last incarnation %d, want 7", got)
	}
}

// makeStaleSocket leaves a socket on which nobody listens.
func makeStaleSocket(t *testing.T, path string) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSweepTouchesNobodyElse has a record name a process that is not ours, and
// processes of another instance about.
func TestSweepTouchesNobodyElse(t *testing.T) {
	outer := newHost(t)
	other := startReady(t, outer, childSpec("wait", ""))
	h, err := OpenHost(HostOptions{Node: "n", RuntimeDir: filepath.Join(shortDir(t), "run"), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	st, err := readStat(other.Pid())
	if err != nil {
		t.Fatal(err)
	}
	record := state.Record{Service: "svc", Incarnation: 1, BootID: h.boot, Pid: other.Pid(), StartTime: st.start}
	if err := h.State().Put(record); err != nil {
		t.Fatal(err)
	}
	got, err := h.Sweep(t.Context(), nil)
	if err != nil || len(got) != 0 {
		t.Errorf("found %v, %v", got, err)
	}
	if !alive(other.Pid()) {
		t.Error("a process that is not ours was stopped")
	}
	if got := h.State().All(); len(got) != 0 {
		t.Errorf("still recorded: %+v", got)
	}
}

func TestSweepEndsWithItsContext(t *testing.T) {
	outer := newHost(t)
	dir := filepath.Join(shortDir(t), "run")
	node := startReady(t, outer, childSpec("node", dir))
	if err := node.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitExit(t, node)
	h, err := OpenHost(HostOptions{Node: "inner", RuntimeDir: dir, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Sweep(ctx, nil); err == nil {
		t.Error("no error")
	}
	if got := len(h.State().All()); got != 4 {
		t.Errorf("%d records, want them kept for the next", got)
	}
	if _, err := h.Sweep(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// TestSweepFindsWhatOnlyItsGroupTells has a service leave behind what carries no mark
// and has left its session.
func TestSweepFindsWhatOnlyItsGroupTells(t *testing.T) {
	outer := newHost(t)
	needLeaves(t, outer)
	dir := filepath.Join(shortDir(t), "run")
	node := startReady(t, outer, childSpec("careless", dir))
	must(t, node.Signal(syscall.SIGKILL))
	awaitExit(t, node)
	h, err := OpenHost(HostOptions{Node: "renamed", RuntimeDir: dir, Log: zerolog.Nop()})
	must(t, err)
	defer func() { must(t, h.Close()) }()
	hiding := 0
	for pid, m := range h.members() {
		id, err := readIdentity(pid)
		st, statErr := readStat(pid)
		if err == nil && statErr == nil && id.id == "" && st.session == pid && m == (membership{"hidden", 7}) {
			hiding = pid
		}
	}
	if hiding == 0 {
		t.Fatal("nothing hides")
	}
	got, err := h.Sweep(t.Context(), nil)
	must(t, err)
	want := Leftover{Service: "hidden", Incarnation: 7, Pid: hiding, Name: "sh", Killed: true}
	if !slices.Contains(got, want) {
		t.Errorf("found %v, want %v among them", got, want)
	}
	for _, l := range got {
		if alive(l.Pid) {
			t.Errorf("%v is alive", l)
		}
	}
}

// TestSweepSparesItself has a bhnode be started from within a service that an earlier
// one left behind.
func TestSweepSparesItself(t *testing.T) {
	h := newHost(t)
	needLeaves(t, h)
	s := childSpec("sweeper", h.opts.RuntimeDir)
	p := start(t, h, s)
	if got := output(t, p.Stdout()); strings.TrimSpace(got) != "kept true" {
		t.Errorf("it said %q", got)
	}
	if e := awaitExit(t, p); e.Code != 0 {
		t.Errorf("it ended with %v", e)
	}
}

// sweepOwn sweeps the groups of the runtime directory in which this process is itself.
func sweepOwn(dir string) {
	p, err := newPoller()
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	data, err := os.ReadFile(filepath.Join(dir, basesFile))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	base, _, _ := strings.Cut(string(data), "\n")
	kept, err := sweepGroups(context.Background(), p, base, nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("kept", kept)
}

func TestAncestors(t *testing.T) {
	line := ancestors(os.Getpid())
	if len(line) < 2 || line[0] != os.Getpid() || line[1] != os.Getppid() {
		t.Errorf("got %v", line)
	}
}
