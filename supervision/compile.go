package supervision

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Compile checks a tree and resolves its dependencies. It reports every mistake,
// joined, as one of the error types of this package. Its cost is linear in the
// number of services and edges.
func Compile(root SupervisorSpec) (*Tree, error) {
	t := &Tree{nodes: map[ChildID]*Node{}}
	var errs []error
	t.Root = t.add(ChildSpec{ID: root.ID, Shutdown: Shutdown{Mode: Infinity}, Supervisor: &root}, nil, &errs)
	t.connect(t.Root, &errs)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	t.order(&errs)
	if len(errs) == 0 {
		t.checkLifted(&errs)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return t, nil
}

func (t *Tree) add(spec ChildSpec, parent *Node, errs *[]error) *Node {
	n := &Node{Spec: spec, Parent: parent, place: len(t.nodes)}
	if parent != nil {
		n.depth = parent.depth + 1
		*errs = append(*errs, checkSpec(spec, parent.Spec.Supervisor)...)
	}
	if t.nodes[spec.ID] != nil {
		*errs = append(*errs, &DuplicateError{spec.ID})
	}
	t.nodes[spec.ID] = n
	if spec.Supervisor != nil {
		*errs = append(*errs, checkSimple(spec.Supervisor)...)
	}
	if spec.Supervisor != nil && spec.Supervisor.Strategy != SimpleOneForOne {
		for i, c := range spec.Supervisor.Children {
			child := t.add(c, n, errs)
			child.Index = i
			n.Children = append(n.Children, child)
		}
	}
	return n
}

func checkSpec(spec ChildSpec, above *SupervisorSpec) (errs []error) {
	if spec.Significant && spec.Restart == Permanent {
		errs = append(errs, &SpecError{spec.ID, "significant needs restart type transient or temporary"})
	}
	if spec.Supervisor != nil && len(spec.DependsOn) > 0 {
		errs = append(errs, &SpecError{spec.ID, "a supervisor depends on nothing; its services do"})
	}
	if spec.Significant && above.AutoShutdown == Never {
		errs = append(errs, &SpecError{spec.ID, "significant needs a supervisor whose auto_shutdown is not never"})
	}
	return errs
}

// checkSimple checks that a simple_one_for_one supervisor has what it makes its
// children from, and nothing that needs a list of them.
func checkSimple(s *SupervisorSpec) (errs []error) {
	if s.Strategy != SimpleOneForOne {
		return nil
	}
	if len(s.Children) != 1 {
		errs = append(errs, &SpecError{s.ID, "simple_one_for_one needs exactly one specification"})
	}
	if s.Order != Sequence {
		errs = append(errs, &SpecError{s.ID, "simple_one_for_one needs order sequence"})
	}
	if s.AutoShutdown != Never {
		errs = append(errs, &SpecError{s.ID, "simple_one_for_one needs auto_shutdown never"})
	}
	return errs
}

func (t *Tree) connect(n *Node, errs *[]error) {
	for _, d := range n.Spec.DependsOn {
		to := t.nodes[d.On]
		if to == nil || to.IsSupervisor() {
			*errs = append(*errs, &UnknownError{n.Spec.ID, d.On})
			continue
		}
		if to == n {
			*errs = append(*errs, &CycleError{Path: []ChildID{d.On, d.On}})
			continue
		}
		above, _, _ := meet(n, to)
		e := &Edge{From: n, To: to, Condition: d.Condition, Restart: d.Restart, Above: above}
		strategy := above.Spec.Supervisor.Strategy
		e.Acts = d.Restart && (strategy == RestForOne || strategy == OneForAll)
		if d.Condition == WhenCompleted && to.Spec.Restart == Permanent {
			*errs = append(*errs, &SpecError{d.On, fmt.Sprintf("%q needs it as completed, but its restart type is permanent", n.Spec.ID)})
		}
		n.Needs = append(n.Needs, e)
		to.NeededBy = append(to.NeededBy, e)
	}
	for _, c := range n.Children {
		t.connect(c, errs)
	}
}

// meet finds the nearest common supervisor of two services and its children
// above, or at, each of them.
func meet(a, b *Node) (above, underA, underB *Node) {
	for a.depth > b.depth {
		underA, a = a, a.Parent
	}
	for b.depth > a.depth {
		underB, b = b, b.Parent
	}
	for a != b {
		underA, a = a, a.Parent
		underB, b = b, b.Parent
	}
	return a, underA, underB
}

// order sorts the services topologically, in list order where edges leave a
// choice, and finds the waves (Kahn).
func (t *Tree) order(errs *[]error) {
	missing := map[*Node]int{}
	var ready []*Node
	total := 0
	for s := range t.Root.Services {
		total++
		missing[s] = len(s.Needs)
		if len(s.Needs) == 0 {
			ready = append(ready, s)
		}
	}
	for len(ready) > 0 {
		var wave []ChildID
		var next []*Node
		for _, s := range ready {
			wave = append(wave, s.Spec.ID)
			t.StartOrder = append(t.StartOrder, s)
			for _, e := range s.NeededBy {
				missing[e.From]--
				if missing[e.From] == 0 {
					next = append(next, e.From)
				}
			}
		}
		t.Waves = append(t.Waves, wave)
		slices.SortFunc(next, func(a, b *Node) int { return cmp.Compare(a.place, b.place) })
		ready = next
	}
	if len(t.StartOrder) < total {
		next := func(n *Node) (out []*Node) {
			for _, e := range n.Needs {
				out = append(out, e.To)
			}
			return out
		}
		var all []*Node
		for s := range t.Root.Services {
			all = append(all, s)
		}
		*errs = append(*errs, &CycleError{Path: findCycle(all, next)})
	}
}

// checkLifted checks the edges between the children of each supervisor that the
// dependencies of the services below them make.
func (t *Tree) checkLifted(errs *[]error) {
	lifted := map[*Node][]*Node{}
	var supervisors []*Node
	seen := map[*Node]bool{}
	for _, s := range t.StartOrder {
		for _, e := range s.Needs {
			above, from, to := meet(e.From, e.To)
			if above.Spec.Supervisor.Order == Sequence && from.Index < to.Index {
				*errs = append(*errs, &OrderError{from.Spec.ID, to.Spec.ID, above.Spec.ID})
			}
			lifted[from] = append(lifted[from], to)
			if (from.IsSupervisor() || to.IsSupervisor()) && !seen[above] {
				seen[above] = true
				supervisors = append(supervisors, above)
			}
		}
	}
	for _, s := range supervisors {
		path := findCycle(s.Children, func(n *Node) []*Node { return lifted[n] })
		if path != nil {
			*errs = append(*errs, &CycleError{Path: path, Under: s.Spec.ID})
		}
	}
}

// findCycle returns the names along one cycle, nil if there is none.
func findCycle(nodes []*Node, next func(*Node) []*Node) []ChildID {
	const visiting, done = 1, 2
	state := map[*Node]int{}
	var path []*Node
	var visit func(n *Node) []ChildID
	visit = func(n *Node) []ChildID {
		state[n] = visiting
		path = append(path, n)
		for _, to := range next(n) {
			if state[to] == visiting {
				return cycleFrom(path, to)
			}
			if state[to] == 0 {
				if cycle := visit(to); cycle != nil {
					return cycle
				}
			}
		}
		path = path[:len(path)-1]
		state[n] = done
		return nil
	}
	for _, n := range nodes {
		if state[n] == 0 {
			if cycle := visit(n); cycle != nil {
				return cycle
			}
		}
	}
	return nil
}

func cycleFrom(path []*Node, to *Node) (cycle []ChildID) {
	for i, n := range path {
		if n == to {
			for _, c := range path[i:] {
				cycle = append(cycle, c.Spec.ID)
			}
			return append(cycle, to.Spec.ID)
		}
	}
	return nil
}
