package proc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// patience is how long a test waits for an event of a real process, on an emulated machine
// that stands still for a while now and then.
const patience = 90 * time.Second

// The test binary runs itself as the child; these variables say what it then does.
const (
	childMode = "PROC_TEST"
	childArg  = "PROC_TEST_ARG"
)

// serving hands hosts to the main goroutine, which alone may run Serve.
var serving = make(chan func())

func TestMain(m *testing.M) {
	if mode := os.Getenv(childMode); mode != "" {
		children[mode](os.Getenv(childArg))
		os.Exit(0)
	}
	runtime.LockOSThread()
	code := make(chan int, 1)
	go func() { code <- m.Run() }()
	for {
		select {
		case serve := <-serving:
			serve()
		case c := <-code:
			if err := leaks(); err != nil && c == 0 {
				fmt.Fprintln(os.Stderr, err)
				c = 1
			}
			os.Exit(c)
		}
	}
}

// leaks tells which goroutines are left, once those had time to end that are about to:
// goleak itself waits for half a second.
func leaks(options ...goleak.Option) error {
	err := goleak.Find(options...)
	for late := time.Now().Add(patience); err != nil && time.Now().Before(late); {
		err = goleak.Find(options...)
	}
	return err
}

// children are the behaviours of the test binary as a child.
var children = map[string]func(arg string){
	"exit": func(arg string) { code, _ := strconv.Atoi(arg); os.Exit(code) },
	"wait": func(string) { fmt.Println("ready"); forever() },
	"env": func(string) {
		for _, v := range os.Environ() {
			fmt.Println(v)
		}
	},
	"stubborn": func(string) {
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		forever()
	},
	"self": func(string) { // what a child is born with
		sid, _ := getsid(0)
		in, _ := os.Readlink("/proc/self/fd/0")
		flags, _ := fdFlags(1)
		fmt.Printf("pid=%t pgrp=%t in=%s rdwr=%t\n", sid == os.Getpid(), syscall.Getpgrp() == os.Getpid(), in,
			flags&syscall.O_ACCMODE == syscall.O_RDWR)
	},
	"escape": func(arg string) { // leaves a stubborn grandchild in a session of its own
		respawn("stubborn", "", &syscall.SysProcAttr{Setsid: true}, os.Environ())
		if arg != "" {
			forever()
		}
	},
	"background": func(string) { // leaves a stubborn grandchild in its session, with a bare environment
		respawn("stubborn", "", nil, nil)
	},
	"nest": func(arg string) { // a chain of processes, each the parent of the next
		if depth, _ := strconv.Atoi(arg); depth > 0 {
			respawn("nest", strconv.Itoa(depth-1), nil, os.Environ())
		} else {
			fmt.Println("ready")
		}
		forever()
	},
	"hare": func(arg string) { // hops from process to process, each in a session of its own
		if arg == "" {
			fmt.Println("ready")
		}
		respawn("hare", "on", &syscall.SysProcAttr{Setsid: true}, os.Environ())
	},
	"burn": burn,
	"use":  use,
	"tell": tell,
	"hog":  hog,
	"node": func(dir string) { nodeChild(dir, false, leftBehind(dir)) },
	"careless": func(dir string) {
		s := hidden()
		s.Name, s.StopGrace = "hidden", 300*time.Millisecond
		nodeChild(dir, false, []*ServiceSpec{s})
	},
	"talker":  talk,
	"leaver":  func(dir string) { nodeChild(dir, false, adoptable()) },
	"sweeper": sweepOwn,
	"read":    readDisk,
	"mortal":  func(dir string) { nodeChild(dir, true, []*ServiceSpec{childSpec("wait", "")}) },
}

// forever waits for signals that end it, as an empty select is a deadlock where nothing
// else can happen.
func forever() {
	for {
		_ = unix.Pause()
	}
}

// respawn starts the test binary again, its output where ours goes.
func respawn(mode, arg string, attr *syscall.SysProcAttr, env []string) {
	env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, childMode) })
	_, err := os.StartProcess("/proc/self/exe", []string{"child"}, &os.ProcAttr{
		Env:   append(env, childMode+"="+mode, childArg+"="+arg),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   attr,
	})
	if err != nil {
		fmt.Println(err)
	}
}

// openHost opens a Host in dir and has it served until the test ends.
func openHost(t *testing.T, dir string, change func(*HostOptions)) *Host {
	t.Helper()
	o := HostOptions{Node: "n", RuntimeDir: dir, Log: zerolog.New(zerolog.NewTestWriter(t))}
	if change != nil {
		change(&o)
	}
	h, err := OpenHost(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	serving <- func() { defer close(served); h.Serve(ctx) }
	t.Cleanup(func() {
		for _, p := range h.live() {
			if err := p.Kill(); err != nil {
				t.Error(err)
			}
			awaitGone(t, p)
			p.Release()
		}
		cancel()
		<-served
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *Host) live() []*Process {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*Process
	for _, p := range h.services {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

func newHost(t *testing.T) *Host {
	t.Helper()
	return openHost(t, filepath.Join(shortDir(t), "run"), nil)
}

// shortDir makes a directory whose path leaves room for the name of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// childSpec is a service that is the test binary in the given mode.
func childSpec(mode, arg string) *ServiceSpec {
	return &ServiceSpec{
		Name:    "svc",
		Command: []string{os.Args[0]},
		// A child built with -race would take a second to end.
		Env:        []EnvVar{{childMode, mode}, {childArg, arg}, {"GORACE", "atexit_sleep_ms=0"}},
		StopSignal: syscall.SIGTERM,
		Hooks:      Hooks{Timeout: patience},
	}
}

func start(t *testing.T, h *Host, s *ServiceSpec) *Process {
	t.Helper()
	p, err := h.Start(t.Context(), s, 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// startReady starts a service and waits until it has said that it is ready.
func startReady(t *testing.T, h *Host, s *ServiceSpec) *Process {
	t.Helper()
	p := start(t, h, s)
	awaitLine(t, p, "ready")
	return p
}

func awaitLine(t *testing.T, p *Process, want string) {
	t.Helper()
	if err := p.Stdout().SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(io.LimitReader(p.Stdout(), int64(len(want)+1))).ReadString('\n')
	if err != nil || strings.TrimSpace(line) != want {
		t.Fatalf("got line %q, %v, want %q", line, err, want)
	}
}

func awaitExit(t *testing.T, p *Process) Exit {
	t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(patience):
		t.Fatalf("process %d has not ended", p.Pid())
	}
	e := p.Exit()
	if e.At.IsZero() {
		t.Error("the time of the exit is not set")
	}
	e.At = time.Time{}
	return e
}

func awaitGone(t *testing.T, p *Process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.AwaitGone(ctx); err != nil {
		left, _ := p.Left()
		t.Fatalf("%v, left %v", err, left)
	}
}

// output reads all that the service wrote, until nobody holds the pipe any more.
func output(t *testing.T, r *Output) string {
	t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// eventually looks again and again until ok, as some things have no event.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// alive says whether a process is there that is no zombie.
func alive(pid int) bool {
	st, err := readStat(pid)
	return err == nil && !st.dead()
}

func wantStartError(t *testing.T, err error, stage Stage, hopeless bool, text string) {
	t.Helper()
	got, ok := errors.AsType[*StartError](err)
	if !ok {
		t.Fatalf("got error %v, want a StartError", err)
	}
	if got.Stage != stage || got.Hopeless != hopeless || !strings.Contains(got.Error(), text) {
		t.Errorf("got stage %q, hopeless %t, %q\nwant stage %q, hopeless %t, …%s…",
			got.Stage, got.Hopeless, got.Error(), stage, hopeless, text)
	}
}

func fdFlags(fd int) (int, error) {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_GETFL, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(flags), nil
}

func getsid(pid int) (int, error) {
	sid, _, errno := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sid), nil
}
