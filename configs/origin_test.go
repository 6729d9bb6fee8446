package configs

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOriginsSayWhereValuesComeFrom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.yaml")
	if err := os.WriteFile(file, []byte(`metrics: {listen: ""}
defaults:
  log_level: warn
  restart: {jitter: 0}
services:
  a.b:
    command: [a]
    env: {K: v}
    log_level: debug
  c:
    command: [c]
    description: "${WHAT}"
`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(Source{Path: file}, testMachine(map[string]string{"WHAT": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, o := range c.Origins() {
		got[o.Path] = o.Value + " " + o.From
	}
	at := func(line string) string { return " " + file + ":" + line }
	want := map[string]string{
		"metrics.listen":              at("1"),
		"metrics.interval":            "5s default",
		"services.a.b.command":        "[a]" + at("7"),
		"services.a.b.env.K":          "v" + at("8"),
		"services.a.b.log_level":      "debug" + at("9"),
		"services.a.b.restart.jitter": "0" + at("4") + " (defaults)",
		"services.a.b.restart.type":   "permanent default",
		"services.c.log_level":        "warn" + at("3") + " (defaults)",
		"services.c.description":      "***" + at("12") + " (a variable)",
	}
	for path, text := range want {
		if diff := cmp.Diff(text, got[path]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	}
}
