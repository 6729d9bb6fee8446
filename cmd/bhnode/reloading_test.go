package main

import (
	"context"
	"testing"
	"time"

	"github.com/blackhole/bhnode/configs"
)

// A reload that is asked for when the node has said that it is ready waits until it can
// be given up; one that is asked for while another one is under way does not wait.
func TestAReloadWaitsForTheNodeToHaveComeUp(t *testing.T) {
	r := newReloads(configs.OpenHistory(t.TempDir()))
	entered := make(chan error)
	go func() { entered <- r.enter(t.Context()) }()
	select {
	case err := <-entered:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	r.set(true, "")
	if err := <-entered; err != nil {
		t.Errorf("a node that has come up: %v", err)
	}
	if err := r.enter(t.Context()); err == nil {
		t.Error("two are let in")
	}
	r.set(false, "")
	if err := r.enter(t.Context()); err != nil {
		t.Errorf("the next one: %v", err)
	}
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
