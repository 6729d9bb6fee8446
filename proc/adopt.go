package proc

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/proc/state"
)

// ErrNotFound says that no process of an incarnation was ever recorded.
var ErrNotFound = errors.New("no process of it is known")

// Adopt takes over an incarnation that a dead bhnode left behind and that Sweep was told
// to spare. It is supervised as one that was started here, whether its main process
// lives or has died meanwhile; how that ended is known only where the kernel still tells.
// What it wrote waits in its pipes. The error is ErrNotFound where no process was
// recorded: then nothing of it is there, and Start may make it.
func (h *Host) Adopt(s *ServiceSpec, incarnation uint64) (*Process, error) {
	r, ok := h.state.Get(s.Name)
	if !ok || !h.provable(r) || r.Incarnation != incarnation {
		return nil, ErrNotFound
	}
	if !h.claim(s.Name) {
		return nil, &StartError{Stage: StageClaim, Err: ErrNotReleased}
	}
	a := &adoption{host: h, spec: s, record: r}
	p := a.process()
	h.keepGroup(s.Name, p.group)
	h.settle(s.Name, p)
	return p, nil
}

// provable tells whether a record is of a process of this boot.
func (h *Host) provable(r state.Record) bool { return r.Pid > 0 && r.BootID == h.boot }

type adoption struct {
	host   *Host
	spec   *ServiceSpec
	record state.Record
}

func (a *adoption) process() *Process {
	h, s, r := a.host, a.spec, a.record
	life := Life{ID: h.idOf(s.Name, r.Incarnation), Instance: h.instance}
	if s.Config != nil {
		life.ConfigPath = h.configPath(s.Name)
	}
	p := &Process{host: h, service: s.Name, incarnation: r.Incarnation, group: groupOf(r.Group, s.Limits)}
	if s.Probe.Type == ProbeNotify {
		socket, err := ListenNotify(h.notifyPath(s.Name))
		h.warn(s.Name, err, "notify socket not made again")
		if err == nil {
			socket.SenderOK(sentBy(life.ID))
			p.notify, life.NotifySocket = socket, socket.Path()
		}
	}
	p.env = s.Environment(os.Environ(), life)
	p.mark = identity{id: life.ID, instance: life.Instance}
	p.main = a.main(p)
	p.family = newFamily(h, p.main)
	p.stdout, p.stderr = a.output(p, 1, r.Stdout), a.output(p, 2, r.Stderr)
	return p
}

// main is the main process, over already if it is not there any more.
func (a *adoption) main(p *Process) *child {
	r := a.record
	c := &child{
		host: a.host, pid: r.Pid, start: r.StartTime, mark: p.mark, group: p.group, started: r.Started,
		adopted: true, pidfd: -1, exited: make(chan struct{}),
	}
	fd, err := unix.PidfdOpen(r.Pid, 0)
	if err == nil {
		st, statErr := readStat(r.Pid) // of the process that fd is of, as that is not reaped by then
		if statErr == nil && st.start == r.StartTime && a.isOurs(r.Pid) {
			a.host.mu.Lock()
			a.host.children[r.Pid] = c
			a.host.mu.Unlock()
			c.watchBy(fd)
			return c
		}
		_ = unix.Close(fd)
	}
	c.exit = Exit{At: time.Now(), OOMKilled: p.group.counters().OOMKills > 0}
	close(c.exited)
	return c
}

// isOurs tells whether nothing speaks against it: a program may have overwritten what
// it was given.
func (a *adoption) isOurs(pid int) bool {
	id, err := readIdentity(pid)
	return err != nil || id.instance == "" || id.instance == a.host.instance
}

// output opens the reading end of an output pipe anew, from whoever of the incarnation
// holds it. Where nobody does it has ended.
func (a *adoption) output(p *Process, fd int, inode uint64) *Output {
	pids := []int{a.record.Pid}
	select {
	case <-p.main.exited:
		pids = nil
	default:
	}
	if r := a.host.heritage.takePipe(inode); r >= 0 {
		return newOutput(a.host.poller, r)
	}
	if r := a.host.heirloom.open(inode); r >= 0 {
		return newOutput(a.host.poller, r)
	}
	for i := 0; inode != 0 && i < 2; i++ {
		for _, pid := range pids {
			if r := openPipe(procPath(pid, "fd/"+strconv.Itoa(fd)), inode); r >= 0 {
				return newOutput(a.host.poller, r)
			}
			if r := openPipe(pipesOf(pid)[inode], inode); r >= 0 {
				return newOutput(a.host.poller, r)
			}
		}
		pids = nil // only the main process was asked, which may have closed it
		for _, st := range p.family.left() {
			pids = append(pids, st.pid)
		}
	}
	return a.host.noOutput()
}

// noOutput is the reading end of a stream that has ended.
func (h *Host) noOutput() *Output {
	fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return newOutput(h.poller, fd)
}

// openPipe opens a pipe for reading, -1 if there is another thing at that path.
func openPipe(path string, inode uint64) int {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Ino != inode || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return -1
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	if unix.Fstat(fd, &st) != nil || st.Ino != inode {
		_ = unix.Close(fd)
		return -1
	}
	return fd
}

// pipesOf finds the pipes among all descriptors of a process: where each is to be opened
// anew, by inode.
func pipesOf(pid int) map[uint64]string {
	pipes, fds := map[uint64]string{}, procPath(pid, "fd")
	names, _ := readNames(fds) // gone: it has none
	for _, name := range names {
		path := fds + "/" + name
		to, err := os.Readlink(path)
		inode, isPipe := strings.CutPrefix(strings.TrimSuffix(to, "]"), "pipe:[")
		if n, numberErr := strconv.ParseUint(inode, 10, 64); err == nil && isPipe && numberErr == nil {
			pipes[n] = path
		}
	}
	return pipes
}

// hasExited asks a pidfd.
func hasExited(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// How long its parent gets to reap a process that ended, until its status is unknown.
const (
	askStatusTimes = 100
	askStatusPause = 2 * time.Millisecond
)

// askStatus asks the kernel how a process ended whose parent we are not: by its pidfd
// once it was reaped (PIDFD_GET_INFO, since Linux 6.15), before that by its stat.
func (c *child) askStatus() (status syscall.WaitStatus, known bool) {
	for range askStatusTimes {
		var told error
		status, known, told = pidfdStatus(uintptr(c.pidfd))
		if known {
			return status, true
		}
		if st, statErr := readStat(c.pid); statErr == nil && st.start == c.start && st.state == 'Z' {
			if code, ok := zombieStatus(c.pid); ok {
				return code, true
			}
		} else if told != nil {
			return 0, false // an older kernel does not tell
		}
		time.Sleep(askStatusPause)
	}
	return 0, false
}

// pidfdInfo is struct pidfd_info of the kernel's include/uapi/linux/pidfd.h.
type pidfdInfo struct {
	mask, cgroup    uint64
	pid, tgid, ppid uint32
	ids             [8]uint32
	exitCode        int32
}

const (
	pidfdGetInfo  = 0xC040FF0B // _IOWR(0xFF, 11, struct pidfd_info)
	pidfdInfoExit = 1 << 3
)

func pidfdStatus(fd uintptr) (syscall.WaitStatus, bool, error) {
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, pidfdGetInfo, uintptr(unsafe.Pointer(&info))) //nolint:gosec // as the kernel wants it
	switch {
	case errno == unix.ESRCH: // not reaped yet, or not told
		return 0, false, nil
	case errno != 0:
		return 0, false, errno
	}
	return syscall.WaitStatus(info.exitCode), info.mask&pidfdInfoExit != 0, nil //nolint:gosec // a wait status
}

// zombieStatus reads exit_code, the last field of a stat, which only those see who might
// trace it; to others it is 0.
func zombieStatus(pid int) (syscall.WaitStatus, bool) {
	data, err := readProc(pid, "stat")
	f := strings.Fields(string(data))
	if err != nil || len(f) < 52 {
		return 0, false
	}
	code, err := strconv.Atoi(f[len(f)-1])
	return syscall.WaitStatus(code), err == nil && (code != 0 || os.Geteuid() == 0) //nolint:gosec // a wait status
}
