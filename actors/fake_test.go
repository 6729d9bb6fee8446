package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// fakeBackend runs processes that exist in memory only. It fails a test in which
// two lives of a service are alive at once.
type fakeBackend struct {
	tb    testing.TB
	mu    sync.Mutex
	lives map[string][]*fakeProcess
	plans map[string]fakePlan
	tries map[string]int
	pids  int
	// announce is what a command does that tells of an event, nil: nothing.
	announce func(ctx context.Context, argv []string, vars []proc.EnvVar) error
	holds    [][]supervision.Hold
	keep     func([]supervision.Hold) error
	after    func() // runs after each Start
}

// fakePlan is how the lives of a service go.
type fakePlan struct {
	blind    bool                                     // AwaitGone cannot see three times
	start    func(ctx context.Context, try int) error // before there is a process
	born     func(p *fakeProcess)                     // before anybody sees it
	check    func(p *fakeProcess, n int) error        // the n-th check, from 1
	deaf     bool                                     // to the stop signal
	slow     time.Duration                            // from the stop signal to the end
	undead   bool                                     // the kernel does not let it die
	hook     func(ctx context.Context) error          // post_stop
	held     bool                                     // somebody else keeps its pipes open
	counters proc.Counters
	usage    proc.Usage
}

func newFake(tb testing.TB) *fakeBackend {
	tb.Helper()
	return &fakeBackend{tb: tb, lives: map[string][]*fakeProcess{}, plans: map[string]fakePlan{}, tries: map[string]int{}}
}

func (b *fakeBackend) Start(ctx context.Context, s *proc.ServiceSpec, incarnation uint64) (Process, error) {
	b.mu.Lock()
	plan := b.plans[s.Name]
	b.tries[s.Name]++
	try := b.tries[s.Name]
	if i := slices.IndexFunc(b.lives[s.Name], func(p *fakeProcess) bool { return !p.released }); i >= 0 {
		b.tb.Errorf("%s/%d starts though %d is not released", s.Name, incarnation, b.lives[s.Name][i].inc)
	}
	b.mu.Unlock()
	if plan.start != nil {
		if err := plan.start(ctx, try); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	b.pids++
	p := &fakeProcess{
		backend: b, name: s.Name, inc: incarnation, pid: b.pids, born: time.Now(), plan: plan, panics: map[string]bool{},
		exited: make(chan struct{}), gone: make(chan struct{}), cut: make(chan struct{}), ready: make(chan struct{}),
		out: map[string]chan []proc.Line{"stdout": make(chan []proc.Line, 16), "stderr": make(chan []proc.Line, 16)},
	}
	b.lives[s.Name] = append(b.lives[s.Name], p)
	b.mu.Unlock()
	if plan.born != nil {
		plan.born(p)
	}
	if b.after != nil {
		b.after()
	}
	return p, nil
}

func (b *fakeBackend) Prober(s *proc.ServiceSpec, p Process) (proc.Prober, error) {
	f := p.(*fakeProcess)
	f.note("Prober")
	if s.Probe.Type == proc.ProbeLog {
		return proc.NewLogMatch(s.Probe.Target)
	}
	if s.Probe.Target == "bad" {
		return nil, errors.New("the target is bad")
	}
	return &fakeProber{p: f}, nil
}

func (b *fakeBackend) Enforcement(s *proc.ServiceSpec) []proc.Enforcement {
	if s.Limits.MemoryMB == 0 {
		return nil
	}
	return []proc.Enforcement{{Limit: "memory_mb", Value: fmt.Sprint(s.Limits.MemoryMB), Why: "no cgroups", Help: "run as root"}}
}

func (b *fakeBackend) KeepHolds(holds []supervision.Hold) error {
	b.mu.Lock()
	keep := b.keep
	b.mu.Unlock()
	if keep != nil {
		if err := keep(holds); err != nil {
			return err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds = append(b.holds, holds)
	return nil
}

// plan sets how the lives of a service go from now on.
func (b *fakeBackend) plan(name string, p fakePlan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plans[name] = p
}

// last returns the last life of a service, nil if there was none.
func (b *fakeBackend) last(name string) *fakeProcess {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.lives[name]; len(l) > 0 {
		return l[len(l)-1]
	}
	return nil
}

// alive names the processes that are not gone, released those that were given up.
func (b *fakeBackend) alive() (names []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, lives := range b.lives {
		for _, p := range lives {
			if !p.Gone() {
				names = append(names, fmt.Sprintf("%s/%d", p.name, p.inc))
			}
		}
	}
	slices.Sort(names)
	return names
}

// fakeProcess is a process in memory. Its end closes exited, and gone unless it
// leaves somebody behind.
type fakeProcess struct {
	backend *fakeBackend
	name    string
	inc     uint64
	pid     int
	born    time.Time
	plan    fakePlan
	exited  chan struct{}
	gone    chan struct{}
	cut     chan struct{}
	ready   chan struct{}
	latch   bool // Ready is what tells
	out     map[string]chan []proc.Line

	mu       sync.Mutex
	panics   map[string]bool // the methods that are to panic, once each
	calls    []string
	end      proc.Exit
	leaves   bool // somebody, who is not killed yet
	released bool
	closed   bool // its prober
	checks   int
	wasCut   bool
}

// note notes a call, and panics if that was asked for.
func (p *fakeProcess) note(method string) {
	p.mu.Lock()
	p.calls = append(p.calls, method)
	bad := p.panics[method]
	p.panics[method] = false
	p.mu.Unlock()
	if bad {
		panic("told to in " + method)
	}
}

func (p *fakeProcess) panicIn(method string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.panics[method] = true
}

func (p *fakeProcess) called(method string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c == method {
			n++
		}
	}
	return n
}

// exit ends the main process.
func (p *fakeProcess) exit(code int, sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.exited:
		return
	default:
	}
	p.end = proc.Exit{Code: code, Signal: sig, Known: true, At: time.Now()}
	close(p.exited)
	if !p.leaves {
		close(p.gone)
	}
}

// say prints lines on stdout.
func (p *fakeProcess) say(lines ...string) {
	batch := make([]proc.Line, len(lines))
	for i, l := range lines {
		batch[i].Data = []byte(l)
	}
	p.out["stdout"] <- batch
}

func (p *fakeProcess) Pid() int                { p.note("Pid"); return p.pid }
func (p *fakeProcess) Incarnation() uint64     { return p.inc }
func (p *fakeProcess) StartedAt() time.Time    { p.note("StartedAt"); return p.born }
func (p *fakeProcess) Exited() <-chan struct{} { p.note("Exited"); return p.exited }

func (p *fakeProcess) Exit() proc.Exit {
	p.note("Exit")
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.end
}

func (p *fakeProcess) Counters() proc.Counters { p.note("Counters"); return p.plan.counters }

func (p *fakeProcess) Signal(sig syscall.Signal) error {
	p.note("Signal " + sig.String())
	p.note("Signal")
	select {
	case <-p.exited:
		return proc.ErrProcessDone
	default:
	}
	if p.plan.deaf || sig != syscall.SIGTERM {
		return nil
	}
	if p.plan.slow > 0 {
		time.AfterFunc(p.plan.slow, func() { p.exit(0, 0) })
		return nil
	}
	p.exit(0, 0)
	return nil
}

func (p *fakeProcess) SignalLeft(syscall.Signal) error { p.note("SignalLeft"); return nil }

func (p *fakeProcess) Kill() error {
	p.note("Kill")
	if p.plan.undead {
		return nil
	}
	p.die()
	return nil
}

// die ends all of it.
func (p *fakeProcess) die() {
	p.exit(-1, syscall.SIGKILL)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaves {
		p.leaves = false
		close(p.gone)
	}
}

func (p *fakeProcess) Left() ([]proc.Remnant, error) {
	p.note("Left")
	if p.Gone() {
		return nil, nil
	}
	return []proc.Remnant{{Pid: p.pid, Name: p.name, State: "D", WaitChannel: "nfs_wait"}}, nil
}

func (p *fakeProcess) AwaitGone(ctx context.Context) error {
	p.note("AwaitGone")
	if p.plan.blind && p.called("AwaitGone") < 4 {
		return syscall.EMFILE
	}
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *fakeProcess) Capture(stream string, _ bool, deliver proc.Deliver) {
	p.note("Capture")
	out, end := p.out[stream], p.gone
	if p.plan.held {
		end = nil
	}
	for {
		select {
		case <-p.cut: // as a deadline does, whatever there is to read
			return
		default:
		}
		select {
		case lines := <-out:
			deliver(time.Now(), lines, 0)
			continue
		default:
		}
		select {
		case lines := <-out:
			deliver(time.Now(), lines, 0)
		case <-p.cut:
		case <-end:
			if len(out) == 0 {
				return
			}
		}
	}
}

func (p *fakeProcess) CutOutput() {
	p.note("CutOutput")
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.wasCut {
		p.wasCut = true
		close(p.cut)
	}
}

func (p *fakeProcess) Ready() <-chan struct{} {
	p.note("Ready")
	if p.latch {
		return p.ready
	}
	return nil
}

func (p *fakeProcess) PostStop(ctx context.Context, _ *proc.ServiceSpec, reason string) error {
	p.note("PostStop")
	p.note("PostStop " + reason)
	if p.plan.hook != nil {
		return p.plan.hook(ctx)
	}
	return nil
}

func (p *fakeProcess) Release() {
	p.backend.mu.Lock()
	p.released = true
	p.backend.mu.Unlock()
	p.note("Release")
}

type fakeProber struct{ p *fakeProcess }

func (f *fakeProber) Check(ctx context.Context) error {
	f.p.note("Check")
	f.p.mu.Lock()
	f.p.checks++
	n := f.p.checks
	if f.p.closed {
		f.p.backend.tb.Errorf("%s/%d is checked with a closed prober", f.p.name, f.p.inc)
	}
	f.p.mu.Unlock()
	if f.p.plan.check == nil {
		return nil
	}
	err := f.p.plan.check(f.p, n)
	if ctx.Err() != nil {
		return &proc.UnknownError{Err: ctx.Err()}
	}
	return err
}

func (f *fakeProber) Close() error {
	f.p.note("Close")
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	f.p.closed = true
	return nil
}
