package main

import (
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/blackhole/bhnode/proc/resident"
)

// What a node takes while it comes up is mostly kept, so that looking for what could be
// freed meanwhile is in vain (GOGC), until it has taken that much; afterwards the rest goes
// back to the system.
const (
	startingGC    = -1
	startingLimit = 256 << 20
	settledGC     = 100
)

// growFreely lets memory grow until settle is called, once or more often, unless the user
// has said how it is to be.
func growFreely(getenv func(string) (string, bool)) (settle func()) {
	if _, said := getenv("GOGC"); said {
		return func() {}
	}
	runtime.MemProfileRate = 0 // nobody can ask for a profile of the node itself
	limit := debug.SetMemoryLimit(-1)
	debug.SetGCPercent(startingGC)
	debug.SetMemoryLimit(min(limit, startingLimit))
	return sync.OnceFunc(func() {
		debug.SetGCPercent(settledGC)
		debug.SetMemoryLimit(limit)
		go func() {
			debug.FreeOSMemory()
			resident.DropCode()
		}()
	})
}
