package proc

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkSpawn measures starts, from the making of the groups to the end of /bin/true:
// bare, without limits and with all of them, in turn, so that what else the machine does
// hits all alike. The shim starts in half the time in a static binary, which bhnode is.
func BenchmarkSpawn(b *testing.B) {
	h := benchHost(b)
	plain := &ServiceSpec{Name: "plain", Command: []string{"/bin/true"}}
	all := &ServiceSpec{Name: "all", Command: []string{"/bin/true"}}
	all.Limits = Limits{CPUPercent: 100, MemoryMB: 100, IOWeight: 100, OpenFiles: 100, Processes: 20}
	took := map[string][]time.Duration{}
	for b.Loop() {
		began := time.Now()
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
			b.Fatal(err)
		}
		took["bare"] = append(took["bare"], time.Since(began))
		for _, s := range []*ServiceSpec{plain, all} {
			took[s.Name] = append(took[s.Name], spawnOnce(b, h, s))
		}
	}
	for what, all := range took {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), what+"-µs")
	}
}

// spawnOnce returns how long the spawn of s takes, its groups included.
func spawnOnce(b *testing.B, h *Host, s *ServiceSpec) time.Duration {
	b.Helper()
	began := time.Now()
	g, err := h.backend.open(s.Name, 1, s.Limits)
	if err != nil {
		b.Fatal(err)
	}
	at, err := h.birthOf(s)
	if err != nil {
		b.Fatal(err)
	}
	c, err := h.exec(b.Context(), execSpec{argv: s.Command, stdout: 1, stderr: 2, group: g, limits: s.Limits, birth: at})
	if err != nil {
		b.Fatal(err)
	}
	<-c.exited
	took := time.Since(began)
	if err := g.remove(); err != nil {
		b.Fatal(err)
	}
	return took
}
