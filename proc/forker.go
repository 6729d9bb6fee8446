package proc

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// forkRequest asks for one process.
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

// descriptors are those that the child gets, and after them the group that it is born into.
func (r *forkRequest) descriptors() []int {
	var fds []int
	for _, fd := range r.attr.Files {
		fds = append(fds, int(fd))
	}
	if r.attr.Sys.UseCgroupFD {
		fds = append(fds, r.attr.Sys.CgroupFD)
	}
	return fds
}

// rename puts other numbers of the same descriptors in their place.
func (r *forkRequest) rename(fds []int) {
	for i := range r.attr.Files {
		r.attr.Files[i] = uintptr(fds[i])
	}
	if r.attr.Sys.UseCgroupFD {
		r.attr.Sys.CgroupFD = fds[len(fds)-1]
	}
}

// forker makes the processes of a host. A fork copies the descriptors of its thread and an
// exec closes them one by one, which at a thousand services takes longer than all else of a
// start; so it has a thread with a table of its own (close_range(2), CLOSE_RANGE_UNSHARE) that
// holds next to nothing. What a child is to have reaches it by a socket (unix(7), SCM_RIGHTS).
type forker struct {
	host     *Host
	requests chan forkRequest
	turn     chan struct{} // of who has sent descriptors and not yet the request
	socket   [2]int        // in both tables under the same numbers
}

func newForker(h *Host) (*forker, error) {
	f := &forker{host: h, requests: make(chan forkRequest), turn: make(chan struct{}, 1)}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	f.socket = pair
	return f, nil
}

func (f *forker) close() { closeAll(f.socket[:]) }

// ask has a process forked.
func (f *forker) ask(ctx context.Context, r forkRequest) (*child, error) {
	r.reply = make(chan forkReply, 1)
	select {
	case f.turn <- struct{}{}:
	case <-f.host.served:
		return nil, errNotServed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	err := f.hand(ctx, r)
	<-f.turn
	if err != nil {
		return nil, err
	}
	reply := <-r.reply
	if reply.err != nil {
		return nil, reply.err
	}
	return reply.child, reply.child.watch()
}

// hand hands a request over.
func (f *forker) hand(ctx context.Context, r forkRequest) error {
	fds := r.descriptors()
	if err := unix.Sendmsg(f.socket[0], []byte{0}, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
		return fmt.Errorf("cannot hand descriptors to the thread that forks: %w", err)
	}
	var err error
	select {
	case f.requests <- r:
		return nil
	case <-f.host.served:
		err = errNotServed
	case <-ctx.Done():
		err = ctx.Err()
	}
	back, receiveErr := f.receive(len(fds))
	closeAll(back)
	return errors.Join(err, receiveErr)
}

// receive takes over what ask has sent.
func (f *forker) receive(n int) ([]int, error) {
	text, control := make([]byte, 1), make([]byte, unix.CmsgSpace(n*4))
	_, m, _, _, err := unix.Recvmsg(f.socket[1], text, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:m])
	if err != nil || len(messages) == 0 {
		return nil, errors.Join(err, unix.ENOMSG)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err == nil && len(fds) != n { // there was no room for more
		closeAll(fds)
		err = unix.EMFILE
	}
	return fds, err
}

// run forks until ctx ends. The caller has locked its goroutine to its thread.
func (f *forker) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-f.requests:
			f.serve(r)
		}
	}
}

func (f *forker) serve(r forkRequest) {
	c, err := f.fork(r)
	r.reply <- forkReply{c, err}
}

// fork forks. Between that and the entry into children nobody may take the process for an
// orphan and reap it.
func (f *forker) fork(r forkRequest) (*child, error) {
	fds, err := f.receive(len(r.descriptors()))
	if err != nil {
		return nil, err
	}
	defer closeAll(fds)
	r.rename(fds)
	h := f.host
	h.births.Lock()
	defer h.births.Unlock()
	before := ticksSinceBoot()
	pid, err := syscall.ForkExec(r.path, r.argv, r.attr)
	if err != nil {
		return nil, err
	}
	c := &child{
		host: h, pid: pid, pidfd: -1, mark: r.mark, group: r.group, started: time.Now(), exited: make(chan struct{}),
	}
	if ticksSinceBoot() == before { // mostly, and then /proc need not be asked
		c.start = before
	} else if st, err := readStat(pid); err == nil { // else known by its pidfd all the same
		c.start = st.start
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.children[pid] = c
	if r.mark.hook != "" {
		h.hooks[c] = struct{}{}
	}
	return c, nil
}

// ticksSinceBoot is what /proc/PID/stat would call the start of a process that is forked now;
// 0: not known.
func ticksSinceBoot() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return 0
	}
	return uint64(time.Duration(now.Nano()) / clockTick) //nolint:gosec // not negative
}

// start runs it on a thread of its own until ctx ends; it returns when that is ready. The
// error is why there is none.
func (f *forker) start(ctx context.Context) (ended <-chan struct{}, err error) {
	over, ready := make(chan struct{}), make(chan error)
	onAnotherThread(func() {
		defer close(over)
		err := f.standAlone()
		ready <- err
		if err == nil {
			f.run(ctx)
		}
	})
	return over, <-ready
}

// onAnotherThread runs work on a thread that ends with it, and that is not the main one: what
// that has open is what everybody finds in /proc/self.
func onAnotherThread(work func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			work()
			return
		}
		locked := make(chan struct{})
		go func() { // which cannot be here, as here is taken
			runtime.LockOSThread()
			close(locked)
			work()
		}()
		<-locked
		runtime.UnlockOSThread()
	}()
}

// standAlone gives this thread a table of descriptors of its own, with the sockets, the
// standard ones, and those by which Go's scheduler waits and wakes, which may run anywhere.
func (f *forker) standAlone() error {
	keep := []int{0, 1, 2, f.socket[0], f.socket[1]}
	names, err := readNames("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, name := range names {
		to, err := os.Readlink("/proc/self/fd/" + name)
		fd, numberErr := strconv.Atoi(name)
		if err == nil && numberErr == nil && (to == "anon_inode:[eventpoll]" || to == "anon_inode:[eventfd]") {
			keep = append(keep, fd)
		}
	}
	slices.Sort(keep)
	last := keep[len(keep)-1]
	if err := unix.CloseRange(uint(last+1), math.MaxUint32, unix.CLOSE_RANGE_UNSHARE); err != nil {
		return os.NewSyscallError("close_range", err)
	}
	for i := range keep[1:] {
		if from, to := keep[i]+1, keep[i+1]-1; from <= to {
			_ = unix.CloseRange(uint(from), uint(to), 0)
		}
	}
	return nil
}
