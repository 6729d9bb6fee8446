package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// private are variables that mean bhnode, never its services.
var private = []string{
	"LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=x", "INVOCATION_ID=1", "JOURNAL_STREAM=8:1", "CREDENTIALS_DIRECTORY=/creds",
	"WATCHDOG_PID=1", "BHNODE_SECRET=1", "BLACKHOLE_OLD=1", "BLACKHOLE_SOCKET=/old", "BHNODE_ID=old/old/1",
}

// said waits for the last line of a service, a dot, and returns all before it.
func (n *node) said(service string) []string {
	n.t.Helper()
	const last = "."
	n.awaitLine(service, last)
	all := messages(n.logLines(service))
	return all[:slices.Index(all, last)]
}

func (n *node) instance() string {
	n.t.Helper()
	text, err := os.ReadFile(filepath.Join(n.rundir, "instance"))
	if err != nil {
		n.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func TestTheEnvironmentOfAServiceIsExactlyWhatIsPromised(t *testing.T) {
	t.Parallel()
	dbPort, port := freePort(t), freePort(t)
	n := newNode(t, `
services:
  my-db: {command: [@self], unix_socket: @dir/db.sock, tcp_port: `+dbPort+`}
  alone:
    command: [@self, env, print=.]
    inherit_env: false
  full:
    command: [@self, env, print=., notify=READY=1]
    inherit_env: [KEPT, UNSET, BHNODE_SECRET, INVOCATION_ID]
    env_file: full.env
    env: {BOTH: from env, WHERE: "${BLACKHOLE_SERVICE} on ${BLACKHOLE_PORT} beside ${BLACKHOLE_SOCKET_MY_DB}", NUMBER: 7, DOLLAR: "$$HOME"}
    unix_socket: @dir/full.sock
    tcp_port: `+port+`
    data_dir: @dir/elsewhere/full
    log_level: debug
    config: {any: thing}
    resources: {memory_mb: 100}
    depends_on: [my-db]
    health_check: {type: notify}
`)
	n.env = slices.Concat(private, []string{"KEPT=kept = as it is", "BOTH=inherited", "LOST=lost"})
	n.write("full.env", "# a comment\nexport FILED='from $HOME'\nBOTH=\"from file\"\n\nPLAIN=a b # not this\n")
	n.up()
	mine := func(service string) []string {
		return []string{
			"BHNODE_ID=" + n.name + "/" + service + "/1", "BHNODE_INSTANCE=" + n.instance(),
			"BLACKHOLE_SERVICE=" + service, "BLACKHOLE_LOG_LEVEL=info", "BLACKHOLE_DATA_DIR=" + n.path("data/"+service),
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(mine("alone"))), n.said("alone")); diff != "" {
		t.Errorf("alone: -want +got\n%s", diff)
	}
	want := []string{
		"BHNODE_ID=" + n.name + "/full/1", "BHNODE_INSTANCE=" + n.instance(),
		"BLACKHOLE_CONFIG=" + n.path("run/svc/full/config.yaml"), "BLACKHOLE_DATA_DIR=" + n.path("elsewhere/full"),
		"BLACKHOLE_LOG_LEVEL=debug", "BLACKHOLE_PORT=" + port, "BLACKHOLE_PORT_MY_DB=" + dbPort, "BLACKHOLE_SERVICE=full",
		"BLACKHOLE_SOCKET=" + n.path("full.sock"), "BLACKHOLE_SOCKET_MY_DB=" + n.path("db.sock"), "BOTH=from env", "DOLLAR=$HOME",
		"FILED=from $HOME", "GOMEMLIMIT=92160KiB", "KEPT=kept = as it is", "NOTIFY_SOCKET=" + n.path("run/svc/full/notify.sock"),
		"NUMBER=7", "PLAIN=a b", "WHERE=full on " + port + " beside " + n.path("db.sock"),
	}
	if diff := cmp.Diff(want, n.said("full")); diff != "" {
		t.Errorf("full: -want +got\n%s", diff)
	}
	n.stop()
}

func TestByDefaultAServiceInheritsAllButWhatMeansBhnode(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  heir: {command: [@self, env, print=.]}
`)
	n.env = slices.Concat(private, []string{"E2E_KEPT=1", "LISTENER=1", "GOMEMLIMIT=1GiB"})
	n.up()
	var want []string
	for _, v := range slices.Concat(os.Environ(), n.env) {
		if !slices.ContainsFunc([]string{
			"NOTIFY_SOCKET=", "LISTEN_", "WATCHDOG_", "INVOCATION_ID=", "JOURNAL_STREAM=", "CREDENTIALS_DIRECTORY=", "BHNODE_", "BLACKHOLE_",
		}, func(p string) bool { return strings.HasPrefix(v, p) }) {
			want = append(want, v)
		}
	}
	want = append(want, "BHNODE_ID="+n.name+"/heir/1", "BHNODE_INSTANCE="+n.instance(),
		"BLACKHOLE_SERVICE=heir", "BLACKHOLE_LOG_LEVEL=info", "BLACKHOLE_DATA_DIR="+n.path("data/heir"))
	want = slices.DeleteFunc(want, func(v string) bool { return strings.HasPrefix(v, "PWD=") })
	got := slices.DeleteFunc(n.said("heir"), func(v string) bool { return strings.HasPrefix(v, "PWD=") })
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	n.stop()
}

// umask is ours, as self shows it. A service has no other.
func umask() string {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "Umask:\t0")
	mask, _, _ := strings.Cut(after, "\n")
	return " umask=" + mask
}

func TestVariablesOfTheServiceAreFilledInAnewAtEveryStart(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it:
    command: [@self, "print=${BLACKHOLE_SERVICE} $${BLACKHOLE_PORT} ${BLACKHOLE_CONFIG} ${HOME_TOWN} $$5", self, show=BLACKHOLE_CONFIG, print=.]
    working_dir: @dir/work
    config: {town: "${HOME_TOWN}", price: $$5, port: "${BLACKHOLE_PORT}", size: 256MB, list: [1, 2.50, yes]}
    hooks: {pre_start: [sh, -c, 'echo "$1" >> @dir/hooked', sh, "${BLACKHOLE_DATA_DIR}"]}
    restart: {initial_delay: 0}
`)
	if err := os.Mkdir(n.path("work"), 0o755); err != nil {
		t.Fatal(err)
	}
	n.env = []string{"HOME_TOWN=x: [y] ${BLACKHOLE_SERVICE}"}
	n.up()
	want := []string{
		"it ${BLACKHOLE_PORT} " + n.path("run/svc/it/config.yaml") + " x: [y] ${BLACKHOLE_SERVICE} $5",
		"uid=" + strconv.Itoa(os.Getuid()) + " gid=" + strconv.Itoa(os.Getgid()) + " leader=true dir=" + n.path("work") + " stdin=/dev/null" + umask(),
	}
	said := n.said("it")
	if diff := cmp.Diff(want, said[:2]); diff != "" {
		t.Errorf("what it was given: -want +got\n%s", diff)
	}
	for _, text := range []string{"size: 256MB", "2.50", "yes", "$5", "${BLACKHOLE_PORT}"} {
		if !strings.Contains(strings.Join(said[2:], "\n"), text) {
			t.Errorf("its configuration lacks %q:\n%s", text, strings.Join(said[2:], "\n"))
		}
	}
	before := n.kill("it", syscall.SIGKILL)
	n.awaitAfter(before, "service.ready", "it", 2)
	if got := n.read("hooked"); got != strings.Repeat(n.path("data/it")+"\n", 2) {
		t.Errorf("the hook was given %q", got)
	}
	n.stop()
}

// mode is the permissions and the owner of a file.
func mode(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return info.Mode().String() + " " + strconv.Itoa(int(st.Uid))
}

func TestFilesOfTheNodeAreAsPrivateAsPromised(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it: {command: [@self, own], config: {password: hush}, unix_socket: @dir/run/svc/it/it.sock, health_check: {type: tcp}}
`)
	n.up()
	uid := " " + strconv.Itoa(os.Getuid())
	for path, want := range map[string]string{
		"run":                    "drwx--x--x",
		"run/bhnode.sock":        "Srw-------",
		"run/state":              "drwx------",
		"run/svc":                "drwx--x--x",
		"run/svc/it":             "drwxr-x---",
		"run/svc/it/config.yaml": "-rw-------",
		"run/instance":           "-rw-------",
	} {
		if got := mode(t, n.path(path)); got != want+uid {
			t.Errorf("%s is %s, want %s", path, got, want+uid)
		}
	}
	n.do("stop", "it")
	if err := os.Remove(n.path("run/svc/it/it.sock")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	n.stop()
}

// nobody is a user without rights; who runs the tests must be root.
func nobody(t *testing.T) (uid, gid int) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("there is no other user here: %v", err)
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err = strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return uid, gid
}

func TestAServiceRunsAsItsUser(t *testing.T) {
	t.Parallel()
	uid, gid := nobody(t)
	n := newNode(t, `
services:
  theirs:
    command: [@self, self, env, show=BLACKHOLE_CONFIG, "note=${BLACKHOLE_DATA_DIR}/file:mine", print=., own]
    user: nobody
    config: {password: hush}
    unix_socket: @dir/run/svc/theirs/s.sock
    health_check: {type: exec, target: [sh, -c, 'test "$(id -u)" = `+strconv.Itoa(uid)+`']}
    hooks: {pre_start: [sh, -c, 'id -u > "$BLACKHOLE_DATA_DIR/hook"']}
  above: {command: [@self], user: nobody, depends_on: [theirs]}
`)
	if err := os.Chmod(n.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	n.env = []string{"E2E_OURS=1"}
	n.up()
	said := n.said("theirs")
	want := "uid=" + strconv.Itoa(uid) + " gid=" + strconv.Itoa(gid) + " leader=true dir=" + n.path("data/theirs") + " stdin=/dev/null" + umask()
	if said[0] != want {
		t.Errorf("it says %q, want %q", said[0], want)
	}
	if slices.Contains(said, "E2E_OURS=1") {
		t.Error("it has bhnode's own environment")
	}
	if got := strings.TrimSpace(n.read("data/theirs/hook")); got != strconv.Itoa(uid) {
		t.Errorf("its hook ran as %s, want %d", got, uid)
	}
	owner := " " + strconv.Itoa(uid)
	for path, want := range map[string]string{
		"run/svc/theirs":             "drwxr-x---" + owner,
		"run/svc/theirs/config.yaml": "-rw-------" + owner,
		"data/theirs":                "drwxr-x---" + owner,
	} {
		if got := mode(t, n.path(path)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	n.do("stop", "theirs")
	if err := os.Remove(n.path("run/svc/theirs/s.sock")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	n.stop()
}

func TestGroupsOfAServiceAndOfTheNode(t *testing.T) {
	t.Parallel()
	uid, own := nobody(t)
	gids := map[string]int{}
	for _, name := range []string{"daemon", "sys"} {
		g, err := user.LookupGroup(name)
		if err != nil {
			t.Skipf("there are not enough groups here: %v", err)
		}
		if gids[name], err = strconv.Atoi(g.Gid); err != nil {
			t.Fatal(err)
		}
	}
	n := newNode(t, `
services:
  grouped: {command: [@self, self, print=., own], user: nobody, group: daemon, unix_socket: @dir/run/svc/grouped/s.sock, health_check: {type: tcp}}
  plain: {command: [@self], user: "`+strconv.Itoa(uid)+`"}
`, "group: sys")
	if err := os.Chmod(n.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	n.up()
	if said, want := n.said("grouped"), fmt.Sprintf("uid=%d gid=%d ", uid, gids["daemon"]); !strings.HasPrefix(said[0], want) {
		t.Errorf("it says %q, want %q", said[0], want)
	}
	for path, want := range map[string]int{"run/svc/grouped": gids["sys"], "run/svc/plain": gids["sys"], "data/grouped": gids["daemon"], "data/plain": own} {
		info, err := os.Stat(n.path(path))
		if err != nil {
			t.Fatal(err)
		}
		if got := int(info.Sys().(*syscall.Stat_t).Gid); got != want {
			t.Errorf("%s belongs to group %d, want %d", path, got, want)
		}
	}
	n.do("stop", "grouped")
	if err := os.Remove(n.path("run/svc/grouped/s.sock")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	n.stop()
}

func TestAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	uid, gid := nobody(t)
	n := newNode(t, `
control: {socket_mode: "0666"}
services:
  it: {command: [@self]}
  theirs: {command: [@self, grpc], user: nobody, unix_socket: @dir/theirs/s.sock}
`)
	if err := os.Chmod(n.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	n.up()
	as := func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		cmd.Dir = "/"
		out, _ := cmd.CombinedOutput() // the exit code says it
		return string(out), cmd.ProcessState.ExitCode()
	}
	for _, args := range [][]string{{"status"}, {"stop", "it"}, {"shutdown"}, {"logs"}, {"events"}} {
		if out, code := as(append(args, "--socket", n.socket)...); code != 5 {
			t.Errorf("another user's %v exits with %d, want 5:\n%s", args, code, out)
		}
	}
	if got := n.service("it"); got.State != "running" {
		t.Errorf("the service is %s", got.State)
	}
	if err := os.Chmod(n.socket, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := as("status", "--socket", n.socket); code != 5 {
		t.Errorf("the status of a closed socket exits with %d, want 5:\n%s", code, out)
	}
	if out, stderr, code := n.cli("status", "--socket", n.path("theirs/s.sock")); code != 5 {
		t.Errorf("the status of another user's socket exits with %d, want 5:\n%s%s", code, out, stderr)
	}
	n.stop()
}
