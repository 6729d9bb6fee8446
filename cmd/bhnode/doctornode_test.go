package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proc"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// examined is what a look at some machine found.
func examined() *examiner {
	x := &examiner{cfg: &configs.Config{}, machine: &runningNode{
		services: []*bhnodev1.Service{{Name: "web", Limits: []*bhnodev1.Limit{
			{Name: "memory_mb", Value: "64", EnforcedBy: "cgroup v2"},
			{Name: "io_weight", Value: "500", Why: "not effective: no disk has the scheduler bfq", Help: "echo bfq > /sys/block/DISK/queue/scheduler"},
		}}},
	}}
	x.cfg.Node.Name = "n"
	x.cfg.Services = []configs.Service{{Enabled: true, ServiceSpec: proc.ServiceSpec{Name: "web"}}}
	x.found(checkOK, "configuration", "/etc/bhnode/blackhole.yaml: 1 service", "")
	x.limits()
	x.found(checkError, "programs", "web: stat /opt/a/very/long/way/to/a/program/that/is/not/there/at/all/web: no such file\x1b[2J", "install it, or mend services.web.command")
	return x
}

func TestDoctorFitsOnTheTerminal(t *testing.T) {
	for name, env := range map[string]map[string]string{
		"doctor-ascii": {"TERM": "dumb"}, "doctor-colour": {"TERM": "xterm", "LANG": "C.UTF-8"},
	} {
		term := newTerminal(t, 80, 24)
		a := &app{stdio: stdio{}, out: newScreen(term, func(key string) (string, bool) { v, ok := env[key]; return v, ok })}
		err := a.tellFindings(configs.Source{}, examined())
		if failed, ok := errors.AsType[*exitError](err); !ok || failed.code != exitFailed {
			t.Errorf("%s: %v", name, err)
		}
		text := term.finish()
		golden(t, name, text)
	}
}

func TestDoctorJSON(t *testing.T) {
	var out strings.Builder
	a := &app{out: newScreen(&out, func(string) (string, bool) { return "", false })}
	if err := printJSON(a.out, examined().toJSON(configs.Source{})); err != nil {
		t.Fatal(err)
	}
	golden(t, "doctor-json", out.String())
}

// aNodeRuns has it look as if a node ran on the runtime directory of a patient.
func aNodeRuns(t *testing.T, config string) (runtimeDir string) {
	t.Helper()
	runtimeDir = filepath.Join(filepath.Dir(config), "run")
	if err := os.Mkdir(runtimeDir, 0o711); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(runtimeDir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() })
	if _, err := fmt.Fprintln(lock, 4711); err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return runtimeDir
}

func changedAt(t *testing.T, path string) syscall.Timespec {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ctim
}

func TestDoctorBelievesTheNodeThatRunsAndTouchesNothing(t *testing.T) {
	config := patientOf(t, "  storage: {command: [\"true\"]}\n  fresh: {command: [\"true\"]}\n")
	dir := aNodeRuns(t, config)
	before := changedAt(t, dir)
	node := troubled()
	node.isolation = &bhnodev1.Isolation{Backend: "none", Tracking: "BHNODE_ID", Problems: []*bhnodev1.Problem{
		{What: "killing a service whole", Why: "no group can be made", Help: "run bhnode as root"},
		{What: "cpu_percent", Why: "is told with the limit"},
	}}
	socket, _ := serve(t, node)
	got := at(socket).exec(t, "doctor", "--config", config)
	for _, want := range []string{
		"bhnode runs on " + dir + " (pid 4711); isolation and limits are what it says", "none: services are tracked by BHNODE_ID",
		"no killing a service whole: no group can be made", "io_weight of storage: not enforced", "fresh is none of its services",
	} {
		if !strings.Contains(got.out, want) {
			t.Errorf("there is no %q in\n%s", want, got.out)
		}
	}
	if strings.Contains(got.out, "is told with the limit") || got.code != exitOK {
		t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
	}
	if changedAt(t, dir) != before {
		t.Error("the directory of the node was written to")
	}
}

func TestDoctorOfANodeThatDoesNotAnswer(t *testing.T) {
	config := patientOf(t, "  a: {command: [\"true\"], resources: {memory_mb: 64}}\n")
	aNodeRuns(t, config)
	got := world{}.exec(t, "doctor", "--config", config)
	if got.code != exitFailed || !strings.Contains(got.out, "it does not answer") || strings.Contains(got.out, "isolation  ") {
		t.Errorf("exit code %d\n%s%s", got.code, got.out, got.err)
	}
}

func TestDoctorOfDirectoriesThatOthersMayWrite(t *testing.T) {
	config := patientOf(t, "  a: {command: [\"true\"]}\n")
	dir := filepath.Dir(config)
	for _, name := range []string{"run", "data", "logs"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	got := world{}.exec(t, "doctor", "-o", "json", "--config", config)
	want := []string{
		"error directories: runtime_dir " + dir + "/run: may be written by others (mode -rwxrwxrwx)",
		"warning directories: data_dir " + dir + "/data may be written by others (mode -rwxrwxrwx)",
		"warning directories: logs.dir " + dir + "/logs may be written by others (mode -rwxrwxrwx)",
	}
	if bad := ills(t, got.out); strings.Join(bad, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q\nwant %q", bad, want)
	}
}

// An ordinary user may look at the configuration of a node that is another one's.
func TestDoctorAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("becomes somebody else, which needs root")
	}
	config := patientOf(t, "  a: {command: [\"true\"]}\n")
	dir := aNodeRuns(t, config)
	program := filepath.Join(filepath.Dir(config), "bhnode")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for path, mode := range map[string]os.FileMode{config: 0o644, program: 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for at := filepath.Dir(config); at != os.TempDir() && at != "/"; at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(program, "doctor", "--config", config)
	cmd.Env, cmd.Dir = []string{"PATH=/usr/bin:/bin"}, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("it did not run: %v", err)
	}
	for _, want := range []string{
		fmt.Sprintf("bhnode runs on %s (pid %d)", dir, os.Getpid()), "runtime_dir " + dir + ": nothing can be made in " + dir + ": permission denied",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
}
