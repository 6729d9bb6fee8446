package configs

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
