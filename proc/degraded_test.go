package proc

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// tell opens a host and prints what it can hold services with, what becomes of limits, and
// of services with such limits, wished for and required.
func tell(arg string) {
	runtime.LockOSThread()
	if arg == "read-only" {
		_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		for _, dir := range cgroupMounts() {
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
				fmt.Println(err)
			}
		}
	}
	if arg == "unmounted" {
		_ = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		for _, dir := range cgroupMounts() {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
				fmt.Println(err)
			}
		}
	}
	if strings.HasPrefix(arg, "/") { // the trap: enabled beside a process
		if err := writeGroup(arg, "cgroup.subtree_control", "+cpu"); err != nil {
			fmt.Println(err)
		}
		kind, _ := os.ReadFile(filepath.Join(arg, "cgroup.type"))
		fmt.Print("type ", string(kind))
	}
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	h, err := OpenHost(HostOptions{Node: "n", RuntimeDir: filepath.Join(dir, "run")})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = h.Close() }()
	fmt.Println("backend", h.Isolation().Backend)
	s := &ServiceSpec{Name: "svc", Command: []string{"/bin/true"}}
	s.Limits = Limits{CPUPercent: 50, MemoryMB: 64, Processes: 9, OpenFiles: 100}
	for _, e := range h.Enforcement(s) {
		fmt.Println(e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		fmt.Println("as far as can be:", runOnce(ctx, h, s, 1))
		s.Limits.Required = true
		fmt.Println("required:", runOnce(ctx, h, s, 2))
	}()
	h.Serve(ctx)
}

// runOnce says how a service ended, or why it did not start.
func runOnce(ctx context.Context, h *Host, s *ServiceSpec, incarnation uint64) string {
	p, err := h.Start(ctx, s, incarnation)
	if err != nil {
		return err.Error()
	}
	defer p.Release()
	if err := p.AwaitGone(ctx); err != nil {
		return err.Error()
	}
	return p.Exit().String()
}

func cgroupMounts() []string {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	var dirs []string
	for line := range strings.Lines(string(data)) {
		if m, ok := parseMount(line); ok && strings.HasPrefix(m.kind, "cgroup") {
			dirs = append(dirs, m.dir)
		}
	}
	return dirs
}

// told runs the test binary in another place and returns what it tells.
func told(t *testing.T, arg string, attr *syscall.SysProcAttr) string {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir, cmd.SysProcAttr = "/", attr
	cmd.Env = []string{childMode + "=tell", childArg + "=" + arg, "TMPDIR=/tmp"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
	return string(out)
}

// wantRefused checks that a service runs all the same, unless a limit that cannot be
// enforced is required.
func wantRefused(t *testing.T, got, limit string) {
	t.Helper()
	_, why, _ := strings.Cut(got, limit+": not enforced: ")
	why, _, _ = strings.Cut(why, "\n")
	wantTold(t, got, "as far as can be: exit 0\n", "required: limits: "+limit+": not enforced: "+why+"\n")
}

func wantTold(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, text := range want {
		if !strings.Contains(got, text) {
			t.Errorf("not told: %q", text)
		}
	}
}

// TestWhereGroupsCannotBeUsed has the host run all the same and say why.
func TestWhereGroupsCannotBeUsed(t *testing.T) {
	needRoot(t)
	if len(cgroupMounts()) == 0 {
		wantTold(t, told(t, "", nil), "backend none", "memory_mb 64: not enforced: no cgroup file system is mounted here",
			"open_files 100: rlimit")
		return
	}
	t.Run("ordinary user", func(t *testing.T) {
		got := told(t, "", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
		wantTold(t, got, "backend none", "memory_mb 64: not enforced: no group can be made in ",
			"permission denied: run bhnode as root, or as a service of systemd with Delegate=yes", "open_files 100: rlimit")
		wantRefused(t, got, "cpu_percent 50")
	})
	t.Run("read-only", func(t *testing.T) {
		got := told(t, "read-only", &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
		wantTold(t, got, "backend none", " is mounted read-only: give the container a writable cgroup file system")
		wantRefused(t, got, "cpu_percent 50")
	})
	t.Run("unmounted", func(t *testing.T) {
		got := told(t, "unmounted", &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS})
		wantTold(t, got, "backend none", "no cgroup file system is mounted here: mount -t cgroup2 none /sys/fs/cgroup")
		wantRefused(t, got, "cpu_percent 50")
	})
}

// TestInAGroupOfV2 starts hosts in groups of cgroup v2 of several kinds.
func TestInAGroupOfV2(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	if h.Isolation().Backend != "cgroup v2" {
		t.Skip("this machine has no cgroup v2 alone")
	}
	root := filepath.Dir(h.Isolation().Path)
	delegated := []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"}
	all := []string{
		"backend cgroup v2", "cpu_percent 50: cgroup v2", "memory_mb 64: cgroup v2", "processes 9: cgroup v2",
		"as far as can be: exit 0\n", "required: exit 0\n",
	}
	for name, tc := range map[string]struct {
		controllers string
		delegated   []string // files that are an ordinary user's, who then starts it
		threaded    bool
		want        []string
		refused     string // limit
	}{
		"delegated": {controllers: "+cpu +memory +pids", delegated: delegated, want: all},
		"outside of what is delegated": {
			controllers: "+cpu +memory +pids", delegated: delegated[:1],
			want: []string{
				"backend none", "memory_mb 64: not enforced: no process can be put into a group below ",
				": permission denied: run bhnode as root, or as a service of systemd with Delegate=yes",
			},
			refused: "cpu_percent 50",
		},
		"missing a controller": {
			controllers: "+cpu +pids",
			want: []string{
				"backend cgroup v2", "cpu_percent 50: cgroup v2", "processes 9: cgroup v2",
				"memory_mb 64: not enforced: the controller memory is not available in ",
				"delegate it (Delegate=yes), or enable it on the kernel's command line",
			},
			refused: "memory_mb 64",
		},
		"threaded": {controllers: "+cpu +memory +pids", threaded: true, want: append(all, "type domain threaded")},
	} {
		t.Run(name, func(t *testing.T) {
			parent := filepath.Join(root, "parent-"+strings.ReplaceAll(name, " ", "-"))
			own := filepath.Join(parent, "own")
			t.Cleanup(func() {
				if err := removeGroups(parent); err != nil {
					t.Error(err)
				}
			})
			must(t, os.Mkdir(parent, 0o755))
			must(t, writeGroup(parent, "cgroup.subtree_control", tc.controllers))
			must(t, os.Mkdir(own, 0o755))
			attr := &syscall.SysProcAttr{}
			for _, f := range tc.delegated {
				attr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
				must(t, os.Chown(filepath.Join(own, f), 65534, 65534))
			}
			leaf, err := openGroup(own)
			must(t, err)
			defer func() { _ = unix.Close(leaf) }()
			attr.UseCgroupFD, attr.CgroupFD = true, leaf
			arg := ""
			if tc.threaded {
				arg = own
			}
			got := told(t, arg, attr)
			wantTold(t, got, tc.want...)
			if tc.refused != "" {
				wantRefused(t, got, tc.refused)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
