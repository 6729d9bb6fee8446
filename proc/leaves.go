package proc

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leafPrefix begins the name of a leaf; the rest is the number of the incarnation that it was
// made for.
const leafPrefix = "run-"

// tenant is the attribute of a leaf that tells the number of the incarnation that it is of, if
// that is not the first one in it (xattr(7); Linux 5.7 and later have them for groups).
const tenant = "user.bhnode.incarnation"

func leafOf(dir string, incarnation uint64) string {
	return filepath.Join(dir, leafPrefix+strconv.FormatUint(incarnation, 10))
}

// incarnationOf tells the incarnation that a leaf is of; false: it is no leaf.
func incarnationOf(leaf string) (uint64, bool) {
	number, ok := strings.CutPrefix(filepath.Base(leaf), leafPrefix)
	if !ok {
		return 0, false
	}
	var said [20]byte
	if n, err := unix.Getxattr(leaf, tenant, said[:]); err == nil {
		number = string(said[:n])
	}
	n, err := strconv.ParseUint(number, 10, 64)
	return n, err == nil
}

// spares are bare leaves that were left empty and that bhnode has not killed, by service directory.
// To make a group and to remove it are the dearest steps of a restart, so the next incarnation
// moves in.
// What has an account of memory is fresh for each: what the last one has left there would count
// against the next.
type spares struct {
	mu   sync.Mutex
	kept map[string]spare
}

// mostSpares are kept, as a service may be over for good.
const mostSpares = 512

type spare struct {
	leaf string
	ran  time.Duration // what it has used of processors so far
}

// take returns the leaf for an incarnation, and what was used of processors in it before; a
// fresh one where none was kept, or where it cannot be told whose it is.
func (s *spares) take(dir string, incarnation uint64) (spare, error) {
	s.mu.Lock()
	kept, had := s.kept[dir]
	delete(s.kept, dir)
	s.mu.Unlock()
	if had {
		if unix.Setxattr(kept.leaf, tenant, strconv.AppendUint(nil, incarnation, 10), 0) == nil {
			return kept, nil
		}
		_ = removeGroups(kept.leaf)
	}
	leaf, err := freshLeaf(dir, incarnation)
	return spare{leaf: leaf}, err
}

// keep keeps the leaf of a group whose incarnation is over; false: it is not as it was made.
func (s *spares) keep(g *group) bool {
	if s == nil || g.wiped.Load() || g.ran == 0 {
		return false
	}
	var st unix.Stat_t
	if unix.Stat(g.leaf, &st) != nil || st.Nlink != linksOfNoSubgroup || int(st.Uid) != os.Geteuid() {
		return false
	}
	var room [256]byte
	said, err := g.files.read(g.leaf, eventsFile, room[:])
	if err != nil || !bytes.Contains(said, []byte("populated 0")) || !bytes.Contains(said, []byte("frozen 0")) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == mostSpares {
		return false
	}
	s.kept[filepath.Dir(g.leaf)] = spare{g.leaf, g.ran}
	return true
}

// errTrap says that a process was killed as it was born.
var errTrap = errors.New("the kernel kills what is born into its group")

// sprung tells whether a child that was just forked was killed as it was born, and takes its
// status then. After a write to the cgroup.kill of a group, or of one above it, Linux 6.14 and
// later kill all that is cloned into it.
func (g *group) sprung(pid int) bool {
	if g == nil || g.ranBefore == 0 { // its leaf is fresh
		return false
	}
	var program [1]byte
	if _, err := unix.Readlink(procPath(pid, "exe"), program[:]); !errors.Is(err, unix.ENOENT) {
		return false // it has one, so it lives
	}
	if st, err := readStat(pid); err != nil || st.threads > 1 || st.comm != ownName() {
		return false // its main thread has ended, but others live; or it has been another program
	}
	err := error(unix.EINTR)
	for errors.Is(err, unix.EINTR) {
		err = unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) // it is just ending
	}
	if status, known := zombieStatus(pid); err != nil || !known || status.Signal() != syscall.SIGKILL {
		return false
	}
	_, err = syscall.Wait4(pid, nil, 0, nil)
	return err == nil
}

// ownName is what a child of ours is called until it becomes another program.
var ownName = sync.OnceValue(func() string {
	st, err := readStat(os.Getpid())
	if err != nil {
		return ""
	}
	return st.comm
})

// renew puts a fresh leaf in the place of one that is a trap.
func (g *group) renew(incarnation uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.files.close()
	if err := removeGroups(g.leaf); err != nil {
		return err
	}
	leaf, err := freshLeaf(filepath.Dir(g.leaf), incarnation)
	if err != nil {
		return err
	}
	g.enter = append(g.enter[:len(g.enter)-1:len(g.enter)-1], leaf)
	g.leaf, g.ranBefore = leaf, 0
	return nil
}

// linksOfNoSubgroup are those of a directory that none is in: each would add one.
const linksOfNoSubgroup = 2

// freshLeaf makes the leaf of an incarnation, afresh where a start has not given it back.
// The directory of the service, which holds nobody, stays until bhnode ends.
func freshLeaf(dir string, incarnation uint64) (string, error) {
	leaf := leafOf(dir, incarnation)
	const mode = 0o755 // as all of cgroupfs
	err := unix.Mkdir(leaf, mode)
	switch {
	case errors.Is(err, unix.ENOENT): // the first one
		err = os.MkdirAll(dir, mode)
	case errors.Is(err, unix.EEXIST):
		err = removeGroups(leaf)
	default:
		return leaf, os.NewSyscallError("mkdir "+leaf, err)
	}
	if err != nil {
		return "", err
	}
	return leaf, os.NewSyscallError("mkdir "+leaf, unix.Mkdir(leaf, mode))
}

// findLeaf returns the leaf of an incarnation, "" if there is none.
func findLeaf(dir string, incarnation uint64) string {
	for _, name := range subgroups(dir) {
		leaf := filepath.Join(dir, name)
		if n, ok := incarnationOf(leaf); ok && n == incarnation {
			return leaf
		}
	}
	return ""
}
