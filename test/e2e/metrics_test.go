package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// given are the addresses that tests have got, as the kernel may give one again.
var given sync.Map

// freeAddress is one on loopback that nobody listens on, and that no other test has got.
func freeAddress(t *testing.T) string {
	t.Helper()
	for {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		if _, twice := given.LoadOrStore(address, true); !twice {
			return address
		}
	}
}

// measuredNode is a node that serves metrics.
func measuredNode(t *testing.T, text, more string) (n *node, address string) {
	t.Helper()
	n, address = newNode(t, text), freeAddress(t)
	n.metrics = fmt.Sprintf("listen: %q, interval: 1s%s", address, more)
	n.configure(text)
	return n, address
}

// fetch gets a page. Connections are not kept.
func fetch(client *http.Client, page string) (code int, body string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	r.Close = true
	resp, err := client.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

// has tells whether the metrics have a line.
func has(t *testing.T, address, line string) bool {
	t.Helper()
	code, body, err := fetch(http.DefaultClient, "http://"+address+"/metrics")
	if err != nil || code != http.StatusOK {
		t.Fatalf("%d, %v", code, err)
	}
	return strings.Contains(body, "\n"+line+"\n")
}

func TestMetricsTellWhatHappens(t *testing.T) {
	t.Parallel()
	n, address := measuredNode(t, `
services:
  db: {command: [@self], restart: {initial_delay: 0}}
  web: {command: [@self], depends_on: [db], restart: {initial_delay: 0}}
`, ", compat_names: true")
	n.up()
	for _, line := range []string{
		`blackhole_processes{state="running"} 2`, `blackhole_processes_total 2`, `blackhole_process_healthy{service="web"} 1`,
		`blackhole_process_restarts_total{reason="signal",service="db"} 0`,
	} {
		if !has(t, address, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	n.eventually("the services are sampled", func() bool {
		_, body, err := fetch(http.DefaultClient, "http://"+address+"/metrics")
		return err == nil && strings.Contains(body, `blackhole_process_memory_bytes{service="db"}`)
	})
	n.kill("db", syscall.SIGKILL)
	n.eventually("the restarts are counted", func() bool {
		return has(t, address, `blackhole_process_restarts_total{reason="signal",service="db"} 1`) &&
			has(t, address, `blackhole_process_restarts_total{reason="dependency",service="web"} 1`)
	})
	n.eventually("all is well again", func() bool {
		code, _, err := fetch(http.DefaultClient, "http://"+address+"/healthz")
		return err == nil && code == http.StatusOK
	})
	n.do("stop", "web")
	n.kill("db", syscall.SIGKILL)
	n.do("upgrade", "--binary", n.anotherBinary()) // the socket stays open meanwhile
	if code, _, err := fetch(http.DefaultClient, "http://"+address+"/livez"); err != nil || code != http.StatusOK {
		t.Errorf("after an upgrade: %d, %v", code, err)
	}
	n.stop()
	if _, _, err := fetch(http.DefaultClient, "http://"+address+"/livez"); err == nil {
		t.Error("somebody still answers")
	}
}

// A port that is taken is no reason not to run.
func TestMetricsWaitForTheirPort(t *testing.T) {
	t.Parallel()
	n, address := measuredNode(t, `
services:
  it: {command: [@self]}
`, "")
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	n.up()
	if said := n.stderr.String(); !strings.Contains(said, "metrics are not served until this is mended: listen tcp4 "+address+": bind: address already in use") {
		t.Errorf("it said %s", said)
	}
	if err := taken.Close(); err != nil {
		t.Fatal(err)
	}
	n.eventually("metrics are served", func() bool {
		code, _, err := fetch(http.DefaultClient, "http://"+address+"/livez")
		return err == nil && code == http.StatusOK
	})
}

// authority makes certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	made int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	template := a.template("CA")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.key, a.cert = a.sign(template, nil)
	return a
}

func (a *authority) template(name string) *x509.Certificate {
	a.made++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.made), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
}

func (a *authority) sign(template *x509.Certificate, by *authority) (*ecdsa.PrivateKey, *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert
}

// issue makes a certificate and returns it and its key in PEM.
func (a *authority) issue(name string) (cert, key string) {
	a.t.Helper()
	k, c := a.sign(a.template(name), a)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return pemOf("CERTIFICATE", c.Raw), pemOf("EC PRIVATE KEY", der)
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// client speaks TLS, with a certificate of its own if it is given one.
func (a *authority) client(pair ...string) *http.Client {
	a.t.Helper()
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
	config.RootCAs.AddCert(a.cert)
	if len(pair) == 2 {
		cert, err := tls.X509KeyPair([]byte(pair[0]), []byte(pair[1]))
		if err != nil {
			a.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
}

func TestMetricsOverTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	const services = `
tls: {ca: ca.pem, cert: node.pem, key: node.key}
services:
  it: {command: [@self]}
`
	n, address := measuredNode(t, services, ", tls: mutual")
	put := func(a *authority) {
		cert, key := a.issue("node")
		n.write("node.pem", cert)
		n.write("node.key", key)
	}
	n.write("ca.pem", pemOf("CERTIFICATE", ours.cert.Raw))
	put(ours)
	n.up()
	page := "https://" + address + "/livez"
	cert, key := ours.issue("client")
	if code, _, err := fetch(ours.client(cert, key), page); err != nil || code != http.StatusOK {
		t.Errorf("with a certificate: %d, %v", code, err)
	}
	if _, _, err := fetch(ours.client(), page); err == nil {
		t.Error("it answers who shows no certificate")
	}
	otherCert, otherKey := theirs.issue("client")
	if _, _, err := fetch(ours.client(otherCert, otherKey), page); err == nil {
		t.Error("it answers who shows a certificate of another CA")
	}
	if _, _, err := fetch(http.DefaultClient, "http://"+address+"/metrics"); err == nil {
		if code, _, _ := fetch(http.DefaultClient, "http://"+address+"/metrics"); code != http.StatusBadRequest {
			t.Errorf("without TLS: %d", code)
		}
	}
	put(theirs) // a renewed one is shown at once
	if code, _, err := fetch(theirs.client(cert, key), page); err != nil || code != http.StatusOK {
		t.Errorf("with a new certificate of the node: %d, %v", code, err)
	}
	n.stop()
}

// prometheus runs Debian's Prometheus over a node until the test ends, and returns where
// it answers.
func prometheus(t *testing.T, n *node, address string) string {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("there is no prometheus here; CI installs Debian's")
	}
	at := freeAddress(t)
	n.write("prometheus.yml", fmt.Sprintf(
		"global: {scrape_interval: 500ms}\nscrape_configs:\n  - {job_name: bhnode, static_configs: [{targets: [%q]}]}\n", address))
	cmd := exec.CommandContext(t.Context(), program, "--config.file="+n.path("prometheus.yml"),
		"--storage.tsdb.path="+n.path("tsdb"), "--web.listen-address="+at, "--log.level=error")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it was ended with the context
	return at
}

// ask asks Prometheus for the value of an expression, "" if it has none.
func ask(t *testing.T, at, expression string) string {
	t.Helper()
	_, body, err := fetch(http.DefaultClient, "http://"+at+"/api/v1/query?query="+url.QueryEscape(expression))
	if err != nil {
		return "" // it is not up
	}
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || len(answer.Data.Result) == 0 {
		return ""
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1])
}

func TestPrometheusTellsOfARestart(t *testing.T) {
	t.Parallel()
	n, address := measuredNode(t, `
services:
  db: {command: [@self], restart: {initial_delay: 0}}
`, "")
	n.up()
	at := prometheus(t, n, address)
	const restarts = `sum(blackhole_process_restarts_total{job="bhnode",service="db",reason="signal"})`
	n.eventually("Prometheus has scraped the node", func() bool { return ask(t, at, restarts) == "0" })
	n.kill("db", syscall.SIGKILL)
	n.eventually("Prometheus tells of the restart", func() bool { return ask(t, at, restarts) == "1" })
}

func TestPromtoolIsContent(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("there is no promtool here; CI installs Debian's prometheus, which has it")
	}
	n, address := measuredNode(t, `
services:
  db: {command: [@self], health_check: {type: exec, target: ["true"]}, resources: {memory_mb: 100}}
`, "")
	n.up()
	n.eventually("the service is sampled", func() bool {
		_, body, err := fetch(http.DefaultClient, "http://"+address+"/metrics")
		return err == nil && strings.Contains(body, `blackhole_process_connections{service="db"}`)
	})
	_, body, err := fetch(http.DefaultClient, "http://"+address+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	check := func(stdin string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Stdin = strings.NewReader(stdin)
		if said, err := cmd.CombinedOutput(); err != nil || strings.Contains(stdin, "# HELP") && len(said) > 0 {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
	check(body, "check", "metrics")
	check("", "check", "rules", "../../packaging/prometheus/bhnode.rules.yml")
}
