package proc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/proc/shim"
)

// entry is how a process comes into a group.
type entry struct {
	born  string   // the directory it is born into, "": bhnode's own
	joins []string // those that the shim joins as its last act
}

// entry prefers to have a process born into the leaf, which the kernel does in passing; to
// move a process with all its threads it may wait for ten milliseconds. The shim itself
// does not fit into a leaf whose limits are narrow.
func (g *group) entry(shimmed bool, l Limits) entry {
	if g == nil {
		return entry{}
	}
	others := slices.DeleteFunc(slices.Clone(g.enter), func(dir string) bool { return dir == g.leaf })
	_, unified := g.counts[""]
	if g.leaf == "" || g.frozen || unified && shimmed && l.narrow() {
		return entry{joins: g.enter}
	}
	return entry{born: g.leaf, joins: others}
}

// What the shim needs itself, with room to spare.
const (
	shimThreads = 16
	shimMemory  = 32 // MiB
)

// narrow tells whether the shim may not fit into limits.
func (l Limits) narrow() bool {
	return l.Processes > 0 && l.Processes < shimThreads || l.MemoryMB > 0 && l.MemoryMB < shimMemory
}

// bornInto has a process born into a directory. The descriptor that it returns is to be
// closed after that, -1: there is none.
func bornInto(attr *syscall.ProcAttr, dir string) (fd int, err error) {
	if dir == "" {
		return -1, nil
	}
	fd, err = openGroup(dir)
	attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = err == nil, fd
	return fd, err
}

// execPlain has the program forked and run at once.
func (h *Host) execPlain(ctx context.Context, path, born string, e execSpec) (*child, error) {
	attr := h.attr(e)
	attr.Dir, attr.Sys.Credential = e.dir, e.account.cred
	leaf, err := bornInto(attr, born)
	if err != nil {
		return nil, err
	}
	defer closeAll([]int{leaf})
	c, err := h.forkers.ask(ctx, forkRequest{path: path, argv: e.argv, attr: attr, mark: e.mark, group: e.group})
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return nil, execError(path, errno)
	}
	return c, err
}

func (h *Host) attr(e execSpec) *syscall.ProcAttr {
	attr := &syscall.ProcAttr{
		Env:   e.env,
		Files: []uintptr{h.null.Fd(), uintptr(e.stdout), uintptr(e.stderr)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	if h.opts.KillOnDeath {
		attr.Sys.Pdeathsig = syscall.SIGKILL
	}
	return attr
}

// execShim has this program forked, which then becomes the other: it joins groups last, as
// it would not fit into a narrow one itself.
func (h *Host) execShim(ctx context.Context, path string, into entry, e execSpec) (*child, error) {
	var b shim.Birth
	if e.birth != nil {
		b = *e.birth
	}
	b.Path, b.Dir = path, e.dir
	if cred := e.account.cred; cred != nil {
		b.As = &shim.User{UID: e.account.uid, GID: e.account.gid}
		for _, g := range cred.Groups {
			b.As.Groups = append(b.As.Groups, int(g))
		}
	}
	if h.opts.KillOnDeath {
		b.Mortal = os.Getpid()
	}
	attr := h.attr(e)
	report, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = report.Close() }()
	attr.Files = append(attr.Files, w.Fd())
	joins, err := openJoins(into.joins)
	defer func() { closeAll(joins) }()
	if err == nil {
		var leaf int
		leaf, err = bornInto(attr, into.born)
		defer closeAll([]int{leaf})
	}
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	for _, fd := range joins {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	b.Joins = len(joins)
	c, err := h.forkers.ask(ctx, forkRequest{
		path: "/proc/self/exe", argv: b.Args(e.argv), attr: attr, mark: e.mark, group: e.group,
	})
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("cannot start the shim of the service: %w", err)
	}
	return c, awaitShim(ctx, path, c, report)
}

// awaitShim returns when the shim has become the program, or says why it did not.
func awaitShim(ctx context.Context, path string, c *child, report io.Reader) error {
	stop := context.AfterFunc(ctx, func() { _ = c.signal(syscall.SIGKILL) })
	said, err := io.ReadAll(report)
	if !stop() {
		<-c.exited
		return ctx.Err()
	}
	if err != nil || len(said) == 0 {
		return err
	}
	<-c.exited
	e, ok := shim.DecodeError(string(said))
	switch {
	case !ok:
		return fmt.Errorf("cannot understand the shim of the service: %q", said)
	case e.What == shim.ExecWhat:
		return execError(path, syscall.Errno(e.Errno))
	}
	errno := syscall.Errno(e.Errno)
	err = fmt.Errorf("%s: %w", e.What, errno)
	if slices.Contains(lasting, errno) {
		return hopeless(err)
	}
	return err
}

// openJoins opens what a thread writes to in order to join groups: of cgroup v1 with itself
// alone, for which nobody has to wait; the other threads end with the exec.
func openJoins(dirs []string) (fds []int, err error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, "tasks")
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOENT) {
			path = filepath.Join(dir, "cgroup.procs")
			fd, err = unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		}
		if err != nil {
			return fds, &os.PathError{Op: "open", Path: path, Err: err}
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
