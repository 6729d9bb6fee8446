package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// target is where and how a node is dialled.
type target struct {
	network, address string
	host             string      // whom the node's certificate has to name
	tls              *tls.Config // nil: a unix socket
}

func targetOf(o Options) (target, error) {
	switch {
	case (o.Socket == "") == (o.Address == ""):
		return target{}, errors.New("one of a socket and an address is needed")
	case o.Socket != "":
		return target{network: "unix", address: o.Socket, host: "localhost"}, nil
	case o.TLS == nil:
		return target{}, fmt.Errorf("address %s: TLS is needed", o.Address)
	}
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return target{}, fmt.Errorf("address %s: not HOST:PORT", o.Address)
	}
	config := o.TLS.Clone()
	if config.ServerName == "" {
		config.ServerName = host
	}
	config.NextProtos = []string{"h2"}
	return target{network: "tcp", address: o.Address, host: host, tls: config}, nil
}

// credentials are what gRPC does on a connection that dial returned.
func (t target) credentials() credentials.TransportCredentials {
	if t.tls == nil {
		return insecure.NewCredentials() // dial has checked the peer
	}
	return credentials.NewTLS(t.tls)
}

// dial returns a connection to a peer that may be talked to. The address gRPC passes
// is not used.
func (t target) dial(ctx context.Context, _ string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, t.network, t.address)
	if errors.Is(err, fs.ErrPermission) {
		return nil, &deniedError{t.address + " may not be opened", err}
	}
	if err != nil {
		return nil, &noNodeError{t.address, err}
	}
	NoticeDeath(conn)
	if unix, ok := conn.(*net.UnixConn); ok {
		if err := checkPeer(unix, t.address, os.Geteuid()); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// check connects once, to find out whether a node answers and lets us in.
func (t target) check(ctx context.Context) error {
	conn, err := t.dial(ctx, "")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if t.tls == nil {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return &noNodeError{t.address, err}
		}
	}
	session := tls.Client(conn, t.tls)
	if err = session.HandshakeContext(ctx); err == nil {
		// With TLS 1.3 the node's refusal of our certificate comes after the handshake,
		// in place of the first frame. Writing before it is read could lose it.
		_, err = session.Read(make([]byte, 1))
	}
	switch {
	case err == nil:
		return nil
	case isRefusal(err):
		return &deniedError{"the node at " + t.address + " and we do not trust each other", err}
	default:
		return &noNodeError{t.address, err}
	}
}

// isRefusal says whether one side of a TLS connection refused the other.
func isRefusal(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" // an alert of the other side
}
