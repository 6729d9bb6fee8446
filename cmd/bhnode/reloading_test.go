package main

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/blackhole/bhnode/configs"
)

// A reload that is asked for when the node has said that it is ready, or that the one before is
// over, waits until it can be given up; while another one is under way it waits a moment only.
func TestAReloadWaitsForTheNodeToHaveComeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReloads(configs.OpenHistory(t.TempDir()))
		ask := func() <-chan error {
			entered := make(chan error, 1)
			go func() { entered <- r.enter(t.Context()) }()
			synctest.Wait()
			if len(entered) > 0 {
				t.Errorf("it did not wait: %v", <-entered)
			}
			return entered
		}
		first := ask()
		r.set(true, "")
		if err := <-first; err != nil {
			t.Errorf("a node that has come up: %v", err)
		}
		if err := <-ask(); err == nil {
			t.Error("two are let in")
		}
		second := ask()
		r.set(false, "")
		if err := <-second; err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
}

func TestAReloadOfANodeThatDoesNotComeUpIsRefused(t *testing.T) {
	r := newReloads(configs.OpenHistory(t.TempDir()))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.enter(gone); err == nil {
		t.Error("it is let in")
	}
	r.set(false, "an upgrade is under way")
	if err := r.enter(t.Context()); err == nil {
		t.Error("it is let in beside an upgrade")
	}
	r.set(false, "")
	r.setBooted()
	r.set(true, "") // both may be told
	if err := r.enter(t.Context()); err != nil {
		t.Error(err)
	}
}
