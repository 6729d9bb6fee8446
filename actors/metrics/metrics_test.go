package metrics

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// everything is a node of which all is known.
func everything() *Snapshot {
	return &Snapshot{
		Ready:  true,
		States: map[string]int{"running": 1, "failed": 1},
		Services: []Service{
			{
				Name: "db", State: "running", Wanted: true, Healthy: true, Uptime: new(90 * time.Second), MemoryLimit: 2 << 20,
				Sample: &Sample{CPUPercent: new(12.5), Memory: 1 << 20, Virtual: 1 << 30, Threads: 3, Files: 7, Connections: new(uint64(2))},
				Totals: Totals{
					CPU: 1500 * time.Millisecond, Read: 10, Written: 20, OOMKills: 1, Throttled: time.Second,
					Lines: map[string]uint64{"stdout": 5, "stderr": 6}, Dropped: 4,
				},
			},
			{Name: "web", State: "failed", Wanted: true},
			{Name: "held", State: "stopped"},
		},
		Supervisors: []Supervisor{{Name: "root", InWindow: 1, Limit: 10}},
		Mailboxes:   map[string]int{"root": 1},
	}
}

func fill(m *Metrics) {
	m.Added("db")
	m.Restarted("db", "signal")
	m.Escalated("data")
	m.Ready("db", time.Second)
	m.Probed("db", time.Millisecond, nil)
	m.Probed("db", time.Millisecond, errors.New("no"))
	m.Panicked()
	m.DeadLetter()
}

func newMetrics(compat bool) *Metrics { return New(Options{Version: "1", Compat: compat}) }

func well(context.Context) (*Snapshot, error) { return everything(), nil }

// The rules are those of Prometheus; the name of the original plan is against them.
func TestNamesKeepToTheRules(t *testing.T) {
	for _, compat := range []bool{false, true} {
		m := newMetrics(compat)
		fill(m)
		problems, err := testutil.GatherAndLint(m.gatherer(well))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			if p.Metric != "blackhole_processes_total" {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
		}
		if (len(problems) > 0) != compat {
			t.Errorf("compat %v: %d problems", compat, len(problems))
		}
	}
}

func TestEverythingIsTold(t *testing.T) {
	m := newMetrics(false)
	fill(m)
	text := get(t, m, well, "/metrics", "").Body.String()
	for _, line := range []string{
		`blackhole_processes{state="failed"} 1`,
		`blackhole_process_cpu_percent{service="db"} 12.5`,
		`blackhole_process_memory_bytes{service="db"} 1.048576e+06`,
		`blackhole_process_restarts_total{reason="signal",service="db"} 1`,
		`blackhole_process_restarts_total{reason="oom",service="db"} 0`,
		`blackhole_process_uptime_seconds{service="db"} 90`,
		`blackhole_process_cpu_seconds_total{service="db"} 1.5`,
		`blackhole_process_virtual_memory_bytes{service="db"} 1.073741824e+09`,
		`blackhole_process_memory_limit_bytes{service="db"} 2.097152e+06`,
		`blackhole_process_threads{service="db"} 3`,
		`blackhole_process_open_files{service="db"} 7`,
		`blackhole_process_connections{service="db"} 2`,
		`blackhole_process_io_read_bytes_total{service="db"} 10`,
		`blackhole_process_io_write_bytes_total{service="db"} 20`,
		`blackhole_process_oom_kills_total{service="db"} 1`,
		`blackhole_process_cpu_throttled_seconds_total{service="db"} 1`,
		`blackhole_process_healthy{service="db"} 1`,
		`blackhole_process_healthy{service="web"} 0`,
		`blackhole_process_probe_errors_total{service="db"} 1`,
		`blackhole_process_probe_duration_seconds_count{service="db"} 2`,
		`blackhole_process_start_duration_seconds_sum{service="db"} 1`,
		`blackhole_process_log_lines_total{service="db",stream="stderr"} 6`,
		`blackhole_process_log_dropped_total{service="db"} 4`,
		`blackhole_supervisor_restarts_in_window{supervisor="root"} 1`,
		`blackhole_supervisor_restart_limit{supervisor="root"} 10`,
		`blackhole_supervisor_escalations_total{supervisor="data"} 1`,
		`bhnode_build_info{version="1"} 1`,
		`bhnode_actor_mailbox_messages{actor="root"} 1`,
		`bhnode_actor_panics_total 1`,
		`bhnode_dead_letters_total 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("it lacks %s", line)
		}
	}
	for _, name := range []string{"memory_bytes", "cpu_percent", "uptime_seconds"} {
		if strings.Contains(text, "blackhole_process_"+name+`{service="web"}`) {
			t.Errorf("%s of what does not run is told", name)
		}
	}
	m.Removed("db")
	if text := get(t, m, well, "/metrics", "").Body.String(); strings.Contains(text, `restarts_total{reason="signal",service="db"}`) {
		t.Error("a service that was removed is told still")
	}
}

func get(t *testing.T, m *Metrics, look Look, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, http.NoBody)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	m.Handler(look).ServeHTTP(w, r)
	return w
}

func TestHealthEndpoints(t *testing.T) {
	starting := func(context.Context) (*Snapshot, error) {
		s := everything()
		s.Ready = false
		return s, nil
	}
	hung := func(context.Context) (*Snapshot, error) { return nil, errors.New("it does not answer") }
	mended := func(context.Context) (*Snapshot, error) {
		s := everything()
		s.Services[1].Healthy = true
		return s, nil
	}
	for _, tc := range []struct {
		look   Look
		path   string
		accept string
		code   int
		body   string
	}{
		{well, "/livez", "", 200, "ok\n"},
		{well, "/readyz", "", 200, "ok\n"},
		{well, "/healthz", "", 503, "[-]web failed: failed\nhealthz check failed\n"},
		{mended, "/healthz", "", 200, "ok\n"},
		{well, "/healthz?verbose", "", 503, "[+]root ok\n[+]boot ok\n[+]db ok\n[-]web failed: failed\nhealthz check failed\n"},
		{well, "/healthz?verbose&exclude=web&exclude=boot", "", 200, "[+]root ok\n[+]db ok\nhealthz check passed\n"},
		{starting, "/livez", "", 200, "ok\n"},
		{starting, "/readyz", "", 503, "[-]boot failed: the node has not come up\nreadyz check failed\n"},
		{hung, "/livez", "", 503, "[-]root failed: it does not answer\nlivez check failed\n"},
		{hung, "/healthz", "", 503, "[-]root failed: it does not answer\nhealthz check failed\n"},
		{
			well, "/healthz", "application/json", 503,
			`{"ok":false,"checks":[{"name":"root","ok":true},{"name":"boot","ok":true},{"name":"db","ok":true},{"name":"web","ok":false,"why":"failed"}]}` + "\n",
		},
		{well, "/", "", 200, "/metrics\n/livez\n/readyz\n/healthz\n"},
		{well, "/nothing", "", 404, "404 page not found\n"},
	} {
		w := get(t, newMetrics(false), tc.look, tc.path, tc.accept)
		if w.Code != tc.code || w.Body.String() != tc.body {
			t.Errorf("%s: %d %q, want %d %q", tc.path, w.Code, w.Body, tc.code, tc.body)
		}
	}
}

// A root supervisor that does not answer leaves what is counted.
func TestMetricsWithoutTheRootSupervisor(t *testing.T) {
	m := newMetrics(false)
	fill(m)
	w := get(t, m, func(context.Context) (*Snapshot, error) { return nil, errors.New("it does not answer") }, "/metrics", "")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "bhnode_actor_panics_total 1") || strings.Contains(w.Body.String(), "blackhole_processes{") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
