package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// notifyMax is the longest datagram read; a longer one is ignored, as systemd does.
const notifyMax = 4096

// NotifySocket receives what a service says by sd_notify(3). READY=1 and STATUS= are
// heard; every other variable is ignored, and descriptors sent along are never received.
type NotifySocket struct {
	conn *net.UnixConn
	path string
	done chan struct{} // the reader has ended

	mu       sync.Mutex
	senderOK func(pid int) bool
	status   string
	isReady  bool
	ready    chan struct{}
}

// ListenNotify makes the socket at path, in the place of one left by a dead bhnode.
// Anybody who can enter the directory can write to it.
func ListenNotify(path string) (*NotifySocket, error) {
	if err := removeSocket(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		}); cerr != nil {
			return cerr
		}
		return err
	}}
	pc, err := lc.ListenPacket(context.Background(), "unixgram", path)
	if err != nil {
		return nil, fmt.Errorf("cannot make the notify socket: %w", err)
	}
	conn, ok := pc.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("cannot make the notify socket: a %T", pc), pc.Close())
	}
	// The service's user must be able to write; its directory keeps the others out.
	if err := os.Chmod(path, 0o666); err != nil { //nolint:gosec // the directory is the guard
		return nil, errors.Join(fmt.Errorf("cannot make the notify socket: %w", err), conn.Close(), os.Remove(path))
	}
	n := &NotifySocket{conn: conn, path: path, done: make(chan struct{}), ready: make(chan struct{})}
	go n.read()
	return n, nil
}

// Path returns where the socket is: the value of NOTIFY_SOCKET.
func (n *NotifySocket) Path() string { return n.path }

// Ready returns a channel that is closed once READY=1 was received.
func (n *NotifySocket) Ready() <-chan struct{} { return n.ready }

// Status returns the last STATUS= text.
func (n *NotifySocket) Status() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status
}

// SenderOK has only messages heard of senders that ok approves; without it all are.
func (n *NotifySocket) SenderOK(ok func(pid int) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.senderOK = ok
}

// Close ends the reader and removes the socket; a second call does nothing.
func (n *NotifySocket) Close() error {
	err := n.conn.Close()
	<-n.done
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	if rerr := os.Remove(n.path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}

// read hears messages until the socket is closed.
func (n *NotifySocket) read() {
	defer close(n.done)
	buf := make([]byte, notifyMax)
	// Room for the credentials and nothing else: the kernel then drops descriptors.
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		size, oobn, flags, _, err := n.conn.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		if flags&unix.MSG_TRUNC == 0 {
			n.hear(senderPid(oob[:oobn]), string(buf[:size]))
		}
	}
}

// hear takes in one message.
func (n *NotifySocket) hear(pid int, msg string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.senderOK != nil && !n.senderOK(pid) {
		return
	}
	for line := range strings.SplitSeq(msg, "\n") {
		if text, ok := strings.CutPrefix(line, "STATUS="); ok {
			n.status = strings.ToValidUTF8(text, "\uFFFD")
		}
		if line == "READY=1" && !n.isReady {
			n.isReady = true
			close(n.ready)
		}
	}
}

// senderPid returns the pid in a control message, 0 if there is none.
func senderPid(oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return 0
	}
	for i := range msgs {
		if cred, err := unix.ParseUnixCredentials(&msgs[i]); err == nil {
			return int(cred.Pid)
		}
	}
	return 0
}

// removeSocket removes a socket that lies at path, and nothing else.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("cannot make the notify socket: %s is there and no socket", path)
	}
	return os.Remove(path)
}
