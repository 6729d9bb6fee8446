package actors

import (
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"google.golang.org/grpc/credentials"
)

// endless are credentials whose handshake lasts until the connection is closed.
type endless struct {
	credentials.TransportCredentials
}

func (endless) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	_, err := conn.Read(make([]byte, 1))
	return nil, nil, err
}

// from is a connection from an address.
type from struct {
	net.Conn
	address string
}

func (f from) RemoteAddr() net.Addr {
	addr, _ := net.ResolveTCPAddr("tcp", f.address)
	return addr
}

// Who opens connections and does not go on makes room for who comes later.
func TestHalfOpenConnectionsMakeRoom(t *testing.T) {
	var logged strings.Builder
	r := NewRejections(zerolog.New(&logged), nil)
	e := NewEntrance(endless{}, r)
	ended := make(chan struct{})
	knockFrom := func(address string, waiting int) (theirs net.Conn) {
		ours, theirs := net.Pipe()
		go func() {
			_, _, _ = e.ServerHandshake(from{ours, address})
			ended <- struct{}{}
		}()
		for len(e.waiting()) != waiting || e.waiting()[waiting-1].conn.RemoteAddr().String() != address {
			runtime.Gosched()
		}
		return theirs
	}
	var first net.Conn
	for i := range shakingOfAddress {
		if c := knockFrom("10.0.0.1:1", i+1); i == 0 {
			first = c
		}
	}
	knockFrom("10.0.0.1:2", shakingOfAddress)
	<-ended
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the oldest goes on")
	}
	knockFrom("10.0.0.2:1", shakingOfAddress+1)
	for _, k := range e.waiting() {
		_ = k.conn.Close()
	}
	for range shakingOfAddress + 1 {
		<-ended
	}
	if n := len(e.waiting()); n != 0 {
		t.Errorf("%d wait at the end", n)
	}
	if lines := strings.Count(logged.String(), "\n"); r.Counts()["handshake"] != shakingOfAddress+2 || lines != 2 {
		t.Errorf("%v counted, %d lines", r.Counts(), lines)
	}
}

func (e *Entrance) waiting() []*knock {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*knock(nil), e.shaking...)
}

// So many connections may be open, and so many of one certificate.
func TestConnectionsAreBounded(t *testing.T) {
	e := NewEntrance(nil, nil)
	for range connectionsOfOne {
		if !e.enter("a") {
			t.Fatal("one is refused")
		}
	}
	if e.enter("a") || !e.enter("b") {
		t.Error("the bound of one certificate is another")
	}
	e.leave("a")
	if !e.enter("a") {
		t.Error("who leaves makes no room")
	}
	for i := range connectionsAtOnce - connectionsOfOne - 1 {
		if !e.enter(fmt.Sprint(i)) {
			t.Fatalf("%d are refused", i)
		}
	}
	if e.enter("c") {
		t.Error("there is no bound of all")
	}
}

// What is turned away is counted each time and logged once for each peer and reason.
func TestRejectionsAreLoggedOnce(t *testing.T) {
	var logged strings.Builder
	r := NewRejections(zerolog.New(&logged), nil)
	for range 3 {
		r.Note("a", "handshake", "x")
		r.Note("a", "denied", "y")
		r.Note("b", "denied", "z")
	}
	if c := r.Counts(); c["handshake"] != 3 || c["denied"] != 6 {
		t.Errorf("counted %v", c)
	}
	if n := strings.Count(logged.String(), "\n"); n != 3 {
		t.Errorf("%d lines:\n%s", n, logged.String())
	}
}
