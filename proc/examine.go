package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Examination tells what this machine would do for a node, without running one.
type Examination struct{ backend backend }

// Examine looks at the machine. It makes groups of the kernel, to see whether it can,
// and removes them again; nobody is moved into one.
func Examine() *Examination {
	nobody := fmt.Sprintf("exam%08x", os.Getpid()) // no instance of a node, which is hexadecimal, nor another look's
	e := &Examination{openBackend(nobody, toLook)}
	for _, base := range e.backend.bases() {
		_ = removeGroups(base) // it is empty
	}
	return e
}

// Isolation is what Host.Isolation would be.
func (e *Examination) Isolation() Isolation { return e.backend.isolation() }

// Enforcement is what Host.Enforcement would be.
func (e *Examination) Enforcement(s *ServiceSpec) []Enforcement { return enforcement(e.backend, s) }

// FindProgram returns the file that a service would run, found as a start finds it, and
// why it could not.
func FindProgram(s *ServiceSpec) (string, error) {
	if len(s.Command) == 0 {
		return "", errors.New("the command is empty")
	}
	env := s.Environment(os.Environ(), Life{})
	path, err := findProgram(Expand(env, s.Command[0]), env)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return path, err
	case info.IsDir():
		return path, fmt.Errorf("%s is a directory", path)
	case info.Mode().Perm()&0o111 == 0:
		return path, fmt.Errorf("%s may not be executed by anybody (mode %v): %w", path, info.Mode().Perm(), fs.ErrPermission)
	}
	return path, nil
}

// CheckAccount says why a service could not run as its user and group.
func CheckAccount(s *ServiceSpec) error {
	_, err := findAccount(s.User, s.Group)
	return err
}

// Feature is something of the kernel that bhnode uses.
type Feature struct {
	Name    string
	Present bool
	Without string // what is not so without it
	Needed  bool   // nothing runs without it
}

// Features looks for what bhnode uses of the kernel beside its groups.
func Features() []Feature {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	told := false
	if err == nil {
		_, _, infoErr := pidfdStatus(uintptr(fd))
		told = !errors.Is(infoErr, unix.ENOTTY)
		_ = unix.Close(fd)
	}
	return []Feature{
		{Name: "pidfd", Present: err == nil, Without: "no process can be watched", Needed: true},
		{
			Name: "exit status by pidfd", Present: told,
			Without: "how a service ended that outlived its bhnode is not known (Linux 6.15 tells)",
		},
		{
			Name: "lists of children", Present: hasChildrenFiles(),
			Without: "descendants are found by a look at every process (CONFIG_PROC_CHILDREN)",
		},
	}
}

// KernelRelease is what uname calls the kernel.
func KernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return strings.TrimRight(string(u.Release[:]), "\x00")
}

// OpenFilesLimit is how many files this process, and so bhnode, may have open.
func OpenFilesLimit() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	return l.Max
}

// TasksLimit is how many processes and threads the kernel allows all of bhnode's services
// together, and what says so.
func TasksLimit() (limit uint64, by string) {
	limit = math.MaxUint64
	for _, name := range []string{"kernel.pid_max", "kernel.threads-max"} {
		data, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
		if n, parseErr := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err == nil && parseErr == nil && n < limit {
			limit, by = n, name
		}
	}
	var l unix.Rlimit
	if os.Geteuid() != 0 && unix.Getrlimit(unix.RLIMIT_NPROC, &l) == nil && l.Cur < limit { // root is not bound by it
		limit, by = l.Cur, "ulimit -u"
	}
	return limit, by
}

// RoomIn returns the bytes that are free, for who is not root, on the disk of a path.
func RoomIn(path string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return s.Bavail * uint64(s.Bsize), nil //nolint:gosec // not negative
}

// RunningOn tells whether a bhnode holds a runtime directory, and its pid, 0: unknown.
// Who may not open its lock learns from the kernel's list of locks.
func RunningOn(dir string) (pid int, runs bool) {
	path := filepath.Join(dir, "lock")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return lockedBy(path)
	}
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return readPid(path), true
	}
	return 0, false
}

// lockedBy looks for the lock of a file, which need not be readable.
func lockedBy(path string) (pid int, locked bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0, false
	}
	locks, _ := os.ReadFile("/proc/locks")
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(locks)) { // 1: FLOCK ADVISORY WRITE PID DEVICE:INODE 0 EOF
		words := strings.Fields(line)
		if len(words) > 5 && words[1] == "FLOCK" && words[3] == "WRITE" && words[5] == file {
			pid, _ = strconv.Atoi(words[4])
			return pid, true
		}
	}
	return 0, false
}

// MayMakeIn says why nothing can be made in a directory, without making anything.
func MayMakeIn(dir string) error {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

// FindUser returns the number of a user; one who is given as a number need not be known.
func FindUser(name string) (uid int, err error) {
	if uid, err := strconv.Atoi(name); err == nil {
		return uid, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(u.Uid)
}

// FindGroup says why the node's group could not be found.
func FindGroup(name string) error {
	_, err := user.LookupGroup(name)
	return err
}
