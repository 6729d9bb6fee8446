package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// procStat is what /proc/PID/stat says and matters here.
type procStat struct {
	pid, ppid, pgrp, session, threads int
	comm                              string
	state                             byte
	start                             uint64 // clock ticks since boot
	noEnv                             bool   // it cannot be asked whose it is: amid an exec, or ending
}

// dead says that nothing of it runs. The leader of a process whose other threads
// live on is shown as a zombie too.
func (s *procStat) dead() bool {
	return (s.state == 'Z' || s.state == 'X') && s.threads <= 1
}

func readStat(pid int) (procStat, error) {
	data, err := readProc(pid, "stat")
	if err != nil {
		return procStat{}, err
	}
	return parseStat(pid, string(data))
}

// parseStat reads one line of /proc/PID/stat; the name in it may hold blanks and brackets.
func parseStat(pid int, line string) (procStat, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("cannot read the stat of process %d: %q", pid, line)
	}
	f := strings.Fields(line[end+1:])
	const state, ppid, pgrp, session, threads, start, envEnd = 0, 1, 2, 3, 17, 19, 48
	if len(f) <= start {
		return procStat{}, fmt.Errorf("cannot read the stat of process %d: %q", pid, line)
	}
	st := procStat{pid: pid, comm: strings.ToValidUTF8(line[open+1:end], "\uFFFD"), state: f[state][0]}
	st.noEnv = len(f) > envEnd && f[envEnd] == "0"
	var errs [5]error
	st.ppid, errs[0] = strconv.Atoi(f[ppid])
	st.pgrp, errs[1] = strconv.Atoi(f[pgrp])
	st.session, errs[2] = strconv.Atoi(f[session])
	st.threads, errs[3] = strconv.Atoi(f[threads])
	st.start, errs[4] = strconv.ParseUint(f[start], 10, 64)
	return st, errors.Join(errs[:]...)
}

// identity is what a process carries in its environment to say whose it is.
type identity struct {
	id       string // BHNODE_ID
	instance string // BHNODE_INSTANCE
	hook     string // BHNODE_HOOK: the hook or exec probe it came of
}

// The variables of an identity.
const (
	envID       = "BHNODE_ID"
	envInstance = "BHNODE_INSTANCE"
	envHook     = "BHNODE_HOOK"
)

// readIdentity reads the identity of a process, as its program was started with it; a
// program may have overwritten it since.
func readIdentity(pid int) (identity, error) {
	data, err := readProc(pid, "environ")
	if err != nil {
		return identity{}, err
	}
	var id identity
	for v := range bytes.SplitSeq(data, []byte{0}) {
		if !bytes.HasPrefix(v, []byte("BHNODE_")) {
			continue
		}
		switch name, value, _ := strings.Cut(string(v), "="); name {
		case envID:
			id.id = value
		case envInstance:
			id.instance = value
		case envHook:
			id.hook = value
		}
	}
	return id, nil
}

// splitID takes NODE/SERVICE/INCARNATION apart; only the node's name may hold a slash.
func splitID(id string) (service string, incarnation uint64, ok bool) {
	rest, number, ok := cutLast(id)
	if !ok {
		return "", 0, false
	}
	_, service, ok = cutLast(rest)
	incarnation, err := strconv.ParseUint(number, 10, 64)
	return service, incarnation, ok && service != "" && err == nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// hasChildrenFiles says whether the kernel lists children (CONFIG_PROC_CHILDREN).
var hasChildrenFiles = sync.OnceValue(func() bool {
	_, err := os.Stat("/proc/thread-self/children")
	return err == nil
})

// childrenOf returns the children of every thread of a process.
func childrenOf(pid int) []int {
	if !hasChildrenFiles() {
		return searchChildren(pid)
	}
	tids, err := readNames(procPath(pid, "task"))
	if err != nil {
		return nil
	}
	var children []int
	for _, tid := range tids {
		children = appendChildren(children, pid, tid)
	}
	return children
}

// adopted returns the children of our main thread: the kernel gives it every orphan.
func (c *census) adopted() []int {
	if !hasChildrenFiles() {
		return searchChildren(os.Getpid())
	}
	self := strconv.Itoa(os.Getpid())
	var room [512]byte // they are few
	if data, err := c.own.read("/proc/self/task/"+self, "children", room[:]); err == nil && len(data) < len(room) {
		return appendPids(nil, data)
	}
	return appendChildren(nil, os.Getpid(), self)
}

// appendChildren adds the children of one thread, none if it is over.
func appendChildren(children []int, pid int, tid string) []int {
	data, err := readProc(pid, "task/"+tid+"/children")
	if err != nil {
		return children
	}
	return appendPids(children, data)
}

// appendPids adds those of a list in which each has a blank behind it.
func appendPids(pids []int, list []byte) []int {
	pid := 0
	for _, c := range list {
		if c == ' ' {
			pids = append(pids, pid)
			pid = 0
		} else {
			pid = 10*pid + int(c-'0')
		}
	}
	return pids
}

// searchChildren finds the children of a process by asking all for their parent.
func searchChildren(pid int) []int {
	all, err := allPids()
	if err != nil {
		return nil
	}
	var children []int
	for _, child := range all {
		if st, err := readStat(child); err == nil && st.ppid == pid {
			children = append(children, child)
		}
	}
	return children
}

// waitChannel names where in the kernel a process waits, "" if it may not be known.
func waitChannel(pid int) string {
	data, err := readProc(pid, "wchan")
	if err != nil || string(data) == "0" {
		return ""
	}
	return string(data)
}

// allPids lists every process there is.
func allPids() ([]int, error) {
	names, err := readNames("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func readNames(path string) ([]string, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	names, err := dir.Readdirnames(-1)
	return names, errors.Join(err, dir.Close())
}

func procPath(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// readProc reads a whole file of a process in /proc.
func readProc(pid int, name string) ([]byte, error) { return readWhole(procPath(pid, name)) }

// readWhole reads a whole file that the kernel makes up, without the costs that os.ReadFile
// has for files that may block.
func readWhole(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, 0, 1024)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return buf, nil
		default:
			buf = buf[:len(buf)+n]
		}
	}
}
