package proc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/proc/keep"
)

const (
	keeperFile     = "keeper" // in the runtime directory: its pid and start time
	envKeeper      = "BHNODE_KEEPER"
	keeperPatience = 200 * time.Millisecond // that it may be slow to take something
	keeperLook     = time.Millisecond       // between two looks whether it has
	keeperWaits    = 16                     // messages, or one for so long, until it is rung
	keeperRing     = time.Second
	keeperFailsIn  = 5 * time.Second
	keeperTries    = 5
)

// keeper is the process that holds the output pipes a second time, as package keep says.
// It is started with the first of them.
type keeper struct {
	host *Host

	mu     sync.Mutex
	main   *child // nil: there is none
	socket int    // -1: there is none
	bell   int    // as that
	unread int    // messages since it rang
	later  bool   // it is to ring
	given  map[uint64]*Output
	over   []uint64 // what it is still to give back
	failed int      // keepers in a row that did not live long
	off    bool     // none is wanted, or any more
}

func newKeeper(h *Host) *keeper {
	// With on_daemon_death kill nothing outlives bhnode, as where it is the init.
	return &keeper{host: h, socket: -1, bell: -1, given: map[uint64]*Output{}, off: h.opts.KillOnDeath || os.Getpid() == 1}
}

// hold has the keeper hold pipes. That it cannot is no reason not to start a service.
func (k *keeper) hold(ctx context.Context, outputs ...*Output) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.off {
		return
	}
	for _, o := range outputs {
		if inode := o.inode(); inode != 0 {
			k.given[inode] = o
		}
	}
	var err error
	if k.main == nil {
		err = k.start(ctx)
	} else {
		err = k.give(outputs)
	}
	if err != nil && ctx.Err() == nil {
		k.host.opts.Log.Warn().Err(err).Msg("what a service writes last may be lost if it ends after bhnode was killed")
	}
}

// drop has it give pipes back, with the next ones that it gets or when it rings.
func (k *keeper) drop(outputs ...*Output) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range outputs {
		if inode := o.inode(); inode != 0 && k.given[inode] != nil {
			delete(k.given, inode)
			k.over = append(k.over, inode)
		}
	}
	switch {
	case k.socket < 0:
		k.over = nil // another one is not told of them
	case len(k.over) > 0:
		k.ringLater()
	}
}

// start starts one and gives it all there is. mu is held.
func (k *keeper) start(ctx context.Context) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	bell, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		closeAll(pair[:])
		return os.NewSyscallError("socketpair", err)
	}
	null := k.host.null.Fd()
	c, err := k.host.forkers.ask(ctx, forkRequest{
		path: "/proc/self/exe", argv: []string{"bhnode", keep.Command},
		attr: &syscall.ProcAttr{
			Env:   []string{envKeeper + "=" + k.host.instance, "GOMAXPROCS=1", "GOGC=off"},
			Files: []uintptr{null, null, null, uintptr(pair[1]), uintptr(bell[0])}, Dir: "/",
			Sys: &syscall.SysProcAttr{Setsid: true},
		},
	})
	closeAll([]int{pair[1], bell[0]})
	if err != nil {
		closeAll([]int{pair[0], bell[1]})
		return fmt.Errorf("cannot start the keeper of the output pipes: %w", err)
	}
	k.main, k.socket, k.bell = c, pair[0], bell[1]
	k.host.waits.Go(func() { k.watch(c) })
	return errors.Join(k.give(slices.Collect(maps.Values(k.given))), k.record(c))
}

// watch starts another one when it ends, as somebody has killed it.
func (k *keeper) watch(c *child) {
	<-c.exited
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.main != c {
		return
	}
	closeAll([]int{k.socket, k.bell})
	k.main, k.socket, k.bell = nil, -1, -1
	k.over, k.unread = nil, 0
	if k.failed++; time.Since(c.started) > keeperFailsIn {
		k.failed = 1
	}
	if k.off || k.failed > keeperTries {
		return // until the next service starts
	}
	if err := k.start(context.Background()); err != nil {
		k.host.opts.Log.Warn().Err(err).Msg("the keeper of the output pipes was killed, and there is no other one yet")
	}
}

// give sends it pipes, and which it is to give back. mu is held.
func (k *keeper) give(outputs []*Output) error {
	for len(outputs) > 0 || len(k.over) > 0 {
		message, fds := []byte{keep.Hold}, []int{}
		for ; len(outputs) > 0 && len(fds) < keep.Most/2; outputs = outputs[1:] {
			if inode := outputs[0].inode(); inode != 0 {
				message, fds = binary.LittleEndian.AppendUint64(message, inode), append(fds, outputs[0].fd)
			}
		}
		n := min(len(k.over), keep.Most/2)
		for _, inode := range k.over[:n] {
			message = binary.LittleEndian.AppendUint64(message, inode)
		}
		if err := k.send(message, fds); err != nil {
			return err
		}
		k.over = slices.Delete(k.over, 0, n)
	}
	return nil
}

// send puts a message into its socket, from which it is taken once it rings.
func (k *keeper) send(message []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for waited := time.Duration(0); ; waited += keeperLook {
		err := unix.Sendmsg(k.socket, message, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ETOOMANYREFS) {
			if k.unread++; k.unread >= keeperWaits {
				k.ring()
			}
			k.ringLater()
			return os.NewSyscallError("sendmsg", err)
		}
		if k.ring(); waited >= keeperPatience {
			return fmt.Errorf("the keeper of the output pipes does not answer: %w", unix.ETIMEDOUT)
		}
		time.Sleep(keeperLook)
	}
}

// ringLater has it ring before long. mu is held.
func (k *keeper) ringLater() {
	if k.later {
		return
	}
	k.later = true
	time.AfterFunc(keeperRing, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if !k.off && k.socket >= 0 { // else who follows is told all
			_ = k.give(nil)
			if k.unread > 0 {
				k.ring()
			}
		}
		k.later = false
	})
}

// ring has it take what was sent. mu is held.
func (k *keeper) ring() {
	k.unread = 0
	_ = unix.Sendmsg(k.bell, []byte{0}, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL) // full: it rings already
}

func (k *keeper) record(c *child) error {
	path := filepath.Join(k.host.opts.RuntimeDir, keeperFile)
	text := strconv.Itoa(c.pid) + " " + strconv.FormatUint(c.start, 10) + "\n"
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		return fmt.Errorf("cannot write down the keeper of the output pipes: %w", err)
	}
	return os.Rename(path+".tmp", path)
}

// end has it end, and waits for that.
func (k *keeper) end() {
	k.mu.Lock()
	c := k.main
	k.off = true
	k.mu.Unlock()
	if c != nil {
		_ = c.signal(syscall.SIGKILL) // it has nothing to do in the end
		<-c.exited
		_ = os.Remove(filepath.Join(k.host.opts.RuntimeDir, keeperFile))
	}
}

// heirloom is the keeper that the bhnode before this one has left.
type heirloom struct {
	pid   int
	start uint64
	pipes map[uint64]string // where each is to be opened anew, by inode
	late  bool              // it may not have taken yet all that was sent to it
}

// findHeirloom returns it, nil if there is none.
func findHeirloom(dir, instance string) *heirloom {
	text, err := os.ReadFile(filepath.Join(dir, keeperFile))
	if err != nil {
		return nil
	}
	l := &heirloom{}
	if _, err := fmt.Sscanf(string(text), "%d %d", &l.pid, &l.start); err != nil || !l.isIt(instance) {
		return nil
	}
	for waited := time.Duration(0); !l.knows() && waited < keeperPatience; waited += keeperLook {
		time.Sleep(keeperLook)
	}
	l.late = !l.knows()
	l.pipes = pipesOf(l.pid)
	return l
}

// knows says whether it has taken all that was sent to it: it then closes its socket.
func (l *heirloom) knows() bool {
	_, err := os.Lstat(procPath(l.pid, "fd/"+strconv.Itoa(keep.Socket)))
	return errors.Is(err, fs.ErrNotExist)
}

func (l *heirloom) isIt(instance string) bool {
	st, err := readStat(l.pid)
	if err != nil || st.dead() || st.start != l.start {
		return false
	}
	environ, err := readProc(l.pid, "environ")
	return err == nil && strings.Contains("\x00"+string(environ), "\x00"+envKeeper+"="+instance+"\x00")
}

// open opens a pipe anew, -1 if it does not hold that.
func (l *heirloom) open(inode uint64) int {
	if l == nil {
		return -1
	}
	if l.late && l.pipes[inode] == "" {
		l.pipes = pipesOf(l.pid)
	}
	return openPipe(l.pipes[inode], inode)
}

// end ends it: all that it held is held by another.
func (l *heirloom) end() {
	if l == nil {
		return
	}
	if st, err := readStat(l.pid); err == nil && st.start == l.start {
		_ = signalExactly(st, syscall.SIGKILL)
	}
}
