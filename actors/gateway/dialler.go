package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/proto/client"
)

// dialTime is how long a peer may take to let us in.
const dialTime = 5 * time.Second

// numberHeader carries the number of a message of ours, so that it is known when it went.
const numberHeader = "bhnode-number"

// dialler is how protoactor's remote makes connections to peers, and to nobody else.
type dialler struct {
	peers map[string]*Peer // by their address
	tls   func() (*tls.Config, error)
	sent  func(address string, number uint64, err error) // gRPC has taken a message
	lost  func(address string)                           // the stream to a peer has ended, or did not begin
	// failed says that a stream did not begin, or was ended before it had.
	failed func(address string, err error)

	mu      sync.Mutex
	streams map[string]*outward // the last one to an address
}

func (d *dialler) options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(&peerTLS{d}),
		grpc.WithContextDialer(d.dial),
		grpc.WithStreamInterceptor(d.stream),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: dialTime}),
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxPayload), grpc.MaxCallSendMsgSize(maxMessage+maxPayload)),
	}
}

// dial dials the address of a peer, and no other.
func (d *dialler) dial(ctx context.Context, address string) (net.Conn, error) {
	if d.peers[address] == nil {
		return nil, fmt.Errorf("%s is not dialled: it is nobody's remote_address", address)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err == nil {
		client.NoticeDeath(conn)
	}
	return conn, err
}

// stream notes what goes to a peer, and can be ended with cut.
func (d *dialler) stream(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
	o := &outward{dialler: d, address: conn.Target()}
	ctx, o.cancel = context.WithCancel(ctx)
	d.cut(o.address)
	d.mu.Lock()
	d.streams[o.address] = o
	d.mu.Unlock()
	var err error
	if o.ClientStream, err = streamer(ctx, desc, conn, method, options...); err != nil {
		d.failed(o.address, err)
		d.end(o)
		return nil, err
	}
	return o, nil
}

// cut ends what goes to a peer, be it that the peer does not read.
func (d *dialler) cut(address string) {
	d.mu.Lock()
	o := d.streams[address]
	delete(d.streams, address)
	d.mu.Unlock()
	if o != nil {
		o.cancel()
	}
}

// end notes that a stream has ended, unless it was cut or another one took its place.
func (d *dialler) end(o *outward) {
	d.mu.Lock()
	current := d.streams[o.address] == o
	if current {
		delete(d.streams, o.address)
	}
	d.mu.Unlock()
	o.cancel()
	if current {
		d.lost(o.address)
	}
}

// outward is the stream to a peer.
type outward struct {
	grpc.ClientStream
	dialler *dialler
	address string
	cancel  context.CancelFunc
}

// SendMsg implements grpc.ClientStream.
func (o *outward) SendMsg(m any) error {
	err := o.ClientStream.SendMsg(m)
	message, ok := m.(*remote.RemoteMessage)
	if !ok {
		return err
	}
	for _, e := range message.GetMessageBatch().GetEnvelopes() {
		if number, parseErr := strconv.ParseUint(e.GetMessageHeader().GetHeaderData()[numberHeader], 10, 64); parseErr == nil {
			o.dialler.sent(o.address, number, err)
		}
	}
	return err
}

// RecvMsg implements grpc.ClientStream.
func (o *outward) RecvMsg(m any) error {
	err := o.ClientStream.RecvMsg(m)
	if err != nil {
		o.dialler.end(o)
	}
	return err
}

// peerTLS is TLS to peers, each of which has to show its own certificate.
type peerTLS struct{ dialler *dialler }

// ClientHandshake implements credentials.TransportCredentials.
func (t *peerTLS) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	p := t.dialler.peers[authority]
	if p == nil {
		return nil, nil, fmt.Errorf("%s is nobody's remote_address", authority)
	}
	config, err := t.dialler.tls()
	if err != nil {
		return nil, nil, err
	}
	roots := config.RootCAs
	config = config.Clone()
	config.NextProtos = []string{"h2"}
	config.InsecureSkipVerify = true // what it verifies is the name that was dialled
	config.VerifyConnection = func(state tls.ConnectionState) error { return p.verify(state, roots) }
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, raw)
}

// verify checks that somebody shows the peer's certificate, of our CA.
func (p *Peer) verify(state tls.ConnectionState, roots *x509.CertPool) error {
	between := x509.NewCertPool()
	for _, cert := range state.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	cert := state.PeerCertificates[0]
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	if !slices.Contains(actors.NamesOf(cert), p.Name) {
		return fmt.Errorf("the certificate at %s is not for %s", p.Address, p.Name)
	}
	return nil
}

// ServerHandshake implements credentials.TransportCredentials; a server is never made
// with it.
func (*peerTLS) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these are the credentials of a client")
}

// Info implements credentials.TransportCredentials.
func (*peerTLS) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (t *peerTLS) Clone() credentials.TransportCredentials { return t }

// OverrideServerName implements credentials.TransportCredentials.
func (*peerTLS) OverrideServerName(string) error { return nil }
