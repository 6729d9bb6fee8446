// Package keep is the life of this program as a keeper: a small process that holds the
// reading ends of all output pipes of a node a second time. What a service has written and
// nobody has read is gone with the last descriptor of its pipe; so if bhnode is killed and
// a service ends before the next bhnode runs, its last lines are still here.
//
// While bhnode lives the keeper only takes descriptors and gives them back. When it is
// killed, the keeper waits for the next bhnode, which finds the pipes in /proc/PID/fd and
// ends it, or until nothing is left that could be read.
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

// Socket is its end of the socket, of type SOCK_SEQPACKET, that it gets messages from.
const Socket = 3

// The messages: a letter, and the inodes of the pipes in eight bytes each.
const (
	Hold = 'h' // with their descriptors
	Drop = 'd'
)

// Most is how many pipes a message is about, at most.
const Most = 64

const (
	inodeSize   = 8
	lookSeconds = 2
	napTime     = 5_000_000 // nanoseconds
	pollHangUp  = 0x10      // POLLHUP of poll(2), which is reported unasked
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

// serve does as it is told until bhnode is gone. What waits in the socket is held already, so
// after each look it naps: to be woken for each of a thousand starts would slow them down.
func (k *keeper) serve() {
	text := make([]byte, 1+Most*inodeSize)
	control := make([]byte, syscall.CmsgSpace(Most*4))
	flags := 0
	for {
		n, m, _, _, err := syscall.Recvmsg(Socket, text, control, syscall.MSG_CMSG_CLOEXEC|flags)
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			flags = 0
		case n <= 0 || err != nil:
			return
		default:
			if k.obey(text[:n], control[:m]); flags == 0 {
				nap := syscall.Timespec{Nsec: napTime}
				_ = syscall.Nanosleep(&nap, nil)
			}
			flags = syscall.MSG_DONTWAIT
		}
	}
}

func (k *keeper) obey(text, control []byte) {
	fds := descriptors(control)
	for i := 0; 1+(i+1)*inodeSize <= len(text); i++ {
		inode := inodeAt(text[1+i*inodeSize:])
		switch {
		case text[0] == Drop:
			k.drop(inode)
		case text[0] == Hold && i < len(fds):
			k.drop(inode)
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
