package actors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// peerCredentials lets the kernel say who is at the other end of a unix socket
// (unix(7), SO_PEERCRED).
type peerCredentials struct {
	access    Access
	strangers *strangers
}

// peerInfo is what a connection says about its peer. Who may do nothing is answered
// call by call, as a connection that is just closed says nothing.
type peerInfo struct {
	credentials.CommonAuthInfo
	who    string
	role   Role
	remote bool   // who it is a certificate says
	from   string // the address of a remote one
	own    bool   // root or our own user, who may call for others
	access Access
}

// AuthType implements credentials.AuthInfo.
func (p peerInfo) AuthType() string {
	if p.remote {
		return "tls"
	}
	return "unix peer"
}

// ServerHandshake implements credentials.TransportCredentials.
func (c peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	uid, err := uidOf(conn)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return c.strangers.add(conn), peerInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		who:            fmt.Sprintf("uid %d", uid), role: c.access.OfUser(uid), access: c.access, own: uid == 0 || uid == os.Geteuid(),
	}, nil
}

// certCredentials lets a certificate say who is at the other end of a TLS connection.
type certCredentials struct {
	credentials.TransportCredentials
	access Access
}

// ServerHandshake implements credentials.TransportCredentials.
func (c certCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		return nil, nil, err
	}
	session, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil, nil, errors.Join(errors.New("the peer shows no certificate"), conn.Close())
	}
	name, role := c.access.ofCertificate(session.State.PeerCertificates[0])
	return conn, peerInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		who:            "certificate " + name, role: role, remote: true, from: conn.RemoteAddr().String(), access: c.access,
	}, nil
}

// Clone implements credentials.TransportCredentials.
func (c certCredentials) Clone() credentials.TransportCredentials {
	return certCredentials{c.TransportCredentials.Clone(), c.access}
}

func (s *Control) admitUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (_ any, err error) {
	if err := s.admit(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	defer s.contain(&err)
	return handle(ctx, request)
}

func (s *Control) admitStream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) (err error) {
	if err := s.admit(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	defer s.contain(&err)
	return handle(server, stream)
}

func (s *Control) admit(ctx context.Context, method string) error {
	err := admit(ctx, method)
	if err != nil {
		peer := "unknown"
		if info, ok := peerOf(ctx); ok {
			peer = info.who
		}
		s.rejections.Note(peer, "denied", status.Convert(err).Message())
	}
	return err
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
