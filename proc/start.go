package proc

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/blackhole/bhnode/proc/shim"
	"github.com/blackhole/bhnode/proc/state"
)

// Stage is the step of a start that could not be done.
type Stage string

// The stages of a start, in their order.
const (
	StageClaim     Stage = "claim" // its previous incarnation is not released
	StageUser      Stage = "user"
	StageDirectory Stage = "directory"
	StageConfig    Stage = "config"
	StageNotify    Stage = "notify socket"
	StageLimits    Stage = "limits"
	StageHook      Stage = "pre_start"
	StageSpawn     Stage = "spawn"
)

// StartError says at which stage a start ended. Hopeless: trying again cannot help.
type StartError struct {
	Stage    Stage
	Err      error
	Hopeless bool
}

func (e *StartError) Error() string { return string(e.Stage) + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *StartError) Unwrap() error { return e.Err }

// ErrNotReleased is why a second incarnation is not started beside the first.
var ErrNotReleased = errors.New("its previous incarnation is not over")

// hopelessError marks an error that trying again does not mend.
type hopelessError struct{ error }

func (e *hopelessError) Unwrap() error { return e.error }

func hopeless(err error) error { return &hopelessError{err} }

// Start makes one incarnation of a service. Until its process is released no other is
// started. On a failed start the error is a *StartError and nothing is left; post_stop
// has then run if pre_start had.
func (h *Host) Start(ctx context.Context, s *ServiceSpec, incarnation uint64) (*Process, error) {
	if !h.claim(s.Name) {
		return nil, &StartError{Stage: StageClaim, Err: ErrNotReleased}
	}
	l := &launch{host: h, spec: s, proc: &Process{host: h, service: s.Name, incarnation: incarnation}}
	if err := l.run(ctx); err != nil {
		l.undo(ctx)
		h.settle(s.Name, nil)
		return nil, err
	}
	h.settle(s.Name, l.proc)
	return l.proc, nil
}

// launch is a start under way.
type launch struct {
	host    *Host
	spec    *ServiceSpec
	account account
	config  string // path of the rendered config
	birth   *shim.Birth
	hooked  bool // pre_start has begun
	proc    *Process
}

func (l *launch) run(ctx context.Context) error {
	for _, step := range []struct {
		stage Stage
		do    func(context.Context) error
	}{
		{StageUser, l.findAccount},
		{StageDirectory, l.makeDirs},
		{StageConfig, l.writeConfig},
		{StageNotify, l.listen},
		{StageLimits, l.limit},
		{StageHook, l.preStart},
		{StageSpawn, l.spawn},
	} {
		if err := step.do(ctx); err != nil {
			_, noHope := errors.AsType[*hopelessError](err)
			return &StartError{Stage: step.stage, Err: err, Hopeless: noHope}
		}
	}
	return nil
}

func (l *launch) findAccount(context.Context) (err error) {
	l.account, err = findAccount(l.spec.User, l.spec.Group)
	return err
}

// listen makes the notify socket and, with that, all that the environment tells.
func (l *launch) listen(context.Context) error {
	life := Life{
		ID:         l.host.idOf(l.spec.Name, l.proc.incarnation),
		Instance:   l.host.instance,
		ConfigPath: l.config,
	}
	if l.spec.Probe.Type == ProbeNotify {
		socket, err := ListenNotify(l.host.notifyPath(l.spec.Name))
		if err != nil {
			return err
		}
		socket.SenderOK(sentBy(life.ID))
		l.proc.notify, life.NotifySocket = socket, socket.Path()
	}
	l.proc.env = l.spec.Environment(os.Environ(), life)
	l.proc.mark = identity{id: life.ID, instance: life.Instance}
	return nil
}

// sentBy hears an incarnation, and whoever is not known to be another's.
func sentBy(id string) func(pid int) bool {
	return func(pid int) bool {
		of, err := readIdentity(pid)
		return err != nil || of.id == "" || of.id == id
	}
}

// record writes down what is started; a disk that is full is no reason not to start,
// as what runs is also found by what it carries.
func (l *launch) record(pid int, start uint64, started time.Time) {
	l.host.warn(l.spec.Name, l.host.state.Put(state.Record{
		Service:     l.spec.Name,
		Incarnation: l.proc.incarnation,
		BootID:      l.host.boot,
		Pid:         pid,
		StartTime:   start,
		StopSignal:  int(l.spec.StopSignal),
		Grace:       l.spec.StopGrace,
		Socket:      l.spec.UnixSocket,
		Started:     started,
		Stdout:      l.proc.stdout.inode(),
		Stderr:      l.proc.stderr.inode(),
		Group:       l.proc.group.record(),
	}), "process not recorded")
}

// limit makes the groups of the incarnation.
func (l *launch) limit(context.Context) (err error) {
	if l.spec.Limits.Required {
		for _, e := range l.host.Enforcement(l.spec) {
			if e.By == "" {
				return hopeless(errors.New(e.String()))
			}
		}
	}
	if l.birth, err = l.host.birthOf(l.spec); err != nil {
		return err
	}
	l.proc.group, err = l.host.backend.open(l.spec.Name, l.proc.incarnation, l.spec.Limits)
	if err == nil {
		l.host.keepGroup(l.spec.Name, l.proc.group)
	}
	return err
}

func (l *launch) preStart(ctx context.Context) error {
	l.record(0, 0, time.Time{})
	for _, argv := range l.spec.Hooks.PreStart {
		l.hooked = true
		if _, err := l.host.RunHook(ctx, l.spec, l.proc.env, argv, l.spec.Hooks.Timeout); err != nil {
			return err
		}
	}
	return nil
}

func (l *launch) spawn(ctx context.Context) (err error) {
	p := l.proc
	argv := expandAll(p.env, l.spec.Command)
	var stdout, stderr int
	if p.stdout, stdout, err = l.host.poller.outputPipe(l.account); err != nil {
		return err
	}
	defer func() { _ = syscall.Close(stdout) }()
	if p.stderr, stderr, err = l.host.poller.outputPipe(l.account); err != nil {
		return err
	}
	defer func() { _ = syscall.Close(stderr) }()
	l.host.keeper.hold(ctx, p.stdout, p.stderr)
	program := execSpec{
		argv: argv, env: p.env, dir: l.spec.WorkingDir, account: l.account, mark: p.mark, stdout: stdout, stderr: stderr,
		group: p.group, limits: l.spec.Limits, birth: l.birth,
	}
	main, err := l.host.exec(ctx, program)
	if errors.Is(err, errTrap) {
		if err = p.group.renew(p.incarnation); err == nil {
			main, err = l.host.exec(ctx, program)
		}
	}
	if err != nil {
		return err
	}
	p.main = main
	p.family = newFamily(l.host, main)
	l.record(main.pid, main.start, main.started)
	return nil
}

// undo gives back what a failed start has taken.
func (l *launch) undo(ctx context.Context) {
	p := l.proc
	if l.hooked {
		err := l.host.postStop(context.WithoutCancel(ctx), l.spec, p.env, "spawn_error", Exit{})
		l.host.warn(l.spec.Name, err, "post_stop ended badly")
	}
	p.closeFiles()
	l.host.dropGroup(p)
	l.host.warn(l.spec.Name, l.host.state.Delete(l.spec.Name), "process not forgotten")
}
