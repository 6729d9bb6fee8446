package supervision

import (
	"slices"
	"testing"
	"time"
)

// The stages and signals in the order of their declaration.
var (
	stageNames  = []string{"Preparing", "Aborting", "Starting", "Running", "Stopping", "Leaving", "Killing", "Stuck", "Over"}
	signalNames = []string{"Spawned", "SpawnFailed", "Ready", "Stop", "Kill", "MainExited", "GraceOver", "KillOver", "AllGone"}
)

func TestLifecycleKnowsEveryPair(t *testing.T) {
	// A row a stage, a column a signal, in the order above; "-" changes nothing.
	next := [][]string{
		{"Starting", "Over", "-", "Aborting", "Aborting", "-", "-", "-", "-"},
		{"Killing", "Over", "-", "-", "-", "-", "-", "-", "-"},
		{"-", "-", "Running", "Stopping", "Killing", "Killing", "-", "-", "-"},
		{"-", "-", "-", "Stopping", "Killing", "Killing", "-", "-", "-"},
		{"-", "-", "-", "-", "Killing", "Leaving", "Killing", "-", "-"},
		{"-", "-", "-", "-", "Killing", "-", "Killing", "-", "Over"},
		{"-", "-", "-", "-", "-", "Killing", "-", "Stuck", "Over"},
		{"-", "-", "-", "-", "-", "Stuck", "-", "-", "Over"},
		{"-", "-", "-", "-", "-", "-", "-", "-", "-"},
	}
	for s := range stageNames {
		for sig := range signalNames {
			to, do := Stage(s).Next(Signal(sig))
			want := next[s][sig]
			switch {
			case want == "-" && (to != Stage(s) || do != nil):
				t.Errorf("%s, %s: goes to %s, does %v; want nothing", stageNames[s], signalNames[sig], stageNames[to], do)
			case want != "-" && (stageNames[to] != want || len(do) == 0):
				t.Errorf("%s, %s: goes to %s, does %v; want %s", stageNames[s], signalNames[sig], stageNames[to], do, want)
			}
		}
	}
}

func TestLives(t *testing.T) {
	tests := []struct {
		name    string
		signals []Signal
		want    []Deed
		end     Stage
	}{
		{
			"one that is stopped in time",
			[]Signal{Spawned, Ready, Stop, MainExited, AllGone},
			[]Deed{Watch, TellReady, Ask, StartGrace, AskLeft, AwaitAll, TellOver},
			Over,
		},
		{
			"one that ignores the order",
			[]Signal{Spawned, Ready, Stop, GraceOver, MainExited, AllGone},
			[]Deed{Watch, TellReady, Ask, StartGrace, KillLeft, StartKill, AwaitAll, TellOver},
			Over,
		},
		{
			"one whose children ignore it",
			[]Signal{Spawned, Stop, MainExited, GraceOver, AllGone},
			[]Deed{Watch, Ask, StartGrace, AskLeft, AwaitAll, KillLeft, StartKill, TellOver},
			Over,
		},
		{
			"one that crashes and leaves children behind",
			[]Signal{Spawned, Ready, MainExited, AllGone},
			[]Deed{Watch, TellReady, StartKill, EndLeft, TellOver},
			Over,
		},
		{
			"one that cannot be spawned", []Signal{SpawnFailed}, []Deed{TellOver}, Over,
		},
		{
			"one that is stopped before it runs", []Signal{Stop, SpawnFailed}, []Deed{Abort, TellOver}, Over,
		},
		{
			"one that is stopped as it begins to run",
			[]Signal{Stop, Spawned, MainExited, AllGone},
			[]Deed{Abort, KillLeft, StartKill, AwaitAll, TellOver},
			Over,
		},
		{
			"brutal_kill", []Signal{Spawned, Ready, Kill, MainExited, AllGone}, []Deed{Watch, TellReady, KillLeft, StartKill, AwaitAll, TellOver}, Over,
		},
		{
			"one that does not die, and then does",
			[]Signal{Spawned, Kill, KillOver, MainExited, AllGone},
			[]Deed{Watch, KillLeft, StartKill, TellStuck, AwaitAll, TellOver},
			Over,
		},
	}
	for _, tt := range tests {
		var s Stage
		var did []Deed
		for _, sig := range tt.signals {
			var do []Deed
			s, do = s.Next(sig)
			did = append(did, do...)
		}
		if s != tt.end || !slices.Equal(did, tt.want) {
			t.Errorf("%s: did %v and is %s, want %v and %s", tt.name, did, stageNames[s], tt.want, stageNames[tt.end])
		}
	}
}

func TestEveryLifeEndsOverAndTellsItOnce(t *testing.T) {
	for s := range stageNames {
		for sig := range signalNames {
			to, do := Stage(s).Next(Signal(sig))
			if told := slices.Contains(do, TellOver); told != (to == Over && Stage(s) != Over) {
				t.Errorf("%s, %s: tells the end: %v", stageNames[s], signalNames[sig], told)
			}
		}
	}
}

func TestHealthFollowsRunsOfResults(t *testing.T) {
	tests := []struct {
		name               string
		retries, successes int
		results, want      string
	}{
		{"three failures in a row", 3, 1, "+++--+---+", "y.......yy"},
		{"a success in between begins anew", 2, 1, "+-+-+--", "y.....y"},
		{"two successes", 1, 2, "+-++-+++", "...yy.y."},
		{"never healthy is no change", 1, 1, "----", "...."},
		{"unknown changes nothing", 2, 1, "+-?-?+", "y..y.y"},
		{"nor does it break a run", 2, 2, "+?+-?-", "..y..y"},
		{"nothing configured: the first result counts", 0, 0, "+-+", "yyy"},
	}
	for _, tt := range tests {
		h := NewHealth(HealthSpec{Retries: tt.retries, Successes: tt.successes})
		got := ""
		for _, r := range tt.results {
			if h.Observe(map[rune]Verdict{'+': Good, '-': Bad, '?': Unknown}[r]) {
				got += "y"
			} else {
				got += "."
			}
		}
		if got != tt.want {
			t.Errorf("%s: %s gives %s, want %s", tt.name, tt.results, got, tt.want)
		}
	}
}

func TestHealthCountsFailuresInARow(t *testing.T) {
	h := NewHealth(HealthSpec{Retries: 3})
	for i, want := range []int{0, 1, 2, 0, 1} {
		h.Observe([]Verdict{Good, Bad, Bad, Good, Bad}[i])
		if got := h.Failures(); got != want {
			t.Errorf("after %d results: %d failures, want %d", i+1, got, want)
		}
	}
	if !h.Healthy() {
		t.Error("one failure made it unhealthy")
	}
}

func TestProbesOfAStartGrowToTheInterval(t *testing.T) {
	h := NewHealth(HealthSpec{Interval: 5 * time.Second, StartInterval: 2 * time.Second})
	for i, want := range []time.Duration{2000, 3000, 4500, 5000, 5000} {
		if got := h.Interval(i + 1); got != want*time.Millisecond {
			t.Errorf("after %d probes: %v, want %v", i+1, got, want*time.Millisecond)
		}
	}
	h.Observe(Good)
	h.Observe(Bad)
	if got := h.Interval(1); got != 5*time.Second {
		t.Errorf("once it was healthy: %v", got)
	}
	if got := NewHealth(HealthSpec{Interval: time.Second}).Interval(1); got != time.Second {
		t.Errorf("without a start interval: %v", got)
	}
}
