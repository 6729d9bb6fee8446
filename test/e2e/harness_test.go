package e2e

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// node is one bhnode: its directory, its configuration and, between run and wait,
// its process.
type node struct {
	t       *testing.T
	name    string
	dir     string
	config  string // "": the embedded default
	socket  string
	rundir  string
	env     []string            // besides the test's own
	tty     *os.File            // its controlling terminal, nil: none
	prints  *os.File            // where it prints instead of stdout and stderr
	program string              // the bhnode that is run, "": the one under test
	metrics string              // its part of the configuration, "": none are served
	under   []string            // the program that runs bhnode, nil: none
	as      *syscall.Credential // who runs it, nil: who runs the tests
	tools   *syscall.Credential // who runs its commands, nil: as

	cmd    *exec.Cmd
	gone   chan struct{} // the process has ended and its events are all read
	stdout *output
	stderr *output
	log    *eventLog
}

// newNode writes a configuration, in which @self stands for the program of
// service_test.go and @dir for the node's directory. It must not have the keys
// node and metrics; nodeKeys are further keys of node. Nothing is started yet.
// When the test ends, so does the node, and nothing of it may be left.
func newNode(t *testing.T, text string, nodeKeys ...string) *node {
	t.Helper()
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{
		t: t, dir: dir, name: filepath.Base(dir), config: filepath.Join(dir, "blackhole.yaml"),
		rundir: filepath.Join(dir, "run"), stdout: &output{}, stderr: &output{}, log: newEventLog(),
	}
	n.socket = filepath.Join(n.rundir, "bhnode.sock")
	n.configure(text, nodeKeys...)
	t.Cleanup(n.cleanUp)
	return n
}

// newDefaultNode is the node of the embedded default.
func newDefaultNode(t *testing.T) *node {
	t.Helper()
	n := newNode(t, "services: {}")
	if err := os.Remove(n.config); err != nil { // else who is not root would run it
		t.Fatal(err)
	}
	n.config, n.rundir = "", filepath.Join(n.dir, "bhnode", "run")
	n.socket = filepath.Join(n.rundir, "bhnode.sock")
	n.env = []string{"XDG_STATE_HOME=" + n.dir, "XDG_RUNTIME_DIR=" + n.dir, "XDG_CONFIG_HOME=" + n.dir, "BHNODE_CONFIG="}
	return n
}

// configure writes the configuration of the next run.
func (n *node) configure(text string, nodeKeys ...string) {
	n.t.Helper()
	head := fmt.Sprintf("node: {%s}\nmetrics: {%s}\n",
		strings.Join(append([]string{"name: " + n.name}, nodeKeys...), ", "), cmp.Or(n.metrics, `listen: ""`))
	if err := os.WriteFile(n.config, []byte(n.fill(head+text)), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// fill puts in what a configuration cannot know.
func (n *node) fill(text string) string {
	return strings.NewReplacer("@self", self, "@dir", n.dir).Replace(text)
}

// path is a file in the node's directory.
func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

// write makes a file in the node's directory.
func (n *node) write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(n.path(name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// read is the text of a file in the node's directory, "" if it is not there.
func (n *node) read(name string) string {
	n.t.Helper()
	text, err := os.ReadFile(n.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		n.t.Fatal(err)
	}
	return string(text)
}

// run starts `bhnode run` and returns at once.
func (n *node) run() {
	n.t.Helper()
	if n.running() {
		n.t.Fatal("the node runs already")
	}
	n.stdout.reset()
	n.stderr.reset()
	n.cmd = n.command(context.Background(), "run")
	n.cmd.Path = cmp.Or(n.program, binary)
	n.cmd.Args[0] = n.cmd.Path
	if n.under != nil {
		n.cmd.Path, n.cmd.Args = n.under[0], append(slices.Clone(n.under), n.cmd.Args...)
	}
	n.cmd.Stdout, n.cmd.Stderr = n.stdout, n.stderr
	if n.prints != nil {
		n.cmd.Stdout, n.cmd.Stderr = n.prints, n.prints
	}
	// Never the terminal the tests run on.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: n.as}
	if n.tty != nil {
		n.cmd.Stdin, n.cmd.Stdout, n.cmd.SysProcAttr.Setctty = n.tty, n.tty, true
	}
	n.cmd.WaitDelay = patience // a service has its own pipes; if one has ours, this says so
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		n.log.follow(ctx, n.socket)
	}()
	n.gone = make(chan struct{})
	go func() {
		defer close(n.gone)
		_ = n.cmd.Wait() // ProcessState says it
		end()
		<-followed
		n.log.complete(n.journal())
	}()
}

// up starts the node and waits until it is ready.
func (n *node) up() {
	n.t.Helper()
	after := n.log.last()
	n.run()
	n.awaitWhere("node.ready", func(e event) bool { return e.Seq > after && e.Type == "node.ready" })
}

// again starts bhnode anew after it was killed, and waits until it has taken over what
// the one before has left.
func (n *node) again() {
	n.t.Helper()
	after := n.log.last()
	n.run()
	n.awaitWhere("node.adopted", func(e event) bool { return e.Seq > after && e.Type == "node.adopted" })
}

// running tells whether the process of run is alive.
func (n *node) running() bool {
	if n.gone == nil {
		return false
	}
	select {
	case <-n.gone:
		return false
	default:
		return true
	}
}

// signal sends a signal to bhnode itself.
func (n *node) signal(sig syscall.Signal) {
	n.t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		n.t.Fatalf("cannot send %v to bhnode: %v", sig, err)
	}
}

// wait waits for the end of bhnode and returns its exit code, -1 after a signal.
func (n *node) wait() int {
	n.t.Helper()
	select {
	case <-n.gone:
	case <-time.After(patience):
		n.t.Fatal("bhnode runs on")
	}
	if strings.Contains(n.stderr.String(), "DATA RACE") {
		n.t.Errorf("bhnode has a data race:\n%s", n.stderr)
	}
	return n.cmd.ProcessState.ExitCode()
}

// stop ends the node in order; it must exit with 0.
func (n *node) stop() {
	n.t.Helper()
	n.signal(syscall.SIGTERM)
	if code := n.wait(); code != 0 {
		n.t.Fatalf("got exit code %d after SIGTERM, want 0", code)
	}
}

// kill9 kills bhnode.
func (n *node) kill9() {
	n.t.Helper()
	n.signal(syscall.SIGKILL)
	n.wait()
}

// command is a bhnode command about this node.
func (n *node) command(ctx context.Context, args ...string) *exec.Cmd {
	if n.config != "" {
		args = append(args, "--config", n.config)
	}
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = n.dir
	cmd.Env = append(os.Environ(), n.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: cmp.Or(n.tools, n.as)}
	return cmd
}

// cli runs a command to its end.
func (n *node) cli(args ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cmd := n.command(ctx, args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	failed := cmd.Run()
	if exit := (*exec.ExitError)(nil); failed != nil && !errors.As(failed, &exit) || ctx.Err() != nil {
		n.t.Fatalf("bhnode %s: %v", strings.Join(args, " "), failed)
	}
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// do runs a command that must exit with 0, and returns what it prints.
func (n *node) do(args ...string) string {
	n.t.Helper()
	out, err, code := n.cli(args...)
	if code != 0 {
		n.t.Fatalf("bhnode %s: exit code %d\n%s%s", strings.Join(args, " "), code, out, err)
	}
	return out
}

// story is what happened, for a test that fails.
func (n *node) story() string {
	var b strings.Builder
	for _, e := range n.log.all() {
		fmt.Fprintln(&b, e)
	}
	fmt.Fprintf(&b, "--- stderr of bhnode\n%s--- log of bhnode\n%s", n.stderr, n.read("logs/bhnode.log"))
	return b.String()
}

// cleanUp ends the node and asserts that nothing of it is left.
func (n *node) cleanUp() {
	if n.running() {
		_ = n.cmd.Process.Signal(syscall.SIGCONT)
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-n.gone:
		case <-time.After(patience):
			n.t.Error("bhnode does not end after SIGTERM")
			_ = n.cmd.Process.Kill()
			<-n.gone
		}
	}
	if n.t.Failed() {
		n.t.Logf("what happened:\n%s", n.story())
	}
	for _, p := range n.processes() {
		n.t.Errorf("a process of the node is left: %v", p)
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
	for _, p := range n.keepers() { // what was killed with its services may take two seconds to see so
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		if n.cmd != nil && n.cmd.ProcessState.Exited() {
			n.t.Errorf("a keeper is left: %v", p)
		}
	}
	if n.cmd != nil && n.cmd.ProcessState.Exited() {
		for _, path := range socketsBelow(n.rundir) {
			n.t.Errorf("a socket is left: %s", path)
		}
	}
	n.removeGroups()
	if err := os.RemoveAll(n.dir); err != nil {
		n.t.Errorf("files of the node are left: %v", err)
	}
}

// removeGroups removes the groups of a bhnode that was killed; one that has ended by
// itself must have left none.
func (n *node) removeGroups() {
	list, err := os.ReadFile(filepath.Join(n.rundir, "groups"))
	if err != nil {
		return // it never ran
	}
	ended := n.cmd != nil && n.cmd.ProcessState.Exited()
	for base := range strings.Lines(string(list)) {
		base = strings.TrimSuffix(base, "\n")
		var dirs []string
		_ = filepath.WalkDir(base, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		if ended && len(dirs) > 0 {
			n.t.Errorf("groups of the kernel are left: %v", dirs)
		}
		for _, dir := range slices.Backward(dirs) {
			_ = os.Remove(dir) // it is empty, else a process is left, which was told
		}
	}
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (o *output) reset() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}
