package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// remountGroups makes the groups of the kernel read-only, as in many containers, for this
// thread and what it becomes.
func remountGroups() {
	runtime.LockOSThread()
	must(unix.Unshare(unix.CLONE_NEWNS))
	must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(err)
	for line := range strings.Lines(string(mounts)) {
		before, after, _ := strings.Cut(line, " - ")
		if strings.HasPrefix(after, "cgroup") {
			must(unix.Mount("", strings.Fields(before)[4], "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
		}
	}
}

// enterGroup goes into a group, or where a bhnode that was in it has left those with
// limits below it, into that bhnode's.
func enterGroup(dir string) {
	err := os.WriteFile(dir+"/cgroup.procs", []byte("0"), 0)
	if errors.Is(err, unix.EBUSY) {
		err = os.WriteFile(dir+"/supervisor/cgroup.procs", []byte("0"), 0)
	}
	must(err)
}

const limitedService = `
services:
  it: {command: [@self], resources: {cpu_percent: 50, memory_mb: 64, processes: 50, open_files: 500}}
`

// checkUnenforced asserts that the node runs, that it tells of each limit named, and only
// of those, that it is not enforced, why, and what would help; and that it refuses with
// the same words to run where they are required.
func checkUnenforced(n *node, why string, limits ...string) {
	n.t.Helper()
	n.configure(limitedService)
	n.give()
	n.run() // its events are for who runs it alone
	n.eventually("it is healthy", func() bool { _, _, code := n.cli("health"); return code == 0 })
	text, told := n.do("status", "it"), 0
	var first string
	for _, l := range n.detail().Limits {
		open := l.EnforcedBy == nil
		if want := slices.Contains(limits, l.Name); open != want {
			n.t.Errorf("%s is enforced: %v, want %v", l.Name, !open, !want)
		}
		if !open {
			continue
		}
		told++
		if !strings.Contains(l.Why, why) || l.Help == "" {
			n.t.Errorf("%s: told is %q, %q; want why: …%s…, and help", l.Name, l.Why, l.Help, why)
		}
		line := fmt.Sprintf("%s %s is not enforced: %s: %s", l.Name, l.Value, l.Why, l.Help)
		if !strings.Contains(text, line) {
			n.t.Errorf("status does not say %q:\n%s", line, text)
		}
		if said := l.Name + " of it is not enforced: " + l.Why; !strings.Contains(n.stderr.String(), said) {
			n.t.Errorf("run does not say %q:\n%s", said, n.stderr)
		}
		if first == "" {
			first = fmt.Sprintf("%s %s: not enforced: %s", l.Name, l.Value, l.Why)
		}
	}
	if told != len(limits) {
		n.t.Errorf("told of %d limits, want %v", told, limits)
	}
	n.stop()
	if first == "" {
		return
	}
	n.configure(strings.Replace(limitedService, "open_files: 500", "open_files: 500, required: true", 1))
	n.give()
	n.run()
	if code := n.wait(); code != 1 || !strings.Contains(n.stderr.String(), first) {
		n.t.Errorf("where they are required it exits with %d, and does not say %q:\n%s", code, first, n.stderr)
	}
}

// give has what is in the node's directory belong to who runs it.
func (n *node) give() {
	n.t.Helper()
	who := cmp.Or(n.tools, n.as)
	if who == nil {
		return
	}
	err := filepath.WalkDir(n.dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, int(who.Uid), int(who.Gid))
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

var ofGroups = []string{"cpu_percent", "memory_mb", "processes"}

// unified is where a machine with cgroup v2 alone has its groups, to be used by root.
func unified(t *testing.T) string {
	t.Helper()
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.controllers"); err != nil || os.Getuid() != 0 {
		t.Skip("needs root on a machine with cgroup v2 alone")
	}
	return root
}

// group makes a group of the kernel for a bhnode to be started in, with the controllers
// that it may use.
func makeGroup(t *testing.T, root, name string, controllers ...string) string {
	t.Helper()
	for _, c := range controllers {
		if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+"+c), 0); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = os.Remove(filepath.Join(dir, "supervisor"))
		if err := os.Remove(dir); err != nil {
			t.Errorf("a group is left: %v", err)
		}
	})
	return dir
}

func TestIsolationOfAnOrdinaryUser(t *testing.T) {
	uid, gid := nobody(t)
	if _, err := os.Stat("/sys/fs/cgroup"); err != nil {
		t.Skip("there are no groups")
	}
	n := newNode(t, limitedService)
	n.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	why := "permission denied"
	if mounts, _ := os.ReadFile("/proc/self/mounts"); !strings.Contains(string(mounts), " cgroup") {
		why = "no cgroup file system is mounted here"
	}
	checkUnenforced(n, why, ofGroups...)
}

func TestIsolationWithReadOnlyGroups(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount groups read-only")
	}
	n := newNode(t, limitedService)
	n.under = []string{self, "readonly-groups", "exec"}
	why := "mounted read-only"
	if mounts, _ := os.ReadFile("/proc/self/mounts"); !strings.Contains(string(mounts), " cgroup") {
		why = "no cgroup file system is mounted here"
	}
	checkUnenforced(n, why, ofGroups...)
}

// A part of the groups is nobody's, who starts bhnode outside it; then inside.
func TestIsolationOutsideADelegatedGroup(t *testing.T) {
	root := unified(t)
	uid, gid := nobody(t)
	dir := makeGroup(t, root, "bhnode-test-delegated", "cpu", "memory", "pids")
	for _, name := range []string{".", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		if err := os.Chown(filepath.Join(dir, name), uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	n := newNode(t, limitedService)
	n.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	checkUnenforced(n, "permission denied", ofGroups...)

	n.as = nil
	n.under = []string{self, "enter-group=" + dir, "become=" + fmt.Sprint(uid), "exec"}
	n.tools = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	checkUnenforced(n, "")
}

func TestIsolationInAThreadedGroup(t *testing.T) {
	dir := makeGroup(t, unified(t), "bhnode-test-threaded", "cpu", "memory", "pids")
	n := newNode(t, limitedService)
	n.under = []string{self, "enter-group=" + dir, "threaded-group=" + dir, "exec"}
	checkUnenforced(n, "") // it is mended
}

func TestIsolationWithoutAController(t *testing.T) {
	root := unified(t)
	if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("-memory"), 0); err != nil {
		t.Skipf("others use all controllers: %v", err)
	}
	dir := makeGroup(t, root, "bhnode-test-partial", "cpu", "pids")
	n := newNode(t, limitedService)
	n.under = []string{self, "enter-group=" + dir, "exec"}
	checkUnenforced(n, "the controller memory is not available in "+dir, "memory_mb")
}
