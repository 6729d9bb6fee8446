package proc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOneProcessFits has a program run where the shim, with its threads, would not fit.
func TestOneProcessFits(t *testing.T) {
	h := limitedHost(t, ctlPids)
	for range 100 {
		s := childSpec("", "")
		s.Command = []string{"/bin/sh", "-c", "echo ready; exec sleep 1000"}
		s.Limits = Limits{Processes: 1, MemoryMB: 1}
		p := startReady(t, h, s)
		must(t, p.Kill())
		awaitGone(t, p)
		p.Release()
	}
}

// TestSoftLimitStays has the shim leave alone what the runtime of Go would raise.
func TestSoftLimitStays(t *testing.T) {
	h := newHost(t)
	nice := 1
	var got []string
	for _, n := range []*int{nil, &nice} {
		s := childSpec("", "")
		s.Command = []string{"/bin/sh", "-c", "ulimit -Sn; ulimit -Hn"}
		s.Nice = n
		p := start(t, h, s)
		got = append(got, output(t, p.Stdout()))
		awaitGone(t, p)
		p.Release()
	}
	if got[0] != got[1] {
		t.Errorf("plain and through the shim: %q", got)
	}
}

func TestBirth(t *testing.T) {
	needRoot(t)
	h := newHost(t)
	nice, score, mask := 7, 321, os.FileMode(0o027)
	caps := []string{"CAP_NET_BIND_SERVICE"}
	s := childSpec("", "")
	s.Command = []string{"/bin/sh", "-c", `ulimit -n; ulimit -Hn; cut -d" " -f19 /proc/self/stat; cat /proc/self/oom_score_adj; umask; id -u; id -g
		grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; ls /proc/self/fd | wc -l`}
	s.User, s.Limits.OpenFiles = "nobody", 123
	if h.backend.lack(ctlPids) == nil { // its user has no right to enter a group
		s.Limits.Processes = 20
	}
	s.Nice, s.OOMScoreAdj, s.Umask, s.NoNewPrivileges, s.Capabilities = &nice, &score, &mask, true, &caps
	p := start(t, h, s)
	got := strings.Fields(output(t, p.Stdout()))
	want := strings.Fields("123 123 7 321 0027 65534 65534 CapEff: 0000000000000400 CapBnd: 0000000000000400 NoNewPrivs: 1 4")
	want[6] = got[min(6, len(got)-1)] // the group of nobody has another number elsewhere
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("born with (-want +got):\n%s", diff)
	}
	for _, e := range h.Enforcement(s) {
		if e.By == "" {
			t.Errorf("not enforced: %v", e)
		}
	}
}

func TestShimTellsWhyItCannot(t *testing.T) {
	h := newHost(t)
	dir := shortDir(t)
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("echo\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		command, text string
	}{
		"no program":     {filepath.Join(dir, "none"), "no such file or directory"},
		"no interpreter": {script, "a script needs a first line"},
		"no right":       {dir, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			s := childSpec("", "")
			s.Command, s.Limits = []string{tc.command}, Limits{OpenFiles: 100, Processes: 1}
			_, err := h.Start(t.Context(), s, 1)
			wantStartError(t, err, StageSpawn, true, tc.text)
		})
	}
}
