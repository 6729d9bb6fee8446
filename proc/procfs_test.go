package proc

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	const tail = " 2 3 4 0 -1 0 0 0 0 0 0 0 0 0 20 0 5 0 777 0 0"
	for _, tc := range []struct {
		name, line string
		want       procStat
		dead       bool
	}{
		{"plain", "1 (sh) S" + tail, procStat{pid: 1, comm: "sh", state: 'S', ppid: 2, pgrp: 3, session: 4, threads: 5, start: 777}, false},
		{
			"brackets and blanks", "1 (a) b (c) S 1) R" + tail,
			procStat{pid: 1, comm: "a) b (c) S 1", state: 'R', ppid: 2, pgrp: 3, session: 4, threads: 5, start: 777},
			false,
		},
		{
			"leader over, threads alive", "1 (java) Z" + tail,
			procStat{pid: 1, comm: "java", state: 'Z', ppid: 2, pgrp: 3, session: 4, threads: 5, start: 777},
			false,
		},
		{
			"zombie", "1 (x) Z 2 3 4 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777",
			procStat{pid: 1, comm: "x", state: 'Z', ppid: 2, pgrp: 3, session: 4, threads: 1, start: 777},
			true,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseStat(1, tc.line)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(procStat{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.dead() != tc.dead {
				t.Errorf("dead is %t", got.dead())
			}
		})
	}
	for _, bad := range []string{"", "1 sh S", "1 (sh", "1 (sh) S 1 2", "1 (sh) S x" + tail[2:]} {
		if _, err := parseStat(1, bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestSplitID(t *testing.T) {
	for _, tc := range []struct {
		id, service string
		incarnation uint64
		ok          bool
	}{
		{"n/svc/3", "svc", 3, true},
		{"a/b/svc/18446744073709551615", "svc", 1<<64 - 1, true},
		{"svc/3", "", 0, false},
		{"n//3", "", 0, false},
		{"n/svc/x", "", 0, false},
		{"n/svc/-1", "", 0, false},
		{"", "", 0, false},
	} {
		service, incarnation, ok := splitID(tc.id)
		if ok != tc.ok || ok && (service != tc.service || incarnation != tc.incarnation) {
			t.Errorf("%q: got %q, %d, %t", tc.id, service, incarnation, ok)
		}
	}
}

func TestChildrenAreFoundWithoutTheKernelsList(t *testing.T) {
	p := startReady(t, newHost(t), childSpec("nest", "1"))
	for _, pid := range []int{os.Getpid(), p.Pid()} {
		listed, searched := childrenOf(pid), searchChildren(pid)
		slices.Sort(listed)
		slices.Sort(searched)
		if diff := cmp.Diff(listed, searched); diff != "" || len(listed) == 0 {
			t.Errorf("children of %d: listed %v, searched %v", pid, listed, searched)
		}
	}
}

func TestProcOfNobody(t *testing.T) {
	const nobody = 1 << 22 // over every pid_max
	if _, err := readStat(nobody); err == nil {
		t.Error("stat: no error")
	}
	if got := childrenOf(nobody); got != nil {
		t.Errorf("children %v", got)
	}
	if got := waitChannel(nobody); got != "" {
		t.Errorf("wait channel %q", got)
	}
	if err := signalExactly(procStat{pid: nobody}, 9); err != nil {
		t.Errorf("signal: %v", err)
	}
}

// TestARecycledNumberIsNotSignalled has the number of the child belong to a process
// that began at another time than the one meant.
func TestARecycledNumberIsNotSignalled(t *testing.T) {
	p := startReady(t, newHost(t), childSpec("wait", ""))
	st, err := readStat(p.Pid())
	if err != nil {
		t.Fatal(err)
	}
	st.start++
	if err := killExactly(st); err != nil {
		t.Fatal(err)
	}
	if got := descend(st); got != nil {
		t.Errorf("children of another: %v", got)
	}
	if err := p.Signal(0); err != nil {
		t.Errorf("it was hit: %v", err)
	}
}
