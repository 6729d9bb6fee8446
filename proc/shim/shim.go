// Package shim is the life of this program between the fork of a service with limits
// and the service's own program: it sets what a fork and exec cannot, and joins the
// groups as its last act.
//
// It is the init of a package that needs hardly any other, not even os, so that it runs
// before those of the packages which make up the rest of the program: they would take
// ten times as long as the shim itself.
package shim

import (
	"runtime"
	"strconv"
	"syscall"
	"unsafe"
)

// command has this program become another's, see Birth.Args.
const command = "__exec"

// The descriptors of the shim, besides the three of its program.
const (
	report = 3 // a pipe: what could not be done
	joins  = 4 // cgroup.procs of each group it joins
)

// What package syscall does not know.
const (
	sysCloseRange     = 436
	closeRangeCloexec = 4
	prCapbsetDrop     = 24
	prSetNoNewPrivs   = 38
	prCapAmbient      = 47
	prCapAmbientRaise = 2
	capVersion3       = 0x20080522
	highestCapability = 63
)

func init() { //nolint:gochecknoinits // only an init runs before those of all other packages
	args := OwnArgs()
	if len(args) < 6 || args[1] != command {
		return
	}
	runtime.LockOSThread() // most of what follows is done to a thread
	e := &Error{"read what to do", int(syscall.EINVAL)}
	if b, ok := decode(args[2], args[3], args[4]); ok {
		for fd := report; fd < joins+b.Joins; fd++ {
			syscall.CloseOnExec(fd)
		}
		// What bhnode itself was born with; an old kernel leaves it open.
		_, _, _ = syscall.RawSyscall(sysCloseRange, report, 1<<32-1, closeRangeCloexec)
		e = b.become(args[5:])
	}
	said := e.encode()
	_, _, _ = syscall.RawSyscall(syscall.SYS_WRITE, report, uintptr(unsafe.Pointer(&said[0])), uintptr(len(said))) //nolint:gosec // the kernel reads it
	syscall.Exit(127)
}

// OwnArgs returns the arguments of this program, which package os would know later.
func OwnArgs() []string {
	fd, err := syscall.Open("/proc/self/cmdline", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	var text []byte
	block := make([]byte, 4<<10)
	for n := 1; n > 0 && err == nil; {
		n, err = syscall.Read(fd, block)
		text = append(text, block[:max(n, 0)]...)
	}
	_ = syscall.Close(fd)
	var args []string
	for from, at := 0, 0; at < len(text); at++ {
		if text[at] == 0 {
			args = append(args, string(text[from:at]))
			from = at + 1
		}
	}
	return args
}

// become turns this process into the program argv; it returns only if it cannot.
func (b *Birth) become(argv []string) *Error {
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"cannot set nice", b.setNice},
		{"cannot set oom_score_adj", b.setOOMScoreAdj},
		{"cannot set umask", b.setUmask},
		{"cannot limit the capabilities", b.bound},
		{"cannot limit the open files", b.setOpenFiles},
		{"cannot become its user", b.changeUser},
		{"cannot set the capabilities", b.setCapabilities},
		{"cannot set no_new_privileges", b.setNoNewPrivs},
		{"cannot die with bhnode", b.setMortal},
		{"bad working directory", b.enterDir},
	} {
		if err := step.do(); err != nil {
			errno, ok := err.(syscall.Errno) //nolint:errorlint // the bare number crosses to bhnode
			if !ok {
				errno = syscall.EINVAL
			}
			return &Error{step.what, int(errno)}
		}
	}
	return b.joinAndRun(argv)
}

// joinAndRun joins the groups and becomes the program. What comes before is not bound by
// the limits of the groups; here there may be no room for one more thread, which the
// runtime would start for a system call that it knows of.
func (b *Birth) joinAndRun(argv []string) *Error {
	path, err := syscall.BytePtrFromString(b.Path)
	args, argsErr := syscall.SlicePtrFromStrings(argv)
	env, envErr := syscall.SlicePtrFromStrings(syscall.Environ())
	if err != nil || argsErr != nil || envErr != nil {
		return &Error{ExecWhat, int(syscall.EINVAL)}
	}
	zero := []byte("0")
	for i := range b.Joins {
		_, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(joins+i), uintptr(unsafe.Pointer(&zero[0])), 1) //nolint:gosec // the kernel reads it
		if errno != 0 {
			return &Error{"cannot join the groups", int(errno)}
		}
	}
	//nolint:gosec // the kernel reads all three
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE,
		uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])))
	return &Error{ExecWhat, int(errno)}
}

func (b *Birth) setNice() error {
	if b.Nice == nil {
		return nil
	}
	return syscall.Setpriority(syscall.PRIO_PROCESS, 0, *b.Nice)
}

func (b *Birth) setOOMScoreAdj() error {
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

func (b *Birth) setUmask() error {
	if b.Umask != nil {
		syscall.Umask(*b.Umask)
	}
	return nil
}

func (b *Birth) bound() error {
	if b.Capabilities == nil {
		return nil
	}
	for n := range highestCapability + 1 {
		if has(*b.Capabilities, n) {
			continue
		}
		if err := prctl(prCapbsetDrop, uintptr(n), 0); err == syscall.EINVAL { //nolint:errorlint // a bare number
			return nil // the kernel knows no more
		} else if err != nil {
			return err
		}
	}
	return nil
}

// setOpenFiles sets the limit or else gives back the soft one, which package syscall has
// raised and lowers before an exec; this one runs nothing.
func (b *Birth) setOpenFiles() error {
	if b.OpenFiles == 0 {
		_ = syscall.Exec("", nil, nil)
		return nil
	}
	n := uint64(b.OpenFiles) //nolint:gosec // positive
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n})
}

// changeUser changes the user of this thread alone: the others end with the exec.
func (b *Birth) changeUser() error {
	if b.As == nil {
		return nil
	}
	if b.Capabilities != nil { // kept over the change, until setCapabilities
		if err := prctl(syscall.PR_SET_KEEPCAPS, 1, 0); err != nil {
			return err
		}
	}
	groups := make([]uint32, 0, len(b.As.Groups)+1)
	for _, g := range b.As.Groups {
		groups = append(groups, uint32(g)) //nolint:gosec // ids have 32 bits
	}
	uid, gid := uintptr(b.As.UID), uintptr(b.As.GID)
	for _, call := range [][4]uintptr{
		{syscall.SYS_SETGROUPS, uintptr(len(b.As.Groups)), uintptr(unsafe.Pointer(&groups[:1][0])), 0}, //nolint:gosec // the kernel reads it
		{syscall.SYS_SETRESGID, gid, gid, gid},
		{syscall.SYS_SETRESUID, uid, uid, uid},
	} {
		if _, _, errno := syscall.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return errno
		}
	}
	runtime.KeepAlive(groups)
	return nil
}

func (b *Birth) setCapabilities() error {
	if b.Capabilities == nil {
		return nil
	}
	var sets [2]struct{ effective, permitted, inheritable uint32 }
	for _, n := range *b.Capabilities {
		set, bit := &sets[n/32], uint32(1)<<(n%32)
		set.effective, set.permitted, set.inheritable = set.effective|bit, set.permitted|bit, set.inheritable|bit
	}
	header := struct {
		version uint32
		pid     int32
	}{version: capVersion3}
	//nolint:gosec // the kernel reads them
	_, _, errno := syscall.RawSyscall(syscall.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets)), 0)
	if errno != 0 {
		return errno
	}
	for _, n := range *b.Capabilities {
		if err := prctl(prCapAmbient, prCapAmbientRaise, uintptr(n)); err != nil {
			return err
		}
	}
	return nil
}

func (b *Birth) setNoNewPrivs() error {
	if !b.NoNewPrivs {
		return nil
	}
	return prctl(prSetNoNewPrivs, 1, 0)
}

// setMortal has the kernel kill this process with bhnode; a change of the user undid that.
func (b *Birth) setMortal() error {
	if b.Mortal == 0 {
		return nil
	}
	if err := prctl(syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0); err != nil {
		return err
	}
	if syscall.Getppid() != b.Mortal { // it is dead already
		return syscall.ESRCH
	}
	return nil
}

func (b *Birth) enterDir() error {
	if b.Dir == "" {
		return nil
	}
	return syscall.Chdir(b.Dir)
}

func prctl(option int, a, b uintptr) error {
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, uintptr(option), a, b, 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

func has(numbers []int, n int) bool {
	for _, have := range numbers { //nolint:modernize // slices is one package more to wait for
		if have == n {
			return true
		}
	}
	return false
}
