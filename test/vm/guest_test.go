package vm

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

//go:embed init.sh
var initScript []byte

// guest is one run of a static program in a machine of its own.
type guest struct {
	groups  string            // v2, v1 or none: what is mounted at /sys/fs/cgroup
	files   map[string]string // what it finds, by name in /vm: paths of the host
	command []string
	env     []string
	single  bool // one processor instead of two
	disk    bool // an ext4 disk of diskMB that gives diskRate bytes a second
	timeout time.Duration
}

const (
	diskMB   = 256
	diskRate = 8_000_000
)

// tools are what a guest needs, by the package that has it.
var tools = map[string]string{
	"qemu-system-x86_64": "qemu-system-x86", "busybox": "busybox-static", "mkfs.ext4": "e2fsprogs", "xz": "xz-utils",
	"apt-get": "apt", "dpkg-deb": "dpkg",
}

// needTools skips a test where there are none.
func needTools(t *testing.T) {
	t.Helper()
	var missing []string
	for program, pkg := range tools {
		if _, err := find(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Skipf("needs a virtual machine: apt-get install --no-install-recommends %s", strings.Join(missing, " "))
	}
}

// find looks for a program, also where administrators' programs are.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, program); exec.Command("test", "-x", path).Run() == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s: %w", program, exec.ErrNotFound)
}

// boots is how often a guest may begin: now and then the processors of an emulated machine
// wait for each other in its kernel for ever (soft lockup), whatever runs there.
const boots = 3

// boot runs the guest to its end and returns the exit code of the program, and all that
// it printed.
func (g *guest) boot(t *testing.T) (code int, output string) {
	t.Helper()
	for range boots - 1 {
		code, output, lockup := g.bootOnce(t)
		if !lockup {
			return code, output
		}
		t.Log("the kernel of the guest locked up; it is booted again")
	}
	code, output, lockup := g.bootOnce(t)
	if lockup {
		t.Fatalf("the kernel of the guest locked up %d times:\n%s", boots, output)
	}
	return code, output
}

// bootTime is how long a guest may say nothing, many times what it takes to begin: an emulated
// kernel can hang before it can say so.
const bootTime = 3 * time.Minute

func (g *guest) bootOnce(t *testing.T) (code int, output string, lockup bool) {
	t.Helper()
	dir := t.TempDir()
	g.pack(t, kernel(t), filepath.Join(dir, "initrd"))
	if g.disk {
		makeDisk(t, filepath.Join(dir, "disk"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout)
	defer cancel()
	qemu, err := find("qemu-system-x86_64")
	must(t, err)
	cmd := exec.CommandContext(ctx, qemu, g.arguments(dir)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var dumb atomic.Bool
	defer time.AfterFunc(bootTime, func() {
		if read(filepath.Join(dir, "output")) == "" {
			dumb.Store(true)
			cancel()
		}
	}).Stop()
	said, err := cmd.CombinedOutput()
	text := read(filepath.Join(dir, "output"))
	var told int
	if _, scanErr := fmt.Sscanf(read(filepath.Join(dir, "code")), "code %d", &told); scanErr == nil {
		return told, text, false
	}
	kernel := read(filepath.Join(dir, "console"))
	if dumb.Load() || strings.Contains(kernel, "soft lockup") {
		return 0, text, true
	}
	console := strings.Split(kernel, "\n")
	t.Fatalf("the guest gave no exit code: %v\n%s\n%s\n%s", errors.Join(err, ctx.Err()), said,
		strings.Join(console[max(0, len(console)-30):], "\n"), text)
	return 0, "", false
}

func read(path string) string {
	data, _ := os.ReadFile(path) // not there: the guest came to nothing, which is told
	return string(data)
}

func (g *guest) arguments(dir string) []string {
	accel, cpu := "tcg,thread=multi", "max"
	if os.Getenv("BHNODE_VM_ACCEL") == "kvm" {
		accel, cpu = "kvm", "host"
	}
	port := func(name string) []string {
		return []string{
			"-chardev", "file,id=" + name + ",path=" + filepath.Join(dir, name),
			"-device", "virtserialport,chardev=" + name + ",name=" + name,
		}
	}
	processors := "2"
	if g.single {
		processors = "1"
	}
	args := []string{
		"-M", "q35", "-accel", accel, "-cpu", cpu, "-smp", processors, "-m", "1024", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-serial", "file:" + filepath.Join(dir, "console"),
		"-kernel", filepath.Join(dir, "vmlinuz"), "-initrd", filepath.Join(dir, "initrd"),
		"-append", "console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/init random.trust_cpu=on tsc=reliable no_timer_check watchdog_thresh=30 softlockup_panic=1",
		"-device", "virtio-serial-pci",
	}
	args = slices.Concat(args, port("output"), port("code"))
	if g.disk {
		args = append(args, "-drive", "file="+filepath.Join(dir, "disk")+
			",format=raw,if=none,id=d0,cache=unsafe,throttling.bps-total="+strconv.Itoa(diskRate), "-device", "virtio-blk-pci,drive=d0")
	}
	return args
}

// pack makes the initramfs, and puts the kernel beside it.
func (g *guest) pack(t *testing.T, kernel, path string) {
	t.Helper()
	busybox, err := find("busybox")
	must(t, err)
	a := &archive{}
	a.dirs("bin", "sbin", "etc", "proc", "sys", "dev", "tmp", "run", "vm", "data", "root", "usr", "var", "mod")
	a.copy(t, busybox, "bin/busybox")
	var order bytes.Buffer
	for _, name := range modules {
		if module := filepath.Join(kernel, name+".ko"); read(module) != "" {
			a.copy(t, module, "mod/"+name+".ko")
			fmt.Fprintln(&order, name)
		}
	}
	a.file("mod/order", 0o644, order.Bytes())
	a.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"))
	a.file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	env := "export GUEST=" + g.groups + "\n"
	for _, v := range g.env {
		name, value, _ := strings.Cut(v, "=")
		env += "export " + name + "=" + quote(value) + "\n"
	}
	a.file("env", 0o644, []byte(env))
	words := make([]string, len(g.command))
	for i, w := range g.command {
		words[i] = quote(w)
	}
	a.file("test", 0o755, []byte(strings.Join(words, " ")+"\n"))
	for name, from := range g.files {
		a.copy(t, from, "vm/"+name)
	}
	a.file("init", 0o755, initScript)
	f, err := os.Create(path)
	must(t, err)
	a.writeTo(t, f)
	must(t, f.Close())
	must(t, os.Symlink(filepath.Join(kernel, "vmlinuz"), filepath.Join(filepath.Dir(path), "vmlinuz")))
}

func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

func makeDisk(t *testing.T, path string) {
	t.Helper()
	mkfs, err := find("mkfs.ext4")
	must(t, err)
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(diskMB<<20))
	must(t, f.Close())
	run(t, filepath.Dir(path), mkfs, "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", path)
}
