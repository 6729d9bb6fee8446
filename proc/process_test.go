package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExitOfAProcess(t *testing.T) {
	h := newHost(t)
	for _, tc := range []struct {
		name, mode, arg string
		signal          syscall.Signal
		want            Exit
		text            string
	}{
		{name: "code 0", mode: "exit", arg: "0", want: Exit{Known: true}, text: "exit 0"},
		{name: "code 3", mode: "exit", arg: "3", want: Exit{Code: 3, Known: true}, text: "exit 3"},
		{
			name: "killed", mode: "wait", signal: syscall.SIGKILL,
			want: Exit{Code: -1, Signal: syscall.SIGKILL, Known: true}, text: "SIGKILL",
		},
		{
			name: "terminated", mode: "wait", signal: syscall.SIGTERM,
			want: Exit{Code: -1, Signal: syscall.SIGTERM, Known: true}, text: "SIGTERM",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := start(t, h, childSpec(tc.mode, tc.arg))
			defer p.Release()
			if tc.signal != 0 {
				awaitLine(t, p, "ready")
				if got := p.Exit(); got != (Exit{}) {
					t.Errorf("exit of a live process is %v", got)
				}
				if err := p.Signal(tc.signal); err != nil {
					t.Fatal(err)
				}
			}
			got := awaitExit(t, p)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("exit (-want +got):\n%s", diff)
			}
			if got.String() != tc.text {
				t.Errorf("got %q, want %q", got, tc.text)
			}
			if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrProcessDone) {
				t.Errorf("signal after the end: %v", err)
			}
			awaitGone(t, p)
		})
	}
}

func TestExitString(t *testing.T) {
	for want, e := range map[string]Exit{
		"exit unknown":           {},
		"SIGKILL, out of memory": {Known: true, Code: -1, Signal: syscall.SIGKILL, OOMKilled: true},
		"signal 34":              {Known: true, Code: -1, Signal: 34},
	} {
		if got := e.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestChildIsBornApart(t *testing.T) {
	p := start(t, newHost(t), childSpec("self", ""))
	want := "pid=true pgrp=true in=/dev/null rdwr=true\n"
	if got := output(t, p.Stdout()); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOutputStreamsAreApart(t *testing.T) {
	h := newHost(t)
	p := start(t, h, &ServiceSpec{Name: "svc", Command: []string{"sh", "-c", "printf trouble >&2"}})
	if got := output(t, p.Stderr()); got != "trouble" {
		t.Errorf("stderr got %q", got)
	}
	if got := output(t, p.Stdout()); got != "" {
		t.Errorf("stdout got %q", got)
	}
}

func TestLookupAndRelease(t *testing.T) {
	h := newHost(t)
	p := startReady(t, h, childSpec("wait", ""))
	if h.Lookup("svc") != p {
		t.Error("the live incarnation is not found")
	}
	records := h.State().All()
	if len(records) != 1 || records[0].Pid != p.Pid() || records[0].StartTime == 0 || records[0].BootID == "" {
		t.Errorf("recorded %+v", records)
	}
	if tracked := h.Isolation().Tracking != trackedByMark; tracked != (records[0].Group != nil && slices.Contains(pidsBelow(records[0].Group.Leaf), p.Pid())) {
		t.Errorf("recorded is the group %+v", records[0].Group)
	}
	if _, err := h.Start(t.Context(), childSpec("wait", ""), 2); !errors.Is(err, ErrNotReleased) {
		t.Errorf("a second incarnation beside the first: %v", err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
	p.Release()
	p.Release()
	if h.Lookup("svc") != nil {
		t.Error("the released incarnation is still found")
	}
	if got := h.State().All(); len(got) != 0 {
		t.Errorf("still recorded: %+v", got)
	}
	if got := h.State().LastIncarnations()["svc"]; got != 1 {
		t.Errorf("last incarnation %d, want 1", got)
	}
}

func TestConcurrentStartsMakeOneProcess(t *testing.T) {
	h := newHost(t)
	var wg sync.WaitGroup
	started := make(chan *Process, 50)
	for i := range 50 {
		wg.Go(func() {
			if p, err := h.Start(t.Context(), childSpec("wait", ""), uint64(i)); err == nil {
				started <- p
			} else if !errors.Is(err, ErrNotReleased) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(started) != 1 {
		t.Errorf("%d processes were started at once", len(started))
	}
}

// left waits until n processes of p are alive.
func left(t *testing.T, p *Process, n int) []Remnant {
	t.Helper()
	var got []Remnant
	eventually(t, fmt.Sprintf("%d processes", n), func() bool {
		var err error
		got, err = p.Left()
		return err == nil && len(got) == n
	})
	return got
}

func TestKillLeavesNothing(t *testing.T) {
	for _, tc := range []struct {
		name, mode, arg string
		alive           int
		main            bool // it lives
	}{
		{name: "main alone", mode: "stubborn", alive: 1, main: true},
		{name: "grandchild in a session of its own", mode: "escape", alive: 1},
		{name: "main and such a grandchild", mode: "escape", arg: "stay", alive: 2, main: true},
		{name: "grandchild with a bare environment", mode: "background", alive: 1},
		{name: "chain of processes", mode: "nest", arg: "4", alive: 5, main: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t)
			p := startReady(t, h, childSpec(tc.mode, tc.arg))
			if !tc.main {
				awaitExit(t, p)
			}
			remnants := left(t, p, tc.alive)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := p.AwaitGone(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("gone while %v are alive: %v", remnants, err)
			}
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			awaitGone(t, p)
			for _, r := range remnants {
				if alive(r.Pid) {
					t.Errorf("%v is alive", r)
				}
			}
			if got, err := p.Left(); err != nil || len(got) != 0 {
				t.Errorf("left %v, %v", got, err)
			}
		})
	}
}

func TestKillOutrunsForks(t *testing.T) {
	h := newHost(t)
	p := startReady(t, h, childSpec("hare", ""))
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
	for _, pid := range carriers(t, p.mark.id, h.instance) {
		t.Errorf("process %d is alive", pid)
	}
}

// carriers lists all processes of the machine that carry an identity.
func carriers(t *testing.T, id, instance string) []int {
	t.Helper()
	all, err := allPids()
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, pid := range all {
		got, err := readIdentity(pid)
		if err == nil && got.instance == instance && (id == "" || got.id == id) && alive(pid) {
			found = append(found, pid)
		}
	}
	return found
}

func TestOrphansOfOthersAreLeftAlone(t *testing.T) {
	h := newHost(t)
	one, other := childSpec("escape", ""), childSpec("escape", "")
	other.Name = "other"
	p, q := startReady(t, h, one), startReady(t, h, other)
	awaitExit(t, p)
	awaitExit(t, q)
	mine := left(t, p, 1)
	theirs := left(t, q, 1)
	if mine[0].Pid == theirs[0].Pid {
		t.Fatalf("both own %v", mine[0])
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
	if !alive(theirs[0].Pid) {
		t.Error("the other service's process was killed too")
	}
}

func TestRemnantString(t *testing.T) {
	for want, r := range map[string]Remnant{
		"7 (db, S)":             {Pid: 7, Name: "db", State: "S"},
		"7 (db, D in nfs_wait)": {Pid: 7, Name: "db", State: "D", WaitChannel: "nfs_wait"},
	} {
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestAKillThatSeesNobodyIsTheEnd(t *testing.T) {
	h := newHost(t)
	p := startReady(t, h, childSpec("escape", ""))
	awaitExit(t, p)
	if p.Gone() {
		t.Error("it is gone, and its grandchild lives")
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
	if err := p.Kill(); err != nil || !p.Gone() {
		t.Errorf("got %v, and gone is %v", err, p.Gone())
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.AwaitGone(over); err != nil {
		t.Errorf("waited for nobody: %v", err)
	}
}

func TestManyProcessesNeedNoThreads(t *testing.T) {
	h := newHost(t)
	const many = 200
	threads := func() int {
		tids, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			t.Fatal(err)
		}
		return len(tids)
	}
	before := threads()
	for i := range many {
		s := &ServiceSpec{Name: fmt.Sprint("svc", i), Command: []string{"sleep", "1000"}, Inherit: Inherit{All: true}}
		start(t, h, s)
	}
	if after := threads(); after > before+20 {
		t.Errorf("%d threads with %d processes, %d before", after, many, before)
	}
	var wg sync.WaitGroup
	for _, p := range h.live() {
		wg.Go(func() {
			if err := p.Signal(syscall.SIGKILL); err != nil {
				t.Error(err)
			}
			if got := awaitExit(t, p); got.Signal != syscall.SIGKILL || !got.Known {
				t.Errorf("exit of %d: %+v", p.Pid(), got)
			}
			awaitGone(t, p)
		})
	}
	wg.Wait()
}

// TestNothingLeaks starts and stops a hundred times and finds the descriptors and
// children as they were; the goroutines are looked at when all tests are over.
func TestNothingLeaks(t *testing.T) {
	h := newHost(t)
	fds := func() []string {
		names, err := readNames("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	cycle := func(i int) {
		s := childSpec("escape", "")
		s.Config = []byte("{}\n")
		s.Hooks = Hooks{PreStart: [][]string{{"true"}}, PostStop: [][]string{{"true"}}, Timeout: patience}
		p, err := h.Start(t.Context(), s, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		awaitExit(t, p)
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		awaitGone(t, p)
		if err := p.PostStop(t.Context(), s, "exit"); err != nil {
			t.Fatal(err)
		}
		p.Release()
	}
	cycle(0)
	before := fds()
	for i := range 100 {
		cycle(i + 1)
	}
	eventually(t, fmt.Sprintf("no more descriptors than before: %v", before), func() bool { return len(fds()) <= len(before) })
	eventually(t, "no child is left but the keeper", func() bool {
		left := childrenOf(os.Getpid())
		return len(left) == 0 || slices.Equal(left, []int{h.keeperPid()})
	})
}

// TestKillOnDeath kills a bhnode whose services are to die with it.
func TestKillOnDeath(t *testing.T) {
	outer := newHost(t)
	dir := filepath.Join(shortDir(t), "run")
	node := startReady(t, outer, childSpec("mortal", dir))
	instance, _, err := instanceOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := carriers(t, "", instance); len(got) != 1 {
		t.Fatalf("alive are %v, want one service", got)
	}
	if err := node.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its service is dead", func() bool { return len(carriers(t, "", instance)) == 0 })
}
