package configs

import (
	"fmt"
	"slices"

	"github.com/blackhole/bhnode/supervision"
)

// edge is one dependency as it is written.
type edge struct {
	dep      supervision.Dependency
	required bool
	pos      pos
	path     string
}

var conditions = []choice[supervision.Condition]{
	{"healthy", supervision.WhenHealthy},
	{"started", supervision.WhenStarted},
	{"completed", supervision.WhenCompleted},
}

// readDependsOn reads a list of names, healthy each, or a mapping of names to how
// each is needed.
func (d *decoder) readDependsOn(s *draft) {
	s.o.takes("depends_on", shape{kind: shapeDependencies})
	n := s.o.get("depends_on")
	if n == nil || n.kind == nullKind {
		return
	}
	path := s.o.at("depends_on")
	switch n.kind {
	case listKind:
		for i, item := range n.items {
			at := index(path, i)
			t, ok := d.scalar(item, at, "the name of a service")
			if !ok || !d.notRuntime(item, at, t) {
				continue
			}
			id := supervision.ChildID(t.value)
			if slices.ContainsFunc(s.svc.edges, func(e edge) bool { return e.dep.On == id }) {
				d.fail(item.pos, at, "", "%s stands here twice", quoted(t))
				continue
			}
			s.svc.edges = append(s.svc.edges, edge{
				dep: supervision.Dependency{On: id, Restart: true}, required: true, pos: item.pos, path: at,
			})
		}
	case mapKind:
		for _, f := range n.fields {
			s.svc.edges = append(s.svc.edges, d.readEdge(f, join(path, f.key)))
		}
	case nullKind, stringKind, integerKind, floatKind, boolKind:
		d.fail(n.pos, path, fmt.Sprintf("write [%s]", n.text), "must be a list or a mapping of services, not %s", n.kind)
	}
}

func (d *decoder) readEdge(f field, path string) edge {
	o := d.object(f.value, path)
	o.place = f.pos
	condition := pick(o, "condition", supervision.WhenHealthy, conditions)
	e := edge{
		dep: supervision.Dependency{
			On:        supervision.ChildID(f.key),
			Condition: condition,
			Restart:   o.boolean("restart", condition != supervision.WhenCompleted),
		},
		required: o.boolean("required", true),
		pos:      f.pos,
		path:     path,
	}
	o.done()
	return e
}

// resolveDependencies keeps the edges in effect. What is needed must be there and
// enabled, unless it is not required.
func (d *decoder) resolveDependencies(ds *drafts, t *tree) {
	for _, s := range ds.list {
		for _, e := range s.svc.edges {
			name := string(e.dep.On)
			p := ds.byName[name]
			switch {
			case p == nil && !e.required:
			case p == nil && t.branches[name] != nil:
				d.fail(e.pos, e.path, "name the services it needs", "%s is a supervisor; a service depends on services", name)
			case p == nil:
				d.fail(e.pos, e.path, suggest(name, ds.names()), "there is no service %q", name)
			case !s.svc.Enabled || (!p.svc.Enabled && !e.required):
			case !p.svc.Enabled:
				d.fail(e.pos, e.path, "enable it, or write required: false", "%s is disabled", name)
			default:
				s.svc.child.DependsOn = append(s.svc.child.DependsOn, e.dep)
			}
		}
	}
}

// at returns where the edge to a dependency stands.
func (s *draft) at(on supervision.ChildID) edge {
	i := slices.IndexFunc(s.svc.edges, func(e edge) bool { return e.dep.On == on })
	return s.svc.edges[i]
}
