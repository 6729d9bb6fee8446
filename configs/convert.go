package configs

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// converter turns the parser's tree into nodes: it follows aliases, applies merge
// keys and finds duplicate keys.
type converter struct {
	report    reporter
	anchors   map[string]ast.Node // those whose value is complete
	inAlias   int
	fromAlias int
	exhausted bool
}

func (c *converter) convert(n ast.Node, path string, depth int) *node {
	at := position(n)
	if c.inAlias > 0 {
		c.fromAlias++
	}
	if c.fromAlias > maxFromAlias || depth > 2*maxDepth {
		if !c.exhausted {
			c.report(at, path, "nested too deep, or aliases expand to too much", "")
		}
		c.exhausted = true
		return &node{pos: at}
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return c.mapping(at, n.Values, path, depth)
	case *ast.MappingValueNode:
		return c.mapping(at, []*ast.MappingValueNode{n}, path, depth)
	case *ast.SequenceNode:
		list := &node{kind: listKind, pos: at}
		for i, value := range n.Values {
			list.items = append(list.items, c.convert(value, index(path, i), depth+1))
		}
		return list
	case *ast.AnchorNode:
		value := c.convert(n.Value, path, depth+1)
		c.anchors[n.Name.GetToken().Value] = n.Value
		return value
	case *ast.AliasNode:
		return c.alias(n, path, depth)
	case *ast.TagNode:
		return c.tagged(n, path, depth)
	}
	return c.scalar(n, at, path)
}

func (c *converter) scalar(n ast.Node, at pos, path string) *node {
	switch n := n.(type) {
	case *ast.StringNode:
		return &node{kind: stringKind, pos: at, text: n.Value, plain: n.Token.Type == token.StringType}
	case *ast.LiteralNode:
		return &node{kind: stringKind, pos: at, text: n.Value.Value}
	case *ast.IntegerNode:
		return &node{kind: integerKind, pos: at, text: n.Token.Value}
	case *ast.FloatNode:
		return &node{kind: floatKind, pos: at, text: n.Token.Value}
	case *ast.InfinityNode:
		return &node{kind: floatKind, pos: at, text: n.Token.Value}
	case *ast.NanNode:
		return &node{kind: floatKind, pos: at, text: n.Token.Value}
	case *ast.BoolNode:
		return &node{kind: boolKind, pos: at, text: n.Token.Value}
	case *ast.NullNode:
		return &node{kind: nullKind, pos: at, text: n.Token.Value}
	}
	c.report(at, path, "not a value a configuration can hold", "")
	return &node{pos: at}
}

func (c *converter) alias(n *ast.AliasNode, path string, depth int) *node {
	at, name := position(n), n.Value.GetToken().Value
	value, ok := c.anchors[name]
	if !ok {
		c.report(at, path, fmt.Sprintf("no anchor &%s stands before this alias", name), "")
		return &node{pos: at}
	}
	c.inAlias++
	defer func() { c.inAlias-- }()
	return c.convert(value, path, depth+1)
}

// tagged accepts the tags of YAML's core schema; !!str turns any scalar into a
// string.
func (c *converter) tagged(n *ast.TagNode, path string, depth int) *node {
	tag := n.Start.Value
	switch token.ReservedTagKeyword(tag) { //nolint:exhaustive // the others are refused
	case token.StringTag:
		value := c.convert(n.Value, path, depth+1)
		if value.scalar() {
			value.kind, value.plain = stringKind, false
		}
		return value
	case token.IntegerTag, token.FloatTag, token.BooleanTag, token.NullTag, token.MappingTag, token.SequenceTag:
		return c.convert(n.Value, path, depth+1)
	}
	c.report(tokenPos(n.Start), path, fmt.Sprintf("unknown tag %s", tag), "")
	return &node{pos: position(n)}
}

// mapping reads the entries of one mapping. Keys of its own win over merged
// ones, and of several merged mappings the first that has a key.
func (c *converter) mapping(at pos, values []*ast.MappingValueNode, path string, depth int) *node {
	m := &node{kind: mapKind, pos: at}
	lines := map[string]int{} // own keys
	merged := map[string]bool{}
	for _, v := range values {
		if v.Key.IsMergeKey() {
			c.mergeInto(m, merged, lines, v, path, depth)
			continue
		}
		f, ok := c.entry(v, path, depth)
		if !ok {
			continue
		}
		switch line, twice := lines[f.key]; {
		case twice:
			c.report(f.pos, join(path, f.key), fmt.Sprintf("duplicate key; it stands in line %d already", line), "")
			continue
		case merged[f.key]:
			m.fields = slices.DeleteFunc(m.fields, func(old field) bool { return old.key == f.key })
		}
		lines[f.key] = f.pos.line
		m.fields = append(m.fields, f)
	}
	return m
}

func (c *converter) entry(v *ast.MappingValueNode, path string, depth int) (field, bool) {
	var key ast.Node = v.Key
	if explicit, ok := key.(*ast.MappingKeyNode); ok {
		key = explicit.Value
	}
	at := position(key)
	k := c.convert(key, path, depth+1)
	if !k.scalar() {
		c.report(at, path, "a key must be a plain word", "")
		return field{}, false
	}
	f := field{key: k.text, pos: at, plain: k.kind != stringKind || k.plain}
	f.value = c.convert(v.Value, join(path, f.key), depth+1)
	if f.value.kind == nullKind {
		f.value.pos = at // an implicit null has no place of its own
	}
	return f, true
}

func (c *converter) mergeInto(m *node, merged map[string]bool, own map[string]int, v *ast.MappingValueNode, path string, depth int) {
	value := c.convert(v.Value, path, depth+1)
	sources := []*node{value}
	if value.kind == listKind {
		sources = value.items
	}
	for _, source := range sources {
		if source.kind != mapKind {
			c.report(position(v.Key), path, "<< merges mappings, not "+source.kind.String(), "")
			return
		}
		for _, f := range source.fields {
			if _, has := own[f.key]; !has && !merged[f.key] {
				merged[f.key] = true
				m.fields = append(m.fields, f)
			}
		}
	}
}
