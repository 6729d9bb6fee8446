package proc

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller watches descriptors for those who wait for them: an epoll of its own, which the
// poller of Go watches. So an event is told by the thread that slept last, and no thread
// waits here alone.
type poller struct {
	epoll int
	file  *os.File // of it
	ended chan struct{}

	mu      sync.Mutex
	watched map[int32]watch
	last    int32 // number of a watch
}

// watch is that over one descriptor. Its number tells it from those before it over others that
// had the same one, of which there may be an event still.
type watch struct {
	by     waker
	number int32
}

// waker waits for a descriptor. It is told which events there are.
type waker interface{ wake(events uint32) }

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that Go watches it
		return nil, errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	p := &poller{epoll: fd, file: os.NewFile(uintptr(fd), "epoll"), ended: make(chan struct{}), watched: map[int32]watch{}}
	conn, err := p.file.SyscallConn()
	if err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // which tells whether Go can watch it
	}
	if err != nil {
		return nil, errors.Join(err, p.file.Close())
	}
	go p.run(conn)
	return p, nil
}

func (p *poller) control(op, fd int, events uint32, number int32) error {
	err := unix.EpollCtl(p.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd), Pad: number}) //nolint:gosec // a descriptor
	return os.NewSyscallError("epoll_ctl", err)
}

// watch wakes o once, when it can be read, or before long where the user watches too much. The
// lock of o is held.
func (p *poller) watch(o *Output) error {
	const events = unix.EPOLLIN | unix.EPOLLONESHOT
	if o.watched {
		p.mu.Lock()
		number := p.watched[int32(o.fd)].number //nolint:gosec // a descriptor
		p.mu.Unlock()
		return p.control(unix.EPOLL_CTL_MOD, o.fd, events, number)
	}
	err := p.add(o.fd, o, events)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM) {
		time.AfterFunc(lookAgain, func() { o.wake(0) })
		return nil
	}
	o.watched = err == nil
	return err
}

// add wakes w at events of fd, until remove.
func (p *poller) add(fd int, w waker, events uint32) error {
	p.mu.Lock()
	p.last++
	number := p.last
	p.watched[int32(fd)] = watch{w, number} //nolint:gosec // a descriptor
	p.mu.Unlock()
	err := p.control(unix.EPOLL_CTL_ADD, fd, events, number)
	if err != nil {
		p.mu.Lock()
		delete(p.watched, int32(fd)) //nolint:gosec // a descriptor
		p.mu.Unlock()
	}
	return err
}

// remove ends what add began, before fd is closed.
func (p *poller) remove(fd int) {
	p.mu.Lock()
	delete(p.watched, int32(fd)) //nolint:gosec // a descriptor
	p.mu.Unlock()
	_ = p.control(unix.EPOLL_CTL_DEL, fd, 0, 0) // its end does the same
}

// forget ends the watch over o. Its lock is held.
func (p *poller) forget(o *Output) {
	if o.watched {
		o.watched = false
		p.remove(o.fd)
	}
}

func (p *poller) run(conn syscall.RawConn) {
	defer close(p.ended)
	events := make([]unix.EpollEvent, 128)
	for {
		n := 0
		err := conn.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events, 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for _, e := range events[:n] {
			p.mu.Lock()
			w := p.watched[e.Fd]
			p.mu.Unlock()
			if w.by != nil && w.number == e.Pad { // else it was closed meanwhile
				w.by.wake(e.Events)
			}
		}
	}
}

// stop returns when nobody is woken any more.
func (p *poller) stop() error {
	err := p.file.SetReadDeadline(time.Unix(1, 0))
	<-p.ended
	return err
}

// close gives all back. No output may be read after it.
func (p *poller) close() error { return errors.Join(p.stop(), p.file.Close()) }
