package configs

// pos is a place in the file, both counted from 1.
type pos struct{ line, column int }

// kind is what a node of the document is.
type kind uint8

const (
	nullKind kind = iota
	stringKind
	integerKind
	floatKind
	boolKind
	mapKind
	listKind
)

// String names the kind as an error says it.
func (k kind) String() string {
	return [...]string{"nothing", "a string", "an integer", "a number", "true or false", "a mapping", "a list"}[k]
}

// node is one value of the document, free of anchors, aliases and merge keys.
type node struct {
	kind  kind
	pos   pos
	text  string // scalars: a string's value, any other as it was written
	plain bool   // a string that was written without quotes
	// fields are the entries of a mapping, in order, each key once.
	fields []field
	items  []*node
}

// field is one entry of a mapping.
type field struct {
	key   string
	pos   pos
	plain bool
	value *node
}

// get returns the value of a key, nil if it is absent.
func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.fields {
		if n.fields[i].key == key {
			return n.fields[i].value
		}
	}
	return nil
}

// scalar reports whether n is neither a mapping nor a list.
func (n *node) scalar() bool { return n.kind != mapKind && n.kind != listKind }

// merge puts base under over: mappings are merged key by key, anything else in
// over replaces what base has.
func merge(base, over *node) *node {
	switch {
	case base == nil:
		return over
	case over == nil:
		return base
	case base.kind != mapKind || over.kind != mapKind:
		return over
	}
	merged := &node{kind: mapKind, pos: over.pos}
	for _, f := range base.fields {
		if own := over.get(f.key); own != nil {
			f.value = merge(f.value, own)
			f.pos = over.keyPos(f.key)
		}
		merged.fields = append(merged.fields, f)
	}
	for _, f := range over.fields {
		if base.get(f.key) == nil {
			merged.fields = append(merged.fields, f)
		}
	}
	return merged
}

// keyPos returns where a key stands, the mapping's own place if it is absent.
func (n *node) keyPos(key string) pos {
	for i := range n.fields {
		if n.fields[i].key == key {
			return n.fields[i].pos
		}
	}
	return n.pos
}
