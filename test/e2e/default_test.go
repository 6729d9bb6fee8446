package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// needs is the dependency order of the nine services.
var needs = map[string][]string{
	"identity":  nil,
	"storage":   {"identity"},
	"node":      {"identity"},
	"ledger":    {"identity"},
	"social":    {"identity", "storage"},
	"indexer":   {"storage"},
	"analytics": {"storage", "ledger", "social", "indexer"},
	"telemetry": {"identity", "storage", "node", "ledger", "social", "indexer", "analytics"},
	"wallet":    {"identity", "ledger"},
}

func TestKillingAServiceOfTheDefaultRestartsExactlyWhatNeedsIt(t *testing.T) {
	t.Parallel()
	n := newDefaultNode(t)
	n.up()
	incarnation := map[string]uint64{}
	for name := range needs {
		incarnation[name] = 1
	}
	for _, tc := range []struct {
		victim string
		with   []string
	}{
		{"telemetry", nil},
		{"ledger", []string{"analytics", "telemetry", "wallet"}},
		{"identity", []string{"analytics", "indexer", "ledger", "node", "social", "storage", "telemetry", "wallet"}},
	} {
		before := n.kill(tc.victim, syscall.SIGKILL)
		all := append([]string{tc.victim}, tc.with...)
		for _, name := range all {
			incarnation[name]++
			n.awaitAfter(before, "service.ready", name, incarnation[name])
		}
		checkRestart(t, n, before, tc.victim, tc.with)
		checkLives(t, n, incarnation)
	}
	n.stop()
}

// checkRestart asserts that the events after one tell of the end of a service and
// the restart of it and of those others, in the order of need, and of nothing else.
func checkRestart(t *testing.T, n *node, before event, victim string, with []string) {
	t.Helper()
	events := n.since(before)
	all := slices.Sorted(slices.Values(append([]string{victim}, with...)))
	sorted := func(kind string) []string { return slices.Sorted(slices.Values(names(events, kind))) }
	for kind, want := range map[string][]string{
		"service.exited": {victim}, "service.backoff": {victim}, "service.stopping": with, "service.stopped": with,
		"service.starting": all, "service.started": all, "service.ready": all, "service.failed": nil, "service.unhealthy": nil,
	} {
		if diff := cmp.Diff(want, sorted(kind)); diff != "" {
			t.Errorf("%s after the end of %s: -want +got\n%s", kind, victim, diff)
		}
	}
	seq := map[string]uint64{}
	for _, e := range events {
		seq[e.Type+" "+e.Service] = e.Seq
	}
	for _, name := range all {
		for _, dep := range needs[name] {
			if slices.Contains(all, dep) && seq["service.starting "+name] < seq["service.ready "+dep] {
				t.Errorf("%s was started before %s was ready", name, dep)
			}
			if slices.Contains(with, dep) && seq["service.stopping "+dep] < seq["service.stopped "+name] {
				t.Errorf("%s was ordered to stop before %s was gone", dep, name)
			}
		}
		if slices.Contains(with, name) && seq["service.starting "+victim] < seq["service.stopped "+name] {
			t.Errorf("%s was started before %s was gone", victim, name)
		}
	}
	exit := event{}
	for _, e := range events {
		if e.Type == "service.exited" {
			exit = e
		}
	}
	if exit.attr("signal") != "SIGKILL" {
		t.Errorf("got signal %q in the exit of %s, want SIGKILL", exit.attr("signal"), victim)
	}
	for _, e := range events {
		if e.Type != "service.ready" {
			continue
		}
		if chain := n.chain(e); !slices.Contains(chain, "service.exited "+victim) {
			t.Errorf("ready of %s is not traced to the end of %s: %q", e.Service, victim, chain)
		}
	}
}

// checkLives asserts that status, tree and the machine agree on who lives.
func checkLives(t *testing.T, n *node, incarnation map[string]uint64) {
	t.Helper()
	for _, s := range n.status().Services {
		if s.State != "running" || s.Health != "healthy" || s.Incarnation != incarnation[s.Name] {
			t.Errorf("got %s %s %s/%d, want running healthy, incarnation %d", s.Name, s.State, s.Health, s.Incarnation, incarnation[s.Name])
		}
		want := []string{fmt.Sprintf("%s/%s/%d", n.status().Node, s.Name, s.Incarnation)}
		if diff := cmp.Diff(want, n.lives(s.Name)); diff != "" {
			t.Errorf("lives of %s: -want +got\n%s", s.Name, diff)
		}
	}
	n.tree().each(func(r treeReport) {
		if r.Kind == "service" && (r.Incarnation != incarnation[r.Name] || r.State != "running" || r.PID == 0) {
			t.Errorf("got %s %s/%d pid %d in the tree, want running, incarnation %d", r.Name, r.State, r.Incarnation, r.PID, incarnation[r.Name])
		}
	})
}
