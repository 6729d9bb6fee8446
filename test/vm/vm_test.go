package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// wanted is set where guests are to be booted, which takes minutes.
const wanted = "BHNODE_VM"

// isolation are the end-to-end tests about what the kernel does for a node.
const isolation = "^TestIsolation"

func TestGuests(t *testing.T) {
	if os.Getenv(wanted) == "" {
		t.Skipf("boots virtual machines, which takes minutes: make vm, or %s=1", wanted)
	}
	needTools(t)
	dir := t.TempDir()
	program, proc, e2e := filepath.Join(dir, "bhnode"), filepath.Join(dir, "proc.test"), filepath.Join(dir, "e2e.test")
	static(t, "build", "-o", program, module+"/cmd/bhnode")
	static(t, "test", "-c", "-o", proc, module+"/proc")
	static(t, "test", "-c", "-o", e2e, module+"/test/e2e")
	kernel(t) // once, and not by each of the guests
	for name, g := range map[string]guest{
		"proc on cgroup v2": {
			groups: "v2", disk: true, env: []string{"BHNODE_TEST_DISK=vda", "BHNODE_TEST_DISK_DIR=/data"},
			files: map[string]string{"proc.test": proc}, command: []string{"./proc.test", "-test.v", "-test.timeout=9m"},
		},
		"proc on cgroup v1": {
			// The freezer has the kernel rewrite its own code at every use, and an emulated
			// processor can miss for ever what another one has rewritten.
			groups: "v1", single: true, files: map[string]string{"proc.test": proc}, command: []string{"./proc.test", "-test.v", "-test.timeout=9m"},
		},
		"proc without groups":   {groups: "none", files: map[string]string{"proc.test": proc}, command: []string{"./proc.test", "-test.v", "-test.timeout=9m"}},
		"bhnode on cgroup v2":   endToEnd("v2", program, e2e),
		"bhnode without groups": endToEnd("none", program, e2e),
	} {
		t.Run(name, func(t *testing.T) {
			g.timeout = 10 * time.Minute
			code, output := g.boot(t)
			for _, line := range regexp.MustCompile(`(?m)^ *--- SKIP.*\n.*`).FindAllString(output, -1) {
				t.Log(line)
			}
			t.Logf("%d tests passed", len(regexp.MustCompile(`(?m)^ *--- PASS`).FindAllString(output, -1)))
			if code != 0 || regexp.MustCompile(`(?m)^PASS$`).FindString(output) == "" {
				t.Logf("all it printed:\n%s", output)
				t.Errorf("it ends with %d; what failed, and the end:\n%s\n…%s", code, strings.Join(failures(output), "\n"), tail(output, 1000))
			}
		})
	}
}

// failures are the parts of what a test binary printed that are about tests that failed.
func failures(output string) []string {
	return slices.DeleteFunc(strings.Split(output, "=== RUN   "), func(part string) bool {
		return !regexp.MustCompile(`(?m)^ *--- FAIL`).MatchString(part)
	})
}

func tail(text string, most int) string { return text[max(0, len(text)-most):] }

func endToEnd(groups, program, e2e string) guest {
	return guest{
		groups: groups, env: []string{"BHNODE_TEST_PROGRAM=/vm/bhnode"},
		files:   map[string]string{"bhnode": program, "e2e.test": e2e},
		command: []string{"./e2e.test", "-test.v", "-test.run=" + isolation, "-test.timeout=9m"},
	}
}

const module = "github.com/blackhole/bhnode"

// static builds a program that needs nothing from where it runs.
func static(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
}
