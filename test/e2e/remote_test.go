package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// remoteNode is a node that can be controlled from other machines, with the
// certificates of its CA in its directory certs.
type remoteNode struct {
	*node
	address string
}

const remoteServices = `
services:
  db: {command: [@self]}
  web: {command: [@self], depends_on: [db]}
`

// newRemoteNode makes certificates for clients; access is a list of who may do what.
func newRemoteNode(t *testing.T, access string) *remoteNode {
	t.Helper()
	n := &remoteNode{newNode(t, "services: {}"), freeAddress(t)}
	n.do("cert", "init", "--dir", n.path("certs"), "--client", "op.example", "--client", "view.example", "--client", "none.example")
	n.grant(access)
	return n
}

// grant writes the configuration with another list.
func (n *remoteNode) grant(access string) {
	n.t.Helper()
	n.configure("control: {listen: \"" + n.address + "\"}\n" +
		"tls: {ca: certs/ca.pem, cert: certs/node.pem, key: certs/node.key}\n" +
		"access: [" + access + "]\n" + remoteServices)
}

// with is a command line of who has a certificate.
func (n *remoteNode) with(cert string, args ...string) []string {
	return append([]string{
		"--address", n.address, "--tls-ca", n.path("certs/ca.pem"), "--tls-cert", n.path("certs/" + cert + ".pem"), "--tls-key", n.path("certs/" + cert + ".key"),
	}, args...)
}

const (
	viewAndOperate = "{cert: view.example, role: viewer}, {cert: op.example, role: operator}"
	operateOnly    = "{cert: op.example, role: operator}"
)

func TestCertificatesDoWhatTheirRolesMay(t *testing.T) {
	t.Parallel()
	n := newRemoteNode(t, viewAndOperate)
	n.up()
	look := [][]string{{"tree"}, {"status"}, {"status", "db"}, {"health"}, {"logs", "-n", "1"}, {"events", "-n", "1"}, {"why", "db"}, {"top", "--once"}}
	operate := [][]string{{"stop", "web"}, {"start", "web"}, {"restart", "db"}, {"pause", "root"}, {"resume", "root"}, {"signal", "db", "WINCH"}}
	admin := [][]string{{"reload"}, {"reload", "--dry-run"}, {"upgrade"}, {"shutdown"}}
	for _, c := range []struct {
		cert  string
		lines [][]string
		code  int
	}{
		{"none.example", slices.Concat(look, operate, admin), 5},
		{"node", slices.Concat(look, operate, admin), 5},
		{"view.example", look, 0},
		{"view.example", slices.Concat(operate, admin), 5},
		{"op.example", look, 0},
		{"op.example", admin, 5},
	} {
		facts := n.facts()
		for _, line := range c.lines {
			if _, text, code := n.cli(n.with(c.cert, line...)...); code != c.code {
				t.Errorf("%s, %v: exit code %d, want %d\n%s", c.cert, line, code, c.code, text)
			}
		}
		if got := n.facts(); !slices.Equal(got, facts) {
			t.Errorf("after %s the services are\n%q, were\n%q", c.cert, got, facts)
		}
	}
	for _, line := range operate {
		n.do(n.with("op.example", line...)...)
	}
	told := 0
	for _, e := range n.onDisk() {
		if who, _ := e.Attrs["who"].(string); e.Type == "operator.command" && strings.HasPrefix(who, "certificate op.example from 127.0.0.1:") {
			told++
		}
	}
	if told != len(operate) {
		t.Errorf("the journal has %d commands of the operator, want %d", told, len(operate))
	}
}

// The next bhnode in the place of this one goes on listening; whom its configuration
// does not name any more is let go at once.
func TestWhoLosesAccessIsCutOff(t *testing.T) {
	t.Parallel()
	n := newRemoteNode(t, viewAndOperate)
	n.up()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var text bytes.Buffer
	follower := n.command(ctx, n.with("view.example", "events", "-f")...)
	follower.Stderr = &text
	follower.Stdout = &output{}
	if err := follower.Start(); err != nil {
		t.Fatal(err)
	}
	n.do("upgrade", "--binary", n.anotherBinary())
	n.do(n.with("view.example", "tree")...)
	n.grant(operateOnly)
	n.do("reload")
	_ = follower.Wait() // its exit code says more
	if code := follower.ProcessState.ExitCode(); code != 5 || !strings.Contains(text.String(), "certificate view.example may not control this node") {
		t.Errorf("who followed exits with %d: %s", code, text.String())
	}
	if _, _, code := n.cli(n.with("view.example", "tree")...); code != 5 {
		t.Errorf("exit code %d, want 5", code)
	}
	n.do(n.with("op.example", "restart", "web")...)
	n.stop()
	if _, _, code := n.cli(n.with("op.example", "tree")...); code != 3 {
		t.Errorf("when the node has ended: exit code %d, want 3", code)
	}
}

// Who has no certificate, or a bad one, gets nowhere, and the node does not notice.
func TestWhoHasNoGoodCertificateGetsNowhere(t *testing.T) {
	t.Parallel()
	n := newRemoteNode(t, viewAndOperate)
	n.do("cert", "init", "--dir", n.path("foreign"), "--client", "op.example")
	n.up()
	facts := n.facts()

	foreign := n.with("op.example", "tree")
	for i, arg := range foreign {
		if strings.HasPrefix(arg, n.path("certs/op.example")) {
			foreign[i] = strings.Replace(arg, "/certs/", "/foreign/", 1)
		}
	}
	if _, text, code := n.cli(foreign...); code != 5 {
		t.Errorf("a certificate of another CA: exit code %d\n%s", code, text)
	}
	theirs := n.with("op.example", "tree")
	theirs[slices.Index(theirs, n.path("certs/ca.pem"))] = n.path("foreign/ca.pem")
	if _, text, code := n.cli(theirs...); code != 5 {
		t.Errorf("a node of another CA: exit code %d\n%s", code, text)
	}
	if _, text, code := n.cli("--address", n.address, "tree"); code != 2 || !strings.Contains(text, "needs --tls-ca") {
		t.Errorf("without a certificate: exit code %d\n%s", code, text)
	}
	for range 20 {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", n.address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }() // they stay half open
		garbage := make([]byte, 512)
		_, _ = rand.Read(garbage)
		if _, err := conn.Write(garbage); err != nil {
			t.Log(err)
		}
	}
	n.do(n.with("op.example", "tree")...)
	if got := n.facts(); !slices.Equal(got, facts) {
		t.Errorf("the services are\n%q, were\n%q", got, facts)
	}
}

// A user of this machine has the role that access gives.
func TestAUserDoesWhatTheRoleMay(t *testing.T) {
	t.Parallel()
	uid, gid := nobody(t)
	n := newNode(t, "control: {socket: @dir/open.sock, socket_mode: \"0666\"}\naccess: [{user: nobody, role: viewer}, {user: no-such-user, role: viewer}]\n"+remoteServices)
	n.socket = n.path("open.sock")
	if err := os.Chmod(n.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	n.up()
	if said := n.stderr.String(); !strings.Contains(said, "access of no-such-user has no effect until this is mended: user: unknown user no-such-user") {
		t.Errorf("it said %s", said)
	}
	theirs := func(args ...string) (string, int) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, tool, append(args, "--socket", n.socket)...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		cmd.WaitDelay = time.Second
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := theirs("tree"); code != 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if out, code := theirs("stop", "web"); code != 5 || !strings.Contains(out, "is a viewer, and StopServices takes an operator") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}
