package e2e

import (
	"net"
	"runtime"
	"strings"
	"testing"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// crowd is how many connections come at a time that do not go on.
const crowd = 200

// halfOpen are connections to an address that send the beginning of something, or nothing.
func halfOpen(t *testing.T, network, address string) {
	t.Helper()
	for i := range crowd {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if i%2 == 0 {
			_, _ = conn.Write([]byte{0x16, 0x03}) // of a handshake of TLS
		}
	}
}

// Who opens connections to every endpoint by the hundred and does not go on keeps nobody
// out, not even from the same address, and the services do not notice.
func TestHalfOpenConnectionsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	n := newActorNode(t, remoteServices)
	n.up()
	n.awaitLine("gateway", "actors are served")
	facts := n.facts()
	halfOpen(t, "tcp", n.address)
	halfOpen(t, "tcp", n.actors)
	halfOpen(t, "unix", n.socket)
	n.do("status")
	n.do(n.with("view.example", "tree")...)
	if out, err := n.ask("view.example", "tree"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if got := n.facts(); strings.Join(got, "\n") != strings.Join(facts, "\n") {
		t.Errorf("the services are\n%q, were\n%q", got, facts)
	}
	n.stop()
}

// A hundred followers that do not read what a service pours out hold nothing up: it all is
// in the log.
func TestAHundredFollowersHoldNothingUp(t *testing.T) {
	t.Parallel()
	n := newNode(t, "services:\n  flood: {command: [@self, lines=1, until=@dir/go, lines=200000, \"note=@dir/done:all\"]}\n")
	n.up()
	c, err := client.Dial(client.Options{Socket: n.socket})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for range 100 {
		stream, err := c.StreamLogs(t.Context(), &bhnodev1.StreamLogsRequest{Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil { // the first line: it follows
			t.Fatal(err)
		}
		defer runtime.KeepAlive(stream) // and never read again
	}
	n.write("go", "")
	n.eventually("all is written", func() bool { return n.read("done") != "" })
	n.do("status")
	n.stop()
	if lines := n.logLines("flood"); len(lines) != 200_001 {
		t.Errorf("%d lines were kept", len(lines))
	}
}
