package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listeningTCP are the addresses that a process listens on.
func listeningTCP(t *testing.T, pid int) (addresses []string) {
	t.Helper()
	open := map[string]bool{}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return nil // it has ended
	}
	for _, fd := range fds {
		link, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		open[link] = true
	}
	for _, table := range []string{"tcp", "tcp6"} {
		file, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			f := strings.Fields(lines.Text())
			const listening = "0A"
			if len(f) > 9 && f[3] == listening && open["socket:["+f[9]+"]"] {
				addresses = append(addresses, decodeAddress(t, f[1]))
			}
		}
		_ = file.Close()
	}
	return addresses
}

// decodeAddress reads an address as /proc/net/tcp has it: words in the machine's order.
func decodeAddress(t *testing.T, text string) string {
	t.Helper()
	host, portText, _ := strings.Cut(text, ":")
	port, err := strconv.ParseUint(portText, 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	var ip net.IP
	for word := range len(host) / 8 {
		for i := 3; i >= 0; i-- {
			b, err := strconv.ParseUint(host[word*8+2*i:word*8+2*i+2], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			ip = append(ip, byte(b))
		}
	}
	return net.JoinHostPort(ip.String(), strconv.FormatUint(port, 10))
}

// Whatever a node with everything switched on listens on is on loopback or asks for a
// certificate, and what is on disk is for its owner alone.
func TestEveryListener(t *testing.T) {
	t.Parallel()
	n := newActorNode(t, `
services:
  db: {unix_socket: @dir/db.sock, health_check: {type: none}, command: [@self]}
  host: {}
`)
	metrics := freeAddress(t)
	n.metrics = fmt.Sprintf("listen: %q", metrics)
	wide := func(address string) string { _, port, _ := net.SplitHostPort(address); return "0.0.0.0:" + port }
	n.configure(fmt.Sprintf(`
control: {listen: %q}
remote: {listen: %q, advertise: %q}
tls: {ca: certs/ca.pem, cert: certs/node.pem, key: certs/node.key}
access: [{cert: op.example, role: operator, remote_address: %q}]
`, wide(n.address), wide(n.actors), n.actors, n.ofTools["op.example"]) + n.services)
	n.up()
	n.awaitLine("gateway", "actors are served")

	found := map[string]bool{}
	for _, p := range append(n.processes(), process{pid: n.cmd.Process.Pid}) {
		for _, address := range listeningTCP(t, p.pid) {
			found[address] = true
		}
	}
	for address := range found {
		host, _, _ := net.SplitHostPort(address)
		if ip := net.ParseIP(host); !ip.IsLoopback() && !asksForCertificate(t, address) {
			t.Errorf("%s is open to who has no certificate", address)
		}
	}
	_, actors, _ := net.SplitHostPort(n.actors) // a library listens there, on IPv6 as well
	for _, want := range []string{wide(n.address), "[::]:" + actors, metrics} {
		if !found[want] {
			t.Errorf("%s is not among %v", want, found)
		}
	}
	checkModes(t, n.dir)
	n.stop()
}

// asksForCertificate tells whether nothing but TLS with a certificate is answered there.
func asksForCertificate(t *testing.T, address string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false // with TLS 1.3 the refusal comes later
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = conn.Read(make([]byte, 1)) // with TLS 1.3 the refusal comes here
	return err != nil && strings.Contains(err.Error(), "certificate required")
}

// checkModes checks that all below a directory is ours, and for nobody else.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	kinds := map[fs.FileMode]int{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		kinds[info.Mode().Type()]++
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
			t.Errorf("%s belongs to somebody else", path)
		}
		switch public := strings.HasSuffix(path, ".pem"); {
		case info.Mode().Type() == fs.ModeSymlink, public:
		case strings.Contains(path, "/svc/") && info.Mode().Type() == fs.ModeSocket && info.Mode().Perm() == 0o660: // of a service, for its group
		case d.IsDir() && info.Mode().Perm()&0o026 == 0: // services may pass through on the way to theirs
		case info.Mode().Perm()&0o077 != 0:
			t.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if kinds[fs.ModeSocket] < 3 || kinds[0] < 5 {
		t.Errorf("found %v: that is not all", kinds)
	}
}

// A certificate that was renewed is shown at the next handshake, by every endpoint; when the
// one of the node ends is told, and said before.
func TestARenewedCertificateIsInUseAtOnce(t *testing.T) {
	t.Parallel()
	n := newActorNode(t, remoteServices)
	metrics := freeAddress(t)
	n.metrics = fmt.Sprintf("listen: %q, tls: mutual", metrics)
	n.serve()
	n.do("cert", "init", "--dir", n.path("certs"), "--renew", "--days", "20")
	n.up()
	n.awaitLine("gateway", "actors are served")
	first := map[string]*x509.Certificate{}
	for _, address := range []string{n.address, n.actors, metrics} {
		first[address] = n.shown(address)
	}
	end := first[n.address].NotAfter
	if log := n.read("logs/bhnode.log"); !strings.Contains(log, "the certificate of the node is about to end") {
		t.Errorf("it is not said:\n%s", log)
	}
	_, page, err := fetch(n.https(), "https://"+metrics+"/metrics")
	if line := fmt.Sprintf("bhnode_certificate_not_after_timestamp_seconds %g\n", float64(end.Unix())); err != nil || !strings.Contains(page, line) {
		t.Errorf("the metrics lack %s, %v", line, err)
	}
	n.do("cert", "init", "--dir", n.path("certs"), "--renew", "--days", "200")
	for address, old := range first {
		if now := n.shown(address); now.Equal(old) || !now.NotAfter.After(old.NotAfter) {
			t.Errorf("%s shows one that is valid until %v", address, now.NotAfter)
		}
	}
	if out, err := n.ask("view.example", "tree"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	n.stop()
}

// https is a client with the certificate of op.example.
func (n *actorNode) https() *http.Client {
	n.t.Helper()
	pair, err := tls.LoadX509KeyPair(n.path("certs/op.example.pem"), n.path("certs/op.example.key"))
	if err != nil {
		n.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(n.read("certs/ca.pem")))
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}}}}
}

// shown is the certificate that an endpoint shows.
func (n *actorNode) shown(address string) *x509.Certificate {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", address)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	session, ok := conn.(*tls.Conn)
	if !ok {
		n.t.Fatalf("a %T", conn)
	}
	return session.ConnectionState().PeerCertificates[0]
}
