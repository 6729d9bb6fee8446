package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// handshake returns what the two ends of a connection say to each other's
// certificate; the client takes the server for name.
func handshake(t *testing.T, server, client *certificates, name string) (serverSays, clientSays error) {
	t.Helper()
	config, err := client.clientConfig()
	if err != nil {
		t.Fatal(err)
	}
	config.ServerName, config.Time = name, func() time.Time { return noon }
	served, err := server.load()
	if err != nil {
		t.Fatal(err)
	}
	served.Time = config.Time
	ours, theirs := net.Pipe()
	said := make(chan error, 1)
	go func() {
		conn := tls.Server(ours, served)
		err := conn.HandshakeContext(t.Context())
		_ = ours.Close()
		said <- err
	}()
	clientSays = tls.Client(theirs, config).HandshakeContext(t.Context())
	_ = theirs.Close()
	return <-said, clientSays
}

func inDir(dir, name string) *certificates {
	base := filepath.Join(dir, name)
	return &certificates{ca: filepath.Join(dir, "ca.pem"), cert: base + ".pem", key: base + ".key"}
}

func TestCertificatesThatWereMadeAreGoodForBothEnds(t *testing.T) {
	dir, foreign := t.TempDir(), t.TempDir()
	for _, dir := range []string{dir, foreign} {
		got := world{}.exec(t, "cert", "init", "--dir", dir, "--client", "fleet.example", "--days", "1")
		if got.code != exitOK {
			t.Fatalf("exit code %d: %s", got.code, got.err)
		}
	}
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if s, c := handshake(t, inDir(dir, "node"), inDir(dir, "fleet.example"), name); s != nil || c != nil {
			t.Errorf("as %s: the node says %v, the client %v", name, s, c)
		}
	}
	if s, c := handshake(t, inDir(dir, "fleet.example"), inDir(dir, "node"), "fleet.example"); s != nil || c != nil {
		t.Errorf("called back: the client says %v, the node %v", s, c)
	}
	if _, c := handshake(t, inDir(dir, "fleet.example"), inDir(dir, "fleet.example"), "localhost"); c == nil {
		t.Error("a client passes as the node")
	}
	stranger := inDir(foreign, "fleet.example")
	stranger.ca = filepath.Join(dir, "ca.pem")
	if s, _ := handshake(t, inDir(dir, "node"), stranger, "localhost"); s == nil {
		t.Error("the certificate of another CA is taken")
	}
}

func TestTheAuthoritySignsForItsOwnOnly(t *testing.T) {
	dir := t.TempDir()
	if got := (world{}).exec(t, "cert", "init", "--dir", dir); got.code != exitOK {
		t.Fatalf("exit code %d: %s", got.code, got.err)
	}
	ca, err := readPair(filepath.Join(dir, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	if c := ca.cert; !c.IsCA || !c.MaxPathLenZero || c.KeyUsage&x509.KeyUsageCertSign == 0 {
		t.Errorf("the CA has path length %d, usage %b", c.MaxPathLen, c.KeyUsage)
	}
	node, err := readPair(filepath.Join(dir, "node"))
	if err != nil {
		t.Fatal(err)
	}
	if key, ok := node.cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("the node's key is %T", node.cert.PublicKey)
	}
	if node.cert.IsCA {
		t.Error("the node's certificate signs others")
	}
	if got := node.cert.NotAfter; !got.Equal(noon.Add(365 * 24 * time.Hour)) {
		t.Errorf("it is valid until %v", got)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %s, %v", strings.Join(left, " "), err)
	}
}

// A CA that ends before a certificate would is not outlived by it; one that has
// ended signs nothing.
func TestACertificateDoesNotOutliveItsAuthority(t *testing.T) {
	dir := t.TempDir()
	ca, err := newAuthority(filepath.Join(dir, "ca"), "old", noon.Add(48*time.Hour-authorityLife))
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.write(); err != nil {
		t.Fatal(err)
	}
	o := certOrder{dir: dir, days: 365}
	pairs, err := o.pairs(noon)
	if err != nil {
		t.Fatal(err)
	}
	if got := pairs[1].cert.NotAfter; !got.Equal(ca.cert.NotAfter) {
		t.Errorf("valid until %v, the CA until %v", got, ca.cert.NotAfter)
	}
	if _, err := o.pairs(noon.Add(72 * time.Hour)); err == nil || !strings.Contains(err.Error(), "was valid until 2026-11-25") {
		t.Errorf("a CA that has ended: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "node.pem")); err == nil {
		t.Error("something was written")
	}
}

func TestTheDoctorLooksAtTheCertificates(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "blackhole.yaml")
	text := "metrics: {tls: mutual}\ntls: {ca: ca.pem, cert: node.pem, key: node.key}\nservices: {a: {command: [\"true\"]}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	look := func() string {
		var bad []string
		for _, ill := range ills(t, world{}.exec(t, "doctor", "-o", "json", "--config", config).out) {
			if strings.Contains(ill, "certificates") {
				bad = append(bad, strings.ReplaceAll(ill, dir+"/", ""))
			}
		}
		return strings.Join(bad, "; ")
	}
	if got := look(); !strings.Contains(got, "warning certificates: cannot use the certificate node.pem with the key node.key") {
		t.Errorf("without any: %q", got)
	}
	if got := (world{}).exec(t, "cert", "init", "--dir", dir, "--days", "31"); got.code != exitOK {
		t.Fatalf("exit code %d: %s", got.code, got.err)
	}
	if got := look(); got != "" {
		t.Errorf("with good ones: %q", got)
	}
	if err := os.Chmod(filepath.Join(dir, "node.key"), 0o640); err != nil {
		t.Fatal(err)
	}
	if got := look(); got != "warning certificates: node.key can be read by others (mode -rw-r-----)" {
		t.Errorf("with an open key: %q", got)
	}
	if got := (world{}).exec(t, "cert", "init", "--dir", dir, "--days", "20", "--renew"); got.code != exitOK {
		t.Fatalf("exit code %d: %s", got.code, got.err)
	}
	if got := look(); got != "warning certificates: node.pem is valid until 2026-12-13" {
		t.Errorf("before its end: %q", got)
	}
	ca, err := readPair(filepath.Join(dir, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := ca.issue(filepath.Join(dir, "node"), []string{"localhost"}, noon.Add(-48*time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.write(); err != nil {
		t.Fatal(err)
	}
	if got := look(); got != "warning certificates: node.pem was valid until 2026-11-22: no peer takes it" {
		t.Errorf("after its end: %q", got)
	}
}
