package proc

import (
	"encoding/json"
	"math"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shimCommand has this program become another's, see ExecShim.
const shimCommand = "__exec"

// The descriptors of the shim, besides the three of its program.
const (
	shimReport = 3 // a pipe: what could not be done
	shimJoins  = 4 // cgroup.procs of each group it joins
)

// shimError is what the shim could not do.
type shimError struct {
	What  string // execWhat, or in words
	Errno syscall.Errno
}

func (e *shimError) Error() string { return e.What + ": " + e.Errno.Error() }

func (e *shimError) Unwrap() error { return e.Errno }

const execWhat = "exec"

// ExecShim is the life of this program between the fork of a service with limits and
// the service's own program. It returns at once in every other process, and is to be
// called before anything else is done.
func ExecShim() {
	if len(os.Args) < 4 || os.Args[1] != shimCommand {
		return
	}
	runtime.LockOSThread() // most of what follows is done to a thread
	var b birth
	e := &shimError{"read what to do", syscall.EINVAL}
	if err := json.Unmarshal([]byte(os.Args[2]), &b); err == nil {
		for fd := shimReport; fd < shimJoins+b.Joins; fd++ {
			syscall.CloseOnExec(fd)
		}
		_ = unix.CloseRange(shimReport, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) // what bhnode itself was born with
		e = b.become(os.Args[3:])
	}
	report, _ := json.Marshal(e) // two plain fields
	_, _ = syscall.Write(shimReport, report)
	os.Exit(127)
}

// become turns this process into the program argv; it returns only if it cannot.
func (b *birth) become(argv []string) *shimError {
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"cannot set nice", b.setNice},
		{"cannot set oom_score_adj", b.setOOMScoreAdj},
		{"cannot set umask", b.setUmask},
		{"cannot limit the capabilities", b.bound},
		{"cannot limit the open files", b.setOpenFiles},
		{"cannot join the groups", b.join}, // what comes before is not bound by its limits
		{"cannot become its user", b.changeUser},
		{"cannot set the capabilities", b.setCapabilities},
		{"cannot set no_new_privileges", b.setNoNewPrivs},
		{"cannot die with bhnode", b.setMortal},
		{"bad working directory", b.enterDir},
		{execWhat, func() error { return syscall.Exec(b.Path, argv, os.Environ()) }}, //nolint:gosec // to run it is the point
	} {
		if err := step.do(); err != nil {
			errno, ok := err.(syscall.Errno) //nolint:errorlint // the bare number crosses to bhnode
			if !ok {
				errno = syscall.EINVAL
			}
			return &shimError{step.what, errno}
		}
	}
	return nil
}

func (b *birth) setNice() error {
	if b.Nice == nil {
		return nil
	}
	return unix.Setpriority(unix.PRIO_PROCESS, 0, *b.Nice)
}

func (b *birth) setOOMScoreAdj() error {
	if b.OOMScoreAdj == nil {
		return nil
	}
	fd, err := syscall.Open("/proc/self/oom_score_adj", syscall.O_WRONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = syscall.Write(fd, []byte(strconv.Itoa(*b.OOMScoreAdj)))
	return err
}

func (b *birth) setUmask() error {
	if b.Umask != nil {
		syscall.Umask(*b.Umask)
	}
	return nil
}

func (b *birth) bound() error {
	if b.Capabilities == nil {
		return nil
	}
	return boundCapabilities(*b.Capabilities)
}

func (b *birth) setOpenFiles() error {
	if b.OpenFiles == 0 {
		return nil
	}
	n := uint64(b.OpenFiles) //nolint:gosec // positive
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n})
}

func (b *birth) join() error {
	for i := range b.Joins {
		if _, err := syscall.Write(shimJoins+i, []byte("0")); err != nil {
			return err
		}
	}
	return nil
}

// changeUser changes the user of this thread alone: the others end with the exec.
func (b *birth) changeUser() error {
	if b.As == nil {
		return nil
	}
	if b.Capabilities != nil { // kept over the change, until setCapabilities
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	var groups *uint32
	if len(b.As.Groups) > 0 {
		groups = &b.As.Groups[0]
	}
	uid, gid := uintptr(b.As.UID), uintptr(b.As.GID)
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, uintptr(len(b.As.Groups)), uintptr(unsafe.Pointer(groups)), 0}, //nolint:gosec // the kernel reads it
		{unix.SYS_SETRESGID, gid, gid, gid},
		{unix.SYS_SETRESUID, uid, uid, uid},
	} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return errno
		}
	}
	runtime.KeepAlive(b.As.Groups)
	return nil
}

func (b *birth) setCapabilities() error {
	if b.Capabilities == nil {
		return nil
	}
	return setCapabilities(*b.Capabilities)
}

func (b *birth) setNoNewPrivs() error {
	if !b.NoNewPrivs {
		return nil
	}
	return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
}

// setMortal has the kernel kill this process with bhnode; a change of the user undid that.
func (b *birth) setMortal() error {
	if b.Mortal == 0 {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if syscall.Getppid() != b.Mortal { // it is dead already
		return syscall.ESRCH
	}
	return nil
}

func (b *birth) enterDir() error {
	if b.Dir == "" {
		return nil
	}
	return syscall.Chdir(b.Dir)
}
