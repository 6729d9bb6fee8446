package proc

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStartErrors(t *testing.T) {
	dir := shortDir(t)
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "x", 0o600)
	headless := write("headless", "echo\n", 0o700)
	lost := write("lost", "#!/no/such/shell\n", 0o700)
	for _, tc := range []struct {
		name   string
		change func(*ServiceSpec)
		stage  Stage
		hope   bool
		text   string
	}{
		{"no such file", func(s *ServiceSpec) { s.Command = []string{"/no/such/program"} }, StageSpawn, false, "/no/such/program: no such file"},
		{"not in PATH", func(s *ServiceSpec) { s.Command = []string{"nosuchprogram"} }, StageSpawn, false, `no program "nosuchprogram" in PATH`},
		{"empty command", func(s *ServiceSpec) { s.Command = nil }, StageSpawn, false, "empty"},
		{"not executable", func(s *ServiceSpec) { s.Command = []string{plain} }, StageSpawn, false, "permission denied"},
		{"a directory", func(s *ServiceSpec) { s.Command = []string{dir} }, StageSpawn, false, "permission denied"},
		{"no program", func(s *ServiceSpec) { s.Command = []string{headless} }, StageSpawn, false, "#!/bin/sh"},
		{"no interpreter", func(s *ServiceSpec) { s.Command = []string{lost} }, StageSpawn, false, "interpreter"},
		{"no such directory", func(s *ServiceSpec) { s.WorkingDir = "/no/such/dir" }, StageSpawn, false, "bad working directory"},
		{"directory is a file", func(s *ServiceSpec) { s.WorkingDir = plain }, StageSpawn, false, "bad working directory"},
		{"no such user", func(s *ServiceSpec) { s.User = "nosuchuser" }, StageUser, false, "nosuchuser"},
		{"no such group", func(s *ServiceSpec) { s.Group = "nosuchgroup" }, StageUser, false, "nosuchgroup"},
		{"name leaves its directory", func(s *ServiceSpec) { s.Name = ".." }, StageDirectory, false, "cannot be the name"},
		{"data_dir is a file", func(s *ServiceSpec) { s.DataDir = plain }, StageDirectory, true, "no directory"},
		{"data_dir below a file", func(s *ServiceSpec) { s.DataDir = plain + "/x" }, StageDirectory, true, "not a directory"},
		{"hook fails", func(s *ServiceSpec) {
			s.Hooks.PreStart = [][]string{{"sh", "-c", "echo no space; exit 5"}}
		}, StageHook, true, "sh -c echo no space; exit 5: exit 5: no space"},
		{"no such hook", func(s *ServiceSpec) { s.Hooks.PreStart = [][]string{{"/no/such/hook"}} }, StageHook, false, "/no/such/hook"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHost(t)
			s := childSpec("wait", "")
			tc.change(s)
			_, err := h.Start(t.Context(), s, 1)
			wantStartError(t, err, tc.stage, !tc.hope, tc.text)
			if h.Lookup(s.Name) != nil || len(h.State().All()) != 0 {
				t.Error("something is left of the failed start")
			}
			good := childSpec("exit", "0")
			if _, err := h.Start(t.Context(), good, 2); err != nil {
				t.Errorf("the next start: %v", err)
			}
		})
	}
}

func TestExecErrorKnowsHope(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.ENOENT: true, syscall.EACCES: true, syscall.ENOEXEC: true, syscall.E2BIG: true,
		syscall.EAGAIN: false, syscall.ENOMEM: false, syscall.EMFILE: false, syscall.ETXTBSY: false,
	} {
		err := execError("/no/such/program", errno)
		if _, got := errors.AsType[*hopelessError](err); got != want {
			t.Errorf("%v: hopeless %t, want %t", errno, got, want)
		}
		if !errors.Is(err, errno) {
			t.Errorf("%v is lost in %v", errno, err)
		}
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	h := newHost(t)
	s := childSpec("wait", "")
	mark := filepath.Join(shortDir(t), "mark")
	s.Hooks.PreStart = [][]string{{"sh", "-c", "touch " + mark + "; exec sleep 1000"}}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := h.Start(ctx, s, 1)
		failed <- err
	}()
	eventually(t, "the hook runs", func() bool { _, err := os.Stat(mark); return err == nil })
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestStartWithoutServe(t *testing.T) {
	h, err := OpenHost(HostOptions{Node: "n", RuntimeDir: filepath.Join(shortDir(t), "run")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Start(ctx, childSpec("wait", ""), 1); !errors.Is(err, context.Canceled) {
		t.Errorf("before Serve: %v", err)
	}
	h.Serve(ctx)
	if _, err := h.Start(t.Context(), childSpec("wait", ""), 1); !errors.Is(err, errNotServed) {
		t.Errorf("after Serve: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

func TestDirectoriesAndConfig(t *testing.T) {
	h := newHost(t)
	dir := shortDir(t)
	s := childSpec("env", "")
	s.Config = []byte("answer: 42\n")
	s.DataDir = filepath.Join(dir, "a", "data")
	s.UnixSocket = filepath.Join(dir, "b", "x.sock")
	p := start(t, h, s)
	env := output(t, p.Stdout())
	for path, mode := range map[string]os.FileMode{
		h.opts.RuntimeDir: 0o711, filepath.Join(h.opts.RuntimeDir, "svc"): 0o711,
		filepath.Join(h.opts.RuntimeDir, "state"):    0o700,
		filepath.Join(h.opts.RuntimeDir, "instance"): 0o600,
		h.serviceDir("svc"):                          0o750, s.DataDir: 0o750, filepath.Dir(s.UnixSocket): 0o750,
		filepath.Join(h.serviceDir("svc"), "config.yaml"): 0o600,
	} {
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode().Perm(), err, mode)
		}
	}
	path := filepath.Join(h.serviceDir("svc"), "config.yaml")
	if got, err := os.ReadFile(path); err != nil || string(got) != "answer: 42\n" {
		t.Errorf("config %q, %v", got, err)
	}
	for _, v := range []string{
		"BLACKHOLE_CONFIG=" + path, "BLACKHOLE_SOCKET=" + s.UnixSocket,
		"BHNODE_ID=n/svc/1", "BHNODE_INSTANCE=" + h.instance,
	} {
		if !strings.Contains("\n"+env, "\n"+v+"\n") {
			t.Errorf("%s is missing in the environment:\n%s", v, env)
		}
	}
}

// TestConfigOfTheNextLife has the config change, and the service meddle with it.
func TestConfigOfTheNextLife(t *testing.T) {
	h := newHost(t)
	path := filepath.Join(h.serviceDir("svc"), "config.yaml")
	s := childSpec("exit", "0")
	for i, config := range []string{"a: 1\n", "a: 1\n", "b: 2\n", "c: 33\n", "c: 33\n"} {
		s.Config = []byte(config)
		p, err := h.Start(t.Context(), s, uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		awaitGone(t, p)
		p.Release()
		got, err := os.ReadFile(path)
		info, _ := os.Stat(path)
		if err != nil || string(got) != config || info.Mode() != 0o600 {
			t.Errorf("life %d: got %q, %v, %v, want %q", i, got, info.Mode(), err, config)
		}
		if i == 3 {
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestConfigFollowsNoLink has the service's user put links where its config is written.
func TestConfigFollowsNoLink(t *testing.T) {
	h := newHost(t)
	victim := filepath.Join(shortDir(t), "victim")
	if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(h.serviceDir("svc"), 0o750); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"config.yaml", "config.yaml.tmp"} {
		if err := os.Symlink(victim, filepath.Join(h.serviceDir("svc"), name)); err != nil {
			t.Fatal(err)
		}
	}
	s := childSpec("exit", "0")
	s.Config = []byte("x")
	start(t, h, s)
	if got, err := os.ReadFile(victim); err != nil || string(got) != "precious" {
		t.Errorf("the file behind the link is %q, %v", got, err)
	}
}

func TestServiceDirIsNoLink(t *testing.T) {
	h := newHost(t)
	if err := os.Symlink(shortDir(t), h.serviceDir("svc")); err != nil {
		t.Fatal(err)
	}
	_, err := h.Start(t.Context(), childSpec("wait", ""), 1)
	wantStartError(t, err, StageDirectory, false, "svc/svc")
}

func TestStaleSocket(t *testing.T) {
	dir := shortDir(t)
	stale, live, file := filepath.Join(dir, "stale"), filepath.Join(dir, "live"), filepath.Join(dir, "file")
	makeStaleSocket(t, stale)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{stale: false, live: true, file: true, filepath.Join(dir, "none", "x"): false} {
		if err := removeStaleSocket(t.Context(), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); (err == nil) != want {
			t.Errorf("%s is there: %t, want %t", path, err == nil, want)
		}
	}
}

func TestNotifyService(t *testing.T) {
	h := newHost(t)
	s := childSpec("env", "")
	s.Probe.Type = ProbeNotify
	p := start(t, h, s)
	env := strings.Split(output(t, p.Stdout()), "\n")
	path, ok := getenv(env, "NOTIFY_SOCKET")
	if !ok || path != p.Notify().Path() {
		t.Fatalf("NOTIFY_SOCKET is %q, the socket %q", path, p.Notify().Path())
	}
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("READY=1")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Notify().Ready():
	case <-time.After(patience):
		t.Error("not ready")
	}
}

func TestOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run a service as another user")
	}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := openHost(t, filepath.Join(dir, "run"), nil)
	s := &ServiceSpec{
		Name: "svc", User: "nobody", Group: "65534", DataDir: filepath.Join(dir, "data"), Config: []byte("x"),
		Command: []string{"sh", "-c", `id -u; id -g; cat "$BLACKHOLE_CONFIG"; echo; echo out >/dev/stdout`},
	}
	p := start(t, h, s)
	if got, want := output(t, p.Stdout()), "65534\n65534\nx\nout\n"; got != want {
		t.Errorf("got %q, want %q; stderr %q", got, want, output(t, p.Stderr()))
	}
	for _, path := range []string{s.DataDir, h.serviceDir("svc"), filepath.Join(h.serviceDir("svc"), "config.yaml")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 65534 {
			t.Errorf("%s belongs to %d", path, st.Uid)
		}
	}
}

func TestNodeGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give directories to a group")
	}
	h := openHost(t, filepath.Join(shortDir(t), "run"), func(o *HostOptions) { o.Group = "nogroup" })
	start(t, h, childSpec("exit", "0"))
	info, err := os.Stat(h.serviceDir("svc"))
	if err != nil {
		t.Fatal(err)
	}
	if got := int(info.Sys().(*syscall.Stat_t).Gid); got != h.groupID || got <= 0 {
		t.Errorf("group %d, want %d", got, h.groupID)
	}
}

func TestFindAccount(t *testing.T) {
	own := account{uid: os.Geteuid(), gid: os.Getegid()}
	got, err := findAccount("", "")
	if diff := cmp.Diff(own, got, cmp.AllowUnexported(account{})); diff != "" || err != nil {
		t.Errorf("own account: %v\n%s", err, diff)
	}
	got, err = findAccount(strconv.Itoa(own.uid), strconv.Itoa(own.gid))
	if err != nil || got.uid != own.uid || got.gid != own.gid {
		t.Errorf("by number: %+v, %v", got, err)
	}
}

func TestFindProgram(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "prog"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "data"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, want string }{
		{"prog", "/no/such:" + dir, filepath.Join(dir, "prog")},
		{"./prog", dir, "./prog"},
		{"data", dir, ""},
		{"prog", ".:", ""},
	} {
		got, err := findProgram(tc.name, []string{"PATH=" + tc.path})
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s in %s: got %q, %v, want %q", tc.name, tc.path, got, err, tc.want)
		}
	}
	if got, err := findProgram("sh", nil); err != nil || !filepath.IsAbs(got) {
		t.Errorf("sh without PATH: %q, %v", got, err)
	}
}
