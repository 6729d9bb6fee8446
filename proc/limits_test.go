package proc

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// limitedHost opens a host that can enforce the limit of a controller, or skips.
func limitedHost(t *testing.T, controller string) *Host {
	t.Helper()
	h := newHost(t)
	if p := h.backend.lack(controller); p != nil {
		t.Skipf("%s cannot be limited here: %s", controller, p.Why)
	}
	return h
}

// It is tried again where the machine was busy: then there is less to be had, or a virtual
// machine counts what was taken from it as used.
func TestCPUPercent(t *testing.T) {
	h := limitedHost(t, ctlCPU)
	for range 5 {
		s := childSpec("burn", "3s")
		s.Limits.CPUPercent = 20
		p := start(t, h, s)
		used, err := strconv.ParseFloat(strings.TrimSpace(output(t, p.Stdout())), 64)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("it got %.1f %% of a processor", used)
		if used > 50 {
			t.Fatalf("it got %.1f %% of a processor, want 20 ± 3", used)
		}
		if used >= 17 && used <= 23 {
			if c := p.Counters(); c.ThrottledPeriods == 0 || c.Throttled == 0 {
				t.Errorf("nothing was throttled: %+v", c)
			}
			return
		}
		awaitGone(t, p)
		p.Release()
	}
	t.Error("it never got 20 ± 3 % of a processor")
}

func TestMemoryHogIsToldApart(t *testing.T) {
	h := limitedHost(t, ctlMemory)
	s := childSpec("hog", "")
	s.Limits.MemoryMB = 64
	p := start(t, h, s)
	want := Exit{Code: -1, Signal: syscall.SIGKILL, OOMKilled: true, Known: true}
	if diff := gocmp.Diff(want, awaitExit(t, p)); diff != "" {
		t.Errorf("exit (-want +got):\n%s", diff)
	}
	if p.Counters().OOMKills == 0 {
		t.Error("no kill was counted")
	}
}

// TestMemoryHogBelowIsToldToo has the kernel kill what the main process has started, who
// then ends by itself where the two are not killed as one.
func TestMemoryHogBelowIsToldToo(t *testing.T) {
	h := limitedHost(t, ctlMemory)
	for command, told := range map[string]bool{"exit 137": true, "exit 0": false} {
		s := childSpec("hog", "")
		s.Command = []string{"/bin/sh", "-c", `"` + os.Args[0] + `"; ` + command}
		s.Limits.MemoryMB = 64
		p := start(t, h, s)
		e := awaitExit(t, p)
		if want := told || e.Signal != 0; e.OOMKilled != want {
			t.Errorf("%s: told %v, want out of memory %t", command, e, want)
		}
		if p.Counters().OOMKills == 0 {
			t.Errorf("%s: no kill was counted", command)
		}
		awaitGone(t, p)
		p.Release()
	}
}

func TestMemoryHogInAHook(t *testing.T) {
	h := limitedHost(t, ctlMemory)
	s := childSpec("hog", "")
	s.Limits.MemoryMB = 64
	s.Hooks.PreStart = [][]string{{os.Args[0]}}
	_, err := h.Start(t.Context(), s, 1)
	wantStartError(t, err, StageHook, false, "SIGKILL, out of memory")
}

func TestKillIsNoWantOfMemory(t *testing.T) {
	h := limitedHost(t, ctlMemory)
	s := childSpec("wait", "")
	s.Limits.MemoryMB = 256
	p := startReady(t, h, s)
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := awaitExit(t, p); e.OOMKilled || e.Signal != syscall.SIGKILL {
		t.Errorf("got %v", e)
	}
}

func TestForkBombStopsAtItsLimit(t *testing.T) {
	h := limitedHost(t, ctlPids)
	s := childSpec("", "")
	s.Command = []string{"/bin/sh", "-c", "b() { while :; do sleep 1000 & done; }; b & b & b"}
	s.Limits.Processes = 30
	p := start(t, h, s)
	eventually(t, "forks are refused", func() bool { return p.Counters().PidsRefused > 0 })
	// A list that is made one process after the other may hold some that have followed each
	// other; the kernel's own is of one moment.
	if live := pidsBelow(cmp.Or(p.group.counts[""], p.group.counts[ctlPids])); len(live) == 0 || len(live) > 30 {
		t.Errorf("%d processes live", len(live))
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
}

// TestNothingEscapes has what forks twice, leaves its session and ignores TERM be gone,
// with its group, when the incarnation is.
func TestNothingEscapes(t *testing.T) {
	h := newHost(t)
	needLeaves(t, h)
	for n := range 200 {
		p := startReady(t, h, childSpec("escape", strings.Repeat("stay", n%2)))
		leaf := p.group.leaf
		if n%4 == 3 { // its leader is killed before
			_ = p.Signal(syscall.SIGKILL)
			awaitExit(t, p)
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		awaitGone(t, p)
		if found := carriers(t, p.mark.id, h.instance); len(found) > 0 {
			t.Fatalf("escaped: %v", found)
		}
		p.Release()
		if _, err := os.Stat(leaf); err == nil {
			t.Fatalf("%s is still there", leaf)
		}
	}
}

// TestBornInside has a child that forks at once be found in its group with what it forked.
func TestBornInside(t *testing.T) {
	h := newHost(t)
	needLeaves(t, h)
	for _, limits := range []Limits{{}, {Processes: 50, CPUPercent: 100, MemoryMB: 100}} {
		for range 100 {
			s := childSpec("", "")
			s.Command, s.Limits = []string{"/bin/sh", "-c", "sleep 1000 & echo ready; exec sleep 1000"}, limits
			p := startReady(t, h, s)
			for _, dir := range p.group.enter {
				if got := pidsBelow(dir); len(got) != 2 {
					t.Fatalf("in %s are %v, want 2", dir, got)
				}
			}
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			awaitGone(t, p)
			p.Release()
		}
	}
}

func TestThousandCyclesLeaveNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	h := newHost(t)
	cycle := func(n int) {
		s := childSpec("", "")
		s.Command = []string{"/bin/true"}
		if n%10 == 0 {
			s.Limits = Limits{CPUPercent: 50, MemoryMB: 50, Processes: 10, OpenFiles: 50}
		}
		p := start(t, h, s)
		awaitGone(t, p)
		p.Release()
	}
	cycle(0)
	before := openFDs(t)
	for n := range 1000 {
		cycle(n)
	}
	eventually(t, "descriptors are closed", func() bool { return openFDs(t) <= before })
	if dirs := leftGroups(h); len(dirs) > 0 {
		t.Errorf("groups are left: %v", dirs)
	}
	eventually(t, "children are reaped", func() bool { return len(h.strays()) == 0 })
}

func TestRequiredLimitThatCannotBe(t *testing.T) {
	h := newHost(t)
	for _, base := range h.backend.bases() {
		must(t, removeGroups(base))
	}
	h.backend = noGroups{problems: []Problem{{everything, "no cgroup file system is mounted here", "mount one"}}}
	s := childSpec("wait", "")
	s.Limits = Limits{MemoryMB: 64, Required: true}
	_, err := h.Start(t.Context(), s, 1)
	wantStartError(t, err, StageLimits, true,
		"memory_mb 64: not enforced: no cgroup file system is mounted here: mount one")
	s.Limits.Required = false
	startReady(t, h, s)
}

// TestPostStopOutlivesTheKill has the hook run when the incarnation is killed whole.
func TestPostStopOutlivesTheKill(t *testing.T) {
	h := newHost(t)
	s := childSpec("wait", "")
	ran := filepath.Join(shortDir(t), "ran")
	s.Hooks.PostStop = [][]string{{"/bin/sh", "-c", "cat /proc/self/cgroup > " + ran}}
	s.Limits.Processes = 20
	p := startReady(t, h, s)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitGone(t, p)
	if err := p.PostStop(t.Context(), s, "stop"); err != nil {
		t.Fatal(err)
	}
	where, err := os.ReadFile(ran)
	if err != nil {
		t.Fatal(err)
	}
	if p.group != nil && p.group.leaf != "" && !strings.Contains(string(where), "svc/hook-"+afterwards) {
		t.Errorf("the hook ran in\n%s", where)
	}
}

func TestSweepEmptiesTheGroups(t *testing.T) {
	h := newHost(t)
	needLeaves(t, h)
	p := startReady(t, h, childSpec("stubborn", ""))
	if err := h.sweepBases(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	awaitExit(t, p)
	if _, err := os.Stat(p.group.leaf); err == nil {
		t.Errorf("%s is still there", p.group.leaf)
	}
}

// TestGroupsOfAnEarlierLifeAreSwept has a bhnode die that was in another group.
func TestGroupsOfAnEarlierLifeAreSwept(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	if h.Isolation().Tracking != trackedByGroup {
		t.Skip("no process can be born into a group here")
	}
	own, err := os.MkdirTemp(filepath.Dir(h.bases[0]), "other")
	must(t, err)
	defer func() { must(t, removeGroups(own)) }()
	base := filepath.Join(own, filepath.Base(h.bases[0]))
	must(t, os.Mkdir(base, 0o755))
	leaf, err := makeLeaf(filepath.Join(base, "svc"), 1)
	must(t, err)
	cmd := exec.Command("/bin/sleep", "1000")
	fd, err := openGroup(leaf)
	must(t, err)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	must(t, cmd.Start())
	must(t, syscall.Close(fd))
	defer func() { _ = cmd.Wait() }()
	must(t, os.WriteFile(filepath.Join(h.opts.RuntimeDir, basesFile), []byte(base+"\n"+own+"\n"), 0o600))
	must(t, h.recordBases())
	must(t, h.sweepBases(t.Context(), nil))
	if _, err := os.Stat(base); err == nil {
		t.Errorf("%s is still there", base)
	}
	if _, err := os.Stat(own); err != nil {
		t.Errorf("what is not ours was removed: %v", err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may do this")
	}
}

func needLeaves(t *testing.T, h *Host) {
	t.Helper()
	if i := h.Isolation(); i.Tracking == trackedByMark {
		t.Skipf("services are not tracked by groups here: %v", i.Problems)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	names, err := readNames("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

// burn keeps a processor busy and prints how much of one it got, in percent.
func burn(arg string) {
	long, _ := time.ParseDuration(arg)
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	began := time.Now()
	for time.Since(began) < long {
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	os.Stdout.WriteString(strconv.FormatFloat(100*used.Seconds()/time.Since(began).Seconds(), 'f', 2, 64) + "\n")
}

// hog takes memory until it is stopped.
func hog(arg string) {
	enough, err := strconv.Atoi(arg) // MiB
	var kept [][]byte
	for err != nil || len(kept) < enough {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		kept = append(kept, block)
		if len(kept) > 4096 {
			os.Exit(9)
		}
	}
}
