package proc

import (
	"encoding/binary"
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
	ready  chan struct{}          // readable, or there is something new to see
	first  atomic.Pointer[func()] // called then, once, instead of whoever waits
	pipe   uint64                 // its inode; 0: it is none

	mu       sync.Mutex
	fd       int
	watched  bool // known to the poller
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
func (o *Output) Read(b []byte) (int, error) {
	for {
		n, err := o.try(b)
		if !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
		<-o.ready
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
		if err := o.poller.watch(o); err != nil {
			return 0, err
		}
		return 0, unix.EAGAIN
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

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
		o.alarm = time.AfterFunc(time.Until(t), o.wake)
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
	o.wake()
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

// onFirst has f called once there is something to read, or a deadline or Close has ended that.
// f must not wait.
func (o *Output) onFirst(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.first.Store(&f)
	if o.closed || o.poller.watch(o) != nil {
		o.wake()
	}
}

func (o *Output) wake() {
	if f := o.first.Swap(nil); f != nil {
		(*f)()
	}
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// poller watches descriptors for those who wait for them, on one thread.
type poller struct {
	epoll int
	end   int // an eventfd
	ended chan struct{}

	mu      sync.Mutex
	watched map[int32]waker
}

// waker waits for a descriptor.
type waker interface{ wake() }

func newPoller() (*poller, error) {
	p := &poller{ended: make(chan struct{}), watched: map[int32]waker{}}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if p.end, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, errors.Join(os.NewSyscallError("eventfd", err), unix.Close(p.epoll))
	}
	if err := p.control(unix.EPOLL_CTL_ADD, p.end, unix.EPOLLIN); err != nil {
		return nil, errors.Join(err, unix.Close(p.end), unix.Close(p.epoll))
	}
	go p.run()
	return p, nil
}

func (p *poller) control(op, fd int, events uint32) error {
	err := unix.EpollCtl(p.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}) //nolint:gosec // a descriptor
	return os.NewSyscallError("epoll_ctl", err)
}

// watch wakes o once, when it can be read. Its lock is held.
func (p *poller) watch(o *Output) error {
	const events = unix.EPOLLIN | unix.EPOLLONESHOT
	if o.watched {
		return p.control(unix.EPOLL_CTL_MOD, o.fd, events)
	}
	o.watched = true
	return p.add(o.fd, o, events)
}

// add wakes w at events of fd, until remove.
func (p *poller) add(fd int, w waker, events uint32) error {
	p.mu.Lock()
	p.watched[int32(fd)] = w //nolint:gosec // a descriptor
	p.mu.Unlock()
	return p.control(unix.EPOLL_CTL_ADD, fd, events)
}

// remove ends what add began, before fd is closed.
func (p *poller) remove(fd int) {
	p.mu.Lock()
	delete(p.watched, int32(fd)) //nolint:gosec // a descriptor
	p.mu.Unlock()
	_ = p.control(unix.EPOLL_CTL_DEL, fd, 0) // its end does the same
}

// forget ends the watch over o. Its lock is held.
func (p *poller) forget(o *Output) {
	if o.watched {
		p.remove(o.fd)
	}
}

func (p *poller) run() {
	defer close(p.ended)
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(p.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == p.end {
				return
			}
			p.mu.Lock()
			w := p.watched[e.Fd] // nil: closed meanwhile; another of that number looks in vain
			p.mu.Unlock()
			if w != nil {
				w.wake()
			}
		}
	}
}

// stop ends the thread: nobody is woken any more.
func (p *poller) stop() error {
	_, err := unix.Write(p.end, binary.NativeEndian.AppendUint64(nil, 1))
	<-p.ended
	return os.NewSyscallError("write", err)
}

// close ends the thread and gives all back. No output may be read after it.
func (p *poller) close() error {
	return errors.Join(p.stop(), unix.Close(p.end), unix.Close(p.epoll))
}

// pipeSize absorbs pauses of the reader; more gains nothing.
const pipeSize = 256 << 10

// outputPipe makes the pipe of one output stream. The write end, a bare descriptor, is
// opened for reading too: so the service outlives bhnode without SIGPIPE, its output
// waits in the pipe, and the next bhnode can open it anew.
func (p *poller) outputPipe(a account) (r *Output, w int, err error) {
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC); err != nil {
		return nil, -1, os.NewSyscallError("pipe2", err)
	}
	defer func() { _ = syscall.Close(fds[1]) }()
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // a smaller one only costs more wake-ups
	err = syscall.SetNonblock(fds[0], true)
	if err == nil && a.cred != nil { // its user may then open /dev/stdout
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
