package proc

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// events is the open cgroup.events of a group.
type events struct {
	fd    int
	ready chan struct{}
}

func (e *events) wake(uint32) {
	select {
	case e.ready <- struct{}{}:
	default:
	}
}

// empty reads whether nothing is in the group and those below it. A change after the
// read is an event.
func (e *events) empty() (bool, error) {
	buf := make([]byte, 256)
	n, err := unix.Pread(e.fd, buf, 0)
	if errors.Is(err, unix.ENODEV) { // the group is gone
		return true, nil
	}
	return bytes.Contains(buf[:max(n, 0)], []byte("populated 0")), os.NewSyscallError("pread", err)
}

// awaitEmpty returns when nothing is in a group of cgroup v2 and those below it.
func awaitEmpty(ctx context.Context, p *poller, dir string) error {
	path := filepath.Join(dir, "cgroup.events")
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	e := &events{fd: fd, ready: make(chan struct{}, 1)}
	defer func() { _ = unix.Close(fd) }()
	if empty, err := e.empty(); empty || err != nil {
		return err
	}
	if err := p.add(fd, e, unix.EPOLLPRI|unix.EPOLLET); err != nil {
		return err
	}
	defer p.remove(fd)
	for {
		if empty, err := e.empty(); empty || err != nil {
			return err
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
