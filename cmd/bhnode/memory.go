package main

import (
	"runtime/debug"
	"sync"
)

// What a node takes while it comes up is mostly kept, so that looking for what could be
// freed meanwhile is in vain (GOGC); afterwards the rest goes back to the system.
const (
	startingGC = 400
	settledGC  = 100
)

// growFreely lets memory grow until settle is called, once or more often, unless the user
// has said how it is to be.
func growFreely(getenv func(string) (string, bool)) (settle func()) {
	if _, said := getenv("GOGC"); said {
		return func() {}
	}
	debug.SetGCPercent(startingGC)
	return sync.OnceFunc(func() {
		debug.SetGCPercent(settledGC)
		go debug.FreeOSMemory()
	})
}
