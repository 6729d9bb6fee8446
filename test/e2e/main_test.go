package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// binary is the bhnode that the tests run, self the test binary that is its services.
var binary, self string

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
	binary, self = filepath.Join(dir, "bhnode"), filepath.Join(dir, "service")
	args := slices.Concat([]string{"build"}, buildFlags, []string{"-o", binary, "github.com/blackhole/bhnode/cmd/bhnode"})
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return complain(fmt.Errorf("cannot build bhnode: %w\n%s", err, out))
	}
	if err := copyProgram(self); err != nil {
		return complain(err)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		return complain(err)
	}
	return code
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
