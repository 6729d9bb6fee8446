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
		private   bool // bhnode refuses one that others may write
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
		if info, err := os.Stat(d.path); err == nil && writtenByOthers(info) {
			x.found(checkWarning, "directories", fmt.Sprintf("%s %s may be written by others (mode %v)", d.key, d.path, info.Mode().Perm()), "chmod go-w "+d.path)
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

func writtenByOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

// badDirectory says why a directory cannot be used or made. It makes nothing to learn
// that: a node may be at work in there.
func badDirectory(path string, private bool) (what, hint string) {
	at := existing(path)
	info, err := os.Stat(at)
	if err != nil {
		return err.Error(), ""
	}
	if !info.IsDir() {
		return at + " is no directory", "name another place"
	}
	if err := proc.MayMakeIn(at); errors.Is(err, syscall.EROFS) {
		return "its file system is read-only", "name another place"
	} else if err != nil {
		return fmt.Sprintf("nothing can be made in %s: %v", at, err), fmt.Sprintf("chown or chmod %s, or name another place", at)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !private || at != path || !ok {
		return "", ""
	}
	if !isOurs(int(st.Uid)) {
		return fmt.Sprintf("belongs to user %d", st.Uid), "chown it, or name another place"
	}
	if writtenByOthers(info) {
		return fmt.Sprintf("may be written by others (mode %v)", info.Mode().Perm()), "chmod go-w " + path
	}
	return "", ""
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
	if g := x.cfg.Node.Group; g != "" && os.Geteuid() == 0 {
		if err := proc.FindGroup(g); err != nil {
			x.found(checkWarning, "users", fmt.Sprintf("node.group: %v: nobody but root and their own users reaches the services' sockets", err), "groupadd "+g)
		}
	}
	if bad == 0 {
		x.found(checkOK, "programs", fmt.Sprintf("of %s found", plural(len(x.enabled()), "service")), "")
	}
}

// endpoints looks whether somebody else listens where services are to. While the node
// runs it is them.
func (x *examiner) endpoints(ctx context.Context) {
	if x.running {
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
