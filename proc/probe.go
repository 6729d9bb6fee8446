package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Prober checks one incarnation of a service.
type Prober interface {
	// Check makes one check within the timeout of its ProbeSpec: nil is good, an
	// *UnknownError says that it could not be carried out, any other error is bad.
	Check(ctx context.Context) error
	// Close ends what is kept between checks. No Check may run or follow.
	Close() error
}

// ProbeOptions are what a Prober takes from its incarnation.
type ProbeOptions struct {
	// Expand expands ${BLACKHOLE_…} in the target and the argument vector.
	Expand func(string) string
	// Exec runs a command of an exec probe inside the service's group and returns its output.
	Exec func(ctx context.Context, argv []string) (output string, err error)
	// Notify is the incarnation's socket, for a notify probe.
	Notify *NotifySocket
}

// UnknownError says that a check could not be carried out, by no fault of the service.
type UnknownError struct{ Err error }

func (e *UnknownError) Error() string { return "cannot check: " + e.Err.Error() }

// Unwrap returns the reason.
func (e *UnknownError) Unwrap() error { return e.Err }

// NewProber returns the prober of spec. That of a log probe is a *LogMatch, which
// needs to be shown the lines.
func NewProber(spec ProbeSpec, o ProbeOptions) (Prober, error) {
	expand := o.Expand
	if expand == nil {
		expand = func(s string) string { return s }
	}
	target := expand(spec.Target)
	var c checker
	var err error
	switch spec.Type {
	case ProbeNone:
		return noProbe{}, nil
	case ProbeLog:
		return NewLogMatch(target)
	case ProbeGRPC:
		c, err = newGRPCProbe(target)
	case ProbeTCP:
		c, err = newTCPProbe(target)
	case ProbeHTTP:
		c, err = newHTTPProbe(target)
	case ProbeExec:
		c, err = newExecProbe(spec.Argv, expand, o.Exec)
	case ProbeNotify:
		c, err = newNotifyProbe(o.Notify)
	default:
		err = fmt.Errorf("no such type of health check: %q", spec.Type)
	}
	if err != nil {
		return nil, err
	}
	return &timedProber{checker: c, timeout: spec.Timeout}, nil
}

// checker makes one check until ctx ends, and leaves the verdict on its error to
// timedProber.
type checker interface {
	check(ctx context.Context) error
	close() error
}

// timedProber bounds a checker's checks and tells our own trouble from the service's.
type timedProber struct {
	checker checker
	timeout time.Duration // 0: none
}

// Close implements Prober.
func (p *timedProber) Close() error { return p.checker.close() }

// Check implements Prober.
func (p *timedProber) Check(ctx context.Context) error {
	begin := time.Now()
	limited, cancel := ctx, context.CancelFunc(func() {})
	if p.timeout > 0 {
		limited, cancel = context.WithTimeout(ctx, p.timeout)
	}
	defer cancel()
	err := p.checker.check(limited)
	if err == nil {
		return nil
	}
	return p.judge(err, ctx.Err(), time.Since(begin), limited.Err() != nil)
}

// judge says what a check that failed after elapsed means. given is the error of the
// caller's context, over whether the timeout had passed.
func (p *timedProber) judge(err, given error, elapsed time.Duration, over bool) error {
	if _, ok := errors.AsType[*UnknownError](err); ok {
		return err
	}
	switch {
	case given != nil:
		return &UnknownError{given}
	case ours(err):
		return &UnknownError{err}
	case over && p.timeout > 0 && elapsed > p.timeout+min(p.timeout, lateAfter):
		return &UnknownError{fmt.Errorf("bhnode was late: %v instead of %v", elapsed.Round(time.Millisecond), p.timeout)}
	case over:
		return fmt.Errorf("no answer within %v: %w", p.timeout, err)
	}
	return err
}

// lateAfter is how far beyond its timeout a check ends only if bhnode did not run:
// it was stopped, or the machine was.
const lateAfter = time.Second

// ours reports whether err is a shortage on bhnode's side. A full backlog of the
// service's unix socket is EAGAIN too, but of its own making.
func ours(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOBUFS} {
		if errors.Is(err, e) {
			return true
		}
	}
	if !errors.Is(err, syscall.EAGAIN) {
		return false
	}
	call, ok := errors.AsType[*os.SyscallError](err)
	return !ok || call.Syscall != "connect"
}

// noProbe is the check of a service that has none.
type noProbe struct{}

// Check implements Prober.
func (noProbe) Check(context.Context) error { return nil }

// Close implements Prober.
func (noProbe) Close() error { return nil }

// execProbe is good when its command exits with 0.
type execProbe struct {
	argv []string
	run  func(ctx context.Context, argv []string) (string, error)
}

func newExecProbe(argv []string, expand func(string) string,
	run func(context.Context, []string) (string, error),
) (*execProbe, error) {
	if len(argv) == 0 || run == nil {
		return nil, errors.New("the exec check has no command")
	}
	p := &execProbe{run: run}
	for _, a := range argv {
		p.argv = append(p.argv, expand(a))
	}
	return p, nil
}

func (p *execProbe) check(ctx context.Context) error {
	output, err := p.run(ctx, p.argv)
	if err == nil {
		return nil
	}
	if last := lastLine(output); last != "" {
		return fmt.Errorf("%s: %w: %s", p.argv[0], err, last)
	}
	return fmt.Errorf("%s: %w", p.argv[0], err)
}

func (*execProbe) close() error { return nil }

// lastLineMax is how many bytes of a command's last line an error carries.
const lastLineMax = 200

// lastLine returns the last line of output that is not blank, cut to lastLineMax.
func lastLine(output string) string {
	output = strings.TrimRight(output, " \t\r\n")
	line := strings.TrimSpace(output[strings.LastIndexByte(output, '\n')+1:])
	if len(line) > lastLineMax {
		line = line[:lastLineMax] + "…"
	}
	return strings.ToValidUTF8(line, "\uFFFD")
}

// notifyProbe is good once the service sent READY=1.
type notifyProbe struct{ socket *NotifySocket }

func newNotifyProbe(socket *NotifySocket) (*notifyProbe, error) {
	if socket == nil {
		return nil, errors.New("the notify check has no socket")
	}
	return &notifyProbe{socket}, nil
}

func (p *notifyProbe) check(context.Context) error {
	select {
	case <-p.socket.Ready():
		return nil
	default:
	}
	if status := p.socket.Status(); status != "" {
		return fmt.Errorf("the service has not sent READY=1 yet: %s", status)
	}
	return errors.New("the service has not sent READY=1 yet")
}

func (*notifyProbe) close() error { return nil }
