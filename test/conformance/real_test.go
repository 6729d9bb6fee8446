package conformance

import (
	"context"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/proc"
)

const (
	// realScale is how much longer everything takes on real processes, so that what
	// was milliseconds apart stays apart on a busy machine; parScale where a trace says
	// when what happens.
	realScale = 4
	parScale  = 20
	// realQuiet is how long nothing must have happened for things to be over, on a machine
	// that wakes who sleeps no later than by realLate: else it may not have got to it.
	realQuiet = 60 * time.Millisecond
	realLate  = 20 * time.Millisecond
	// together is how many traces run side by side.
	together = 6
)

// machine is the world of real processes. All nodes share its host, as there is one
// reaper of orphans in a process.
type machine struct {
	actors.OnHost
	factor time.Duration
}

// forTrace is the machine at the pace of a trace.
func (m machine) forTrace(tr *trace) machine {
	m.factor = realScale
	if slices.ContainsFunc(tr.Steps, func(s step) bool { return s.Do.Op == "par" }) {
		m.factor = parScale
	}
	return m
}

func (m machine) scale() time.Duration    { return m.factor }
func (m machine) patience() time.Duration { return 30 * time.Second }
func (m machine) strict() bool            { return false }

func (m machine) halt() {} // the next look ends it

func (m machine) idle(l *live) {
	for busy := true; ; {
		l.mu.Lock()
		quiet := time.Since(l.last)
		l.mu.Unlock()
		if quiet >= realQuiet && !busy {
			return
		}
		begun, rest := time.Now(), max(realQuiet-quiet, realQuiet/2)
		time.Sleep(rest)
		busy = time.Since(begun) > rest+realLate
	}
}

func (m machine) end(p *life, reason string, ordered bool) {
	if reason == "normal" && ordered && p.node.Restart == "permanent" {
		reason = toldNormal
	}
	if real := m.Host.Lookup(p.id); real != nil && real.Incarnation() == p.inc {
		_ = real.Signal(ends[reason]) // it may be dead already
	}
}

// newMachine opens the host of real processes for the time of a test.
func newMachine(t *testing.T) machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "bhn") // short: there are sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	host, err := proc.OpenHost(proc.HostOptions{Node: "conformance", RuntimeDir: dir, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var served sync.WaitGroup
	served.Go(func() {
		runtime.LockOSThread()
		host.Serve(ctx)
	})
	t.Cleanup(func() {
		cancel()
		served.Wait()
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return machine{OnHost: actors.OnHost{Host: host}}
}
