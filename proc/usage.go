package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Usage is what an incarnation uses, with everything that it has started as far as
// that is known.
type Usage struct {
	At  time.Time     // of the look
	CPU time.Duration // of processors, since the incarnation began
	// Memory is in bytes: what its group is charged with less what can be dropped at any
	// time (Kubernetes' working set), or the sum of the resident sets.
	Memory        uint64
	Virtual       uint64 // bytes of address space
	Threads       uint64
	OpenFiles     uint64
	Read, Written uint64 // bytes, from and to disks, since the incarnation began
	Pids          []int  // of its processes, in order
}

// meter reads what one incarnation uses. Files are kept open: those of its main process
// tell of no other once that has ended.
type meter struct {
	mu       sync.Mutex
	open     bool
	closed   bool
	stat, io int // descriptors of the main process; -1: none
	last     Usage
	ran      time.Duration // what its group had used before the last look
	looked   time.Time     // the last time that all was read
}

// lookAnyway is how long nothing but the processors is asked for while nothing runs. What a
// process holds does not change then but for what the kernel takes back.
const lookAnyway = 5 * time.Minute

// readRoom is room to read files of the kernel into.
var readRoom = sync.Pool{New: func() any { return new(make([]byte, 4096)) }}

// Usage returns what the incarnation uses now; once it is released, what it has used in
// all. The error says that nothing can be learnt of it.
func (p *Process) Usage() (Usage, error) {
	m := &p.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return m.last, nil
	}
	if !m.open {
		m.open = true
		m.stat, m.io = openProc(p.main.pid, "stat"), openProc(p.main.pid, "io")
	}
	buf := readRoom.Get().(*[]byte) //nolint:forcetypeassert // as put
	defer readRoom.Put(buf)
	now := time.Now()
	ran := p.group.cpu()
	if ran > 0 && ran == m.ran && now.Sub(m.looked) < lookAnyway {
		m.last.At = now
		return m.last, nil
	}
	m.ran, m.looked = ran, now
	u := p.look(buf)
	u.CPU = max(u.CPU, m.last.CPU) // counters never go down
	u.Read, u.Written = max(u.Read, m.last.Read), max(u.Written, m.last.Written)
	m.last = u
	return u, nil
}

// Used is what all incarnations together have used of processors, ended ones too; 0: the
// kernel does not count that.
func (h *Host) Used() time.Duration {
	bases := h.backend.bases()
	if len(bases) == 0 {
		return 0
	}
	return usedIn(bases[0])
}

// closeMeter keeps what was used in all, before the group goes.
func (p *Process) closeMeter() {
	m := &p.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	if !m.open {
		m.open, m.stat, m.io = true, -1, -1
	}
	m.last = Usage{At: time.Now(), CPU: max(m.last.CPU, p.group.ranInAll()), Read: m.last.Read, Written: m.last.Written}
	m.closed = true
	closeAll([]int{m.stat, m.io})
}

// look adds up what the processes use, and asks the group for what it knows better.
func (p *Process) look(buf *[]byte) Usage {
	u := Usage{At: time.Now()}
	u.Pids = p.members(buf)
	for _, pid := range u.Pids {
		p.add(&u, pid, buf)
	}
	u.CPU = max(u.CPU, p.group.ranIn())
	p.group.improve(&u, buf)
	return u
}

// members lists the processes of the incarnation, but not what hides where there are no
// groups: that would be a look at every process of the machine.
func (p *Process) members(buf *[]byte) []int {
	var pids []int
	if dir := p.group.path(); dir != "" {
		pids = appendNumbers(nil, readInto(buf, dir+"/cgroup.procs"))
	} else if st, err := readStat(p.main.pid); err == nil && st.start == p.main.start {
		pids = append(pids, p.main.pid)
		for i := 0; i < len(pids); i++ { // it grows
			pids = append(pids, childrenOf(pids[i])...)
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids)
}

// add adds what one process uses.
func (p *Process) add(u *Usage, pid int, buf *[]byte) {
	m := &p.meter
	var stat, io []byte
	if pid == p.main.pid {
		stat = pread(m.stat, *buf)
	} else {
		stat = readInto(buf, procPath(pid, "stat"))
	}
	f, ok := statUsageOf(stat)
	if !ok {
		return
	}
	u.CPU += f.cpu
	u.Virtual += f.virtual
	u.Memory += f.resident
	u.Threads += f.threads
	if pid == p.main.pid {
		io = pread(m.io, *buf)
	} else {
		io = readInto(buf, procPath(pid, "io"))
	}
	u.Read += numberAfter(io, "read_bytes: ")
	u.Written += numberAfter(io, "\nwrite_bytes: ")
	u.OpenFiles += countFiles(pid)
}

// usedKey is that of microseconds in cpu.stat of cgroup v2.
const usedKey = "usage_usec "

// cpu is what the group has used of processors, 0: the kernel does not count that.
func (g *group) cpu() time.Duration {
	if g == nil || g.leaf == "" || g.frozen {
		return 0
	}
	var room [256]byte // it is in the first line
	said, _ := g.files.read(g.leaf, usedFile, room[:])
	return usedOf(said)
}

// ranIn is what the incarnation has used of it.
func (g *group) ranIn() time.Duration {
	if g == nil {
		return 0
	}
	return g.cpu() - g.ranBefore
}

// ranInAll is that in the end.
func (g *group) ranInAll() time.Duration {
	if g == nil {
		return 0
	}
	g.ran = g.cpu()
	return g.ran - g.ranBefore
}

// usedIn is what a group has used of processors so far.
func usedIn(dir string) time.Duration {
	var files openFiles
	defer files.close()
	var room [256]byte
	said, _ := files.read(dir, usedFile, room[:])
	return usedOf(said)
}

// usedOf reads cpu.stat of cgroup v2.
func usedOf(text []byte) time.Duration {
	return time.Duration(numberAfter(text, usedKey)) * time.Microsecond //nolint:gosec // years
}

// improve puts what the group counts in the place of sums over its processes, of which
// some may have ended.
func (g *group) improve(u *Usage, buf *[]byte) {
	if g == nil {
		return
	}
	current, inactive := "", "\ninactive_file "
	dir, unified := g.counts[""]
	if unified {
		current = filepath.Join(dir, "memory.current")
	} else if dir = g.counts[ctlMemory]; dir != "" {
		current, inactive = filepath.Join(dir, "memory.usage_in_bytes"), "\ntotal_inactive_file "
	}
	if charged := numberAfter(readInto(buf, current), ""); charged > 0 {
		idle := numberAfter(readInto(buf, filepath.Join(dir, "memory.stat")), inactive)
		u.Memory = charged - min(idle, charged)
	}
	if !unified {
		return
	}
	stat := readInto(buf, filepath.Join(dir, "io.stat"))
	u.Read = max(u.Read, sumAfter(stat, " rbytes="))
	u.Written = max(u.Written, sumAfter(stat, " wbytes="))
}

// statUsage is what /proc/PID/stat says of what a process uses.
type statUsage struct {
	cpu                        time.Duration // with that of the children it has waited for
	threads, virtual, resident uint64
}

// userHZ is the unit of times in /proc/PID/stat (proc_pid_stat(5)): on Linux it is 100 to
// every program.
const userHZ = 100

func statUsageOf(line []byte) (u statUsage, ok bool) {
	end := bytes.LastIndexByte(line, ')')
	if end < 0 {
		return u, false
	}
	const utime, cstime, threads, vsize, rss = 12, 15, 18, 21, 22 // fields behind the name, from 1
	i, ticks := 0, uint64(0)
	for f := range bytes.FieldsSeq(line[end+1:]) {
		i++
		switch {
		case i < utime:
		case i <= cstime:
			ticks += number(f)
		case i == threads:
			u.threads = number(f)
		case i == vsize:
			u.virtual = number(f)
		case i == rss:
			u.resident = number(f) * uint64(os.Getpagesize())     //nolint:gosec // it is positive
			u.cpu = time.Duration(ticks) * (time.Second / userHZ) //nolint:gosec // years
			return u, true
		}
	}
	return u, false
}

// countFiles is how many descriptors a process has: the size of its list (since Linux
// 6.2), or its length.
func countFiles(pid int) uint64 {
	path := procPath(pid, "fd")
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0
	}
	if st.Size > 0 {
		return uint64(st.Size)
	}
	names, _ := readNames(path) // it may not be looked into
	return uint64(len(names))
}

// number reads digits, to the first that is none.
func number(digits []byte) (n uint64) {
	for _, c := range digits {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + uint64(c-'0')
	}
	return n
}

// numberAfter reads the number behind a key, 0 if it is not there.
func numberAfter(text []byte, key string) uint64 {
	i := bytes.Index(text, []byte(key))
	if i < 0 {
		return 0
	}
	return number(text[i+len(key):])
}

// sumAfter adds up the numbers behind all occurrences of a key.
func sumAfter(text []byte, key string) (sum uint64) {
	for {
		i := bytes.Index(text, []byte(key))
		if i < 0 {
			return sum
		}
		text = text[i+len(key):]
		sum += number(text)
	}
}

func appendNumbers(to []int, text []byte) []int {
	for f := range bytes.FieldsSeq(text) {
		if n, err := strconv.Atoi(string(f)); err == nil && n > 0 {
			to = append(to, n)
		}
	}
	return to
}

func openProc(pid int, name string) int {
	fd, err := unix.Open(procPath(pid, name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// pread reads a file of the kernel that is open, from its beginning; nil: it cannot.
func pread(fd int, buf []byte) []byte {
	if fd < 0 {
		return nil
	}
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// readInto reads a whole file of the kernel into a buffer, which it makes larger if need
// be; nil: it cannot.
func readInto(buf *[]byte, path string) []byte {
	if path == "" {
		return nil
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	if len(*buf) == 0 {
		*buf = make([]byte, 4096)
	}
	for n := 0; ; {
		if n == len(*buf) {
			*buf = append(*buf, make([]byte, n)...)
		}
		got, err := unix.Read(fd, (*buf)[n:])
		if err != nil || got == 0 {
			return (*buf)[:n]
		}
		n += got
	}
}
