package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reapDelay gathers the ends of orphans, so that a thousand at once are one walk.
const reapDelay = 100 * time.Millisecond

var errNotServed = errors.New("no process can be started any more: bhnode ends")

// forkRequest asks the Serve loop for one process.
type forkRequest struct {
	path  string
	argv  []string
	attr  *syscall.ProcAttr
	mark  identity
	group *group
	reply chan forkReply
}

type forkReply struct {
	child *child
	err   error
}

// Serve makes every fork and reaps orphans until ctx ends. The caller must have locked
// its goroutine to the main thread: the kernel takes the end of the thread that forked
// for the death of the parent. It is called once.
func (h *Host) Serve(ctx context.Context) {
	defer close(h.served)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	due := time.After(0)
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-h.forks:
			c, err := h.fork(r)
			r.reply <- forkReply{c, err}
		case s := <-h.heirs:
			s.reply <- h.become(s)
		case <-ended:
			if due == nil {
				due = time.After(reapDelay)
			}
		case <-due:
			due = nil
			h.reap()
		}
	}
}

// spawn has a process forked by the Serve loop.
func (h *Host) spawn(ctx context.Context, r forkRequest) (*child, error) {
	r.reply = make(chan forkReply, 1)
	select {
	case h.forks <- r:
	case <-h.served:
		return nil, errNotServed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	reply := <-r.reply
	return reply.child, reply.err
}

// fork runs in the Serve loop: between the fork and the entry into children no other
// goroutine may take the process for an orphan and reap it.
func (h *Host) fork(r forkRequest) (*child, error) {
	fd := -1
	r.attr.Sys.PidFD = &fd
	pid, err := syscall.ForkExec(r.path, r.argv, r.attr)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if fd < 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return nil, fmt.Errorf("the kernel gives no pidfd: %w", errors.ErrUnsupported)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // has the poller wait for it
		_ = syscall.Kill(pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	st, err := readStat(pid)
	if err != nil {
		st.start = 0 // known by its pidfd all the same
	}
	c := &child{
		host: h, pid: pid, start: st.start, mark: r.mark, group: r.group, started: now,
		pidfd: os.NewFile(uintptr(fd), "pidfd"), exited: make(chan struct{}),
	}
	h.mu.Lock()
	h.children[pid] = c
	if r.mark.hook != "" {
		h.hooks[c] = struct{}{}
	}
	h.mu.Unlock()
	h.waits.Go(c.wait)
	return c, nil
}

// reap takes the status of every child that ended and is nobody's. It runs in the
// Serve loop, so no registered child can appear between the look and the wait.
func (h *Host) reap() {
	for _, pid := range h.strays() {
		h.mu.Lock() // see strays
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		h.mu.Unlock()
	}
}

func (h *Host) registered(pid int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.children[pid] != nil
}

// child is one process that bhnode forked itself: a main process, a hook or an exec probe.
type child struct {
	host    *Host
	pid     int
	start   uint64 // clock ticks since boot
	mark    identity
	group   *group // nil: none
	started time.Time
	pidfd   *os.File
	adopted bool          // a bhnode before us forked it, so we may not be its parent
	exited  chan struct{} // closed when exit is valid
	exit    Exit
	after   []func() // to be called then; under the host's lock
}

// wait reaps the child when it ends, waiting in the poller. Closing the pidfd ends the wait.
func (c *child) wait() {
	defer func() { _ = c.pidfd.Close() }()
	raw, err := c.pidfd.SyscallConn()
	if err != nil {
		return
	}
	var status syscall.WaitStatus
	known := false
	err = raw.Read(func(fd uintptr) bool {
		c.host.mu.Lock() // what is registered was not reaped, so its pid is no other's
		defer c.host.mu.Unlock()
		pid, err := syscall.Wait4(c.pid, &status, syscall.WNOHANG, nil)
		if pid == 0 && err == nil || c.adopted && errors.Is(err, unix.ECHILD) && !hasExited(int(fd)) {
			return false
		}
		known = err == nil
		delete(c.host.children, c.pid)
		delete(c.host.hooks, c)
		return true
	})
	if err != nil {
		return
	}
	c.exit = Exit{At: time.Now()}
	if !known && c.adopted {
		status, known = c.askStatus()
	}
	if known {
		c.exit = c.group.judge(exitOf(status, c.exit.At))
	}
	close(c.exited)
	c.host.mu.Lock()
	after := c.after
	c.after = nil
	c.host.mu.Unlock()
	for _, f := range after {
		f()
	}
}

// onExit has f called when the child has ended.
func (c *child) onExit(f func()) {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	select {
	case <-c.exited:
		go f()
	default:
		c.after = append(c.after, f)
	}
}

// end returns how the child ended, nothing known while it has not.
func (c *child) end() Exit {
	select {
	case <-c.exited:
		return c.exit
	default:
		return Exit{}
	}
}

// signal signals the child by its pidfd.
func (c *child) signal(sig syscall.Signal) error {
	raw, err := c.pidfd.SyscallConn()
	if err != nil {
		return ErrProcessDone
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return ErrProcessDone // closed: it was reaped
	}
	if errors.Is(sent, unix.ESRCH) {
		return ErrProcessDone
	}
	return os.NewSyscallError("pidfd_send_signal", sent)
}
