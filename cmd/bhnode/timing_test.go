package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/supervision"
)

func TestWhatAStopWaitsFor(t *testing.T) {
	timed := supervision.Shutdown{Grace: 10 * time.Second}
	stops := timing{
		of: map[string]*times{
			"done": {shutdown: timed}, "deaf": {shutdown: timed}, "patient": {shutdown: supervision.Shutdown{Mode: supervision.Infinity}},
		},
		order: []string{"done", "deaf", "patient"},
	}
	for _, name := range stops.order {
		stops.see(journal.Record{Type: supervision.ServiceStopping, Service: name, Time: noon})
	}
	stops.see(journal.Record{Type: supervision.ServiceStopped, Service: "done", Time: noon})
	for after, want := range map[time.Duration][]string{
		1900 * time.Millisecond: {"deaf (SIGKILL in 9s)", "patient (for 1.9s)"},
		9900 * time.Millisecond: {"deaf (SIGKILL in 1s)", "patient (for 9.9s)"},
		11 * time.Second:        {"deaf (SIGKILL was sent)", "patient (for 11s)"},
	} {
		if diff := cmp.Diff(want, stops.stopping(noon.Add(after))); diff != "" {
			t.Errorf("after %v (-want +got):\n%s", after, diff)
		}
	}
	stops.killing = true
	if diff := cmp.Diff([]string{"deaf (SIGKILL was sent)", "patient (SIGKILL was sent)"}, stops.stopping(noon)); diff != "" {
		t.Errorf("after a second signal (-want +got):\n%s", diff)
	}
}
