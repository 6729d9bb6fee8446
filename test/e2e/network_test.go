package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// cutTime is how long the cable is cut.
const cutTime = 30 * time.Second

// machine is a network namespace with an address of its own: for the network, another
// machine.
type machine struct {
	t      *testing.T
	holder *exec.Cmd
	ip     string
}

// newMachines makes two, with a cable between them.
func newMachines(t *testing.T) (a, b *machine) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip: apt-get install iproute2")
	}
	a, b = newMachine(t, "10.77.0.1"), newMachine(t, "10.77.0.2")
	a.do("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", strconv.Itoa(b.holder.Process.Pid))
	for _, m := range []*machine{a, b} {
		m.do("ip", "addr", "add", m.ip+"/24", "dev", "cable")
		m.do("ip", "link", "set", "lo", "up")
		m.do("ip", "link", "set", "cable", "up")
	}
	return a, b
}

func newMachine(t *testing.T, ip string) *machine {
	t.Helper()
	m := &machine{t: t, ip: ip, holder: exec.Command("sleep", "1000")}
	m.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := m.holder.Start(); err != nil {
		t.Skipf("network namespaces cannot be made here: %v", err)
	}
	t.Cleanup(func() {
		_ = m.holder.Process.Kill()
		_ = m.holder.Wait()
	})
	return m
}

// enter is what a command line begins with that is to run there.
func (m *machine) enter() []string {
	path, err := exec.LookPath("nsenter")
	if err != nil {
		m.t.Fatal(err)
	}
	return []string{path, "--net=/proc/" + strconv.Itoa(m.holder.Process.Pid) + "/ns/net", "--"}
}

func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	line := append(m.enter(), args...)
	return exec.CommandContext(ctx, line[0], line[1:]...)
}

func (m *machine) do(args ...string) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	out, err := m.command(ctx, args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

// One node is looked at and operated from the machine of another, through both endpoints;
// while the cable is cut both follow on, and miss nothing of what happens meanwhile.
func TestACableIsCut(t *testing.T) {
	t.Parallel()
	here, there := newMachines(t)
	n := newActorNode(t, remoteServices)
	n.do("cert", "init", "--dir", n.path("certs"), "--renew", "--host", here.ip)
	n.address, n.actors = here.ip+":9463", here.ip+":8900"
	n.ofTools = map[string]string{"op.example": there.ip + ":8900", "view.example": there.ip + ":8901"}
	n.under, n.prefix = here.enter(), there.enter()
	n.serve()
	n.up()
	other := newNode(t, remoteServices) // a node over there, too
	other.under = there.enter()
	other.up()

	actors := n.follow("view.example")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	command := there.command(ctx, append([]string{tool}, n.with("view.example", "events", "-f", "-n", "1000")...)...)
	commands := &follower{t: t, out: &output{}}
	command.Stdout, command.Stderr = commands.out, commands.out
	command.WaitDelay = time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	actors.await("the node is there")
	there.do(append([]string{tool}, n.with("op.example", "tree")...)...)
	there.do(append([]string{tool}, n.with("op.example", "restart", "web")...)...)
	if out, err := n.ask("op.example", "restart", "db"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	there.do("ip", "link", "set", "cable", "down")
	cut := time.After(cutTime)
	for range 3 {
		n.do("restart", "db")
	}
	<-cut
	there.do("ip", "link", "set", "cable", "up")
	n.do("restart", "web")

	events := n.onDisk()
	last := fmt.Sprint(events[len(events)-1].Seq)
	actors.await("\n" + last + " ")
	commands.await(" " + last + " ")
	if away := actors.check(events); away > 2 {
		t.Errorf("the node went away %d times", away)
	}
	cancel()
	_ = command.Wait()
	actors.end()
	other.stop()
	n.stop()
}
