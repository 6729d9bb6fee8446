package client

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// checkPeer makes sure that whoever listens on the socket is root or uid, the
// caller's own.
func checkPeer(conn *net.UnixConn, path string, uid int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot ask who listens on %s: %w", path, err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) { cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, credErr); err != nil {
		return fmt.Errorf("cannot ask who listens on %s: %w", path, err)
	}
	if !trusted(cred.Uid, uid) {
		return &deniedError{what: fmt.Sprintf("%s is the socket of user %d, neither root's nor yours", path, cred.Uid)}
	}
	return nil
}

// trusted says whether a socket of user peer may be talked to by user uid.
func trusted(peer uint32, uid int) bool { return peer == 0 || int(peer) == uid }
