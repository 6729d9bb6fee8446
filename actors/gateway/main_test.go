package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/blackhole/bhnode/actors"
)

// The gateway of all tests: protoactor's remote replaces the logger of gRPC when it starts,
// which must come before anything uses it.
var (
	shared     *Gateway
	rejections *actors.Rejections
	api        = &fakeNode{events: map[string]chan fakeEvents{}}
	ca         = newAuthority("the CA")
	own        string
	logged     = &lines{}

	mu    sync.Mutex
	peers []Peer // not used by a test yet
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	addresses := freeAddresses(100)
	own = addresses[0]
	for i, address := range addresses[1:] {
		peers = append(peers, Peer{Name: fmt.Sprintf("peer%d.example", i), Role: "viewer", Address: address})
	}
	peers[0].Name = "spiffe://example/fleet"
	rejections = actors.NewRejections(zerolog.New(logged), nil)
	var err error
	shared, err = start(Options{
		Listen: own, Peers: peers, Node: api, Build: "v1", Rejections: rejections, Log: zerolog.New(logged), sendTime: 3 * time.Second,
		Server: &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ca.issue(host, time.Hour)},
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.pool(), NextProtos: []string{"h2"},
		},
		Client: func() (*tls.Config, error) {
			return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{ca.issue(host, time.Hour)}, RootCAs: ca.pool()}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	code := m.Run()
	shared.stop()
	if err := goleak.Find(goleak.IgnoreTopFunction("github.com/asynkron/protoactor-go/actor.NewThrottle.func1")); err != nil && code == 0 {
		fmt.Println(err)
		return 1
	}
	return code
}

// takePeer returns a peer that no other test uses.
func takePeer(t *testing.T) *Peer {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if len(peers) == 0 {
		t.Fatal("there are not enough peers")
	}
	name := peers[0].Name
	peers = peers[1:]
	return shared.gate.peers[name]
}

// host is a loopback address of this process alone, so that nobody else takes the ports.
var host = fmt.Sprintf("127.%d.%d.1", 1+os.Getpid()%250, 1+os.Getpid()/250%250)

// freeAddresses are different from each other.
func freeAddresses(n int) (all []string) {
	for range n {
		l, err := net.Listen("tcp", host+":0")
		if err != nil {
			panic(err)
		}
		defer func() { _ = l.Close() }()
		all = append(all, l.Addr().String())
	}
	return all
}

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

var _ io.Writer = (*lines)(nil)

// authority makes certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) *authority {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a := &authority{}
	der := a.sign(template, nil, newKey())
	a.cert, _ = x509.ParseCertificate(der)
	return a
}

func newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	if parent == nil {
		parent, a.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		panic(err)
	}
	return der
}

// issue makes a certificate for a name, which ends after life, in the past if it is negative.
func (a *authority) issue(name string, life time.Duration) tls.Certificate {
	key := newKey()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
	}
	addName(template, name)
	return tls.Certificate{Certificate: [][]byte{a.sign(template, a.cert, key)}, PrivateKey: key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}
