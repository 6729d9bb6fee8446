package proc

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// heritage are the descriptors that the program before this one left open across its
// exec in place, so that nothing is lost in between.
type heritage struct {
	files map[identityOf]int // what is open, by device and inode
}

type identityOf struct{ device, inode uint64 }

// inherit takes them over: they are those that are not closed on exec.
func inherit() *heritage {
	h := &heritage{files: map[identityOf]int{}}
	names, err := readNames("/proc/self/fd")
	if err != nil {
		return h
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd < 3 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		var st unix.Stat_t
		if err != nil || flags&unix.FD_CLOEXEC != 0 || unix.Fstat(fd, &st) != nil {
			continue
		}
		syscall.CloseOnExec(fd)
		id := identityOf{st.Dev, st.Ino}
		if other, twice := h.files[id]; twice { // the null device, which stands for outputs that have ended
			_ = unix.Close(other)
		}
		h.files[id] = fd
	}
	return h
}

// take returns the descriptor of a file, which is the taker's then, -1 if there is none.
func (h *heritage) take(want func(fd int, st *unix.Stat_t) bool) int {
	if h == nil {
		return -1
	}
	for id, fd := range h.files {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && want(fd, &st) {
			delete(h.files, id)
			return fd
		}
	}
	return -1
}

func (h *heritage) takePipe(inode uint64) int {
	return h.take(func(_ int, st *unix.Stat_t) bool {
		return st.Ino == inode && st.Mode&unix.S_IFMT == unix.S_IFIFO
	})
}

// takeListener returns a socket that listens at a path, or at an address and port.
func (h *heritage) takeListener(where string) int {
	return h.take(func(fd int, st *unix.Stat_t) bool {
		if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
			return false
		}
		listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		at, nameErr := unix.Getsockname(fd)
		return err == nil && nameErr == nil && listens == 1 && nameOf(at) == where
	})
}

// nameOf writes an address as it is configured.
func nameOf(at unix.Sockaddr) string {
	switch sa := at.(type) {
	case *unix.SockaddrUnix:
		return sa.Name
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String() //nolint:gosec // a port
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String() //nolint:gosec // a port
	}
	return ""
}

// untaken are the descriptors that nobody has taken yet.
func (h *heritage) untaken() []int {
	if h == nil {
		return nil
	}
	return slices.Collect(maps.Values(h.files))
}

// close gives back what nobody took.
func (h *heritage) close() {
	if h == nil {
		return
	}
	for _, fd := range h.files {
		_ = unix.Close(fd)
	}
	h.files = nil
}

// succession asks the Serve loop to become another program.
type succession struct {
	path      string
	argv, env []string
	keep      []int // descriptors besides those of the host
	around    func(exec func() error) error
	reply     chan error
}

// Become has this process execute another program in its place: same pid, same children.
// Open stay the outputs of all services, the lock of the runtime directory, and what keep
// names; the other program finds them by OpenHost with Heir. It returns only with an
// error; then all is as it was. around is called when nothing is forked any more.
func (h *Host) Become(path string, argv, env []string, around func(exec func() error) error, keep ...int) error {
	s := succession{path: path, argv: argv, env: env, keep: keep, around: around, reply: make(chan error, 1)}
	select {
	case h.heirs <- s:
		return <-s.reply
	case <-h.served:
		return errNotServed
	}
}

// become runs in the Serve loop, on the main thread, which forks what is to die with bhnode:
// to the kernel the end of that thread would be the death of the parent.
func (h *Host) become(s succession) error {
	h.births.Lock()
	defer h.births.Unlock()
	var fds []int
	h.mu.Lock()
	for _, p := range h.services {
		if p == nil {
			continue
		}
		for _, o := range []*Output{p.stdout, p.stderr} {
			if o != nil {
				fds = append(fds, o.fd)
			}
		}
	}
	fds = append(append(append(fds, int(h.lock.Fd())), s.keep...), h.heritage.untaken()...)
	h.mu.Unlock()
	for _, fd := range fds {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0) // closed meanwhile: nobody needs it
	}
	err := s.around(func() error { return syscall.Exec(s.path, s.argv, s.env) })
	for _, fd := range fds {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC)
	}
	return &os.PathError{Op: "exec", Path: s.path, Err: err}
}

// Settled says that all that was left by the bhnode before this one was adopted or swept:
// what else it left may be reaped and closed.
func (h *Host) Settled() {
	h.mu.Lock()
	h.awaited = nil
	var outputs []*Output
	for _, p := range h.services {
		if p != nil && p.main.adopted {
			outputs = append(outputs, p.stdout, p.stderr)
		}
	}
	h.mu.Unlock()
	if len(outputs) > 0 {
		h.keeper.hold(context.Background(), outputs...)
	}
	h.heirloom.end()
	h.heritage.close()
}

// Listener returns the socket that the program before this one listened on at a path, or at
// an address and port, nil if there is none.
func (h *Host) Listener(where string) *os.File {
	fd := h.heritage.takeListener(where)
	if fd < 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), where)
}

// takeLock returns the lock that the program before this one holds.
func (h *Host) takeLock(path string) *os.File {
	var at unix.Stat_t
	if unix.Stat(path, &at) != nil {
		return nil
	}
	fd := h.heritage.take(func(_ int, st *unix.Stat_t) bool { return st.Dev == at.Dev && st.Ino == at.Ino })
	if fd < 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), path)
}

var errNoHeritage = errors.New("the lock of the runtime directory was not handed over")
