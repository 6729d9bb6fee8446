package actors

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/blackhole/bhnode/supervision"
)

// directory has the services of a node by name. Anybody may read it; root alone
// writes to it once the node has started. What has left the tree stays in it: its
// log can be read.
type directory struct {
	services atomic.Pointer[map[supervision.ChildID]*service]
}

func (d *directory) load() map[supervision.ChildID]*service {
	if p := d.services.Load(); p != nil {
		return *p
	}
	return nil
}

// get returns a service, nil if there is none of that name.
func (d *directory) get(id supervision.ChildID) *service { return d.load()[id] }

// all returns the services in the order of their names.
func (d *directory) all() []*service {
	services := d.load()
	out := make([]*service, 0, len(services))
	for _, id := range slices.Sorted(maps.Keys(services)) {
		out = append(out, services[id])
	}
	return out
}

// put adds services; one takes the place of the one of its name.
func (d *directory) put(services ...*service) {
	next := maps.Clone(d.load())
	if next == nil {
		next = make(map[supervision.ChildID]*service, len(services))
	}
	for _, s := range services {
		next[supervision.ChildID(s.Spec.Name)] = s
	}
	d.services.Store(&next)
}
