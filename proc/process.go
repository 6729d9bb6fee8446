package proc

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// ErrProcessDone says that the main process is over.
var ErrProcessDone = os.ErrProcessDone

// Process is one incarnation of a service.
type Process struct {
	host        *Host
	service     string
	incarnation uint64
	env         []string
	mark        identity
	main        *child
	family      *family
	group       *group // nil: none
	stdout      *Output
	stderr      *Output
	notify      *NotifySocket
	meter       meter
	release     sync.Once
}

// Pid returns the number of the main process.
func (p *Process) Pid() int { return p.main.pid }

// Incarnation returns which life of the service it is.
func (p *Process) Incarnation() uint64 { return p.incarnation }

// StartedAt returns when the main process was started.
func (p *Process) StartedAt() time.Time { return p.main.started }

// OnExit has f called once the main process has ended; f must not wait. A goroutine that waits
// for Exited would do it too, and takes memory as long as the process lives.
func (p *Process) OnExit(f func()) { p.main.onExit(f) }

// Env returns the environment of the incarnation, for its probes and hooks.
func (p *Process) Env() []string { return slices.Clone(p.env) }

// Stdout returns the read end of the standard output; read deadlines work. It ends
// when the last process that holds the other end does.
func (p *Process) Stdout() *Output { return p.stdout }

// Stderr returns the read end of the standard error, as Stdout does.
func (p *Process) Stderr() *Output { return p.stderr }

// Notify returns the notify socket, nil for a service with another health check.
func (p *Process) Notify() *NotifySocket { return p.notify }

// Capture hands what the process writes to a stream over, as CaptureSafe does where its
// service has an Intake. With joined all lines of a read come as one Line, which is
// cheaper.
func (p *Process) Capture(stream string, joined bool, deliver Deliver) {
	from, in := p.outputOf(stream)
	if in == nil {
		c := cutter{joined: joined}
		c.capture(from, func(at time.Time, lines []Line) { deliver(at, lines, 0) })
		return
	}
	captureSafe(from, in, stream, p.main.adopted, joined, deliver)
}

// OnOutput has f called, once, as soon as a stream is worth capturing: something was written,
// or it has ended; if that is all that can be learnt of it, ended says so, and there is nothing
// to capture. f must not wait. Many services say nothing, and then need nobody to listen.
func (p *Process) OnOutput(stream string, f func(ended bool)) {
	from, in := p.outputOf(stream)
	if in != nil && in.made() { // it may hold what an earlier bhnode has read
		f(false)
		return
	}
	from.onFirst(f)
}

func (p *Process) outputOf(stream string) (*Output, *Intake) {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if stream == "stderr" {
		return p.stderr, p.host.intakes[p.service]
	}
	return p.stdout, p.host.intakes[p.service]
}

// Exited returns a channel that is closed when the main process has ended and was reaped.
func (p *Process) Exited() <-chan struct{} { return p.main.exited }

// Exit returns how the main process ended; before Exited it is not known.
func (p *Process) Exit() Exit { return p.main.ending() }

// Counters returns what the kernel has counted of the incarnation; after Release, the
// last that was counted.
func (p *Process) Counters() Counters { return p.group.counters() }

// Signal sends sig to the main process, never to another that has got its number. The
// error is ErrProcessDone if it is over.
func (p *Process) Signal(sig syscall.Signal) error { return p.main.signal(sig) }

// Kill sends SIGKILL to everything that is left of the incarnation: main process,
// descendants, hooks but those of post_stop, and orphans wherever they hide.
func (p *Process) Kill() error { return p.family.kill() }

// SignalLeft sends sig to everything that is left of the incarnation, each process
// once.
func (p *Process) SignalLeft(sig syscall.Signal) error {
	var errs []error
	for _, st := range p.family.left() {
		errs = append(errs, signalExactly(st, sig))
	}
	return errors.Join(errs...)
}

// Left returns what is alive of the incarnation, its main process included.
func (p *Process) Left() ([]Remnant, error) {
	var left []Remnant
	for _, st := range p.family.left() {
		left = append(left, Remnant{
			Pid: st.pid, Name: st.comm, State: string(st.state), WaitChannel: waitChannel(st.pid),
		})
	}
	return left, nil
}

// AwaitGone returns when nothing is left of the incarnation, or with the error of ctx.
// After Kill it also kills what was forked meanwhile.
func (p *Process) AwaitGone(ctx context.Context) error { return p.family.awaitGone(ctx) }

// Gone tells whether Kill has seen that nothing is left of the incarnation.
func (p *Process) Gone() bool { return p.family.isGone() }

// PostStop runs the post_stop hooks of s, all of them, and returns what went wrong.
func (p *Process) PostStop(ctx context.Context, s *ServiceSpec, reason string) error {
	return p.host.postStop(ctx, s, p.env, reason, p.Exit())
}

func (h *Host) postStop(ctx context.Context, s *ServiceSpec, env []string, reason string, exit Exit) error {
	var code, sig string
	switch {
	case exit.Signal != 0:
		sig = SignalName(exit.Signal)
	case exit.Known:
		code = strconv.Itoa(exit.Code)
	}
	env = slices.Concat(env, []string{"BHNODE_REASON=" + reason, "BHNODE_EXIT_CODE=" + code, "BHNODE_SIGNAL=" + sig})
	var errs []error
	for _, argv := range s.Hooks.PostStop {
		_, err := h.runHook(ctx, s, env, argv, s.Hooks.Timeout, h.hookMark(env, afterwards))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Release gives up everything held for the incarnation, which should be gone: its
// pipes, its notify socket, its record and its place, which the next one may then take.
func (p *Process) Release() {
	p.release.Do(func() {
		p.closeFiles()
		p.closeMeter()
		p.host.dropGroup(p)
		p.host.warn(p.service, p.host.state.Delete(p.service), "process not forgotten")
		p.host.settle(p.service, nil)
	})
}

func (p *Process) closeFiles() {
	p.host.keeper.drop(p.stdout, p.stderr)
	for _, f := range []*Output{p.stdout, p.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
	if p.notify != nil {
		p.host.warn(p.service, p.notify.Close(), "notify socket not closed")
	}
}
