package proc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/blackhole/bhnode/proc/shim"
)

// execSpec is one program to run, as a main process or a hook.
type execSpec struct {
	argv, env      []string
	dir            string
	account        account
	mark           identity
	stdout, stderr int // descriptors
	group          *group
	limits         Limits      // those of the group
	birth          *shim.Birth // nil: nothing but the group may need the shim
}

// exec starts a program in a session of its own, its input empty.
func (h *Host) exec(ctx context.Context, e execSpec) (*child, error) {
	if len(e.argv) == 0 || e.argv[0] == "" {
		return nil, hopeless(errors.New("the command is empty"))
	}
	path, err := findProgram(e.argv[0], e.env)
	if err != nil {
		return nil, hopeless(err)
	}
	if err := checkDir(e.dir); err != nil {
		return nil, err
	}
	into := e.group.entry(e.birth != nil, e.limits)
	if e.birth == nil && len(into.joins) == 0 {
		return h.execPlain(ctx, path, into.born, e)
	}
	c, err := h.execShim(ctx, path, into, e)
	if err != nil {
		return nil, err
	}
	return c, nil
}

func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return hopeless(fmt.Errorf("bad working directory: %w", err))
	case err != nil:
		return err
	case !info.IsDir():
		return hopeless(fmt.Errorf("bad working directory: %s is no directory", dir))
	}
	return nil
}

// defaultPath is searched for a service whose environment has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// findProgram finds a bare name in the PATH of env; entries that are not absolute would
// mean another directory for bhnode than for the service and are skipped.
func findProgram(name string, env []string) (string, error) {
	if strings.ContainsRune(name, '/') {
		return name, nil
	}
	path, ok := getenv(env, "PATH")
	if !ok {
		path = defaultPath
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		program := filepath.Join(dir, name)
		if info, err := os.Stat(program); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return program, nil
		}
	}
	return "", fmt.Errorf("no program %q in PATH (%s): %w", name, path, fs.ErrNotExist)
}

// lasting are the errors of an exec that will be the same the next time.
var lasting = []syscall.Errno{
	syscall.EACCES, syscall.EPERM, syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP,
	syscall.ENAMETOOLONG, syscall.E2BIG, syscall.EINVAL, syscall.ELIBBAD,
}

// execError says why a program could not be started, and whether it ever can.
func execError(path string, errno syscall.Errno) error {
	err := error(&fs.PathError{Op: "exec", Path: path, Err: errno})
	switch {
	case errno == syscall.ENOENT:
		if _, statErr := os.Stat(path); statErr == nil {
			err = fmt.Errorf("%w (the file is there, its interpreter or loader is not)", err)
		}
		return hopeless(err)
	case errno == syscall.ENOEXEC:
		return hopeless(fmt.Errorf("%w (a script needs a first line like #!/bin/sh)", err))
	case slices.Contains(lasting, errno):
		return hopeless(err)
	}
	return err
}
