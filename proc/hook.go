package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	hookOutput = 64 << 10               // what is kept of the end of a hook's output
	hookDrain  = 500 * time.Millisecond // for output that waits in the pipe when all is gone
	hookGone   = 10 * time.Second       // for the kernel to let die what was killed
)

// HookError says that a hook or an exec probe ran and ended badly.
type HookError struct {
	Command string
	Exit    Exit
	Err     error  // context.DeadlineExceeded or context.Canceled where it was killed for that
	Output  string // the last line it wrote
}

func (e *HookError) Error() string {
	what := e.Exit.String()
	if errors.Is(e.Err, context.DeadlineExceeded) {
		what = "not over in time"
	} else if e.Err != nil {
		what = e.Err.Error()
	}
	if e.Output == "" {
		return e.Command + ": " + what
	}
	return e.Command + ": " + what + ": " + e.Output
}

// Unwrap returns why it was killed, nil if it ended by itself.
func (e *HookError) Unwrap() error { return e.Err }

// RunHook runs one command for a service: as its user, in a session of its own, in the
// environment env, in which ${BLACKHOLE_…} of argv is looked up. It returns when the
// command and everything it started is gone, killed at its timeout (0: none but that of
// ctx) or when it ends. output is the end of what it wrote to both streams. The error
// is a *HookError once the command has run.
func (h *Host) RunHook(
	ctx context.Context, s *ServiceSpec, env, argv []string, timeout time.Duration,
) (output string, err error) {
	return h.runHook(ctx, s, env, argv, timeout, h.hookMark(env, ""))
}

func (h *Host) runHook(
	ctx context.Context, s *ServiceSpec, env, argv []string, timeout time.Duration, mark identity,
) (output string, err error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	acct, err := findAccount(s.User, s.Group)
	if err != nil {
		return "", err
	}
	within, err := h.groupOf(s.Name).hook(mark)
	if err != nil {
		return "", err
	}
	defer func() { h.warn(s.Name, within.remove(), "group of a hook not removed") }()
	b, err := h.birthOf(s)
	if err != nil {
		return "", err
	}
	r, w, err := h.poller.outputPipe(acct)
	if err != nil {
		return "", err
	}
	defer func() { _ = r.Close() }()
	e := execSpec{argv: expandAll(env, argv), dir: s.WorkingDir, account: acct, stdout: w, stderr: w, group: within, limits: s.Limits, birth: b}
	e.mark, e.env = mark, slices.Concat(env, []string{envHook + "=" + mark.hook})
	c, err := h.exec(ctx, e)
	_ = syscall.Close(w)
	if err != nil {
		return "", err
	}
	tail := make(chan string, 1)
	go func() { tail <- readTail(r) }()
	ended := newFamily(h, c).see(ctx)
	_ = r.SetReadDeadline(time.Now().Add(hookDrain))
	output = <-tail
	exit := c.ending()
	if ended == nil && exit.Known && exit.Code == 0 {
		return output, nil
	}
	return output, &HookError{Command: strings.Join(argv, " "), Exit: exit, Err: ended, Output: lastLine(output)}
}

// hookMark tells the processes of one hook from all others of the incarnation.
func (h *Host) hookMark(env []string, kind string) identity {
	id, _ := getenv(env, envID)
	return identity{id: id, instance: h.instance, hook: kind + strconv.FormatUint(h.hookNo.Add(1), 10)}
}

// afterwards begins the mark of a post_stop hook.
const afterwards = "post-"

// outlives says of a process that carries it that it is a post_stop hook's: it runs when
// the incarnation is gone, and what is still to be done to that is no concern of it.
func (i identity) outlives() bool { return strings.HasPrefix(i.hook, afterwards) }

// see waits for the leader until ctx ends, whose error it then returns, and kills all that is left.
func (f *family) see(ctx context.Context) (err error) {
	select {
	case <-f.leader.exited:
	case <-ctx.Done():
		err = ctx.Err()
	}
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), hookGone)
	defer cancel()
	if killErr := f.kill(); killErr != nil {
		err = errors.Join(err, killErr)
	}
	if gone := f.awaitGone(bound); gone != nil {
		err = errors.Join(err, fmt.Errorf("still alive %v after SIGKILL", hookGone))
	}
	return err
}

// readTail reads to the end, or the deadline, and returns the last of it.
func readTail(r io.Reader) string {
	var kept []byte
	block := make([]byte, 4<<10)
	for {
		n, err := r.Read(block)
		kept = append(kept, block[:n]...)
		if over := len(kept) - hookOutput; over > hookOutput {
			kept = append(kept[:0], kept[over:]...)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
			return string(kept) + "\n" + err.Error()
		}
		return string(bytes.ToValidUTF8(kept[max(0, len(kept)-hookOutput):], []byte("\uFFFD")))
	}
}
