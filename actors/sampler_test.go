package actors

import (
	"testing"
	"time"
)

// TestNobodyIsLookedAtWhileNobodyRuns: the look that finds for the first time that nobody has run
// takes that down for each; those that follow ask for the sum only, for five minutes at most.
func TestNobodyIsLookedAtWhileNobodyRuns(t *testing.T) {
	var r rest
	at := time.Unix(0, 0)
	for i, step := range []struct {
		used time.Duration
		pass time.Duration
		all  bool
	}{
		{used: 5, all: true},
		{used: 7, all: true},
		{used: 7, all: true},
		{used: 7, all: false},
		{used: 7, all: false},
		{used: 7, pass: restsFor, all: true},
		{used: 7, all: false},
		{used: 8, all: true},
		{used: 8, all: true},
		{used: 8, all: false},
		{used: 0, all: true}, // it cannot be read
		{used: 0, all: true},
		{used: 0, all: true},
	} {
		at = at.Add(5*time.Second + step.pass)
		var all bool
		if r, all = r.after(step.used, at); all != step.all {
			t.Errorf("look %d: each is looked at: %v, want %v", i, all, step.all)
		}
	}
}
