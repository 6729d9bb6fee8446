package chaos

import (
	"bytes"
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

// process is one that carries the mark of a node.
type process struct {
	pid     int
	service string
	inc     uint64
	linger  bool // left by a life to outlive it
	probe   bool // neither: a check or a hook
}

func (p process) String() string {
	return fmt.Sprintf("pid %d of %s/%d (linger %v, probe %v)", p.pid, p.service, p.inc, p.linger, p.probe)
}

// look reads one process; ok says that it is alive and of that node.
func look(pid int, instance string) (p process, ok bool) {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !bytes.Contains(environ, []byte("BHNODE_INSTANCE="+instance)) {
		return p, false
	}
	p.pid = pid
	for v := range strings.SplitSeq(string(environ), "\x00") {
		if id, is := strings.CutPrefix(v, "BHNODE_ID="); is {
			parts := strings.Split(id, "/")
			if len(parts) == 3 {
				p.service = parts[1]
				p.inc, _ = strconv.ParseUint(parts[2], 10, 64)
			}
		}
	}
	args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	argv := strings.Split(string(args), "\x00")
	p.linger = len(argv) > 1 && argv[1] == "linger"
	p.probe = len(argv) < 2 || argv[1] != "linger" && argv[1] != "serve"
	return p, true
}

// livingOf lists the processes of a node. A zombie has no environment.
func livingOf(instance string) []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []process
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if p, ok := look(pid, instance); ok {
				found = append(found, p)
			}
		}
	}
	return found
}

// twoLives finds a service of which two lives are alive at one moment.
func twoLives(instance string) string {
	newest := map[string]process{}
	all := livingOf(instance)
	for _, p := range all {
		if p.inc > newest[p.service].inc {
			newest[p.service] = p
		}
	}
	for _, p := range all {
		if n := newest[p.service]; p.inc < n.inc {
			if _, still := look(p.pid, instance); still { // it outlived the moment the newer one was seen
				return fmt.Sprintf("%v is alive beside %v", p, n)
			}
		}
	}
	return ""
}

// send sends a signal to a process if it is, at that very moment, what it is
// taken for.
func send(pid int, instance, service string, sig syscall.Signal) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	if p, ok := look(pid, instance); !ok || p.service != service {
		return false
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0) == nil
}

// footprint is what a process holds of the machine.
type footprint struct {
	fds     map[string]int // by what they are
	total   int
	threads int
	zombies []int
}

func footprintOf(pid int) (f footprint, err error) {
	f.fds = map[string]int{}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return f, err
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		kind, _, _ := strings.Cut(target, ":[")
		f.fds[kind]++
		if filepath.Base(filepath.Dir(kind)) == "logs" && f.fds[kind] == 1 {
			continue // a log is opened with its first line
		}
		f.total++
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return f, err
	}
	f.threads = len(tasks)
	for _, t := range tasks {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
		for child := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(child); err == nil && isZombie(n) {
				f.zombies = append(f.zombies, n)
			}
		}
	}
	return f, nil
}

func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return bytes.HasPrefix(after, []byte("Z"))
}
