package vm

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// kernelPackage is what Debian calls its smallest kernel; it depends on the real one.
const kernelPackage = "linux-image-cloud-amd64"

// modules are what the guest needs of it, in the order they are loaded.
var modules = []string{
	"virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_console", "virtio_blk",
	"crc32c_generic", "libcrc32c", "crc16", "mbcache", "jbd2", "ext4", "bfq",
}

// kernel returns a directory with vmlinuz and the modules, which is made once and kept in
// the user's cache.
func kernel(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	dir := filepath.Join(cache, "bhnode-vm", kernelPackage)
	if _, err := os.Stat(filepath.Join(dir, "vmlinuz")); err == nil {
		return dir
	}
	must(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	work, err := os.MkdirTemp(filepath.Dir(dir), "fetch")
	must(t, err)
	defer func() { _ = os.RemoveAll(work) }()
	t.Logf("fetching %s, once", realKernel(t))
	run(t, work, "apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", realKernel(t))
	packages, _ := filepath.Glob(filepath.Join(work, "*.deb"))
	if len(packages) != 1 {
		t.Fatalf("downloaded were %v", packages)
	}
	tree, made := filepath.Join(work, "x"), filepath.Join(work, "made")
	run(t, work, "dpkg-deb", "-x", packages[0], tree)
	must(t, os.Mkdir(made, 0o755))
	unpackModules(t, tree, made)
	images, _ := filepath.Glob(filepath.Join(tree, "boot", "vmlinuz-*"))
	if len(images) != 1 {
		t.Fatalf("the package has the kernels %v", images)
	}
	must(t, os.Rename(images[0], filepath.Join(made, "vmlinuz")))
	if err := os.Rename(made, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return dir
}

// realKernel is the package that the other one stands for.
func realKernel(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("apt-cache", "show", "--no-all-versions", kernelPackage).Output()
	found := regexp.MustCompile(`linux-image-[0-9][^ ,]*`).FindString(string(out))
	if err != nil || found == "" {
		t.Fatalf("apt knows no %s (apt-get update first?): %v", kernelPackage, err)
	}
	return found
}

// unpackModules puts those that the kernel has not built in into a directory.
func unpackModules(t *testing.T, tree, to string) {
	t.Helper()
	found := map[string]string{}
	must(t, filepath.WalkDir(tree, func(path string, e fs.DirEntry, err error) error {
		name, _, isModule := strings.Cut(filepath.Base(path), ".ko")
		if err == nil && isModule && e.Type().IsRegular() {
			found[name] = path
		}
		return err
	}))
	for _, name := range modules {
		path := found[name]
		if path == "" {
			continue
		}
		if strings.HasSuffix(path, ".xz") {
			run(t, to, "xz", "-dq", path)
			path = strings.TrimSuffix(path, ".xz")
		}
		must(t, os.Rename(path, filepath.Join(to, name+".ko")))
	}
}

func run(t *testing.T, dir, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
