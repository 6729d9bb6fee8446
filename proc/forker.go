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
	"sync/atomic"
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

// forkers make the processes of a host once there are many, one for each processor, up to
// mostForkers: a fork waits until its child has become the program.
type forkers struct {
	host    *Host
	all     []*forker
	idle    chan *forker
	started atomic.Bool
}

const (
	mostForkers = 4
	// fewChildren have so few descriptors that to copy them takes less than to change threads.
	fewChildren = 24
)

func newForkers(h *Host) (*forkers, error) {
	n := min(runtime.GOMAXPROCS(0), mostForkers)
	if h.opts.KillOnDeath {
		n = 1 // the main thread
	}
	all := &forkers{host: h, idle: make(chan *forker, n)}
	for range n {
		f, err := newForker(h)
		if err != nil {
			all.close()
			return nil, err
		}
		all.all = append(all.all, f)
	}
	return all, nil
}

// start has each fork on a thread of its own until ctx ends. It returns one that the caller has
// to do that for, nil if there is none, and what waits for the threads to end.
func (all *forkers) start(ctx context.Context) (own *forker, wait func()) {
	var threads []<-chan struct{}
	for _, f := range all.all {
		if all.host.opts.KillOnDeath {
			own = f
			break
		}
		over, err := f.start(ctx)
		if err != nil { // what the others were not given they will not be given either
			own = f
			break
		}
		threads = append(threads, over)
		all.idle <- f
	}
	if own != nil {
		all.idle <- own
	}
	all.started.Store(true)
	return own, func() {
		for _, over := range threads {
			<-over
		}
	}
}

// direct tells whether whoever asks may as well fork.
func (all *forkers) direct() bool {
	h := all.host
	if h.opts.KillOnDeath || !all.started.Load() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.children) < fewChildren
}

func (all *forkers) close() {
	for _, f := range all.all {
		closeAll(f.socket[:])
	}
}

// ask has a process forked, and watched.
func (all *forkers) ask(ctx context.Context, r forkRequest) (*child, error) {
	c, err := all.fork(ctx, r)
	if err != nil {
		return nil, err
	}
	return c, c.watch()
}

func (all *forkers) fork(ctx context.Context, r forkRequest) (*child, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if all.direct() {
		return all.host.fork(r)
	}
	select {
	case f := <-all.idle:
		defer func() { all.idle <- f }()
		return f.ask(r)
	case <-all.host.served:
		return nil, errNotServed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// forker forks for one at a time. A fork copies the descriptors of its thread and an exec
// closes them one by one, which at a thousand services takes longer than all else of a start;
// so it has a thread with a table of its own (close_range(2), CLOSE_RANGE_UNSHARE) that holds
// next to nothing. What a child is to have reaches it by a socket (unix(7), SCM_RIGHTS).
type forker struct {
	host     *Host
	requests chan forkRequest
	socket   [2]int // in both tables under the same numbers
}

func newForker(h *Host) (*forker, error) {
	f := &forker{host: h, requests: make(chan forkRequest)}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	f.socket = pair
	return f, nil
}

// ask hands a request over and waits for the answer.
func (f *forker) ask(r forkRequest) (*child, error) {
	r.reply = make(chan forkReply, 1)
	err := unix.Sendmsg(f.socket[0], []byte{0}, unix.UnixRights(r.descriptors()...), nil, unix.MSG_NOSIGNAL)
	if err != nil {
		return nil, fmt.Errorf("cannot hand descriptors to the thread that forks: %w", err)
	}
	select {
	case f.requests <- r:
	case <-f.host.served: // what was sent is lost with the socket
		return nil, errNotServed
	}
	reply := <-r.reply
	return reply.child, reply.err
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

// fork forks with what was handed over.
func (f *forker) fork(r forkRequest) (*child, error) {
	fds, err := f.receive(len(r.descriptors()))
	if err != nil {
		return nil, err
	}
	defer closeAll(fds)
	r.rename(fds)
	return f.host.fork(r)
}

// fork forks on this thread. Between that and the entry into children nobody may take the
// process for an orphan and reap it.
func (h *Host) fork(r forkRequest) (*child, error) {
	h.births.RLock()
	defer h.births.RUnlock()
	select {
	case <-h.served: // nobody would see to it
		return nil, errNotServed
	default:
	}
	before := ticksSinceBoot()
	pid, err := h.forkAsOurs(r)
	if err != nil {
		return nil, err
	}
	if r.group.sprung(pid) {
		return nil, errTrap
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
