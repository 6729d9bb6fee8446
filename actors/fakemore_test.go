package actors

import (
	"context"
	"time"

	"github.com/blackhole/bhnode/proc"
)

// Adopted is a process that lives on from a life of the node before.
func (b *fakeBackend) Adopted(service string, incarnation uint64) Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.lives[service] {
		if p.inc == incarnation && !p.released {
			return p
		}
	}
	return nil
}

func (b *fakeBackend) Intake(string) (*proc.Intake, error) { return nil, nil }

func (b *fakeBackend) Announce(ctx context.Context, argv []string, vars []proc.EnvVar, _ time.Duration) error {
	if b.announce == nil {
		return nil
	}
	return b.announce(ctx, argv, vars)
}

func (b *fakeBackend) Used() time.Duration { return 0 }

func (b *fakeBackend) Connections() (map[int]uint64, error) { return nil, nil }

func (b *fakeBackend) Isolation() proc.Isolation { return proc.Isolation{Backend: "memory"} }

// inherit has a process of another backend go on in this one.
func (b *fakeBackend) inherit(old *fakeProcess) {
	p := &fakeProcess{
		backend: b, name: old.name, inc: old.inc, pid: old.pid, born: old.born, plan: old.plan, latch: old.latch,
		exited: make(chan struct{}), gone: make(chan struct{}), cut: make(chan struct{}), ready: make(chan struct{}),
		out: map[string]chan []proc.Line{"stdout": make(chan []proc.Line), "stderr": make(chan []proc.Line)}, panics: map[string]bool{},
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lives[p.name] = append(b.lives[p.name], p)
}

// times is how often a method was called.
func (p *fakeProcess) times(method string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.calls {
		if m == method {
			n++
		}
	}
	return n
}

func (p *fakeProcess) Usage() (proc.Usage, error) {
	p.note("Usage")
	u := p.plan.usage
	u.At = time.Now()
	return u, nil
}

func (p *fakeProcess) OnExit(f func()) {
	p.note("OnExit")
	go func() {
		<-p.exited
		f()
	}()
}

func (p *fakeProcess) OnOutput(_ string, f func(ended bool)) { p.note("OnOutput"); f(false) }

func (p *fakeProcess) Gone() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}
