package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeNode is a node that says its name and forbids the rest.
type fakeNode struct {
	bhnodev1.UnimplementedNodeServer
}

func (fakeNode) GetNode(context.Context, *bhnodev1.GetNodeRequest) (*bhnodev1.GetNodeResponse, error) {
	return &bhnodev1.GetNodeResponse{Name: "node-1"}, nil
}

func (fakeNode) Shutdown(context.Context, *bhnodev1.ShutdownRequest) (*bhnodev1.ShutdownResponse, error) {
	return nil, status.Error(codes.PermissionDenied, "a viewer may not shut a node down")
}

// serveOn runs a fake node on a listener until the returned function is called.
func serveOn(lis net.Listener, options ...grpc.ServerOption) (stop func()) {
	server := grpc.NewServer(options...)
	bhnodev1.RegisterNodeServer(server, fakeNode{})
	go func() { _ = server.Serve(lis) }()
	return server.Stop
}

// shortDir is a directory whose paths fit into a socket address.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	lis, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lis.Close() })
	return lis
}

func dial(t *testing.T, o Options) *Client {
	t.Helper()
	c, err := Dial(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestDialSocket(t *testing.T) {
	socket := filepath.Join(shortDir(t), "bhnode.sock")
	stop := serveOn(listen(t, "unix", socket))
	defer stop()
	c := dial(t, Options{Socket: socket})
	node, err := c.GetNode(t.Context(), &bhnodev1.GetNodeRequest{})
	if err != nil || node.GetName() != "node-1" {
		t.Fatalf("got %v, %v, want node-1", node, err)
	}
	_, err = c.Shutdown(t.Context(), &bhnodev1.ShutdownRequest{})
	checkKind(t, err, false, true)
	stop()
	_, err = c.GetNode(t.Context(), &bhnodev1.GetNodeRequest{})
	checkKind(t, err, true, false)
}

// checkKind fails unless err is of one of the two kinds that callers act on.
func checkKind(t *testing.T, err error, noNode, denied bool) {
	t.Helper()
	if err == nil {
		t.Fatal("got no error")
	}
	if got := IsNoNode(err); got != noNode {
		t.Errorf("IsNoNode(%v): got %v, want %v", err, got, noNode)
	}
	if got := IsDenied(err); got != denied {
		t.Errorf("IsDenied(%v): got %v, want %v", err, got, denied)
	}
}

func TestNobodyAnswers(t *testing.T) {
	dir := shortDir(t)
	stale := filepath.Join(dir, "stale.sock")
	lis := listen(t, "unix", stale)
	lis.(*net.UnixListener).SetUnlinkOnClose(false)
	tcp := listen(t, "tcp", "127.0.0.1:0")
	for _, open := range []net.Listener{lis, tcp} {
		if err := open.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, o := range map[string]Options{
		"no socket":    {Socket: filepath.Join(dir, "none.sock")},
		"stale socket": {Socket: stale},
		"closed port":  {Address: tcp.Addr().String(), TLS: &tls.Config{MinVersion: tls.VersionTLS13}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(o)
			checkKind(t, err, true, false)
			if !strings.Contains(err.Error(), "no node answers at "+o.Socket+o.Address) {
				t.Errorf("got %q, want the address in it", err)
			}
		})
	}
}

func TestOptionsThatNameNoNode(t *testing.T) {
	for name, o := range map[string]Options{
		"nothing":     {},
		"both":        {Socket: "a", Address: "b:1"},
		"without TLS": {Address: "127.0.0.1:1"},
		"no port":     {Address: "127.0.0.1", TLS: &tls.Config{MinVersion: tls.VersionTLS13}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Dial(o)
			checkKind(t, err, false, false)
		})
	}
}

// TestPeer asks as if the caller were another user: only root is trusted by all.
func TestPeer(t *testing.T) {
	socket := filepath.Join(shortDir(t), "bhnode.sock")
	listen(t, "unix", socket)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer := conn.(*net.UnixConn)
	me := os.Geteuid()
	if err := checkPeer(peer, socket, me); err != nil {
		t.Errorf("own socket: got %v", err)
	}
	err = checkPeer(peer, socket, me+1)
	if me == 0 && err != nil {
		t.Errorf("root's socket: got %v", err)
	}
	if me != 0 {
		checkKind(t, err, false, true)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := checkPeer(peer, socket, me); err == nil {
		t.Error("a peer that cannot be asked: got no error")
	}
}

func TestTrusted(t *testing.T) {
	for _, tc := range []struct {
		peer uint32
		uid  int
		want bool
	}{{0, 0, true}, {0, 1000, true}, {1000, 1000, true}, {1001, 1000, false}, {1000, 0, false}} {
		if got := trusted(tc.peer, tc.uid); got != tc.want {
			t.Errorf("peer %d, own uid %d: got %v, want %v", tc.peer, tc.uid, got, tc.want)
		}
	}
}

func TestDeniedErrorKeepsItsCause(t *testing.T) {
	err := error(&deniedError{"x may not be opened", fs.ErrPermission})
	checkKind(t, err, false, true)
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("got %v, want its cause in it", err)
	}
}

// certificate returns a self-signed certificate for 127.0.0.1 and what trusts it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "node"},
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestDialAddress(t *testing.T) {
	cert, pool := certificate(t)
	mutual := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	}
	lis := listen(t, "tcp", "127.0.0.1:0")
	defer serveOn(lis, grpc.Creds(credentials.NewTLS(mutual)))()
	for _, tc := range []struct {
		name   string
		config *tls.Config
		denied bool
	}{
		{"both certificates", &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{cert}}, false},
		{"no certificate of ours", &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}, true},
		{"a node of another name", &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{cert}, ServerName: "other"}, true},
		{"a node we do not trust", &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert}}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Dial(Options{Address: lis.Addr().String(), TLS: tc.config})
			if tc.denied {
				checkKind(t, err, false, true)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.GetNode(t.Context(), &bhnodev1.GetNodeRequest{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestWhatSpeaksNoTLSIsNoNode(t *testing.T) {
	lis := listen(t, "tcp", "127.0.0.1:0")
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("220 ready\r\n"))
			_ = conn.Close()
		}
	}()
	_, err := Dial(Options{Address: lis.Addr().String(), TLS: &tls.Config{MinVersion: tls.VersionTLS13}})
	checkKind(t, err, true, false)
}
