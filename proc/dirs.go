package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	configFile = "config.yaml"
	notifyFile = "notify.sock"
)

func (h *Host) notifyPath(service string) string {
	return filepath.Join(h.serviceDir(service), notifyFile)
}

func (h *Host) configPath(service string) string {
	return filepath.Join(h.serviceDir(service), configFile)
}

// makeDirs makes what the service finds there: its directory in the runtime directory,
// its data directory, and the place of its socket, free of one that a dead process left.
func (l *launch) makeDirs(ctx context.Context) error {
	s := l.spec
	if s.Name != filepath.Base(s.Name) || !filepath.IsLocal(s.Name) {
		return hopeless(fmt.Errorf("%q cannot be the name of a directory", s.Name))
	}
	group := l.account.gid
	if l.host.groupID >= 0 {
		group = l.host.groupID
	}
	own := ownership{l.account.uid, group}
	if err := own.keep(l.host.serviceDir(s.Name)); err != nil {
		return err
	}
	if s.DataDir != "" {
		if err := (ownership{l.account.uid, l.account.gid}).make(s.DataDir); err != nil {
			return err
		}
	}
	if s.UnixSocket == "" {
		return nil
	}
	if err := own.make(filepath.Dir(s.UnixSocket)); err != nil {
		return err
	}
	return removeStaleSocket(ctx, s.UnixSocket)
}

// ownership is whose a directory is.
type ownership struct{ uid, gid int }

// keep makes path or, if it is there, sees to its mode and owner. The directory above
// it is ours alone, so path is no link that somebody else has put there.
func (o ownership) keep(path string) error {
	err := o.give(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := unix.Mkdir(path, 0o700); err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return o.give(path)
}

// make makes path and what is missing above it; a path that is there is left as it is.
func (o ownership) make(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is no directory", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	err = os.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil { //nolint:gosec // others pass through
			err = os.Mkdir(path, 0o700)
		}
	}
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil // another service's start was faster
	case err != nil:
		return err
	}
	return o.give(path)
}

// dirMode is that of the directories of a service.
const dirMode = 0o750

// has tells whether a directory is as it is to be.
func (o ownership) has(st *unix.Stat_t) bool {
	const all = unix.S_IFMT | 0o777
	return int(st.Uid) == o.uid && int(st.Gid) == o.gid && st.Mode&all == unix.S_IFDIR|dirMode
}

// give sets the mode and owner of a directory, never those of what a link points to.
func (o ownership) give(path string) error {
	var st unix.Stat_t
	if unix.Lstat(path, &st) == nil && o.has(&st) { // as mostly
		return nil
	}
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags, 0)
	for errors.Is(err, unix.EINTR) { // as it is on a disk that is elsewhere
		fd, err = unix.Open(path, flags, 0)
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if int(st.Uid) != o.uid || int(st.Gid) != o.gid {
		if err := unix.Fchown(fd, o.uid, o.gid); err != nil {
			return &os.PathError{Op: "chown", Path: path, Err: err}
		}
	}
	if o.has(&st) {
		return nil
	}
	if err := unix.Fchmod(fd, dirMode); err != nil {
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}

// writeConfig puts the rendered config in its place. The directory is the service's
// user's, who may have put anything there: it is entered once, and no link followed.
func (l *launch) writeConfig(context.Context) error {
	if l.spec.Config == nil {
		return nil
	}
	path := l.host.configPath(l.spec.Name)
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	l.config = path
	if l.configIsThere(dir) {
		return nil
	}
	const fresh = configFile + ".tmp"
	if err := dir.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := dir.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(l.spec.Config)
	if err == nil && l.account.cred != nil {
		err = f.Chown(l.account.uid, l.account.gid)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return dir.Rename(fresh, configFile)
}

// configIsThere says that the last incarnation was given the same config.
func (l *launch) configIsThere(dir *os.Root) bool {
	info, err := dir.Lstat(configFile)
	if err != nil || info.Mode() != 0o600 || info.Size() != int64(len(l.spec.Config)) {
		return false
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != l.account.uid {
		return false
	}
	f, err := dir.OpenFile(configFile, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, info.Size()+1))
	return err == nil && bytes.Equal(data, l.spec.Config)
}

// removeStaleSocket removes a socket on which nobody listens any more; anything else
// is left alone.
func removeStaleSocket(ctx context.Context, path string) error {
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	info, err := dir.Lstat(filepath.Base(path))
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return nil
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		return conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err := dir.Remove(filepath.Base(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove a stale socket: %w", err)
	}
	return nil
}
