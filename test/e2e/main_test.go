package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// binary is the bhnode that runs a node, tool the one that all other commands are of,
// self the test binary that is its services. Only the first is built for the race
// detector where the tests are, as that takes its time to start.
var binary, tool, self string

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "service" {
		perform(os.Args[1:])
		return
	}
	os.Exit(buildAndRun(m))
}

// buildAndRun makes the two programs, in a directory that every user may enter,
// and runs the tests.
func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		return complain(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := os.Chmod(dir, 0o755); err != nil {
		return complain(err)
	}
	// A program built for the race detector else takes a second to exit.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		return complain(err)
	}
	binary, tool, self = filepath.Join(dir, "bhnode"), filepath.Join(dir, "bhnode"), filepath.Join(dir, "service")
	if given := os.Getenv(givenProgram); given != "" {
		binary, tool = given, given
		if err := copyProgram(self); err != nil {
			return complain(err)
		}
		return m.Run()
	}
	err = goTool(slices.Concat([]string{"build"}, buildFlags, []string{"-o", binary, program})...)
	if len(buildFlags) > 0 {
		tool = filepath.Join(dir, "tool")
		err = errors.Join(err, goTool("build", "-o", tool, program), goTool("test", "-c", "-o", self, "."))
	} else {
		err = errors.Join(err, copyProgram(self))
	}
	if err != nil {
		return complain(err)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		return complain(err)
	}
	return code
}

// givenProgram names a bhnode that is built already, where there is no Go to build one.
const givenProgram = "BHNODE_TEST_PROGRAM"

// program is the package of bhnode.
const program = "github.com/blackhole/bhnode/cmd/bhnode"

func goTool(args ...string) error {
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

func copyProgram(to string) error {
	from, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, program, 0o755)
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
