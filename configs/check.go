package configs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/blackhole/bhnode/supervision"
)

// checkExclusive finds two services on one socket or port.
func (d *decoder) checkExclusive(c *Config, top *object, ds *drafts) {
	sockets := map[string]string{c.Control.Socket: "bhnode's control socket"}
	ports := ownPorts(c, top)
	for _, s := range ds.list {
		if !s.svc.Enabled {
			continue
		}
		if socket := s.svc.UnixSocket; socket != "" {
			if other, taken := sockets[socket]; taken {
				s.o.fail("unix_socket", "", "%s is %s", socket, other)
			} else {
				sockets[socket] = "the socket of " + s.svc.Name
			}
		}
		if port := s.svc.TCPPort; port != 0 {
			if other, taken := ports[port]; taken {
				s.o.fail("tcp_port", "", "%d is the port of %s", port, other)
			} else {
				ports[port] = s.svc.Name
			}
		}
	}
}

// ownPorts are those that bhnode itself listens on, by what they are for.
func ownPorts(c *Config, top *object) map[int]string {
	ports := map[int]string{}
	for _, l := range []struct{ section, listen string }{{"metrics", c.Metrics.Listen}, {"control", c.Control.Listen}, {"remote", c.Remote.Listen}} {
		port := portOf(l.listen)
		if port == 0 {
			continue
		}
		if other, taken := ports[port]; taken {
			top.child(l.section).fail("listen", "", "%d is the port of %s", port, other)
		}
		ports[port] = l.section + ".listen"
	}
	return ports
}

// checkCompleted makes services that others need as completed transient.
func (d *decoder) checkCompleted(ds *drafts) {
	for _, s := range ds.list {
		for _, dep := range s.svc.child.DependsOn {
			if dep.Condition != supervision.WhenCompleted {
				continue
			}
			p := ds.byName[string(dep.On)]
			switch {
			case !p.typed:
				p.svc.child.Restart = supervision.Transient
			case p.svc.child.Restart == supervision.Permanent:
				p.restart.fail("type", "write transient", "%s needs this service as completed; a permanent one never is", s.svc.Name)
			}
		}
	}
}

// checkSignificant checks that the end of a significant child can be one: it is
// not permanent, and its supervisor listens.
func (d *decoder) checkSignificant(t *tree) {
	for _, b := range t.order {
		for _, e := range b.entries {
			o, child := e.object()
			switch {
			case !child.Significant:
			case child.Restart == supervision.Permanent:
				o.fail("significant", "", "a significant child must be transient or temporary")
			case b.spec.AutoShutdown == supervision.Never:
				o.fail("significant", "", "has no effect, because auto_shutdown of supervisor %s is never", b.name)
			}
		}
	}
}

func (e entry) object() (*object, supervision.ChildSpec) {
	if e.service != nil {
		return e.service.o, e.service.svc.child
	}
	return e.supervisor.o, e.supervisor.child
}

// arc is a dependency between two children, and the edge between services that
// made it.
type arc struct {
	to   supervision.ChildID
	from *draft
	on   supervision.ChildID
}

// arcs are the dependencies of the children of one supervisor.
type arcs map[supervision.ChildID][]arc

// checkOrder finds cycles between services, then between the children of each
// supervisor, and under `sequence` edges against the order of the list.
func (d *decoder) checkOrder(ds *drafts, t *tree) {
	services := arcs{}
	var ids []supervision.ChildID
	for _, s := range ds.list {
		id := s.svc.child.ID
		ids = append(ids, id)
		for _, dep := range s.svc.child.DependsOn {
			services[id] = append(services[id], arc{to: dep.On, from: s, on: dep.On})
		}
	}
	cyclic := false
	services.cycles(ids, func(path string, a arc) {
		cyclic = true
		e := a.from.at(a.on)
		d.fail(e.pos, e.path, "", "a cycle: %s", path)
	})
	if cyclic {
		return
	}
	lifted := t.lift(ds)
	for _, b := range t.order {
		d.checkBranch(b, lifted[b])
	}
}

// checkBranch checks the lifted dependencies between the children of one
// supervisor.
func (d *decoder) checkBranch(b *branch, dependencies arcs) {
	var ids []supervision.ChildID
	place := map[supervision.ChildID]int{}
	for i, e := range b.entries {
		ids = append(ids, e.id())
		place[e.id()] = i
	}
	if b.spec.Order == supervision.Graph {
		dependencies.cycles(ids, func(path string, a arc) {
			e := a.from.at(a.on)
			d.fail(e.pos, e.path, "", "a cycle between the children of supervisor %s: %s; %s depends on %s",
				b.name, path, a.from.svc.Name, a.on)
		})
		return
	}
	for _, id := range ids {
		for _, a := range dependencies[id] {
			if place[a.to] < place[id] {
				continue
			}
			e := a.from.at(a.on)
			because := ""
			if a.to != a.on || id != a.from.svc.child.ID {
				because = fmt.Sprintf(", because %s depends on %s", a.from.svc.Name, a.on)
			}
			d.fail(e.pos, e.path, fmt.Sprintf("list %s before %s, or use order: graph", a.to, id),
				"supervisor %s has order: sequence and starts %s before %s%s", b.name, id, a.to, because)
		}
	}
}

// lift turns every edge between services into one between the two children of
// their nearest common supervisor below which they live.
func (t *tree) lift(ds *drafts) map[*branch]arcs {
	lifted := map[*branch]arcs{}
	for _, s := range ds.list {
		for _, dep := range s.svc.child.DependsOn {
			b, from, to := t.common(s.svc.child.ID, dep.On)
			if lifted[b] == nil {
				lifted[b] = arcs{}
			}
			lifted[b][from] = append(lifted[b][from], arc{to: to, from: s, on: dep.On})
		}
	}
	return lifted
}

// common returns the nearest common supervisor of two services and its children
// below which they live.
func (t *tree) common(a, b supervision.ChildID) (at *branch, aChild, bChild supervision.ChildID) {
	below := map[*branch]supervision.ChildID{}
	child := a
	for at = t.parent[string(a)]; at != nil; at = at.parent {
		below[at] = child
		child = at.spec.ID
	}
	child = b
	for at = t.parent[string(b)]; at != nil; at = at.parent {
		if aChild, ok := below[at]; ok {
			return at, aChild, child
		}
		child = at.spec.ID
	}
	return t.root, a, b
}

// cycles calls found for every dependency that closes a cycle, with the path of
// the cycle; ids give the order of the search.
func (as arcs) cycles(ids []supervision.ChildID, found func(path string, closing arc)) {
	const (
		entered = 1
		left    = 2
	)
	state := map[supervision.ChildID]int{}
	var trail []supervision.ChildID
	var visit func(id supervision.ChildID)
	visit = func(id supervision.ChildID) {
		state[id] = entered
		trail = append(trail, id)
		for _, a := range as[id] {
			switch state[a.to] {
			case entered:
				found(cyclePath(trail, a.to), a)
			case left:
			default:
				visit(a.to)
			}
		}
		trail = trail[:len(trail)-1]
		state[id] = left
	}
	for _, id := range ids {
		if state[id] == 0 {
			visit(id)
		}
	}
}

// cyclePath writes the end of a trail from a child on, back to that child.
func cyclePath(trail []supervision.ChildID, from supervision.ChildID) string {
	var b strings.Builder
	for _, id := range trail[slices.Index(trail, from):] {
		b.WriteString(string(id) + " → ")
	}
	return b.String() + string(from)
}
