package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"syscall"
	"testing/synctest"
	"time"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// bubble is a world of processes that exist in memory, in virtual time.
type bubble struct {
	mu    sync.Mutex
	lives map[string]*fakeProcess
	idles bool // nothing starts any more
}

func (b *bubble) scale() time.Duration    { return 1 }
func (b *bubble) patience() time.Duration { return time.Millisecond }
func (b *bubble) strict() bool            { return true }
func (b *bubble) idle(*live)              { synctest.Wait() }

func (b *bubble) halt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.idles = true
}

func (b *bubble) end(p *life, reason string, ordered bool) {
	b.mu.Lock()
	f := b.lives[p.id]
	b.mu.Unlock()
	if f != nil && f.inc == p.inc {
		code, sig := exitFor(p.node, reason, ordered)
		f.exit(code, sig)
	}
}

// Start implements actors.Backend.
func (b *bubble) Start(ctx context.Context, s *proc.ServiceSpec, inc uint64) (actors.Process, error) {
	n := &node{}
	if err := json.Unmarshal([]byte(s.Command[2]), n); err != nil {
		return nil, err
	}
	b.mu.Lock()
	idles := b.idles
	b.mu.Unlock()
	if idles {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a := n.attempt(inc)
	select {
	case <-time.After(time.Duration(a.DelayMS) * time.Millisecond):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	switch a.Result {
	case "error":
		return nil, errors.New(a.Reason)
	case "ignore":
		return nil, actors.ErrDeclined
	}
	f := &fakeProcess{node: n, inc: inc, born: time.Now(), exited: make(chan struct{}), ready: make(chan struct{})}
	close(f.ready)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lives[s.Name] = f
	return f, nil
}

// Prober implements actors.Backend.
func (b *bubble) Prober(*proc.ServiceSpec, actors.Process) (proc.Prober, error) {
	return noProber{}, nil
}

// Enforcement implements actors.Backend.
func (b *bubble) Adopted(string, uint64) actors.Process { return nil }

func (b *bubble) Intake(string) (*proc.Intake, error) { return nil, nil }

func (b *bubble) Announce(context.Context, []string, []proc.EnvVar, time.Duration) error { return nil }

func (b *bubble) Used() time.Duration { return 0 }

func (b *bubble) Connections() (map[int]uint64, error) { return nil, nil }

func (b *bubble) Isolation() proc.Isolation { return proc.Isolation{} }

func (b *bubble) Enforcement(*proc.ServiceSpec) []proc.Enforcement { return nil }

// KeepHolds implements actors.Backend.
func (b *bubble) KeepHolds([]supervision.Hold) error { return nil }

type noProber struct{}

func (noProber) Check(context.Context) error { return nil }
func (noProber) Close() error                { return nil }

// fakeProcess does what its script says. It leaves nobody behind.
type fakeProcess struct {
	node   *node
	inc    uint64
	born   time.Time
	ready  chan struct{}
	exited chan struct{}

	mu   sync.Mutex
	over bool
	how  proc.Exit
}

func (f *fakeProcess) exit(code int, sig syscall.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.over, f.how = true, proc.Exit{Code: code, Signal: sig, Known: true, At: time.Now()}
		close(f.exited)
	}
}

func (f *fakeProcess) Pid() int                { return 1 }
func (f *fakeProcess) Incarnation() uint64     { return f.inc }
func (f *fakeProcess) StartedAt() time.Time    { return f.born }
func (f *fakeProcess) Exited() <-chan struct{} { return f.exited }
func (f *fakeProcess) Ready() <-chan struct{}  { return f.ready }

func (f *fakeProcess) OnOutput(_ string, call func(ended bool)) { call(false) }

func (f *fakeProcess) OnExit(call func()) {
	go func() {
		<-f.exited
		call()
	}()
}

func (f *fakeProcess) Exit() proc.Exit {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.how
}

func (f *fakeProcess) Counters() proc.Counters { return proc.Counters{} }

func (f *fakeProcess) Usage() (proc.Usage, error) { return proc.Usage{At: time.Now()}, nil }

func (f *fakeProcess) Signal(sig syscall.Signal) error {
	if sig != syscall.SIGTERM || f.node.OnStop.Ignore {
		return nil
	}
	code, with := exitFor(f.node, f.node.OnStop.Exit, true)
	time.AfterFunc(time.Duration(f.node.OnStop.DelayMS)*time.Millisecond, func() { f.exit(code, with) })
	return nil
}

func (f *fakeProcess) SignalLeft(syscall.Signal) error { return nil }

func (f *fakeProcess) Kill() error {
	f.exit(-1, syscall.SIGKILL)
	return nil
}

func (f *fakeProcess) Left() ([]proc.Remnant, error) { return nil, nil }

func (f *fakeProcess) Gone() bool {
	select {
	case <-f.exited:
		return true
	default:
		return false
	}
}

func (f *fakeProcess) AwaitGone(ctx context.Context) error {
	select {
	case <-f.exited:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeProcess) Capture(string, bool, proc.Deliver) { <-f.exited }
func (f *fakeProcess) CutOutput()                         {}
func (f *fakeProcess) Release()                           {}

func (f *fakeProcess) PostStop(context.Context, *proc.ServiceSpec, string) error { return nil }
