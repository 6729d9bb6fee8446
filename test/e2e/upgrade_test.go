package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// anotherBinary is bhnode under another name.
func (n *node) anotherBinary() string {
	n.t.Helper()
	program, err := os.ReadFile(binary)
	if err != nil {
		n.t.Fatal(err)
	}
	path := n.path("another")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		n.t.Fatal(err)
	}
	return path
}

// openFiles counts the descriptors of bhnode.
func (n *node) openFiles() int {
	n.t.Helper()
	names, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(n.cmd.Process.Pid), "fd"))
	if err != nil {
		n.t.Fatal(err)
	}
	return len(names)
}

func TestAnUpgradeIsNotNoticedByServices(t *testing.T) {
	n := newNode(t, `
logs: {max_size_mb: 4, max_files: 1000, compress: false}
services:
  single: {command: [@self, pour=stdout]}
  both: {command: [@self, "child=pour=stderr", trickle=stdout]}
  ends: {command: [@self, until=@dir/end, exit=7], restart: {type: temporary}}
`)
	n.up()
	pid, facts := n.cmd.Process.Pid, n.facts()
	binaries := []string{n.anotherBinary(), binary}
	n.do("upgrade", "--binary", binaries[0])
	n.facts() // which has the services looked at, by files that stay open
	files := n.openFiles()
	for i := range 9 {
		n.do("upgrade", "--binary", binaries[(i+1)%2])
	}
	if exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe")); err != nil || exe != binaries[1] {
		t.Errorf("process %d runs %s, %v", pid, exe, err)
	}
	if got := n.facts(); !slices.Equal(got, facts) {
		t.Errorf("the services are\n%q, were\n%q", got, facts)
	}
	if got := n.openFiles(); got > files+3 {
		t.Errorf("%d files are open after nine more upgrades, %d before", got, files)
	}
	n.eventually("ten upgrades are told", func() bool { return len(n.journaled("node.upgraded", "")) == 10 })
	n.write("end", "") // it is still our child
	n.eventually("it ends", func() bool { return len(n.journaled("service.exited", "ends")) == 1 })
	if end := n.journaled("service.exited", "ends")[0]; end.attr("code") != "7" {
		t.Errorf("it ended as %v, want 7", end)
	}
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil { // it is heard, not deadly
		t.Fatal(err)
	}
	n.do("status")
	n.stop()
	n.checkJournal()
	n.checkComplete("single", "json")
	n.checkComplete("both", "json")
}

func TestWhatCannotTakeOverDoesNot(t *testing.T) {
	t.Parallel()
	n := newNode(t, `
services:
  it: {command: [@self]}
`)
	n.up()
	facts := n.facts()
	n.write("old", "#!/bin/sh\necho '{\"version\": \"v0\", \"state_version\": 99}'\n")
	n.write("loud", "#!/bin/sh\necho no such flag >&2; exit 2\n")
	for _, name := range []string{"old", "loud"} {
		if err := os.Chmod(n.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"/bin/true": "it is no bhnode", n.path("none"): "no such file", n.path("loud"): "no such flag",
		n.path("old"): "it reads version 99 of the state", n.config: "permission denied",
	} {
		if _, stderr, code := n.cli("upgrade", "--binary", path); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("to %s: exit code %d, %q, want …%s…", path, code, stderr, want)
		}
	}
	if got := n.facts(); !slices.Equal(got, facts) || len(n.journaled("node.upgraded", "")) != 0 {
		t.Errorf("the services are\n%q, were\n%q", got, facts)
	}
	n.stop()
	n.configure("services:\n  it: {command: ["+self+"]}\n", "on_daemon_death: kill")
	n.up()
	if _, stderr, code := n.cli("upgrade", "--binary", binary); code != 1 || !strings.Contains(stderr, "restart it instead") {
		t.Errorf("where services die with bhnode: exit code %d, %q", code, stderr)
	}
	n.stop()
}

func TestFollowersDoNotNoticeAnUpgrade(t *testing.T) {
	t.Parallel()
	n := newNode(t, "services: {a: {command: [@self, trickle=stdout]}}\n")
	n.up()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var out output
	logs := n.command(ctx, "logs", "-f", "-n", "1", "-o", "json")
	logs.Stdout = &out
	if err := logs.Start(); err != nil {
		t.Fatal(err)
	}
	follows := func() int { return strings.Count(out.String(), "\n") }
	n.eventually("the follower has lines", func() bool { return follows() > 0 })
	n.do("upgrade", "--binary", n.anotherBinary())
	seen := follows()
	n.eventually("it has lines of after the upgrade", func() bool { return follows() > seen+20 })
	cancel()
	_ = logs.Wait() // it was killed
	n.stop()
	last := uint64(0)
	for line := range strings.Lines(out.String()) {
		if !strings.HasSuffix(line, "\n") {
			continue // cut off
		}
		seq := parse[struct{ Seq uint64 }](t, line).Seq
		if last != 0 && seq != last+1 {
			t.Fatalf("line %d comes after line %d", seq, last)
		}
		last = seq
	}
}
