package proc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHierarchies(t *testing.T) {
	const hybrid = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
`
	for name, tc := range map[string]struct {
		mounts, groups string
		want           hierarchies
	}{
		"hybrid": {
			hybrid, "4:memory:/a/b\n2:cpu,cpuacct:/\n0::/c\n",
			hierarchies{
				unified: &hierarchy{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified/c", false},
				v1: map[string]*hierarchy{
					"cpu":     {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", false},
					"cpuacct": {"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct", false},
					"memory":  {"/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/a/b", true},
				},
			},
		},
		"v2": {
			"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n", "0::/system.slice/bhnode.service\n",
			hierarchies{
				unified: &hierarchy{"/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/bhnode.service", false},
				v1:      map[string]*hierarchy{},
			},
		},
		"container with its own group mounted read-only": {
			"30 23 0:26 /docker/x /sys/fs/cgroup\\040x rw - cgroup2 cgroup ro\n", "0::/docker/x\n",
			hierarchies{
				unified: &hierarchy{"/sys/fs/cgroup x", "/sys/fs/cgroup x", true},
				v1:      map[string]*hierarchy{},
			},
		},
		"own group not below what is mounted": {
			"30 23 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw\n", "0::/docker/y\n",
			hierarchies{v1: map[string]*hierarchy{}},
		},
		"nothing": {"torn line\n", "0::/\n", hierarchies{v1: map[string]*hierarchy{}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := parseHierarchies(tc.mounts, tc.groups)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(hierarchies{}, hierarchy{})); diff != "" {
				t.Errorf("hierarchies (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	got := settings2(Limits{CPUPercent: 20, MemoryMB: 64, IOWeight: 5000, Processes: 20, OpenFiles: 7})
	want := []setting{
		{"cpu", "cpu.max", "20000 100000"},
		{"memory", "memory.max", "67108864"},
		{"memory", "memory.swap.max", "0"},
		{"memory", "memory.oom.group", "1"},
		{"io", "io.weight", "default 5000"},
		{"io", "io.bfq.weight", "1000"},
		{"pids", "pids.max", "20"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(setting{})); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if got := settings2(Limits{}); len(got) != 0 {
		t.Errorf("without limits: %v", got)
	}
}

func TestCounts(t *testing.T) {
	dir := t.TempDir()
	text := "low 0\noom 2\noom_kill 3\noom_group_kill 1\n"
	if err := os.WriteFile(filepath.Join(dir, "memory.events"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]uint64{"oom_kill": 3, "oom": 2, "none": 0} {
		if got := readCount(dir, "memory.events", key); got != want {
			t.Errorf("%s is %d, want %d", key, got, want)
		}
	}
	if got := readCount(dir, "none", "oom"); got != 0 {
		t.Errorf("a file that is not there counts %d", got)
	}
}

func TestWeightsNeedAScheduler(t *testing.T) {
	for scheduler, effective := range map[string]bool{
		"none [mq-deadline] bfq": false, "none mq-deadline [bfq]": true,
	} {
		dir := t.TempDir()
		queue := filepath.Join(dir, "vda", "queue")
		if err := os.MkdirAll(queue, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(queue, "scheduler"), []byte(scheduler+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := heedless(dir, dir) == nil; got != effective {
			t.Errorf("%s: effective %t, want %t", scheduler, got, effective)
		}
	}
}

func TestCapabilityNumbers(t *testing.T) {
	got, err := capabilityNumbers([]string{"CAP_CHOWN", "net_bind_service", "CAP_CHECKPOINT_RESTORE"})
	if diff := cmp.Diff([]int{0, 10, 40}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := capabilityNumbers([]string{"CAP_FLY"}); err == nil || !strings.Contains(err.Error(), `"CAP_FLY"`) {
		t.Errorf("got error %v", err)
	}
}

func TestEnforcementIsTold(t *testing.T) {
	nice := 3
	s := &ServiceSpec{Limits: Limits{CPUPercent: 50, MemoryMB: 64, OpenFiles: 100}, Nice: &nice}
	h := &Host{backend: noGroups{problems: []Problem{{everything, "no cgroup file system is mounted here", "mount one"}}}}
	want := []Enforcement{
		{"cpu_percent", "50", "", "no cgroup file system is mounted here", "mount one"},
		{"memory_mb", "64", "", "no cgroup file system is mounted here", "mount one"},
		{"open_files", "100", "rlimit", "", ""},
		{"nice", "3", "kernel", "", ""},
	}
	if diff := cmp.Diff(want, h.Enforcement(s)); diff != "" {
		t.Errorf("enforcement (-want +got):\n%s", diff)
	}
	if got := h.Isolation(); got.Backend != "none" || len(got.Problems) != 1 {
		t.Errorf("isolation %+v", got)
	}
}

func TestBackendsByName(t *testing.T) {
	lacks := map[string]*Problem{}
	for _, tc := range []struct {
		backend        backend
		name, tracking string
	}{
		{&groups2{lacks: lacks}, "cgroup v2", trackedByGroup},
		{&groups1{lacks: lacks, track: "/x"}, "cgroup v1 + v2", trackedByGroup},
		{&groups1{lacks: lacks, track: "/x", frozen: true}, "cgroup v1", trackedByFreezer},
		{&groups1{lacks: lacks, bare: &Problem{}}, "cgroup v1", trackedByMark},
		{noGroups{}, "none", trackedByMark},
	} {
		if i := tc.backend.isolation(); i.Backend != tc.name || i.Tracking != tc.tracking {
			t.Errorf("got %+v, want %s", i, tc.name)
		}
	}
}
