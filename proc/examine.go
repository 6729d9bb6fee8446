package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// RoomIn returns the bytes that are free, for who is not root, on the disk of a path.
func RoomIn(path string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return s.Bavail * uint64(s.Bsize), nil //nolint:gosec // not negative
}

// RunningOn returns the pid of the bhnode that holds a runtime directory, 0 for none.
func RunningOn(dir string) int {
	f, err := os.Open(dir + "/lock")
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return readPid(dir + "/lock")
	}
	return 0
}
