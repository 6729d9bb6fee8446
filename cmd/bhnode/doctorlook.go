package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/blackhole/bhnode/proc"
)

// leastRoom is what a disk should have left for logs and events.
const leastRoom = 100 << 20

// directories looks at where the node writes.
func (x *examiner) directories() {
	seen := map[string]bool{}
	for _, d := range []struct {
		key, path string
		private   bool // others may not write there
	}{
		{"runtime_dir", x.cfg.Node.RuntimeDir, true}, {"data_dir", x.cfg.Node.DataDir, false}, {"logs.dir", x.cfg.Logs.Dir, false},
	} {
		if seen[d.path] {
			continue
		}
		seen[d.path] = true
		if what, hint := badDirectory(d.path, d.private); what != "" {
			x.found(checkError, "directories", fmt.Sprintf("%s %s: %s", d.key, d.path, what), hint)
			continue
		}
		room, err := proc.RoomIn(existing(d.path))
		switch {
		case err != nil:
			x.found(checkWarning, "directories", fmt.Sprintf("%s: %v", d.key, err), "")
		case room < leastRoom:
			x.found(checkWarning, "directories", fmt.Sprintf("%s %s: only %s are free", d.key, d.path, size(room)), "make room, or name another place")
		default:
			x.found(checkOK, "directories", fmt.Sprintf("%s %s (%s free)", d.key, d.path, size(room)), "")
		}
	}
}

// existing is the nearest directory above a path, or itself, that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// badDirectory says why a directory cannot be used or made.
func badDirectory(path string, private bool) (what, hint string) {
	at := existing(path)
	info, err := os.Stat(at)
	if err != nil {
		return err.Error(), ""
	}
	if !info.IsDir() {
		return at + " is no directory", "name another place"
	}
	if trial, err := os.MkdirTemp(at, ".bhnode-doctor"); err != nil {
		return "nothing can be made there: " + bare(err).Error(), fmt.Sprintf("chown or chmod %s, or name another place", at)
	} else if err := os.Remove(trial); err != nil {
		return err.Error(), ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !private || at != path || !ok {
		return "", ""
	}
	if !isOurs(int(st.Uid)) {
		return fmt.Sprintf("belongs to user %d", st.Uid), "chown it, or name another place"
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Sprintf("may be written by others (mode %v)", info.Mode().Perm()), "chmod go-w " + path
	}
	return "", ""
}

// bare is the reason of an error that names a path already told.
func bare(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}

// programs looks for what services run, and as whom.
func (x *examiner) programs() {
	bad := 0
	for _, s := range x.enabled() {
		if _, err := proc.FindProgram(&s.ServiceSpec); err != nil {
			bad++
			hint := "install it, or mend services." + s.Name + ".command"
			if errors.Is(err, fs.ErrPermission) {
				hint = "chmod +x it"
			}
			x.found(checkError, "programs", fmt.Sprintf("%s: %v", s.Name, err), hint)
		}
		if err := proc.CheckAccount(&s.ServiceSpec); err != nil {
			bad++
			x.found(checkError, "users", fmt.Sprintf("%s: %v", s.Name, err), "run bhnode as root, or mend services."+s.Name+".user")
		}
	}
	if bad == 0 {
		x.found(checkOK, "programs", fmt.Sprintf("of %s found", plural(len(x.enabled()), "service")), "")
	}
}

// endpoints looks whether somebody else listens where services are to. While the node
// runs it is them.
func (x *examiner) endpoints(ctx context.Context) {
	if x.running != 0 {
		return
	}
	taken, asked := 0, 0
	for _, s := range x.enabled() {
		if s.TCPPort > 0 {
			asked++
			if err := portIsFree(ctx, s.TCPPort); err != nil {
				taken++
				x.found(checkError, "ports", fmt.Sprintf("port %d of %s: %v", s.TCPPort, s.Name, err), fmt.Sprintf("ss -ltnp sport = :%d says who has it", s.TCPPort))
			}
		}
		if s.UnixSocket != "" {
			asked++
			if conn, err := net.DialTimeout("unix", s.UnixSocket, time.Second); err == nil { //nolint:noctx // bounded
				taken++
				_ = conn.Close()
				x.found(checkError, "ports", fmt.Sprintf("somebody else listens on %s, the socket of %s", s.UnixSocket, s.Name), "end that, or name another path")
			}
		}
	}
	if asked > 0 && taken == 0 {
		x.found(checkOK, "ports", fmt.Sprintf("%d ports and sockets are free", asked), "")
	}
}

func portIsFree(ctx context.Context, port int) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if errors.Is(err, syscall.EADDRINUSE) {
		return errors.New("somebody else listens on it")
	}
	if err != nil {
		return err
	}
	return l.Close()
}
