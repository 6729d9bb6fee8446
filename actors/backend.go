package actors

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/state"
	"github.com/blackhole/bhnode/supervision"
)

// ErrDeclined is the error of a start that says that there is nothing to run; that is
// success without a process.
var ErrDeclined = errors.New("there is nothing to run")

// Backend runs processes.
type Backend interface {
	// Start makes one incarnation; its error may be a *proc.StartError, or ErrDeclined.
	Start(ctx context.Context, s *proc.ServiceSpec, incarnation uint64) (Process, error)
	// Adopted returns an incarnation that an earlier bhnode has started and that was taken
	// over, nil if there is none.
	Adopted(service string, incarnation uint64) Process
	// Prober returns what checks an incarnation.
	Prober(s *proc.ServiceSpec, p Process) (proc.Prober, error)
	// Enforcement tells what becomes of the limits of a service on this machine.
	Enforcement(s *proc.ServiceSpec) []proc.Enforcement
	// Isolation tells what holds services.
	Isolation() proc.Isolation
	// Connections counts those of every process of the machine, by pid.
	Connections() (map[int]uint64, error)
	// Used is what all services together have used of processors; 0: that is not known.
	Used() time.Duration
	// Announce runs a command that tells of an event.
	Announce(ctx context.Context, argv []string, vars []proc.EnvVar, timeout time.Duration) error
	// Intake keeps the output of a service safe on its way to its log; nil: nothing does.
	Intake(service string) (*proc.Intake, error)
	// KeepHolds keeps the holds for the next life of the node.
	KeepHolds(holds []supervision.Hold) error
}

// Process is one incarnation of a service.
type Process interface {
	Pid() int
	Incarnation() uint64
	StartedAt() time.Time
	Exited() <-chan struct{}
	OnExit(f func())
	Exit() proc.Exit
	gauge // also when it is over
	Signal(sig syscall.Signal) error
	SignalLeft(sig syscall.Signal) error
	Kill() error
	Left() ([]proc.Remnant, error)
	AwaitGone(ctx context.Context) error
	Gone() bool // Kill has seen that nothing is left
	// OnOutput calls once there is something of stdout or stderr to capture, or with ended that
	// there never will be.
	OnOutput(stream string, f func(ended bool))
	// Capture hands the output of stdout or stderr over as it comes, until its end or
	// CutOutput, with joined all lines of a read as one. Lines are valid during deliver only.
	Capture(stream string, joined bool, deliver proc.Deliver)
	CutOutput()
	// Ready is closed when a notify probe has heard READY=1; nil for other probes.
	Ready() <-chan struct{}
	PostStop(ctx context.Context, s *proc.ServiceSpec, reason string) error
	Release()
}

// OnHost is the Backend of real processes.
type OnHost struct{ Host *proc.Host }

// Start implements Backend.
func (b OnHost) Start(ctx context.Context, s *proc.ServiceSpec, incarnation uint64) (Process, error) {
	p, err := b.Host.Start(ctx, s, incarnation)
	if err != nil {
		return nil, err
	}
	return hostProcess{p}, nil
}

// Adopted implements Backend: the host was told to adopt before.
func (b OnHost) Adopted(service string, incarnation uint64) Process {
	if p := b.Host.Lookup(service); p != nil && p.Incarnation() == incarnation {
		return hostProcess{p}
	}
	return nil
}

// Prober implements Backend.
func (b OnHost) Prober(s *proc.ServiceSpec, p Process) (proc.Prober, error) {
	var env []string
	var notify *proc.NotifySocket
	if h, ok := p.(hostProcess); ok {
		env, notify = h.Env(), h.Notify()
	}
	return proc.NewProber(s.Probe, proc.ProbeOptions{
		Expand: func(text string) string { return proc.Expand(env, text) },
		Exec: func(ctx context.Context, argv []string) (string, error) {
			return b.Host.RunHook(ctx, s, env, argv, s.Probe.Timeout)
		},
		Notify: notify,
	})
}

// Enforcement implements Backend.
func (b OnHost) Enforcement(s *proc.ServiceSpec) []proc.Enforcement { return b.Host.Enforcement(s) }

// Isolation implements Backend.
func (b OnHost) Isolation() proc.Isolation { return b.Host.Isolation() }

// Used implements Backend.
func (b OnHost) Used() time.Duration { return b.Host.Used() }

// Connections implements Backend.
func (b OnHost) Connections() (map[int]uint64, error) { return proc.Connections() }

// Announce implements Backend.
func (b OnHost) Announce(ctx context.Context, argv []string, vars []proc.EnvVar, timeout time.Duration) error {
	return b.Host.Announce(ctx, argv, vars, timeout)
}

// Intake implements Backend.
func (b OnHost) Intake(service string) (*proc.Intake, error) { return b.Host.Intake(service) }

// KeepHolds implements Backend.
func (b OnHost) KeepHolds(holds []supervision.Hold) error {
	kept := make(map[string]state.Hold, len(holds))
	for _, h := range holds {
		kept[string(h.ID)] = state.Hold{Only: h.Only}
	}
	return b.Host.State().SetHolds(kept)
}

type hostProcess struct{ *proc.Process }

func (p hostProcess) Ready() <-chan struct{} {
	if n := p.Notify(); n != nil {
		return n.Ready()
	}
	return nil
}

func (p hostProcess) CutOutput() {
	now := time.Now()
	_ = p.Stdout().SetReadDeadline(now) // closed already: then it has ended
	_ = p.Stderr().SetReadDeadline(now)
}
