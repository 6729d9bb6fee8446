package e2e

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// webstack is the node of configs/webstack.yaml on ports of its own.
func webstack(t *testing.T) (n *node, address string) {
	t.Helper()
	for _, program := range []string{"psql", "redis-server", "redis-cli", "nginx"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s here; CI installs Debian's packages", program)
		}
	}
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); len(found) == 0 {
		t.Skip("there is no postgres here; CI installs Debian's package")
	}
	n = newNode(t, "services: {}")
	if err := os.Chmod(n.dir, 0o711); err != nil { // postgres has a user of its own
		t.Fatal(err)
	}
	if err := os.CopyFS(n.path("webstack"), os.DirFS("../../configs/webstack")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", n.path("webstack/app"), "../webstack").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	address, app := freeAddress(t), freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	_, appPort, _ := net.SplitHostPort(app)
	ports := strings.NewReplacer("8080", port, "8081", appPort, "${WEBSTACK_METRICS:-127.0.0.1:9464}", "", "name: webstack", "name: "+n.name)
	for from, to := range map[string]string{"../../configs/webstack.yaml": "blackhole.yaml", "../../configs/webstack/nginx.conf": "webstack/nginx.conf"} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		n.write(to, ports.Replace(string(text)))
	}
	if os.Geteuid() == 0 {
		n.env = append(n.env, "WEBSTACK_PG_USER=postgres")
	}
	return n, address
}

// notes is what the application has kept, "" if it does not answer so.
func notes(address string) string {
	code, body, err := fetch(http.DefaultClient, "http://"+address+"/notes")
	if err != nil || code != http.StatusOK {
		return ""
	}
	_, kept, _ := strings.Cut(body, "\n")
	return strings.TrimSpace(kept)
}

func TestTheWebStackSurvivesTheDeathOfItsDatabase(t *testing.T) {
	t.Parallel()
	n, address := webstack(t)
	n.up()
	n.inOrder("service.ready", "postgres", "app", "nginx")
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+address+"/notes", strings.NewReader("it was written before"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	before := n.log.last()
	n.kill("postgres", syscall.SIGKILL)
	n.awaitWhere("nginx is back", func(e event) bool { return e.Seq > before && e.Type == "service.ready" && e.Service == "nginx" })
	n.inOrderAfter(before, "service.stopped", "nginx", "app")
	n.inOrderAfter(before, "service.ready", "postgres", "app", "nginx")
	if got := notes(address); got != "it was written before" {
		t.Errorf("the application has kept %q", got)
	}
	for _, e := range n.events(func(e event) bool { return e.Seq > before && e.Service == "redis" }) {
		t.Errorf("redis was touched: %v", e)
	}
	http.DefaultClient.CloseIdleConnections()
	n.stop()
}

// inOrder asserts that services had an event of a type one after the other.
func (n *node) inOrder(kind string, services ...string) {
	n.t.Helper()
	n.inOrderAfter(0, kind, services...)
}

func (n *node) inOrderAfter(seq uint64, kind string, services ...string) {
	n.t.Helper()
	for _, s := range services {
		found := n.events(func(e event) bool { return e.Seq > seq && e.Type == kind && e.Service == s })
		if len(found) == 0 {
			n.t.Errorf("%s: no %s behind event %d", s, kind, seq)
			return
		}
		seq = found[0].Seq
	}
}
