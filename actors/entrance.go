package actors

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/blackhole/bhnode/proto/client"
)

// How many connections of other machines there may be at a time.
const (
	connectionsAtOnce = 512
	connectionsOfOne  = 128 // of one certificate
	// Those that have not shown a certificate yet are bounded besides. Where there are more
	// the oldest of the address with the most makes room, so that nobody is kept out by who knocks and does not come in.
	shakingAtOnce    = 128
	shakingOfAddress = 32
)

// Entrance lets connections in, by certificate, and only so many at a time.
type Entrance struct {
	credentials.TransportCredentials // TLS that asks for a certificate
	rejections                       *Rejections

	strangers strangers // have shown a certificate, and said nothing

	mu      sync.Mutex
	closed  bool
	shaking []*knock // the oldest first
	open    map[string]int
	all     int // of open
}

// knock is a connection that has not shown a certificate yet.
type knock struct {
	from string
	conn net.Conn
}

// NewEntrance returns one around TLS, which has to ask for a certificate.
func NewEntrance(tls credentials.TransportCredentials, rejections *Rejections) *Entrance {
	return &Entrance{TransportCredentials: tls, rejections: rejections, open: map[string]int{}}
}

// ServerHandshake implements credentials.TransportCredentials. gRPC bounds its time.
func (e *Entrance) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	k := &knock{networkOf(raw), raw}
	if old := e.begin(k); old != nil {
		_ = old.conn.Close() // its handshake fails
	}
	client.NoticeDeath(raw)
	conn, info, err := e.TransportCredentials.ServerHandshake(raw)
	e.end(k)
	if err != nil {
		e.rejections.Note(k.from, "handshake", err.Error())
		return nil, nil, err
	}
	session, ok := info.(credentials.TLSInfo)
	if !ok || len(session.State.VerifiedChains) == 0 {
		return nil, nil, errors.Join(errors.New("the peer shows no certificate of our CA"), conn.Close())
	}
	owner := string(session.State.PeerCertificates[0].RawSubjectPublicKeyInfo)
	if !e.enter(owner) {
		e.rejections.Note(k.from, "connections", "there are too many connections already")
		return nil, nil, errors.Join(errors.New("too many connections"), conn.Close())
	}
	over := time.AfterFunc(time.Until(session.State.PeerCertificates[0].NotAfter), func() {
		e.rejections.Note(k.from, "certificate", "its certificate has ended")
		_ = conn.Close()
	})
	return &counted{Conn: e.strangers.add(conn), left: sync.OnceFunc(func() { over.Stop(); e.leave(owner) })}, session, nil
}

// Clone implements credentials.TransportCredentials. There is one entrance for all
// connections.
func (e *Entrance) Clone() credentials.TransportCredentials { return e }

// begin notes a connection, and returns the one that has to make room for it.
func (e *Entrance) begin(k *knock) (old *knock) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return k
	}
	of, most := map[string]int{}, k.from
	for _, o := range e.shaking {
		if of[o.from]++; of[o.from] > of[most] {
			most = o.from
		}
	}
	if of[k.from] >= shakingOfAddress || len(e.shaking) >= shakingAtOnce {
		if of[k.from] >= shakingOfAddress {
			most = k.from
		}
		at := slices.IndexFunc(e.shaking, func(o *knock) bool { return o.from == most })
		old = e.shaking[at]
		e.shaking = slices.Delete(e.shaking, at, at+1)
	}
	e.shaking = append(e.shaking, k)
	return old
}

// Close ends the connections that have not come in, and those that come later: gRPC waits
// for them when it stops.
func (e *Entrance) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.strangers.Close()
	e.closed = true
	for _, k := range e.shaking {
		_ = k.conn.Close()
	}
}

func (e *Entrance) end(k *knock) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shaking = slices.DeleteFunc(e.shaking, func(o *knock) bool { return o == k })
}

func (e *Entrance) enter(owner string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all >= connectionsAtOnce || e.open[owner] >= connectionsOfOne {
		return false
	}
	e.all++
	e.open[owner]++
	return true
}

func (e *Entrance) leave(owner string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all--
	if e.open[owner]--; e.open[owner] == 0 {
		delete(e.open, owner)
	}
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

// networkOf is where a connection comes from: an address, of IPv6 the network, as who has
// one has all of it (RFC 6177).
func networkOf(conn net.Conn) string {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return conn.RemoteAddr().String()
	}
	host := at.Addr().Unmap()
	if host.Is4() {
		return host.String()
	}
	network, err := host.WithZone("").Prefix(64)
	if err != nil {
		return host.String()
	}
	return network.String()
}
