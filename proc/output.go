package proc

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Output is the read end of one output stream, for one reader. It is an os.File but
// for the poller: that of Go is woken by every write into a pipe whose reader pauses,
// which costs as much as not to pause. Here nobody is woken who does not wait.
type Output struct {
	poller *poller
	ready  chan struct{}                    // readable, or there is something new to see
	first  atomic.Pointer[func(ended bool)] // called then, once, instead of whoever waits
	pipe   uint64                           // its inode; 0: it is none

	mu       sync.Mutex
	fd       int
	watched  bool // known to the poller
	inARow   int  // reads that found something, since the last that did not
	closed   bool
	deadline time.Time
	alarm    *time.Timer
}

// newOutput takes over fd, which must not block.
func newOutput(p *poller, fd int) *Output {
	o := &Output{poller: p, fd: fd, ready: make(chan struct{}, 1)}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFIFO {
		o.pipe = st.Ino
	}
	return o
}

// Read reads what is there, or waits for it: until the end, a deadline, or Close.
func (o *Output) Read(b []byte) (int, error) { return o.readWithin(b, 0) }

// readWithin is Read that gives up with errQuiet once nothing has come for so long; 0: never.
func (o *Output) readWithin(b []byte, patience time.Duration) (int, error) {
	for {
		n, err := o.try(b)
		if !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
		if err := o.awaitReady(patience); err != nil {
			return 0, err
		}
	}
}

// errQuiet says that nothing has come for as long as was waited for it.
var errQuiet = errors.New("nothing more was written")

// awaitReady returns when something may have changed, or with errQuiet.
func (o *Output) awaitReady(patience time.Duration) error {
	if patience == 0 {
		<-o.ready
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-o.ready:
		return nil
	case <-timer.C:
		return errQuiet
	}
}

// try reads or, with EAGAIN, has the poller watch for more.
func (o *Output) try(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0, os.ErrClosed
	}
	if !o.deadline.IsZero() && !time.Now().Before(o.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := unix.Read(o.fd, b)
	switch {
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		o.inARow = 0
		if err := o.poller.watch(o); err != nil {
			return 0, err
		}
		return 0, unix.EAGAIN
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	if o.inARow++; o.inARow == busy {
		o.poller.forget(o)
	}
	return n, nil
}

// busy is how many reads in a row must find something until the poller forgets a pipe, so that
// its writes have nobody to look for: though disarmed, an entry of epoll(7) costs each of them.
const busy = 4

// SetReadDeadline makes Read fail from t on with os.ErrDeadlineExceeded, one that
// waits too; the zero time means never.
func (o *Output) SetReadDeadline(t time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return os.ErrClosed
	}
	if o.alarm != nil {
		o.alarm.Stop()
	}
	o.deadline = t
	if !t.IsZero() {
		o.alarm = time.AfterFunc(time.Until(t), func() { o.wake(0) })
	}
	return nil
}

// Close gives the descriptor back and ends a Read.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return os.ErrClosed
	}
	o.closed = true
	if o.alarm != nil {
		o.alarm.Stop()
	}
	o.poller.forget(o)
	o.wake(0)
	return os.NewSyscallError("close", unix.Close(o.fd))
}

// there is how many bytes can be read at once.
func (o *Output) there() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0
	}
	n, err := unix.IoctlGetInt(o.fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// await returns when there is something to read; false: it has ended without, or a deadline
// or Close has ended it.
func (o *Output) await() bool {
	for {
		o.mu.Lock()
		p := []unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor
		over := o.closed || !o.deadline.IsZero() && !time.Now().Before(o.deadline)
		if !over {
			n, err := unix.Poll(p, 0)
			over = n > 0 || err != nil && !errors.Is(err, unix.EINTR) || o.poller.watch(o) != nil
		}
		o.mu.Unlock()
		if over {
			return p[0].Revents&unix.POLLIN != 0
		}
		<-o.ready
	}
}

// inode tells its pipe from others; 0 if there is none.
func (o *Output) inode() uint64 {
	if o == nil {
		return 0
	}
	return o.pipe
}

// onFirst has f called once there is something to read, or a deadline or Close has ended that;
// with ended if all have closed the pipe without a word. f must not wait.
func (o *Output) onFirst(f func(ended bool)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.first.Store(&f)
	if o.closed || o.poller.watch(o) != nil {
		o.wake(0)
	}
}

func (o *Output) wake(events uint32) {
	if f := o.first.Swap(nil); f != nil {
		(*f)(events&unix.EPOLLHUP != 0 && events&unix.EPOLLIN == 0)
	}
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// pipeSize absorbs pauses of the reader; more gains nothing.
const pipeSize = 256 << 10

// outputPipe makes the pipe of one output stream. The write end, a bare descriptor, is
// opened for reading too: so the service outlives bhnode without SIGPIPE, its output
// waits in the pipe, and the next bhnode can open it anew.
func (p *poller) outputPipe(a account) (r *Output, w int, err error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return nil, -1, os.NewSyscallError("pipe2", err)
	}
	defer func() { _ = syscall.Close(fds[1]) }()
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // a smaller one only costs more wake-ups
	if a.cred != nil {                                                 // its user may then open /dev/stdout
		err = syscall.Fchown(fds[1], a.uid, a.gid)
	}
	if err == nil {
		w, err = syscall.Open("/proc/self/fd/"+strconv.Itoa(fds[1]), syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	}
	if err != nil {
		_ = syscall.Close(fds[0])
		return nil, -1, fmt.Errorf("cannot make an output pipe: %w", err)
	}
	return newOutput(p, fds[0]), w, nil
}
