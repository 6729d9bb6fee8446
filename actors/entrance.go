package actors

import (
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"

	"github.com/blackhole/bhnode/proto/client"
)

// How many connections of other machines there may be at a time. Those that have not shown
// a certificate yet are bounded for each address, too, so that one machine that opens them
// by the hundred does not keep the others out.
const (
	connectionsAtOnce = 512
	shakingAtOnce     = 128
	shakingOfAddress  = 32
)

// Entrance lets connections in, by certificate, and only so many at a time.
type Entrance struct {
	credentials.TransportCredentials // TLS that asks for a certificate
	rejections                       *Rejections

	mu      sync.Mutex
	open    int
	shaking map[string]int // connections that have not shown a certificate yet, by address
	all     int            // of shaking
}

// NewEntrance returns one around TLS, which has to ask for a certificate.
func NewEntrance(tls credentials.TransportCredentials, rejections *Rejections) *Entrance {
	return &Entrance{TransportCredentials: tls, rejections: rejections, shaking: map[string]int{}}
}

// ServerHandshake implements credentials.TransportCredentials. gRPC bounds its time.
func (e *Entrance) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	from := hostOf(raw)
	if !e.enter(from) {
		e.rejections.Note(from, "connections", "there are too many connections already")
		return nil, nil, errors.Join(errors.New("too many connections"), raw.Close())
	}
	client.NoticeDeath(raw)
	conn, info, err := e.TransportCredentials.ServerHandshake(raw)
	e.shaken(from, err == nil)
	if err != nil {
		e.rejections.Note(from, "handshake", err.Error())
		return nil, nil, err
	}
	session, ok := info.(credentials.TLSInfo)
	if !ok || len(session.State.VerifiedChains) == 0 {
		e.left()
		return nil, nil, errors.Join(errors.New("the peer shows no certificate of our CA"), conn.Close())
	}
	return &counted{Conn: conn, left: sync.OnceFunc(e.left)}, session, nil
}

// Clone implements credentials.TransportCredentials. There is one entrance for all
// connections.
func (e *Entrance) Clone() credentials.TransportCredentials { return e }

func (e *Entrance) enter(from string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.open >= connectionsAtOnce || e.all >= shakingAtOnce || e.shaking[from] >= shakingOfAddress {
		return false
	}
	e.open++
	e.all++
	e.shaking[from]++
	return true
}

func (e *Entrance) shaken(from string, in bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all--
	if e.shaking[from]--; e.shaking[from] == 0 {
		delete(e.shaking, from)
	}
	if !in {
		e.open--
	}
}

func (e *Entrance) left() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open--
}

// counted is a connection whose end is noted.
type counted struct {
	net.Conn
	left func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.left()
	return c.Conn.Close()
}

func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	return host
}
