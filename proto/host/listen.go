package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	socketMode = 0o660
	dirMode    = 0o750
)

// listenUnix listens on a unix socket that only its owner and group can reach. A
// socket that a dead process left is removed; one that a live process answers on, or
// a file that is no socket, is an error.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return nil, fmt.Errorf("cannot create the directory of the socket: %w", err)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// A socket takes its mode from the inode behind the descriptor at bind, so there
	// is no moment at which others could connect.
	narrow := func(_, _ string, c syscall.RawConn) error {
		var chmodErr error
		err := c.Control(func(fd uintptr) { chmodErr = syscall.Fchmod(int(fd), socketMode) })
		return errors.Join(err, chmodErr)
	}
	lis, err := (&net.ListenConfig{Control: narrow}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on the socket: %w", err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // the umask took bits away
		return nil, errors.Join(err, lis.Close())
	}
	return lis, nil
}

// removeStale removes the socket at path if nobody answers on it.
func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("cannot look at the socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is in the way: it is no socket", path)
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("socket %s is in use: a process answers on it", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %s may be in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove the stale socket: %w", err)
	}
	return nil
}

// listenTCP listens on a port of the loopback interface.
func listenTCP(ctx context.Context, port int) (net.Listener, error) {
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", loopback(port))
	if err != nil {
		return nil, fmt.Errorf("cannot listen on the port: %w", err)
	}
	return lis, nil
}
