package supervision

import "slices"

// reshape lists all children anew, once their lists have changed.
func (m *Machine) reshape() {
	m.order, m.nested, m.starts = nil, nil, nil
	var walk func(c *child)
	walk = func(c *child) {
		m.order = append(m.order, c)
		if c.nested == nil {
			m.starts = append(m.starts, c)
			return
		}
		m.nested = append(m.nested, c.nested)
		for _, k := range c.nested.children {
			walk(k)
		}
	}
	walk(m.root)
	slices.SortStableFunc(m.starts, byRank)
}

// all are all children in list order.
func (m *Machine) all() []*child {
	if m.order == nil {
		m.reshape()
	}
	return m.order
}

// changing is called before the list of a supervisor changes.
func (m *Machine) changing(s *supervisor) {
	m.order = nil
	if s.original == nil {
		s.original = append(make([]*child, 0, len(s.children)), s.children...)
	}
}

// add makes a child of s from a specification; it goes to the end of the list.
func (m *Machine) add(s *supervisor, spec ChildSpec) *child {
	m.changing(s)
	c := m.build(nodeOf(spec, s.self.node, len(s.children)), s)
	s.children = append(s.children, c)
	m.do(ChildJoined{c.node})
	return c
}

// nodeOf is the node of a child that is not part of the tree.
func nodeOf(spec ChildSpec, parent *Node, index int) *Node {
	n := &Node{Spec: spec, Parent: parent, Index: index, depth: parent.depth + 1}
	if spec.Supervisor != nil && spec.Supervisor.Strategy != SimpleOneForOne {
		for i, k := range spec.Supervisor.Children {
			n.Children = append(n.Children, nodeOf(k, n, i))
		}
	}
	return n
}

// remove takes a child that is down out of the list of its supervisor.
func (m *Machine) remove(c *child) {
	s := c.sup
	m.changing(s)
	m.leaveTree(c)
	if s.simple() { // the order of the others does not matter
		last := s.children[len(s.children)-1]
		s.children[c.index], last.index = last, c.index
		s.children = s.children[:len(s.children)-1]
	} else {
		s.children = slices.Delete(s.children, c.index, c.index+1)
		for i := c.index; i < len(s.children); i++ {
			s.children[i].index = i
		}
	}
	s.settled = min(s.settled, len(s.children))
}

func (m *Machine) leaveTree(c *child) {
	m.unregister(c)
	m.do(ChildLeft{c.node})
}

// unregister forgets the names of a child and of what is below it, and keeps their
// incarnations.
func (m *Machine) unregister(c *child) {
	m.removed[c.id()] = c.inc
	if m.children[c.id()] == c {
		delete(m.children, c.id())
	}
	if c.nested != nil {
		for _, k := range c.nested.children {
			m.unregister(k)
		}
	}
}

// forget removes a child that is down for good where OTP keeps no specification
// of it: one of many that are made from the same.
func (m *Machine) forget(c *child) {
	if c.sup.simple() {
		m.remove(c)
	}
}

// restoreChildren gives a new life of s the children of its specification.
func (m *Machine) restoreChildren(s *supervisor) {
	if s.original == nil {
		return
	}
	m.order = nil
	for _, c := range s.children {
		if !slices.Contains(s.original, c) {
			m.leaveTree(c)
		}
	}
	removed := slices.DeleteFunc(slices.Clone(s.original), func(c *child) bool { return slices.Contains(s.children, c) })
	s.children, s.original = s.original, nil
	for i, c := range s.children {
		c.index = i
	}
	for _, c := range removed {
		m.register(c)
		m.do(ChildJoined{c.node})
	}
}

func (m *Machine) register(c *child) {
	m.children[c.id()] = c
	c.inc = max(c.inc, m.removed[c.id()])
	if c.nested != nil {
		for _, k := range c.nested.children {
			m.register(k)
		}
	}
}
