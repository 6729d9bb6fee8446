package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// binary is the bhnode under test, self the copy of the test binary that is its
// services.
var binary, self string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "serve":
			serve(os.Args[2:])
			return
		case "linger":
			linger(os.Args[2:])
			return
		}
	}
	os.Exit(buildAndRun(m))
}

// buildAndRun makes the two programs and runs the tests.
func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "bh")
	if err != nil {
		return complain(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary, self = filepath.Join(dir, "bhnode"), filepath.Join(dir, "service")
	args := slices.Concat([]string{"build"}, buildFlags, []string{"-o", binary, "github.com/blackhole/bhnode/cmd/bhnode"})
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		return complain(fmt.Errorf("cannot build bhnode: %w\n%s", err, out))
	}
	own, err := os.Executable()
	if err != nil {
		return complain(err)
	}
	program, err := os.ReadFile(own)
	if err != nil {
		return complain(err)
	}
	if err := os.WriteFile(self, program, 0o755); err != nil {
		return complain(err)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		return complain(err)
	}
	return code
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
