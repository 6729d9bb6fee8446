package conformance

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// system is something that a trace can be replayed on.
type system interface {
	// perform does what a step says and lets everything that follows from it happen.
	perform(do op) error
	// results are the answers, in the order of the operations of the step.
	result(do op) any
	// events are those since the last call.
	events() []event
	// state is that of every living supervisor.
	state() any
}

func TestGolden(t *testing.T) {
	all := traces(t)
	t.Run("pure", func(t *testing.T) {
		each(t, all, func(t *testing.T, tr *trace) {
			t.Helper()
			replay(t, tr, newPure(t, tr))
		})
	})
	t.Run("actors", func(t *testing.T) {
		each(t, all, func(t *testing.T, tr *trace) {
			t.Helper()
			synctest.Test(t, func(t *testing.T) { replay(t, tr, newLive(t, tr, &bubble{lives: map[string]*fakeProcess{}}, "")) })
		})
	})
	t.Run("node", func(t *testing.T) { onRealProcesses(t, all) })
}

// onRealProcesses replays what real processes can express, several traces side by
// side as they wait most of the time, and says what they cannot.
func onRealProcesses(t *testing.T, all []*trace) {
	t.Helper()
	world := newMachine(t)
	var passed atomic.Int32
	t.Cleanup(func() {
		left := map[string]int{}
		for _, tr := range all {
			if why := tr.inexpressible(); why != "" {
				left[why]++
			}
		}
		t.Logf("%d of %d traces hold on real processes", passed.Load(), len(all))
		for _, why := range sortedKeys(left) {
			t.Logf("not expressible: %d: %s", left[why], why)
		}
	})
	for i, tr := range all {
		t.Run(tr.Name, func(t *testing.T) {
			if why := tr.inexpressible(); why != "" {
				t.Skip(why)
			}
			t.Parallel()
			replay(t, tr, newLive(t, tr, world.forTrace(tr), fmt.Sprintf("%d-", i)))
			if !t.Failed() {
				passed.Add(1)
			}
		})
	}
}

// each runs one subtest a trace.
func each(t *testing.T, all []*trace, run func(t *testing.T, tr *trace)) {
	t.Helper()
	for _, tr := range all {
		t.Run(tr.Name, func(t *testing.T) {
			if tr.flagged("informative") {
				t.Skip("a hazard of OTP's own, which is not followed")
			}
			run(t, tr)
		})
	}
}

func replay(t *testing.T, tr *trace, s system) {
	t.Helper()
	for i, step := range tr.Steps {
		c := &comparison{}
		if err := s.perform(step.Do); err != nil {
			c.errorf("%v", err)
		}
		c.events(step.Events, s.events(), tr.flagged("adapted"))
		c.result(step.Result, s.result(step.Do))
		c.state(step.State, s.state())
		for _, d := range c.diffs {
			t.Errorf("step %d, %+v:\n%s", i+1, step.Do.Op, d)
		}
		if t.Failed() {
			return
		}
	}
}
