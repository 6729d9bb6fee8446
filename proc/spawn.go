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

// execPlain has the program forked and run at once, born into its leaf.
func (h *Host) execPlain(ctx context.Context, path string, e execSpec) (*child, error) {
	attr := h.attr(e)
	attr.Dir, attr.Sys.Credential = e.dir, e.account.cred
	if e.group != nil && e.group.leaf != "" {
		leaf, err := e.group.openLeaf()
		if err != nil {
			return nil, err
		}
		defer func() { _ = unix.Close(leaf) }()
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, leaf
	}
	c, err := h.spawn(ctx, forkRequest{path: path, argv: e.argv, attr: attr, mark: e.mark, group: e.group})
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

// execShim has this program forked, which then becomes the other: it joins the groups
// last, as it would not fit into a narrow one itself.
func (h *Host) execShim(ctx context.Context, path string, e execSpec) (*child, error) {
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
	joins, err := e.group.openJoins()
	defer closeAll(joins)
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	for _, fd := range joins {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	b.Joins = len(joins)
	c, err := h.spawn(ctx, forkRequest{
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

// openJoins opens what a process writes to in order to join the group.
func (g *group) openJoins() (fds []int, err error) {
	if g == nil {
		return nil, nil
	}
	for _, dir := range g.enter {
		path := filepath.Join(dir, "cgroup.procs")
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fds, &os.PathError{Op: "open", Path: path, Err: err}
		}
		fds = append(fds, fd)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
