package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestCompletion(t *testing.T) {
	tests := []struct{ name, args, want string }{
		{"services of the node", "status |", "identity storage ledger wallet cache migrate root data"},
		{"one is enough", "status ledger |", ""},
		{"those not named yet", "logs ledger storage |", "identity wallet cache migrate root data"},
		{"supervisors", "pause |", "root data"},
		{"both", "restart identity |", "storage ledger wallet cache migrate root data"},
		{"signals", "signal ledger |", "HUP INT QUIT USR1 USR2 TERM KILL STOP CONT"},
		{"formats", "status -o |", "table json"},
		{"streams", "logs --stream |", "stdout stderr"},
		{"shells", "completion |", "bash zsh fish"},
	}
	socket, _ := serve(t, troubled())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := at(socket).exec(t, completing(tt.args)...)
			if names := offered(got.out); names != tt.want {
				t.Errorf("offered %q, want %q", names, tt.want)
			}
		})
	}
}

// completing is what the shell's script asks; the bar is the cursor.
func completing(line string) []string {
	args := append([]string{"__completeNoDesc"}, strings.Fields(strings.TrimSuffix(line, "|"))...)
	return append(args, "")
}

// offered is what was offered, without the directive in the last line.
func offered(out string) string {
	names, _, _ := strings.Cut(out, ":4")
	return strings.Join(strings.Fields(names), " ")
}

func TestCompletionWithoutANodeReadsTheConfiguration(t *testing.T) {
	w := at(filepath.Join(t.TempDir(), "none"))
	w.env["BHNODE_CONFIG"] = "testdata/two.yaml"
	if got := offered(w.exec(t, completing("signal |")...).out); got != "cache web" {
		t.Errorf("offered %q", got)
	}
	if got := offered(w.exec(t, completing("start |")...).out); got != "cache web root front" {
		t.Errorf("offered %q", got)
	}
	w.env["BHNODE_CONFIG"] = "testdata/none.yaml"
	if got := offered(w.exec(t, completing("logs |")...).out); got != "" {
		t.Errorf("offered %q", got)
	}
}

func TestNoBackticksAreShown(t *testing.T) {
	var check func(cmd *cobra.Command, path []string)
	check = func(cmd *cobra.Command, path []string) {
		for _, args := range [][]string{slices.Concat([]string{"__complete"}, path, []string{"--"}), append(slices.Clone(path), "--help")} {
			if got := (world{}).exec(t, args...); strings.Contains(got.out, "`") || !strings.Contains(got.out, "--") {
				t.Errorf("%v prints\n%s", args, got.out)
			}
		}
		for _, sub := range cmd.Commands() {
			check(sub, append(slices.Clone(path), sub.Name()))
		}
	}
	check(newRootCommand(newApp(stdio{getenv: func(string) (string, bool) { return "", false }})), nil)
	got := world{}.exec(t, "__complete", "logs", "--tail")
	if want := "--tail\tonly the last N lines (default: all, with -f the last 10)\n"; !strings.HasPrefix(got.out, want) {
		t.Errorf("got %q, want %q", got.out, want)
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		got := world{}.exec(t, "completion", shell)
		if got.code != exitOK || !strings.Contains(got.out, "__complete") || !strings.Contains(got.out, "bhnode") {
			t.Errorf("%s: exit %d, %d bytes", shell, got.code, len(got.out))
		}
	}
}

func TestEveryCommandShowsHowItIsUsed(t *testing.T) {
	root := newRootCommand(newApp(stdio{getenv: func(string) (string, bool) { return "", false }}))
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" || cmd.Name() == "run" || cmd.Name() == "service" {
			continue
		}
		if n := strings.Count(cmd.Example, "bhnode"); n < 2 {
			t.Errorf("%s has %d examples", cmd.Name(), n)
		}
		for _, sub := range cmd.Commands() {
			if n := strings.Count(sub.Example, "bhnode"); n < 2 {
				t.Errorf("%s has %d examples", sub.CommandPath(), n)
			}
		}
	}
}
