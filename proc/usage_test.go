package proc

import (
	"context"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

const (
	usedFiles  = 20
	usedMemory = 32 << 20
	usedCPU    = 150 * time.Millisecond
)

// inUse keeps what a child has from the collector.
var inUse []any

// use is a child that uses something of everything, and so does its own child.
func use(arg string) {
	if arg == "" {
		respawn("use", "below", nil, os.Environ())
	}
	for range usedFiles {
		f, err := os.Open(os.DevNull)
		if err != nil {
			panic(err)
		}
		inUse = append(inUse, f)
	}
	memory := make([]byte, usedMemory)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	for burnt := time.Duration(0); burnt < usedCPU; {
		var r syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
			panic(err)
		}
		burnt = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	fmt.Println("ready")
	inUse = append(inUse, memory, listener)
	forever()
}

func TestUsageIsThatOfTheWholeService(t *testing.T) {
	h := newHost(t)
	end(t, startReady(t, h, childSpec("wait", ""))) // from then on there is a keeper
	fds := openFDs(t)
	p := start(t, h, childSpec("use", ""))
	awaitLine(t, p, "ready")
	var u Usage
	eventually(t, "both processes have used everything", func() bool {
		var err error
		if u, err = p.Usage(); err != nil {
			t.Fatal(err)
		}
		return u.CPU >= 2*usedCPU-4*time.Second/userHZ && u.Memory >= 2*usedMemory && u.OpenFiles >= 2*usedFiles
	})
	if len(u.Pids) != 2 || u.Threads < 2 || u.Virtual < u.Memory {
		t.Errorf("got %+v, want two processes", u)
	}
	eventually(t, "each has one connection", func() bool {
		counts, err := Connections()
		if err != nil {
			t.Fatal(err)
		}
		return counts[u.Pids[0]] == 1 && counts[u.Pids[1]] == 1
	})
	end(t, p)
	last, err := p.Usage()
	if err != nil || last.CPU < u.CPU || last.Memory != 0 || len(last.Pids) != 0 {
		t.Errorf("after its end: %+v, %v; before %+v", last, err, u)
	}
	eventually(t, "descriptors are closed", func() bool { return openFDs(t) <= fds })
}

// end kills a process and gives it up.
func end(t *testing.T, p *Process) {
	t.Helper()
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
	p.Release()
}

func TestStatUsage(t *testing.T) {
	line := "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 100 50 10 5 20 0 7 0 12345 1048576 3 18446744073709551615 1"
	got, ok := statUsageOf([]byte(line))
	want := statUsage{cpu: 1650 * time.Millisecond, threads: 7, virtual: 1 << 20, resident: 3 * uint64(os.Getpagesize())}
	if !ok || got != want {
		t.Errorf("got %+v, %v, want %+v", got, ok, want)
	}
	for _, bad := range []string{"", "42 (x", "42 (x) S 1 2"} {
		if got, ok := statUsageOf([]byte(bad)); ok {
			t.Errorf("%q: got %+v", bad, got)
		}
	}
}

// BenchmarkUsage is what a look at a service of one process costs.
func BenchmarkUsage(b *testing.B) {
	h := benchHost(b)
	s := childSpec("wait", "")
	s.Limits = Limits{MemoryMB: 100}
	p, err := h.Start(b.Context(), s, 1)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := p.Usage(); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := p.Kill(); err != nil {
		b.Fatal(err)
	}
	if err := p.AwaitGone(b.Context()); err != nil {
		b.Fatal(err)
	}
	p.Release()
}

// TestWhoDidNotRunIsNotLookedAt has a service that waits: it is asked what it holds only once it
// has run again.
func TestWhoDidNotRunIsNotLookedAt(t *testing.T) {
	h := newHost(t)
	if !h.backend.isolation().Whole || h.backend.isolation().Tracking != trackedByGroup {
		t.Skip("without cgroup v2 nothing tells who has run")
	}
	p := startReady(t, h, childSpec("wait", ""))
	look := func() (time.Time, Usage) {
		u, err := p.Usage()
		if err != nil {
			t.Fatal(err)
		}
		return p.meter.looked, u
	}
	before, u := look()
	eventually(t, "it waits, and is left alone", func() bool {
		at, now := look()
		idle := at.Equal(before)
		if idle && (now.Memory != u.Memory || now.Threads != u.Threads || !now.At.After(u.At)) {
			t.Errorf("got %+v, want what was found before: %+v", now, u)
		}
		before, u = at, now
		return idle
	})
	sum := h.Used()
	must(t, p.Signal(syscall.SIGURG)) // for which Go has a handler
	eventually(t, "it is looked at again", func() bool { at, _ := look(); return at.After(before) })
	if used := h.Used(); sum == 0 || used <= sum {
		t.Errorf("all have used %v, %v before", used, sum)
	}
}
