package client

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// A peer that is gone without a word is noticed by TCP itself, whatever program the peer is
// (tcp(7): TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT).
const (
	silence      = 15 * time.Second
	probeEvery   = 5 * time.Second
	probes       = 3
	unackedAfter = 30 * time.Second
)

// NoticeDeath has a TCP connection fail within 30 s once nothing comes of the peer's machine
// any more, be it that it is gone or that a cable was cut. It does nothing to other
// connections.
func NoticeDeath(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: silence, Interval: probeEvery, Count: probes})
	if raw, err := tcp.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedAfter.Milliseconds()))
		})
	}
}
