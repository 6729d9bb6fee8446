package actors

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/actors/metrics"
	"github.com/blackhole/bhnode/proc"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

func TestTheLivesOfAServiceAddUp(t *testing.T) {
	began := time.Now()
	at := func(after, cpu time.Duration) proc.Usage {
		return proc.Usage{At: began.Add(after), CPU: cpu, Read: uint64(cpu), Pids: []int{1}}
	}
	var c tally
	percent := func() any {
		if u, _ := c.show(c.incarnation); u != nil && u.CPUPercent != nil {
			return *u.CPUPercent
		}
		return nil
	}
	for _, tc := range []struct {
		inc     uint64
		began   time.Time
		usage   proc.Usage
		percent any
		total   time.Duration
	}{
		{1, began, at(time.Second, 500*time.Millisecond), 50.0, 500 * time.Millisecond}, // from its beginning on
		{1, began, at(3*time.Second, 900*time.Millisecond), 20.0, 900 * time.Millisecond},
		{1, began, at(3*time.Second+shortest/2, 920*time.Millisecond), 20.0, 920 * time.Millisecond}, // too short to tell
		{1, began, at(4*time.Second, time.Second), 10.0, time.Second},
		{1, began, at(2*time.Second, 0), 10.0, time.Second},                               // late
		{2, began.Add(-time.Hour), at(5*time.Second, time.Minute), nil, 61 * time.Second}, // an old one: what it does now is not known
		{2, began.Add(-time.Hour), at(6*time.Second, 62*time.Second), 200.0, 63 * time.Second},
		{1, began, at(7*time.Second, time.Hour), 200.0, 63 * time.Second}, // of a life before
	} {
		c.take(tc.inc, tc.began, tc.usage, proc.Counters{OOMKills: tc.inc})
		_, all := c.show(tc.inc)
		if got := percent(); got != tc.percent || all.CPU != tc.total || all.Read != uint64(tc.total) {
			t.Errorf("after %+v: %v %%, %v", tc, got, all)
		}
	}
	if _, all := c.show(2); all.OOMKills != 3 {
		t.Errorf("%d out of memory, want 1 and 2", all.OOMKills)
	}
	if u, _ := c.show(1); u != nil {
		t.Errorf("what an earlier life used is shown: %+v", u)
	}
}

// sampledBy runs a node for a minute and counts the looks at its service.
func sampledBy(t *testing.T, interval time.Duration, ask int) (looks int, rows []*bhnodev1.Service, m metrics.Totals) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		back := newFake(t)
		back.plan("db", fakePlan{usage: proc.Usage{CPU: time.Second, Memory: 5, Threads: 2, Pids: []int{7}}})
		cfg := config(t, def{name: "db"}, def{name: "off"})
		cfg.SampleInterval = interval
		r := newRig(t, cfg, back)
		pass(time.Minute)
		for range ask {
			resp, err := NewControl(r.Node).GetStatus(t.Context(), &bhnodev1.GetStatusRequest{})
			if err != nil {
				t.Fatal(err)
			}
			rows = resp.GetServices()
		}
		looks = back.last("db").times("Usage")
		_, m = r.services.get("db").tally.show(1)
	})
	return looks, rows, m
}

func TestServicesAreSampledAtTheirInterval(t *testing.T) {
	looks, _, m := sampledBy(t, 10*time.Second, 0)
	if looks != 6 || m.CPU != time.Second { // after 1, 11, … 51 s
		t.Errorf("%d looks, %v", looks, m)
	}
}

func TestNobodySamplesUnasked(t *testing.T) {
	if looks, _, _ := sampledBy(t, 0, 0); looks != 0 {
		t.Errorf("%d looks, want none", looks)
	}
}

func TestAStatusTellsWhatIsUsedNow(t *testing.T) {
	looks, rows, _ := sampledBy(t, 0, 3) // at one moment: one look is enough
	if looks != 1 {
		t.Errorf("%d looks, want 1", looks)
	}
	got := map[string]any{"memory": rows[0].GetMemoryRssBytes(), "threads": rows[0].GetThreads()}
	if diff := cmp.Diff(map[string]any{"memory": uint64(5), "threads": uint32(2)}, got); diff != "" {
		t.Error(diff)
	}
}

// TestWhoGaveUpIsCounted: the counter is that of the supervisor that gave up, and there before it
// does, as an increase from nothing is none to Prometheus.
func TestWhoGaveUpIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := nested(t)
		inner := cfg.Spec.Children[1].Supervisor
		inner.Children[0].Intensity, inner.Children[0].OnExhausted = &supervision.Intensity{Period: time.Minute}, supervision.Escalate
		cfg.compile(t, cfg.Spec)
		back := newFake(t)
		r := newRig(t, cfg, back)
		handler := r.MetricsServer().Handler
		for _, want := range []string{"0", "1"} {
			pass(time.Minute)
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
			var got []string
			for line := range strings.Lines(answer.Body.String()) {
				if strings.HasPrefix(line, "blackhole_supervisor_escalations_total") {
					got = append(got, strings.TrimSpace(line))
				}
			}
			all := []string{`blackhole_supervisor_escalations_total{supervisor="data"} ` + want, `blackhole_supervisor_escalations_total{supervisor="root"} 0`}
			if diff := cmp.Diff(all, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			back.last("db").exit(1, 0)
		}
	})
}
