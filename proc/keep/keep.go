// Package keep is the life of this program as a keeper: a small process that holds the
// reading ends of all output pipes of a node a second time. What a service has written and
// nobody has read is gone with the last descriptor of its pipe; so if bhnode is killed and
// a service ends before the next bhnode runs, its last lines are still here.
//
// While bhnode lives the keeper only takes descriptors and gives them back. What is in its
// socket is held already, by the kernel, so it looks there only when its bell is rung: to be
// woken for each start would slow it down. When bhnode is killed, the keeper takes what is
// there, closes the socket, and waits for the next bhnode, which finds the pipes in
// /proc/PID/fd and ends it, or until nothing is left that could be read.
//
// As package shim it is an init that needs hardly any other package: so the process has
// no more than the memory of an empty Go program.
package keep

import (
	"syscall"
	"unsafe"

	"github.com/blackhole/bhnode/proc/resident"
	"github.com/blackhole/bhnode/proc/shim"
)

// Command is the first argument of a keeper.
const Command = "__keep"

// What it is born with: its ends of two sockets of type SOCK_SEQPACKET, one that it gets
// messages from, and one whose messages only tell it to look there.
const (
	Socket = 3
	Bell   = 4
)

// Hold begins a message: the inodes of pipes in eight bytes each. Those that come with a
// descriptor are to be held, the others to be given back.
const Hold = 'h'

// Most is how many pipes a message is about, at most.
const Most = 64

const (
	inodeSize   = 8
	lookSeconds = 2
	pollHangUp  = 0x10 // POLLHUP of poll(2), which is reported unasked
)

func init() { //nolint:gochecknoinits // only an init runs before those of all other packages
	if args := shim.OwnArgs(); len(args) < 2 || args[1] != Command {
		return
	}
	k := &keeper{held: map[uint64]int{}}
	raiseLimit()
	name := []byte("bhnode-keeper\x00")
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_NAME, uintptr(unsafe.Pointer(&name[0])), 0) //nolint:gosec // the kernel reads it
	resident.DropCode()
	k.serve()
	k.outlive()
	syscall.Exit(0)
}

// raiseLimit lets it hold two pipes of each of many services.
func raiseLimit() {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
	}
}

// keeper holds descriptors, by the inode of their pipe.
type keeper struct{ held map[uint64]int }

// serve does as it is told whenever it rings, until bhnode is gone.
func (k *keeper) serve() {
	rings := make([]byte, 1)
	text, control := make([]byte, 1+Most*inodeSize), make([]byte, syscall.CmsgSpace(Most*4)) // once: nothing is ever freed
	for {
		n, err := syscall.Read(Bell, rings)
		if err == syscall.EINTR {
			continue
		}
		k.hear(text, control)
		if n <= 0 || err != nil {
			_ = syscall.Close(Socket)
			return
		}
	}
}

// hear takes all messages that are there.
func (k *keeper) hear(text, control []byte) {
	for {
		n, m, _, _, err := syscall.Recvmsg(Socket, text, control, syscall.MSG_CMSG_CLOEXEC|syscall.MSG_DONTWAIT)
		switch {
		case err == syscall.EINTR:
		case n <= 0 || err != nil:
			return
		default:
			k.obey(text[:n], control[:m])
		}
	}
}

func (k *keeper) obey(text, control []byte) {
	fds := descriptors(control)
	for i := 0; 1+(i+1)*inodeSize <= len(text); i++ {
		inode := inodeAt(text[1+i*inodeSize:])
		if k.drop(inode); i < len(fds) {
			k.held[inode] = fds[i]
		}
	}
}

// inodeAt reads what encoding/binary's LittleEndian.PutUint64 has written.
func inodeAt(text []byte) (inode uint64) {
	for i := range inodeSize {
		inode |= uint64(text[i]) << (8 * i)
	}
	return inode
}

func descriptors(control []byte) []int {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil || len(messages) == 0 {
		return nil
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil {
		return nil
	}
	return fds
}

func (k *keeper) drop(inode uint64) {
	if fd, ok := k.held[inode]; ok {
		_ = syscall.Close(fd)
		delete(k.held, inode)
	}
}

// outlive holds on while there is anything that was not read, or somebody who may write.
func (k *keeper) outlive() {
	for {
		for inode, fd := range k.held {
			if isOver(fd) {
				k.drop(inode)
			}
		}
		if len(k.held) == 0 {
			return
		}
		pause := syscall.Timespec{Sec: lookSeconds}
		_ = syscall.Nanosleep(&pause, nil)
	}
}

// isOver tells whether nothing is in a pipe and nobody can write to it.
func isOver(fd int) bool {
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd)} //nolint:gosec // a descriptor
	var at syscall.Timespec
	_, _, errno := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&at)), 0, 0, 0) //nolint:gosec // the kernel reads both
	if errno != 0 || p.revents&pollHangUp == 0 {
		return false
	}
	waits := int32(0)
	_, _, errno = syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCINQ, uintptr(unsafe.Pointer(&waits))) //nolint:gosec // the kernel writes it
	return errno == 0 && waits == 0
}
