package chaos

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// patience is how long one thing that must happen may take on a busy machine.
const patience = 40 * time.Second

// node is the bhnode under test and what watches it.
type node struct {
	t        *testing.T
	p        *plan
	model    *model
	dir      string
	config   string
	instance string
	cmd      *exec.Cmd
	out      bytes.Buffer // stderr of bhnode; read after its end
	api      *client.Client
	follower *exec.Cmd
	followed chan error    // the follower's end
	gone     chan struct{} // bhnode's end
	calls    sync.WaitGroup
	becoming sync.WaitGroup // commands that have bhnode become itself again; it may be killed meanwhile
	stale    atomic.Bool    // bhnode has become itself again since the last dial
}

// newNode writes the configuration and starts the node.
func newNode(t *testing.T, p *plan) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		t: t, p: p, model: newModel(p), dir: dir, config: filepath.Join(dir, "blackhole.yaml"),
		followed: make(chan error, 1), gone: make(chan struct{}),
	}
	t.Cleanup(n.cleanUp)
	for _, s := range p.services {
		if err := os.MkdirAll(n.data(s.name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(n.config, p.config(dir), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start()
	return n
}

func (n *node) data(service string) string { return filepath.Join(n.dir, "data", service) }

func (n *node) start() {
	n.t.Helper()
	n.cmd = n.bhnode("run")
	n.cmd.Stderr = &n.out
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	cmd, gone := n.cmd, n.gone
	go func() {
		defer close(gone)
		_ = cmd.Wait() // ProcessState says it
	}()
	n.dial()
	if n.instance != "" { // it is the runtime directory's, and the follower is still there
		return
	}
	text, err := os.ReadFile(filepath.Join(n.dir, "run", "instance"))
	if err != nil {
		n.t.Fatal(err)
	}
	n.instance = strings.TrimSpace(string(text))
	n.follow()
}

// killBhnode kills bhnode and starts it anew after a while. Commands that it was busy with
// are without an answer.
func (n *node) killBhnode(after time.Duration) bool {
	n.t.Helper()
	if n.cmd.Process.Kill() != nil {
		return false
	}
	<-n.gone
	n.calls.Wait()
	_ = n.api.Close()
	pause(after)
	n.gone = make(chan struct{})
	n.start()
	return true
}

// redial connects anew to a bhnode that has become itself again.
func (n *node) redial() {
	n.t.Helper()
	if n.stale.Swap(false) {
		_ = n.api.Close()
		n.dial()
	}
}

// configure writes a configuration that differs in what restarts nobody.
func (n *node) configure(i int) bool {
	text := bytes.Replace(n.p.config(n.dir), []byte(`"metrics": {`), fmt.Appendf(nil, `"logs": {"max_size_mb": 1, "max_files": %d}, "metrics": {`, i), 1)
	return replaceFile(n.config, string(text)) == nil
}

func (n *node) bhnode(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, append(args, "--config", n.config)...)
	cmd.Dir = n.dir
	return cmd
}

// dial connects as soon as the node answers.
func (n *node) dial() {
	n.t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	late := time.After(patience)
	for {
		c, err := client.Dial(client.Options{Socket: filepath.Join(n.dir, "run", "bhnode.sock")})
		if err == nil {
			n.api = c
			return
		}
		select {
		case <-again.C:
		case <-n.gone:
			n.t.Fatalf("bhnode has ended: %s", n.out.String())
		case <-late:
			n.t.Fatalf("bhnode does not answer: %v", err)
		}
	}
}

// follow has the model see every event, as a user would.
func (n *node) follow() {
	n.t.Helper()
	n.follower = n.bhnode("events", "-f", "-n", "100000", "-o", "json")
	out, err := n.follower.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	var said bytes.Buffer
	n.follower.Stderr = &said
	if err := n.follower.Start(); err != nil {
		n.t.Fatal(err)
	}
	follower := n.follower
	go func() {
		err := readEvents(out, n.model.take)
		_ = follower.Wait() // the node's end is no error of the follower's
		if err == nil && strings.Contains(said.String(), "error:") {
			err = fmt.Errorf("the follower says %s", &said)
		}
		n.followed <- err
	}()
}

// await waits for what must come to be true after some event.
func (n *node) await(what string, holds func(*model) bool) {
	n.t.Helper()
	late := time.After(patience)
	for {
		n.model.mu.Lock()
		ok, more := holds(n.model), n.model.advanced
		n.model.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-more:
		case <-n.gone:
			n.t.Fatalf("bhnode has ended without %s: %s", what, n.out.String())
		case <-late:
			n.t.Fatalf("there was no %s within %v", what, patience)
		}
	}
}

// tell orders something of a service; it tells whether the service heard it.
func (n *node) tell(service, order string) bool {
	conn, err := net.Dial("unixgram", filepath.Join(n.data(service), ctlFile))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // one that is frozen
	_, err = conn.Write([]byte(order))
	return err == nil
}

// signal sends a signal to what the journal says is the main process of a service.
func (n *node) signal(service string, sig syscall.Signal) bool {
	n.model.mu.Lock()
	pid := n.model.of[n.p.byName[service]].pid
	n.model.mu.Unlock()
	return pid != 0 && send(pid, n.instance, service, sig)
}

// signalAll sends a signal to the processes of a service that are chosen.
func (n *node) signalAll(service string, sig syscall.Signal, chosen func(process) bool) bool {
	hit := false
	for _, p := range livingOf(n.instance) {
		if p.service == service && chosen(p) {
			hit = send(p.pid, n.instance, service, sig) || hit
		}
	}
	return hit
}

// freeze stops bhnode itself for a time.
func (n *node) freeze(d time.Duration) bool {
	if n.cmd.Process.Signal(syscall.SIGSTOP) != nil {
		return false
	}
	pause(d)
	return n.cmd.Process.Signal(syscall.SIGCONT) == nil
}

// pause is the schedule's: it lets the world go on for a time.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

func (n *node) status() (*bhnodev1.GetStatusResponse, *bhnodev1.GetTreeResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	status, err := n.api.GetStatus(ctx, &bhnodev1.GetStatusRequest{})
	if err != nil {
		return nil, nil, err
	}
	tree, err := n.api.GetTree(ctx, &bhnodev1.GetTreeRequest{})
	return status, tree, err
}

// shutDown ends the node in order, and then nothing may be left.
func (n *node) shutDown() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.fault("a shutdown ends the node", "cannot send SIGTERM: %v", err)
	}
	select {
	case <-n.gone:
	case <-time.After(patience):
		n.fault("a shutdown ends the node", "it runs on after %v", patience)
		return
	}
	if code := n.cmd.ProcessState.ExitCode(); code != 0 {
		n.fault("a shutdown ends the node", "exit code %d: %s", code, n.out.String())
	}
	select {
	case err := <-n.followed:
		if err != nil {
			n.fault("events are JSON lines", "%v", err)
		}
		n.followed <- nil
	case <-time.After(patience):
		n.fault("followers end with the node", "events -f runs on")
	}
	n.compareJournal()
	n.nothingLeft()
}

// compareJournal: the followers have seen what is on disk. Of the last events,
// those of the end, the disk may have more.
func (n *node) compareJournal() {
	disk, err := readJournal(filepath.Join(n.dir, "data", "events.jsonl"))
	if err != nil {
		n.fault("the journal is kept on disk", "%v", err)
		return
	}
	n.model.mu.Lock()
	seen := n.model.events
	n.model.mu.Unlock()
	for i, e := range disk {
		if i >= len(seen) {
			n.model.take(e)
		} else if got := seen[i].String(); got != e.String() {
			n.fault("followers see what is on disk", "seen:    %s\non disk: %v", got, e)
			return
		}
	}
	if last := disk[len(disk)-1]; last.Type != "node.stopped" {
		n.fault("the journal ends with the node", "it ends with %v", last)
	}
}

// nothingLeft: no process, no socket, no control group.
func (n *node) nothingLeft() {
	for _, p := range livingOf(n.instance) {
		n.fault("nothing is left after a shutdown", "%v", p)
	}
	_ = filepath.WalkDir(filepath.Join(n.dir, "run"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type() == os.ModeSocket {
			n.fault("nothing is left after a shutdown", "socket %s", path)
		}
		return nil
	})
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/*/*/", "/sys/fs/cgroup/*/*/*/"} {
		groups, _ := filepath.Glob(pattern + "*" + n.instance + "*")
		for _, g := range groups {
			n.fault("nothing is left after a shutdown", "control group %s", g)
		}
	}
}

func (n *node) fault(rule, format string, args ...any) {
	n.model.mu.Lock()
	defer n.model.mu.Unlock()
	n.model.blame(rule, event{}, "%s", fmt.Sprintf(format, args...))
}

// cleanUp ends what runs. The directory stays if the test has failed.
func (n *node) cleanUp() {
	if n.cmd != nil && n.cmd.Process != nil {
		_ = n.cmd.Process.Signal(syscall.SIGCONT)
		_ = n.cmd.Process.Kill()
		<-n.gone
	}
	if n.api != nil {
		_ = n.api.Close()
	}
	n.calls.Wait()
	if n.follower != nil && n.follower.Process != nil {
		if err := <-n.followed; err != nil {
			n.t.Log(err)
		}
	}
	if n.instance != "" {
		for _, p := range livingOf(n.instance) {
			_ = send(p.pid, n.instance, p.service, syscall.SIGKILL)
		}
	}
	if n.t.Failed() {
		n.t.Logf("the node's directory, with configuration, journal and logs, is kept: %s", n.dir)
		return
	}
	if err := os.RemoveAll(n.dir); err != nil {
		n.t.Errorf("files are left: %v", err)
	}
}
