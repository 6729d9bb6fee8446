package actors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// peerCredentials lets the kernel say who is at the other end of a unix socket
// (unix(7), SO_PEERCRED).
type peerCredentials struct{ allowed func(uid int) bool }

// peerInfo is what a connection says about its peer. Who is not allowed is answered
// call by call, as a connection that is just closed says nothing.
type peerInfo struct {
	credentials.CommonAuthInfo
	uid     int
	allowed bool
}

// AuthType implements credentials.AuthInfo.
func (peerInfo) AuthType() string { return "unix peer" }

func peerUID(ctx context.Context) (uid int, ok bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return 0, false
	}
	info, ok := p.AuthInfo.(peerInfo)
	return info.uid, ok
}

// ServerHandshake implements credentials.TransportCredentials.
func (c peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	uid, err := uidOf(conn)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, peerInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}, uid, c.allowed(uid)}, nil
}

// admit refuses a call of a peer that is not allowed.
func admit(ctx context.Context) error {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return status.Error(codes.PermissionDenied, "nobody may control this node unseen")
	}
	info, ok := p.AuthInfo.(peerInfo)
	if !ok || !info.allowed {
		return status.Errorf(codes.PermissionDenied, "uid %d may not control this node", info.uid)
	}
	return nil
}

func (s *Control) admitUnary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (_ any, err error) {
	if err := admit(ctx); err != nil {
		return nil, err
	}
	defer s.contain(&err)
	return handle(ctx, request)
}

func (s *Control) admitStream(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	if err := admit(stream.Context()); err != nil {
		return err
	}
	defer s.contain(&err)
	return handle(server, stream)
}

// contain makes an error of a panic: a question to the node does not end it.
func (s *Control) contain(err *error) {
	if reason := recover(); reason != nil {
		s.node.log.Error().Any("panic", reason).Bytes("stack", debug.Stack()).Msg("a call panicked")
		*err = status.Error(codes.Internal, "the call panicked; the log of bhnode has the details")
	}
}

func uidOf(conn net.Conn) (int, error) {
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errors.New("a peer can be known on a unix socket only")
	}
	raw, err := unix.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var optErr error
	if err := raw.Control(func(fd uintptr) {
		cred, optErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if optErr != nil {
		return 0, fmt.Errorf("cannot learn who the peer is: %w", optErr)
	}
	return int(cred.Uid), nil
}

// ClientHandshake implements credentials.TransportCredentials; a client is never
// made with it.
func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are the credentials of a server")
}

// Info implements credentials.TransportCredentials.
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "unix peer"}
}

// Clone implements credentials.TransportCredentials.
func (c peerCredentials) Clone() credentials.TransportCredentials { return c }

// OverrideServerName implements credentials.TransportCredentials.
func (peerCredentials) OverrideServerName(string) error { return nil }
