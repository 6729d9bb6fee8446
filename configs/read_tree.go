package configs

import (
	"time"

	"github.com/blackhole/bhnode/supervision"
)

var (
	strategies = []choice[supervision.Strategy]{
		{"one_for_one", supervision.OneForOne},
		{"rest_for_one", supervision.RestForOne},
		{"one_for_all", supervision.OneForAll},
	}
	orders        = []choice[supervision.Order]{{"graph", supervision.Graph}, {"sequence", supervision.Sequence}}
	autoShutdowns = []choice[supervision.AutoShutdown]{
		{"never", supervision.Never},
		{"any_significant", supervision.AnySignificant},
		{"all_significant", supervision.AllSignificant},
	}
)

// branch is one supervisor of the tree.
type branch struct {
	name    string
	o       *object
	parent  *branch // nil for the root
	spec    supervision.SupervisorSpec
	child   supervision.ChildSpec // how its parent treats it
	entries []entry
	listed  int // how many entries are written; the rest follows in file order
}

// entry is one child: a service or a nested supervisor.
type entry struct {
	service    *draft
	supervisor *branch
}

func (e entry) id() supervision.ChildID {
	if e.service != nil {
		return e.service.svc.child.ID
	}
	return e.supervisor.spec.ID
}

// tree is where every service stands.
type tree struct {
	root     *branch
	branches map[string]*branch // nested ones, by name
	order    []*branch          // all, parents first
	parent   map[string]*branch // of a service
}

// readTree reads the nested supervisors. Services it does not name are children
// of the root, after it.
func (d *decoder) readTree(top *object, root *branch, ds *drafts) *tree {
	t := &tree{root: root, branches: map[string]*branch{}, order: []*branch{root}, parent: map[string]*branch{}}
	d.readChildren(t, root, top, "tree", ds)
	root.listed = len(root.entries)
	for _, s := range ds.list {
		if t.parent[s.svc.Name] == nil {
			t.parent[s.svc.Name] = root
			root.entries = append(root.entries, entry{service: s})
		}
	}
	return t
}

// readChildren reads the list under a key: names of services, and supervisors.
func (d *decoder) readChildren(t *tree, b *branch, o *object, key string, ds *drafts) {
	n := o.get(key)
	if n == nil || n.kind == nullKind {
		return
	}
	if n.kind != listKind {
		o.fail(key, "", "must be a list of services and supervisors, not %s", n.kind)
		return
	}
	for i, item := range n.items {
		path := index(o.at(key), i)
		if item.kind == mapKind {
			d.readBranch(t, b, item, path, ds)
			continue
		}
		if text, ok := d.scalar(item, path, "a service or a supervisor"); ok {
			d.readLeaf(t, b, item.pos, path, text.value, ds)
		}
	}
}

func (d *decoder) readLeaf(t *tree, b *branch, at pos, path, name string, ds *drafts) {
	s := ds.byName[name]
	switch {
	case s == nil:
		d.fail(at, path, suggest(name, ds.names()), "there is no service %q", name)
	case t.parent[name] != nil:
		d.fail(at, path, "", "%s stands in the tree already, under %s", name, t.parent[name].name)
	default:
		t.parent[name] = b
		b.entries = append(b.entries, entry{service: s})
	}
}

// readBranch reads a nested supervisor.
func (d *decoder) readBranch(t *tree, parent *branch, n *node, path string, ds *drafts) {
	o := d.object(n, path)
	name := o.str("supervisor", "")
	b := &branch{name: name, o: o, parent: parent, spec: d.readSupervision(o, name)}
	backoff := defaultBackoff
	backoff.Initial = o.duration("initial_delay", backoff.Initial, 0)
	backoff.Max = max(backoff.Max, backoff.Initial)
	b.child = supervision.ChildSpec{
		ID:          b.spec.ID,
		Restart:     pick(o, "restart", supervision.Permanent, restartTypes),
		Shutdown:    supervision.Shutdown{Mode: supervision.Infinity},
		Significant: o.boolean("significant", false),
		Backoff:     backoff,
	}
	switch {
	case !o.has("supervisor"):
		o.fail("supervisor", "", "is missing: the supervisor's name")
	case !serviceName.MatchString(name):
		o.fail("supervisor", "", "a name is made of a-z, 0-9, dots, dashes and underscores, begins with a letter or digit, and has 64 characters at most")
	case name == rootName:
		o.fail("supervisor", "", "the root supervisor has this name")
	case ds.byName[name] != nil:
		o.fail("supervisor", "", "a service has this name too")
	case t.branches[name] != nil:
		o.fail("supervisor", "", "another supervisor has this name too")
	default:
		t.branches[name] = b
	}
	if !o.has("children") {
		o.fail("children", "", "is missing: what it supervises")
	}
	parent.entries = append(parent.entries, entry{supervisor: b})
	t.order = append(t.order, b)
	d.readChildren(t, b, o, "children", ds)
	b.listed = len(b.entries)
	o.done()
}

// readSupervision reads the keys that the root and nested supervisors share.
func (d *decoder) readSupervision(o *object, name string) supervision.SupervisorSpec {
	return supervision.SupervisorSpec{
		ID:       supervision.ChildID(name),
		Strategy: pick(o, "strategy", supervision.RestForOne, strategies),
		Order:    pick(o, "order", supervision.Graph, orders),
		Intensity: supervision.Intensity{
			Max:    o.integer("max_restarts", 10, 0, maxInt),
			Period: o.duration("restart_window", time.Minute, time.Millisecond),
		},
		AutoShutdown: pick(o, "auto_shutdown", supervision.Never, autoShutdowns),
	}
}

// compile returns the supervisor with its enabled children.
func (b *branch) compile() supervision.SupervisorSpec {
	spec := b.spec
	for _, e := range b.entries {
		switch {
		case e.supervisor != nil:
			child := e.supervisor.child
			nested := e.supervisor.compile()
			child.Supervisor = &nested
			spec.Children = append(spec.Children, child)
		case e.service.svc.Enabled:
			spec.Children = append(spec.Children, e.service.svc.child)
		}
	}
	return spec
}
