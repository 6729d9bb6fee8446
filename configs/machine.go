package configs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// machine is what a configuration learns from where it is read.
type machine struct {
	getenv     func(string) (string, bool)
	uid        int
	hostname   string
	executable string // bhnode's own, for the default command
	files      *files // that were read, or are to be read from a Snapshot
}

func thisMachine(getenv func(string) (string, bool)) (machine, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return machine{}, fmt.Errorf("cannot learn the host name: %w", err)
	}
	executable, err := os.Executable()
	if err != nil {
		return machine{}, fmt.Errorf("cannot find bhnode's own executable: %w", err)
	}
	return machine{getenv: getenv, uid: os.Getuid(), hostname: hostname, executable: executable, files: &files{}}, nil
}

// directory returns an XDG directory: what the variable names, if that is an
// absolute path as XDG demands.
func (m machine) directory(variable string) (string, bool) {
	value, _ := m.getenv(variable)
	return value, filepath.IsAbs(value)
}

func (m machine) home() (string, error) {
	if home, ok := m.directory("HOME"); ok {
		return home, nil
	}
	if u, err := user.LookupId(strconv.Itoa(m.uid)); err == nil && filepath.IsAbs(u.HomeDir) {
		return u.HomeDir, nil
	}
	return "", errors.New("there is no home directory: set HOME, or XDG_STATE_HOME")
}

// embeddedDirs returns what relative paths of the embedded default start from:
// the state directory, and the runtime directory for sockets.
func (m machine) embeddedDirs() (state, runtime string, err error) {
	if dir, ok := m.directory("XDG_STATE_HOME"); ok {
		state = filepath.Join(dir, "bhnode")
	} else {
		home, err := m.home()
		if err != nil {
			return "", "", err
		}
		state = filepath.Join(home, ".local", "state", "bhnode")
	}
	switch dir, ok := m.directory("XDG_RUNTIME_DIR"); {
	case ok:
		runtime = filepath.Join(dir, "bhnode")
	case m.uid == 0:
		runtime = "/run/bhnode"
	default:
		runtime = fmt.Sprintf("/tmp/bhnode-%d", m.uid)
	}
	return state, runtime, nil
}

// checkPrivate refuses a directory that is there and is a link, another's, or
// open to others.
func (m machine) checkPrivate(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symbolic link; it must be a directory of our own", dir)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case owner(info) != m.uid:
		return fmt.Errorf("%s belongs to uid %d; it must be our own", dir, owner(info))
	case info.Mode().Perm() != 0o700:
		return fmt.Errorf("%s has mode %04o; it must be 0700", dir, info.Mode().Perm())
	}
	return nil
}

// distrust says why root must not rely on the file that a path leads to: others may
// write it, or anybody may put another one in its place. It returns "" for a good file,
// and for anybody but root.
func (m machine) distrust(path string, info fs.FileInfo) string {
	if m.uid != 0 {
		return ""
	}
	mode := info.Mode().Perm()
	switch {
	case mode&0o002 != 0, mode&0o020 != 0 && group(info) != 0:
		return fmt.Sprintf("others may write it (mode %04o); root does not use such a file", mode)
	case owner(info) != 0:
		return fmt.Sprintf("it belongs to uid %d (mode %04o), not to root; root does not use such a file", owner(info), mode)
	}
	named, err := filepath.Abs(path)
	if err != nil {
		return fmt.Sprintf("cannot tell where it is: %s", err)
	}
	real, err := filepath.EvalSymlinks(named)
	if err != nil {
		real = named
	}
	return cmp.Or(distrustAbove(named), distrustAbove(real))
}

// distrustAbove says which directory above a path anybody may change: the sticky bit
// keeps others from what is in it.
func distrustAbove(path string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir) //nolint:gosec // the configuration names it
		if err == nil && info.Mode()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
			return fmt.Sprintf("others may put another file in its place (%s has mode %04o); root does not use such a file", dir, info.Mode().Perm())
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}

// distrustPath is distrust for a path; one that is not there is no matter of trust.
func (m machine) distrustPath(path string) string {
	info, err := os.Stat(path) //nolint:gosec // the configuration names it
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return m.distrust(path, info)
}

func owner(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid)
	}
	return -1
}

func group(info fs.FileInfo) int {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Gid)
	}
	return -1
}
