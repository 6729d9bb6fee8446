package configs

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/blackhole/bhnode/supervision"
)

func TestLimitsThatCanNeverBeReachedAreWarnedOf(t *testing.T) {
	const head = "node: {on_daemon_death: kill}\nmetrics: {listen: \"\"}\n"
	tests := []struct{ name, text, want string }{
		{"the defaults are in tune", "services: {a: {command: x}}", ""},
		{
			"too slow a back-off", "services:\n  a:\n    command: x\n    restart: {max_restarts: 5, restart_window: 1m, initial_delay: 10s}",
			"x.yaml:6:29: services.a.restart.max_restarts: more than 5 restarts within 1m can never happen: with delays of 10s, 20s, 40s, … up to 5m " +
				"there are at most 3, so on_exhausted never takes effect; lower max_restarts or widen restart_window",
		},
		{
			"a constant delay", "services: {a: {command: x, restart: {restart_window: 10s, initial_delay: 5s, max_delay: 5s}}}",
			"x.yaml:3:54: services.a.restart.restart_window: more than 5 restarts within 10s can never happen: with delays of 5s " +
				"there are at most 3, so on_exhausted never takes effect; lower max_restarts or widen restart_window",
		},
		{"it goes on all the same", "services: {a: {command: x, restart: {restart_window: 10s, initial_delay: 5s, on_exhausted: keep}}}", ""},
		{"it is never restarted", "services: {a: {command: x, restart: {restart_window: 10s, initial_delay: 5s, type: never}}}", ""},
		{"it is disabled", "services: {a: {command: x, enabled: false, restart: {restart_window: 10s, initial_delay: 5s}}, b: {command: x}}", ""},
		{"without a delay any limit is reached", "services: {a: {command: x, restart: {max_restarts: 100000, restart_window: 1s, initial_delay: 0s}}}", ""},
		{
			"once for all that have it from defaults", "defaults: {restart: {restart_window: 10s, initial_delay: 5s}}\nservices: {a: {command: x}, b: {command: x}}",
			"x.yaml:3:38: services.a.restart.restart_window: more than 5 restarts within 10s can never happen: with delays of 5s, 10s, 20s, … up to 5m " +
				"there are at most 2, so on_exhausted never takes effect; lower max_restarts or widen restart_window",
		},
		{
			"a supervisor that nobody counts at", "supervisor: {max_restarts: 3}\nservices: {a: {command: x}}",
			"x.yaml:3:28: supervisor.max_restarts: more than 3 restarts within 1m can never happen: none of its children counts here; " +
				"services count here only with max_restarts: unlimited",
		},
		{
			"a supervisor with too few that count", "supervisor: {max_restarts: 12}\nservices: {a: {command: x, restart: {max_restarts: unlimited}}}",
			"x.yaml:3:28: supervisor.max_restarts: more than 12 restarts within 1m can never happen: with the delays of its children there are at most 7",
		},
		{
			"several together reach it", "supervisor: {max_restarts: 12}\ndefaults: {restart: {max_restarts: unlimited}}\n" +
				"services: {a: {command: x}, b: {command: x}, c: {command: x}}", "",
		},
		{
			"nested", "services: {a: {command: x, restart: {max_restarts: unlimited, initial_delay: 1m}}}\n" +
				"tree: [{supervisor: s, max_restarts: 2, restart_window: 30s, children: [a]}]",
			"x.yaml:4:38: tree[0].max_restarts: more than 2 restarts within 30s can never happen: with the delays of its children there are at most 1",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(mustParse(t, head+tt.text).Warnings, "\n"); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestNoMoreRestartsHappenThanAreForetold lets a child crash on the real
// supervision, after lives that are as short as can be or just long enough for
// its back-off to begin anew.
func TestNoMoreRestartsHappenThanAreForetold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := supervision.Backoff{
			Initial: time.Duration(rapid.IntRange(1, 10).Draw(t, "initial")) * time.Second,
			Factor:  float64(rapid.IntRange(1, 3).Draw(t, "factor")),
			Jitter:  float64(rapid.IntRange(0, 5).Draw(t, "jitter")) / 10,
		}
		b.Max = b.Initial * time.Duration(rapid.IntRange(1, 20).Draw(t, "max"))
		b.ResetAfter = time.Duration(rapid.IntRange(0, 60).Draw(t, "reset")) * time.Second
		limit := rapid.IntRange(0, 12).Draw(t, "limit")
		period := time.Duration(rapid.IntRange(1, 120).Draw(t, "period")) * time.Second
		foretold := restartsWithin(b, period, limit)

		tree, err := supervision.Compile(supervision.SupervisorSpec{
			ID: "root", Order: supervision.Graph,
			Children: []supervision.ChildSpec{{ID: "a", Backoff: b, Intensity: &supervision.Intensity{Max: limit, Period: period}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		m := supervision.New(tree, supervision.Options{Seed: rapid.Uint64().Draw(t, "seed")})
		now := time.Unix(0, 0)
		m.Step(now, supervision.Boot{})
		for inc := uint64(1); inc < 20; inc++ {
			m.Step(now, supervision.ChildReady{ID: "a", Incarnation: inc})
			if rapid.IntRange(0, 3).Draw(t, "lives") == 0 {
				now = now.Add(b.ResetAfter)
			}
			commands := m.Step(now, supervision.ChildExited{ID: "a", Incarnation: inc, Kind: supervision.Abnormal})
			v, _ := m.ViewOf(now, "a")
			if v.InWindow > foretold {
				t.Fatalf("%d restarts within %v, foretold at most %d", v.InWindow, period, foretold)
			}
			if v.State == supervision.StateFailed {
				return
			}
			for _, c := range commands {
				if w, ok := c.(supervision.Wake); ok {
					now = now.Add(w.After)
					m.Step(now, supervision.BackoffOver{ID: "a", Token: w.Token})
				}
			}
		}
	})
}
