package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The ends of orphans are gathered, so that a thousand at once are one walk. After a walk
// that found none, the ends of our own children, which the poller tells of, are not to wake
// anybody for a while.
const (
	reapDelay = 100 * time.Millisecond
	reapDeaf  = 500 * time.Millisecond
)

// lookAgain is when a child is looked at that the poller does not tell of.
const lookAgain = time.Second

var errNotServed = errors.New("no process can be started any more: bhnode ends")

// Serve reaps orphans and has processes forked until ctx ends. The caller must have locked
// its goroutine to the main thread, which makes those forks itself that are to die with bhnode:
// the kernel takes the end of the thread that forked for the death of the parent. It is
// called once.
func (h *Host) Serve(ctx context.Context) {
	defer h.endService()
	own, wait := h.forkers.start(ctx)
	defer wait()
	var reaper sync.WaitGroup
	defer reaper.Wait()
	reaper.Go(func() { h.reapOrphans(ctx) })
	var requests chan forkRequest
	if own != nil {
		requests = own.requests
	}
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-requests:
			own.serve(r)
		case s := <-h.heirs:
			s.reply <- h.become(s)
		}
	}
}

// endService has nothing forked any more.
func (h *Host) endService() {
	h.births.Lock()
	defer h.births.Unlock()
	close(h.served)
}

// reapOrphans reaps those that end, until ctx ends.
func (h *Host) reapOrphans(ctx context.Context) {
	ended := make(chan os.Signal, 1)
	defer signal.Stop(ended)
	due := time.After(0)
	h.deaf.Store(true)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ended:
			if due == nil {
				due = time.After(reapDelay)
			}
		case <-due:
			due = nil
			deaf := h.deaf.Load()
			if deaf {
				signal.Notify(ended, syscall.SIGCHLD) // before the look
			}
			deaf = !h.reap() && !deaf
			if deaf {
				signal.Stop(ended)
				due = time.After(reapDeaf)
			}
			h.deaf.Store(deaf)
		}
	}
}

// reap takes the status of every child that ended and is nobody's, and tells whether any child
// is nobody's. None may be born between the look and the wait.
func (h *Host) reap() (found bool) {
	h.births.Lock()
	defer h.births.Unlock()
	for _, pid := range h.strays() {
		h.mu.Lock() // see strays
		_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		h.mu.Unlock()
		found = true
	}
	return found
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
	adopted bool          // a bhnode before us forked it, so we may not be its parent
	exited  chan struct{} // closed when exit is valid
	exit    Exit
	after   []func() // to be called then; under the host's lock

	mu    sync.Mutex
	pidfd int // -1: none yet, or any more
}

// watch has a child that was just forked reaped when it ends.
func (c *child) watch() error {
	fd, err := unix.PidfdOpen(c.pid, 0)
	if err != nil {
		_ = syscall.Kill(c.pid, syscall.SIGKILL)
		_, _ = syscall.Wait4(c.pid, nil, 0, nil)
		c.forget()
		return fmt.Errorf("the kernel gives no pidfd: %w", err)
	}
	c.watchBy(fd)
	return nil
}

// watchBy takes over a pidfd, by which the child is woken once it has ended.
func (c *child) watchBy(fd int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pidfd = fd
	const events = unix.EPOLLIN | unix.EPOLLONESHOT
	if c.host.poller.add(fd, c, events) != nil { // the user watches too much: looked at instead
		c.lookLater()
	}
}

func (c *child) forget() {
	c.host.mu.Lock()
	defer c.host.mu.Unlock()
	delete(c.host.children, c.pid)
	delete(c.host.hooks, c)
}

// drop closes the pidfd.
func (c *child) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pidfd >= 0 {
		c.host.poller.remove(c.pidfd)
		_ = unix.Close(c.pidfd)
		c.pidfd = -1
	}
}

// wake is called by the poller, which has others to wake.
func (c *child) wake(uint32) {
	if c.adopted { // its status may have to be asked for
		c.host.waits.Go(c.end)
	} else {
		c.end()
	}
}

// lookLater looks whether it has ended where the poller does not tell.
func (c *child) lookLater() { time.AfterFunc(lookAgain, func() { c.host.waits.Go(c.end) }) }

// end takes the status of the child, which has ended.
func (c *child) end() {
	status, known, over := c.take()
	if !over {
		return
	}
	defer c.drop()
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

// take reaps the child; if it is not over after all, it is looked at again.
func (c *child) take() (status syscall.WaitStatus, known, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pidfd < 0 { // the host was closed
		return 0, false, false
	}
	c.host.mu.Lock() // what is registered was not reaped, so its pid is no other's
	defer c.host.mu.Unlock()
	pid, err := syscall.Wait4(c.pid, &status, syscall.WNOHANG, nil)
	if pid == 0 && err == nil || c.adopted && errors.Is(err, unix.ECHILD) && !hasExited(c.pidfd) {
		c.lookLater()
		return 0, false, false
	}
	delete(c.host.children, c.pid)
	delete(c.host.hooks, c)
	return status, err == nil, true
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

// isOver tells whether exit is valid.
func (c *child) isOver() bool {
	select {
	case <-c.exited:
		return true
	default:
		return false
	}
}

// ending returns how the child ended, nothing known while it has not.
func (c *child) ending() Exit {
	if c.isOver() {
		return c.exit
	}
	return Exit{}
}

// signal signals the child by its pidfd.
func (c *child) signal(sig syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pidfd < 0 { // it was reaped
		return ErrProcessDone
	}
	err := unix.PidfdSendSignal(c.pidfd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return ErrProcessDone
	}
	return os.NewSyscallError("pidfd_send_signal", err)
}
