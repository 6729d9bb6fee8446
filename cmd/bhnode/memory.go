package main

import (
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/blackhole/bhnode/proc/resident"
)

// What a node takes while it comes up is mostly kept, so to look again and again for what could be
// freed (GOGC) is in vain. One collection at firstLimit frees what the rest can use; the next one
// comes at startingLimit. When it has come up, what is free goes back to the system.
const (
	startingGC    = -1
	firstLimit    = 64 << 20
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
	debug.SetMemoryLimit(min(limit, firstLimit))
	var mu sync.Mutex
	settled := false
	runtime.AddCleanup(new(unused), func(int) { // it was looked for what can be freed
		mu.Lock()
		defer mu.Unlock()
		if !settled {
			debug.SetMemoryLimit(min(limit, startingLimit))
		}
	}, 0)
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if settled {
			return
		}
		settled = true
		debug.SetGCPercent(settledGC)
		debug.SetMemoryLimit(limit)
		go func() {
			debug.FreeOSMemory()
			resident.DropCode()
		}()
	}
}

// unused is too large to share its place with something that is used.
type unused [16]byte
