package proc

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// LockedError says that another bhnode runs on the runtime directory.
type LockedError struct {
	Dir string
	Pid int // 0: unknown
}

func (e *LockedError) Error() string {
	if e.Pid == 0 {
		return fmt.Sprintf("another bhnode runs on %s", e.Dir)
	}
	return fmt.Sprintf("another bhnode (pid %d) runs on %s", e.Pid, e.Dir)
}

const instanceFile = "instance"

// makeRuntimeDir makes dir, 0711. One that is there already must be ours alone to
// write; its mode is set only if it is empty or was a runtime directory before.
func makeRuntimeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // services of other users live below
		return fmt.Errorf("cannot make the runtime directory: %w", err)
	}
	if err := makeOwnDir(dir, 0); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot read the runtime directory: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, instanceFile)); err != nil && len(entries) > 0 {
		return nil
	}
	return os.Chmod(dir, 0o711) //nolint:gosec // services of other users pass through
}

// makeOwnDir makes dir or sees that it is a directory, no link, ours, and writable by
// nobody else. mode 0 leaves that of an existing one alone.
func makeOwnDir(dir string, mode fs.FileMode) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	case !ok || int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user", dir)
	case mode != 0:
		return os.Chmod(dir, mode)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s may be written by others (mode %v)", dir, info.Mode().Perm())
	}
	return nil
}

// lockDir takes the lock of a runtime directory; the kernel gives it back with the
// last descriptor, however this process ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the runtime directory: %w", err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	var lockErr error
	err = raw.Control(func(fd uintptr) { lockErr = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) })
	switch {
	case errors.Is(lockErr, unix.EWOULDBLOCK):
		pid := readPid(path)
		return nil, errors.Join(&LockedError{Dir: dir, Pid: pid}, f.Close())
	case err != nil || lockErr != nil:
		return nil, errors.Join(fmt.Errorf("cannot lock %s: %w", path, errors.Join(err, lockErr)), f.Close())
	}
	line := strconv.Itoa(os.Getpid()) + "\n"
	if _, err := f.WriteAt([]byte(line), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot write %s: %w", path, err), f.Close())
	}
	return f, errors.Join(f.Truncate(int64(len(line))))
}

func readPid(path string) int {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return pid
}

// instanceOf returns the random number by which processes started on this runtime
// directory are known, and makes it at the first time, which fresh tells.
func instanceOf(dir string) (id string, fresh bool, err error) {
	path := filepath.Join(dir, instanceFile)
	data, err := os.ReadFile(path)
	id = strings.TrimSpace(string(data))
	if raw, hexErr := hex.DecodeString(id); err == nil && hexErr == nil && len(raw) == 16 {
		return id, false, nil
	}
	fresh = errors.Is(err, fs.ErrNotExist)
	if err != nil && !fresh {
		return "", false, fmt.Errorf("cannot read the instance: %w", err)
	}
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	id = hex.EncodeToString(raw[:])
	if err := os.WriteFile(path+".tmp", []byte(id+"\n"), 0o600); err != nil {
		return "", false, fmt.Errorf("cannot write the instance: %w", err)
	}
	return id, fresh, os.Rename(path+".tmp", path)
}
