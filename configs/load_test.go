package configs

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// testMachine is an ordinary user's, with an environment of its own.
func testMachine(env map[string]string) machine {
	return machine{
		getenv:     func(name string) (string, bool) { value, ok := env[name]; return value, ok },
		uid:        1000,
		hostname:   "node-1",
		executable: "/usr/bin/bhnode",
	}
}

var testEnv = map[string]string{
	"HOME":          "/home/alice",
	"JWT_SECRET":    "swordfish",
	"BHTEST_EMPTY":  "",
	"BHTEST_WORD":   "word",
	"BHTEST_SECRET": "hunter2",
	"BHTEST_PORT":   "50007",
}

// parse loads a configuration given as text, as if it stood in /etc/bh/x.yaml.
func parse(t *testing.T, m machine, text string) (*Config, error) {
	t.Helper()
	d := &decoder{file: "x.yaml", machine: m, base: "/etc/bh", socketBase: "/etc/bh", masked: map[string]string{}}
	return d.decode(Source{Path: "x.yaml"}, text)
}

func mustParse(t *testing.T, text string) *Config {
	t.Helper()
	c, err := parse(t, testMachine(testEnv), text)
	if err != nil {
		t.Fatalf("this configuration is refused:\n%s\n%s", text, err)
	}
	return c
}

func TestEveryMistakeIsReportedWithItsPlace(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d broken configurations (%v), want 30 or more", len(files), err)
	}
	dir, err := os.MkdirTemp("", "bh") // a short path: sockets are below it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.CopyFS(dir, os.DirFS("testdata/invalid")); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			_, err := load(Source{Path: filepath.Join(dir, filepath.Base(file))}, testMachine(testEnv))
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("error is %v, want Errors", err)
			}
			got := strings.ReplaceAll(all.Error(), dir+"/", "") + "\n"
			golden(t, strings.TrimSuffix(file, ".yaml")+".golden", got)
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}

func TestShippedFilesLoad(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	valid, err := filepath.Glob("testdata/valid/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, valid...) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := mustParse(t, string(text))
			if len(c.Services) == 0 {
				t.Error("no services")
			}
			if _, err := supervision.Compile(c.Tree); err != nil {
				t.Errorf("supervision refuses the tree: %v", err)
			}
		})
	}
}

func TestEmbeddedDefaultIsTheNineServices(t *testing.T) {
	m := testMachine(map[string]string{"XDG_STATE_HOME": "/home/alice/state", "XDG_RUNTIME_DIR": "/run/user/1000"})
	c, err := load(Source{Embedded: true}, m)
	if err != nil {
		t.Fatal(err)
	}
	needs := map[string][]string{}
	for i := range c.Services {
		s := &c.Services[i]
		needs[s.Name] = s.DependsOn
		if want := "/run/user/1000/bhnode/run/svc/" + s.Name + "/" + s.Name + ".sock"; s.UnixSocket != want {
			t.Errorf("%s listens on %s, want %s", s.Name, s.UnixSocket, want)
		}
		if s.Probe.Type != proc.ProbeGRPC || s.Probe.Target != "unix:"+s.UnixSocket || s.Description == "" {
			t.Errorf("%s is probed by %+v", s.Name, s.Probe)
		}
		if want := []string{"/usr/bin/bhnode", "service", s.Name, "--socket", "${BLACKHOLE_SOCKET}"}; !cmp.Equal(s.Command, want) {
			t.Errorf("%s runs %q, want %q", s.Name, s.Command, want)
		}
		if want := "/home/alice/state/bhnode/data/" + s.Name; s.DataDir != want {
			t.Errorf("%s keeps its data in %s, want %s", s.Name, s.DataDir, want)
		}
	}
	want := map[string][]string{
		"identity":  nil,
		"storage":   {"identity"},
		"node":      {"identity"},
		"ledger":    {"identity"},
		"social":    {"identity", "storage"},
		"indexer":   {"storage"},
		"analytics": {"storage", "ledger", "social", "indexer"},
		"telemetry": {"identity", "storage", "node", "ledger", "social", "indexer", "analytics"},
		"wallet":    {"identity", "ledger"},
	}
	if diff := cmp.Diff(want, needs); diff != "" {
		t.Errorf("dependencies (-want +got):\n%s", diff)
	}
	if want := "/run/user/1000/bhnode/run/bhnode.sock"; c.Control.Socket != want {
		t.Errorf("control socket %s, want %s", c.Control.Socket, want)
	}
	if want := []string{"/home/alice/state/bhnode", "/run/user/1000/bhnode"}; !cmp.Equal(c.PrivateDirs, want) {
		t.Errorf("private directories %q, want %q", c.PrivateDirs, want)
	}
	if len(c.Warnings) != 0 {
		t.Errorf("warnings %q, want none", c.Warnings)
	}
}

func TestSeedConfiguration(t *testing.T) {
	text, err := os.ReadFile("testdata/valid/seed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c := mustParse(t, string(text))
	got := c.Services[0]
	if got.TCPPort != 50001 || got.UnixSocket != "/var/run/blackhole/identity.sock" || got.DataDir != "/var/lib/blackhole/identity" {
		t.Errorf("service is %+v", got.ServiceSpec)
	}
	if want := (proc.Limits{CPUPercent: 200, MemoryMB: 1024, IOWeight: 500, OpenFiles: 10000, Processes: 100}); got.Limits != want {
		t.Errorf("limits %+v, want %+v", got.Limits, want)
	}
	wantConfig := "database_url: \"postgres://localhost/identity\"\njwt_secret: \"swordfish\"\ncache_size: 256MB\n"
	if string(got.Config) != wantConfig {
		t.Errorf("config is handed on as\n%s want\n%s", got.Config, wantConfig)
	}
	if strings.Contains(c.Show(), "swordfish") {
		t.Error("Show gives the secret away")
	}
}

func TestDefaults(t *testing.T) {
	c := mustParse(t, "services: {a: {command: [/bin/a]}}")
	wantNode := Node{Name: "node-1", DataDir: "/etc/bh/data", RuntimeDir: "/etc/bh/run", ShutdownTimeout: 2 * time.Minute}
	if diff := cmp.Diff(wantNode, c.Node); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
	wantLogs := Logs{Dir: "/etc/bh/logs", Format: FormatJSON, MaxSizeMB: 64, MaxFiles: 8, Compress: true, BlockTimeout: 5 * time.Second}
	if diff := cmp.Diff(wantLogs, c.Logs); diff != "" {
		t.Errorf("logs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(Control{Socket: "/etc/bh/run/bhnode.sock", SocketMode: 0o600}, c.Control); diff != "" {
		t.Errorf("control (-want +got):\n%s", diff)
	}
	wantTree := supervision.SupervisorSpec{
		ID: "root", Strategy: supervision.RestForOne, Order: supervision.Graph,
		Intensity: supervision.Intensity{Max: 10, Period: time.Minute},
		Children: []supervision.ChildSpec{{
			ID:        "a",
			Shutdown:  supervision.Shutdown{Mode: supervision.Timed, Grace: 30 * time.Second},
			Intensity: &supervision.Intensity{Max: 5, Period: time.Hour},
			Backoff: supervision.Backoff{
				Initial: time.Second, Max: 5 * time.Minute, Factor: 2, Jitter: 0.1, ResetAfter: time.Minute,
			},
		}},
	}
	if diff := cmp.Diff(wantTree, c.Tree); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	s := c.Services[0]
	wantSpec := proc.ServiceSpec{
		Name: "a", Command: []string{"/bin/a"}, Inherit: proc.Inherit{All: true}, WorkingDir: "/etc/bh",
		DataDir: "/etc/bh/data/a", LogLevel: "info", StopSignal: syscall.SIGTERM, StopGrace: 30 * time.Second,
		Hooks: proc.Hooks{Timeout: 30 * time.Second},
		Probe: proc.ProbeSpec{Type: proc.ProbeNone, Timeout: 3 * time.Second},
	}
	if diff := cmp.Diff(wantSpec, s.ServiceSpec); diff != "" {
		t.Errorf("service (-want +got):\n%s", diff)
	}
	wantHealth := supervision.HealthSpec{
		Interval: 5 * time.Second, StartInterval: 200 * time.Millisecond, StartPeriod: 30 * time.Second, Retries: 3, Successes: 1,
	}
	if diff := cmp.Diff(wantHealth, s.Health); diff != "" {
		t.Errorf("health (-want +got):\n%s", diff)
	}
	if !s.Enabled || s.Supervisor != "root" || s.DependsOn != nil {
		t.Errorf("enabled %v, supervisor %q, depends on %q", s.Enabled, s.Supervisor, s.DependsOn)
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "missing.yaml"), dir} {
		_, err := Load(Source{Path: path}, os.LookupEnv)
		var all Errors
		if !errors.As(err, &all) || len(all) != 1 || !strings.HasPrefix(err.Error(), path+": cannot be read: ") {
			t.Errorf("error for %s is %v", path, err)
		}
	}
}

func TestBytesThatAreNoText(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"not UTF-8": {"services:\n  a\xff: {}\n", "x.yaml:2:4: not UTF-8 text"},
		"too large": {strings.Repeat("#", maxFileSize+1), "x.yaml: larger than 4 MiB"},
		"deep flow": {strings.Repeat("[", 100_000), "nested deeper than 100 levels"},
		"deep list": {strings.Repeat("- ", 100_000), "nested deeper than 100 levels"},
		"aliases":   {billionLaughs(), "aliases expand to too much"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, testMachine(nil), test.text)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %.300v, want %q", err, test.want)
			}
		})
	}
}

func billionLaughs() string {
	var b strings.Builder
	b.WriteString("x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 10; i++ {
		b.WriteString("x-" + strconv.Itoa(i) + ": &a" + strconv.Itoa(i) + " [")
		b.WriteString(strings.Repeat("*a"+strconv.Itoa(i-1)+", ", 10) + "]\n")
	}
	return b.String() + "services: {}\n"
}

func TestMarksOfEditorsAreDropped(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.yaml")
	if err := os.WriteFile(path, []byte("\ufeffservices:\r\n  a:\r\n    command: [a]\r\n    prot: 1\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Source{Path: path}, os.LookupEnv)
	want := path + ":4:5: services.a.prot: unknown key\n  4 |     prot: 1\n    |     ^"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("error is\n%v\nwant\n%s", err, want)
	}
}

func BenchmarkLoadThousandServices(b *testing.B) {
	var text strings.Builder
	text.WriteString("defaults: {health_check: {interval: 1s}}\nservices:\n")
	for i := range 1000 {
		text.WriteString("  s" + strconv.Itoa(i) + ":\n    command: [sleep, inf]\n")
		if i > 0 {
			text.WriteString("    depends_on: [s" + strconv.Itoa(i-1) + "]\n")
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		d := &decoder{file: "x.yaml", machine: testMachine(nil), base: "/etc/bh", socketBase: "/etc/bh", masked: map[string]string{}}
		if _, err := d.decode(Source{}, text.String()); err != nil {
			b.Fatal(err)
		}
	}
}
