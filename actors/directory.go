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
type directory struct{ now atomic.Pointer[listed] }

type listed struct {
	byName map[supervision.ChildID]*service
	all    []*service // in the order of their names
}

func (d *directory) load() *listed {
	if l := d.now.Load(); l != nil {
		return l
	}
	return &listed{}
}

// get returns a service, nil if there is none of that name.
func (d *directory) get(id supervision.ChildID) *service { return d.load().byName[id] }

// all returns the services in the order of their names; nobody may change the list.
func (d *directory) all() []*service { return d.load().all }

// put adds services; one takes the place of the one of its name.
func (d *directory) put(services ...*service) {
	next := &listed{byName: maps.Clone(d.load().byName)}
	if next.byName == nil {
		next.byName = make(map[supervision.ChildID]*service, len(services))
	}
	for _, s := range services {
		next.byName[supervision.ChildID(s.Spec.Name)] = s
	}
	for _, id := range slices.Sorted(maps.Keys(next.byName)) {
		next.all = append(next.all, next.byName[id])
	}
	d.now.Store(next)
}
