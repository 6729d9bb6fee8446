package supervision

import (
	"fmt"
	"strings"
)

// Node is one child of a compiled tree.
type Node struct {
	Spec     ChildSpec
	Parent   *Node // nil: the root
	Index    int   // its place in the parent's list
	Children []*Node
	// Needs are the dependencies of a service, NeededBy the edges that point at it.
	Needs    []*Edge
	NeededBy []*Edge
	depth    int
	place    int // in the whole tree, by list order
}

// Edge is a dependency between two services.
type Edge struct {
	From, To  *Node
	Condition Condition
	Restart   bool
	// Acts: a restart of To takes From with it, since Restart is set and the
	// strategy of their nearest common supervisor restarts others at all.
	Acts bool
	// Above is that supervisor.
	Above *Node
}

// IsSupervisor tells a nested supervisor, or the root, from a service.
func (n *Node) IsSupervisor() bool { return n.Spec.Supervisor != nil }

// Services calls yield for each service at or below n, in list order.
func (n *Node) Services(yield func(*Node) bool) {
	n.walk(yield)
}

func (n *Node) walk(yield func(*Node) bool) bool {
	if !n.IsSupervisor() {
		return yield(n)
	}
	for _, c := range n.Children {
		if !c.walk(yield) {
			return false
		}
	}
	return true
}

// Tree is a compiled tree; it never changes.
type Tree struct {
	Root *Node
	// StartOrder has every service after those it needs; stopping goes backwards.
	StartOrder []*Node
	// Waves are the services that may start together once the earlier waves are up.
	Waves [][]ChildID
	nodes map[ChildID]*Node
}

// Node returns the node of that name, nil if there is none.
func (t *Tree) Node(id ChildID) *Node { return t.nodes[id] }

// DuplicateError names a child that stands twice in a tree.
type DuplicateError struct{ ID ChildID }

func (e *DuplicateError) Error() string { return fmt.Sprintf("%q stands twice in the tree", e.ID) }

// UnknownError names a dependency that is no service of the tree.
type UnknownError struct{ ID, On ChildID }

func (e *UnknownError) Error() string {
	return fmt.Sprintf("%q depends on %q, which is no service of the tree", e.ID, e.On)
}

// CycleError is a circle of dependencies, the first child repeated at the end.
// Under names the supervisor between whose children it lies, where it is not one
// between services alone.
type CycleError struct {
	Path  []ChildID
	Under ChildID
}

func (e *CycleError) Error() string {
	names := make([]string, len(e.Path))
	for i, id := range e.Path {
		names[i] = string(id)
	}
	text := "dependencies go round in a circle: " + strings.Join(names, " → ")
	if e.Under != "" {
		text += fmt.Sprintf(" (between the children of supervisor %q)", e.Under)
	}
	return text
}

// OrderError is an edge that the list of a supervisor with order Sequence does
// not respect.
type OrderError struct{ ID, On, Under ChildID }

func (e *OrderError) Error() string {
	return fmt.Sprintf("supervisor %q starts its children in sequence, but %q stands before %q, which it needs", e.Under, e.ID, e.On)
}

// SpecError is a child whose keys do not go together.
type SpecError struct {
	ID   ChildID
	What string
}

func (e *SpecError) Error() string { return fmt.Sprintf("%q: %s", e.ID, e.What) }
