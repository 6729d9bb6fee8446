package proc

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// The files of a leaf that are read again and again.
const (
	eventsFile = "cgroup.events"
	usedFile   = "cpu.stat"
)

// openFiles reads files of one directory that the kernel makes up. Each is opened at the first
// look and stays open, as to open it takes longer than to read it.
type openFiles struct {
	mu   sync.Mutex
	open []openFile
}

type openFile struct {
	name string
	fd   int
}

// read reads the beginning of a file, as much as there is room for. The error is ENOENT or
// ENODEV where the directory is gone.
func (o *openFiles) read(dir, name string, room []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fd, err := o.find(dir, name)
	if err != nil {
		return nil, err
	}
	for {
		n, err := unix.Pread(fd, room, 0)
		if err == nil {
			return room[:n], nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, os.NewSyscallError("pread", err)
		}
	}
}

func (o *openFiles) find(dir, name string) (fd int, err error) {
	for _, f := range o.open {
		if f.name == name {
			return f.fd, nil
		}
	}
	path := dir + "/" + name
	if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return -1, &os.PathError{Op: "open", Path: path, Err: err}
	}
	o.open = append(o.open, openFile{name, fd})
	return fd, nil
}

func (o *openFiles) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.open {
		_ = unix.Close(f.fd)
	}
	o.open = nil
}
