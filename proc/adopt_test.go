package proc

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/blackhole/bhnode/proc/state"
)

// talk says a numbered line at every USR1, leaves a grandchild in a session of its own at
// HUP, and ends with 7 at USR2.
func talk(string) {
	heard := make(chan os.Signal, 64)
	signal.Notify(heard, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGHUP)
	fmt.Println("ready")
	n := 0
	for sig := range heard {
		switch sig {
		case syscall.SIGUSR1:
			n++
			fmt.Println("line", n)
		case syscall.SIGHUP:
			respawn("stubborn", "", &syscall.SysProcAttr{Setsid: true}, os.Environ())
		default:
			os.Exit(7)
		}
	}
}

// adoptable are the services of a node that dies: two that are to be adopted, one not.
func adoptable() []*ServiceSpec {
	var all []*ServiceSpec
	for _, name := range []string{"stays", "dies", "unwanted"} {
		s := childSpec("talker", "")
		s.Name = name
		all = append(all, s)
	}
	return all
}

// orphaned is a host on the runtime directory of a bhnode that was killed, not yet swept,
// and what that recorded.
func orphaned(t *testing.T) (*Host, map[string]state.Record) {
	t.Helper()
	dir := filepath.Join(shortDir(t), "run")
	node := program(t, "leaver", dir)
	must(t, node.Process.Kill())
	_ = node.Wait() // killed
	h := openHost(t, dir, func(o *HostOptions) {
		o.Node = "inner"
		o.Log = zerolog.New(zerolog.NewTestWriter(t))
	})
	records := map[string]state.Record{}
	for _, r := range h.State().All() {
		records[r.Service] = r
	}
	if len(records) != 3 {
		t.Fatalf("recorded are %v", records)
	}
	return h, records
}

// program runs the test binary in a mode until it says that it is ready.
func program(t *testing.T, mode, arg string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = slices.Concat(os.Environ(), []string{childMode + "=" + mode, childArg + "=" + arg, "GORACE=atexit_sleep_ms=0"}, env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("%s said %q, %v", mode, line, err)
	}
	return cmd
}

func talkerNamed(name string) *ServiceSpec {
	s := childSpec("talker", "")
	s.Name = name
	return s
}

func TestAServiceOfADeadNodeIsAdopted(t *testing.T) {
	h, records := orphaned(t)
	pid := records["stays"].Pid
	must(t, syscall.Kill(pid, syscall.SIGUSR1)) // it writes while nobody reads
	eventually(t, "nothing stops it", func() bool { return alive(pid) })
	if _, err := h.Sweep(t.Context(), map[string]uint64{"stays": 7, "dies": 7, "nobody": 7, "unwanted": 6}); err != nil {
		t.Fatal(err)
	}
	if alive(records["unwanted"].Pid) {
		t.Error("what nobody wants was not ended")
	}
	p, err := h.Adopt(talkerNamed("stays"), 7)
	if err != nil {
		t.Fatal(err)
	}
	if p.Pid() != pid || p.Incarnation() != 7 || !p.StartedAt().Equal(records["stays"].Started) || h.Lookup("stays") != p {
		t.Errorf("adopted is %d, incarnation %d, of %v, want %+v", p.Pid(), p.Incarnation(), p.StartedAt(), records["stays"])
	}
	awaitLine(t, p, "line 1")
	must(t, p.Signal(syscall.SIGUSR1))
	awaitLine(t, p, "line 2")
	must(t, p.Signal(syscall.SIGHUP)) // what it starts is of it
	awaitLine(t, p, "ready")
	if left, _ := p.Left(); len(left) != 2 {
		t.Errorf("of it is alive: %v", left)
	}
	if _, err := h.Start(t.Context(), talkerNamed("stays"), 8); !errors.Is(err, ErrNotReleased) {
		t.Errorf("a second life beside it: %v", err)
	}
	must(t, p.Signal(syscall.SIGUSR2))
	if e := awaitExit(t, p); e != (Exit{Code: 7, Known: true}) && e.Known {
		t.Errorf("it ended as %+v, want 7 or not known", e)
	}
	must(t, p.Kill())
	awaitGone(t, p)
	p.Release()
	if len(h.State().All()) != 1 { // the other one
		t.Errorf("recorded are %v", h.State().All())
	}
	again, err := h.Start(t.Context(), talkerNamed("stays"), 8)
	if err != nil {
		t.Fatal(err)
	}
	awaitLine(t, again, "ready")
	must(t, again.Signal(syscall.SIGUSR2))
	awaitExit(t, again)
	awaitGone(t, again)
	again.Release()
	dies, err := h.Adopt(talkerNamed("dies"), 7)
	if err != nil {
		t.Fatal(err)
	}
	must(t, dies.Signal(syscall.SIGUSR2))
	awaitExit(t, dies)
	awaitGone(t, dies)
	dies.Release()
	if found := carriers(t, "", h.instance); len(found) != 0 {
		t.Errorf("still alive: %v", found)
	}
	if dirs := leftGroups(h); len(dirs) > 0 {
		t.Errorf("groups are left: %v", dirs)
	}
}

// leftGroups are those of incarnations. On cgroup v1 a group of each service stays
// beside them, with one leaf that is kept.
func leftGroups(h *Host) (dirs []string) {
	stays, kept := "", map[string]spare{}
	if b, ok := h.backend.(*groups1); ok {
		stays, kept = b.track, b.spares.kept
	}
	for _, base := range h.bases {
		for _, name := range subgroups(base) {
			dir := filepath.Join(base, name)
			if base != stays {
				dirs = append(dirs, dir)
			}
			for _, leaf := range subgroups(dir) {
				if leaf = filepath.Join(dir, leaf); leaf != kept[dir].leaf {
					dirs = append(dirs, leaf)
				}
			}
		}
	}
	return dirs
}

func TestAServiceThatDiedWithoutANodeIsSeenToHaveEnded(t *testing.T) {
	h, records := orphaned(t)
	pid := records["dies"].Pid
	must(t, syscall.Kill(pid, syscall.SIGHUP))
	eventually(t, "it has a child", func() bool { return len(carriers(t, "inner/dies/7", h.instance)) == 2 })
	must(t, syscall.Kill(pid, syscall.SIGUSR2))
	eventually(t, "it is gone", func() bool { return !alive(pid) })
	if _, err := h.Sweep(t.Context(), map[string]uint64{"dies": 7}); err != nil {
		t.Fatal(err)
	}
	p, err := h.Adopt(talkerNamed("dies"), 7)
	if err != nil {
		t.Fatal(err)
	}
	if e := awaitExit(t, p); e.Known && e.Code != 7 || e.Signal != 0 || e.OOMKilled {
		t.Errorf("it ended as %+v", e)
	}
	if err := p.Signal(syscall.SIGTERM); !errors.Is(err, ErrProcessDone) {
		t.Errorf("a signal to it: %v", err)
	}
	if left, _ := p.Left(); len(left) != 1 {
		t.Errorf("of it is alive: %v, want what it left behind", left)
	}
	must(t, p.Kill())
	awaitGone(t, p)
	if text := output(t, p.Stdout()); !strings.HasPrefix(text, "ready") && text != "" {
		t.Errorf("its output ends with %q", text)
	}
	p.Release()
	if found := carriers(t, "", h.instance); len(found) != 0 {
		t.Errorf("still alive: %v", found)
	}
}

// A number that has become another process's, and a boot that is over, prove nothing.
func TestWhatIsNotProvedIsNotTouched(t *testing.T) {
	h := newHost(t)
	cmd := program(t, "wait", "", envInstance+"=another", envID+"=n/svc/3")
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	}()
	stranger := cmd.Process.Pid
	st, err := readStat(stranger)
	must(t, err)
	record := state.Record{Service: "svc", Incarnation: 3, BootID: h.boot, Pid: st.pid, StartTime: st.start + 1}
	must(t, h.State().Put(record))
	p, err := h.Adopt(childSpec("wait", ""), 3)
	must(t, err)
	awaitExit(t, p)
	must(t, p.Kill())
	awaitGone(t, p)
	p.Release()

	record.StartTime = st.start // the very process, but of another node
	must(t, h.State().Put(record))
	p, err = h.Adopt(childSpec("wait", ""), 3)
	must(t, err)
	awaitExit(t, p)
	must(t, p.Kill())
	awaitGone(t, p)
	p.Release()

	record.BootID = "another"
	must(t, h.State().Put(record))
	if _, err := h.Adopt(childSpec("wait", ""), 3); !errors.Is(err, ErrNotFound) {
		t.Errorf("of another boot: %v", err)
	}
	if _, err := h.Sweep(t.Context(), map[string]uint64{"svc": 3}); err != nil {
		t.Fatal(err)
	}
	if !alive(stranger) {
		t.Error("a stranger was ended")
	}
}
