package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// groupsName is what the groups of a node are called, so that no two collide.
func groupsName(instance string) string { return "bhnode-" + instance[:12] }

// What cannot be done without any group.
const everything = "limits of processors, memory, disks and processes; killing a service whole"

// purpose is what a back end is opened for.
type purpose bool

const (
	toUse  purpose = false
	toLook purpose = true // nobody is moved and nothing is left behind
)

// openBackend finds out which groups of the kernel can be used.
func openBackend(instance string, only purpose) backend {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	own, ownErr := os.ReadFile("/proc/self/cgroup")
	if err := errors.Join(err, ownErr); err != nil {
		return noGroups{problems: []Problem{{everything, err.Error(), "mount /proc"}}}
	}
	at := parseHierarchies(string(mounts), string(own))
	name := groupsName(instance)
	switch {
	case len(at.v1) > 0:
		return openGroups1(at, name)
	case at.unified != nil:
		return openGroups2(at.unified, name, only)
	}
	return noGroups{problems: []Problem{{everything, "no cgroup file system is mounted here", "mount -t cgroup2 none /sys/fs/cgroup"}}}
}

// makeBase makes the directory of a node's groups.
func makeBase(at *hierarchy, name string) (string, *Problem) {
	base := filepath.Join(at.own, name)
	if at.readOnly {
		return "", &Problem{everything, at.mount + " is mounted read-only", "give the container a writable cgroup file system"}
	}
	err := os.Mkdir(base, 0o755) //nolint:gosec // as all of cgroupfs
	if err == nil || errors.Is(err, fs.ErrExist) {
		return base, nil
	}
	return "", &Problem{everything, fmt.Sprintf("no group can be made in %s: %v", at.own, cause(err)), helpFor(err)}
}

// cause returns the bare reason of an error that names a path already told.
func cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

func helpFor(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "run bhnode as root, or as a service of systemd with Delegate=yes"
	case errors.Is(err, unix.EROFS):
		return "give the container a writable cgroup file system"
	case errors.Is(err, unix.EOPNOTSUPP):
		return "start bhnode in a group of its own that is no threaded one: as a service of systemd with Delegate=yes"
	}
	return "start bhnode as a service of systemd with Delegate=yes"
}

// nowhere is a program that cannot be, as its parent is no directory.
const nowhere = os.DevNull + "/none"

// tryBirth has a process born into a fresh group below base, where it finds nothing to
// run: so nothing is run to learn whether it can.
func tryBirth(base string) error {
	trial := filepath.Join(base, ".trial")
	if err := os.Mkdir(trial, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // as all of cgroupfs
		return err
	}
	g := &group{leaf: trial}
	fd, err := openGroup(g.leaf)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	_, err = syscall.ForkExec(nowhere, []string{nowhere}, &syscall.ProcAttr{
		Sys: &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd},
	})
	if errors.Is(err, unix.ENOTDIR) {
		err = nil
	}
	return errors.Join(err, g.remove())
}
