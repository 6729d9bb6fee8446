package proc

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

func TestTwoHostsCannotShareADirectory(t *testing.T) {
	dir := filepath.Join(shortDir(t), "run")
	o := HostOptions{Node: "n", RuntimeDir: dir, Log: zerolog.Nop()}
	first, err := OpenHost(o)
	if err != nil {
		t.Fatal(err)
	}
	_, err = OpenHost(o)
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || locked.Pid != os.Getpid() || locked.Dir != dir {
		t.Errorf("the second got %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenHost(o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if again.instance != first.instance || len(again.instance) != 32 {
		t.Errorf("instance %q, want %q", again.instance, first.instance)
	}
}

func TestLockedError(t *testing.T) {
	for want, e := range map[string]*LockedError{
		"another bhnode (pid 7) runs on /run/x": {Dir: "/run/x", Pid: 7},
		"another bhnode runs on /run/x":         {Dir: "/run/x"},
	} {
		if e.Error() != want {
			t.Errorf("got %q, want %q", e, want)
		}
	}
}

func TestRuntimeDirMustBeOurs(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"a link", func(dir string) error { return os.Symlink(os.TempDir(), dir) }, "no directory"},
		{"a file", func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, "no directory"},
		{"open to all", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777))
		}, "may be written by others"},
		{"state is a link", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Symlink(os.TempDir(), filepath.Join(dir, "state")))
		}, "no directory"},
		{"lock is a link", func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Symlink("/no/such", filepath.Join(dir, "lock")))
		}, "cannot lock"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(shortDir(t), "run")
			if err := tc.make(dir); err != nil {
				t.Fatal(err)
			}
			h, err := OpenHost(HostOptions{Node: "n", RuntimeDir: dir})
			if err == nil {
				_ = h.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want …%s…", err, tc.want)
			}
		})
	}
}

// TestRuntimeDirKeepsAForeignMode gives it a directory that has other things in it.
func TestRuntimeDirKeepsAForeignMode(t *testing.T) {
	for _, tc := range []struct {
		file string
		want os.FileMode
	}{{"", 0o711}, {"homework", 0o700}} {
		dir := filepath.Join(shortDir(t), "run")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if tc.file != "" {
			if err := os.WriteFile(filepath.Join(dir, tc.file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		h, err := OpenHost(HostOptions{Node: "n", RuntimeDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != tc.want {
			t.Errorf("with %q: mode %v, want %v", tc.file, info.Mode().Perm(), tc.want)
		}
		_ = h.Close()
	}
}

func TestDamagedFilesAreSetAside(t *testing.T) {
	dir := filepath.Join(shortDir(t), "run")
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"instance", filepath.Join("state", "records")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	h, err := OpenHost(HostOptions{Node: "n", RuntimeDir: dir, Log: zerolog.New(&log), Group: "nosuchgroup"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	if len(h.instance) != 32 {
		t.Errorf("instance %q", h.instance)
	}
	for _, want := range []string{"damaged state was set aside", "state/records"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not logged:\n%s", want, log.String())
		}
	}
	if os.Geteuid() == 0 && !strings.Contains(log.String(), "group of the node not found") {
		t.Errorf("the missing group is not logged:\n%s", log.String())
	}
}

// TestCloseLeavesProcessesAlone ends a host whose services live on.
func TestCloseLeavesProcessesAlone(t *testing.T) {
	outer := newHost(t)
	p := startReady(t, outer, childSpec("wait", ""))
	if err := outer.Close(); err != nil {
		t.Fatal(err)
	}
	if !alive(p.Pid()) {
		t.Error("the process is gone")
	}
	if err := p.Signal(0); !errors.Is(err, ErrProcessDone) {
		t.Errorf("signal through a closed host: %v", err)
	}
	outer.settle("svc", nil)
	p.closeFiles()
	pid := p.Pid()
	if err := signalExactly(procStat{pid: pid, start: p.main.start}, 9); err != nil {
		t.Fatal(err)
	}
	if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
		t.Error(err)
	}
}
