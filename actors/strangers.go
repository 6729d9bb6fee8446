package actors

import (
	"net"
	"sync"
)

// prefaceSize is how much a client of HTTP/2 says before it says anything (RFC 9113, 3.4).
const prefaceSize = 24

// strangers are connections on which not even that was said.
type strangers struct {
	mu     sync.Mutex
	closed bool
	all    map[*stranger]bool
}

// stranger is one of them, until enough was read.
type stranger struct {
	net.Conn
	of   *strangers
	read int // by one goroutine
}

// add notes a connection; what it returns is to be used.
func (s *strangers) add(conn net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &stranger{Conn: conn, of: s}
	if s.closed {
		_ = conn.Close()
		return c
	}
	if s.all == nil {
		s.all = map[*stranger]bool{}
	}
	s.all[c] = true
	return c
}

// Close closes them, and those that come later.
func (s *strangers) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.all {
		_ = c.Conn.Close()
	}
}

func (s *strangers) remove(c *stranger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
}

// Read implements net.Conn.
func (c *stranger) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.read < prefaceSize {
		if c.read += n; c.read >= prefaceSize {
			c.of.remove(c)
		}
	}
	return n, err
}

// Close implements net.Conn.
func (c *stranger) Close() error {
	c.of.remove(c)
	return c.Conn.Close()
}
