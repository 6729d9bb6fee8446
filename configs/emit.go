package configs

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// emitter writes a node tree as YAML in block style. What was written without
// quotes stays so where that is safe, so that a reader of another YAML version
// sees the types it would have seen in the file.
type emitter struct{ b strings.Builder }

// String returns what was written.
func (e *emitter) String() string { return e.b.String() }

func (e *emitter) write(parts ...string) {
	for _, part := range parts {
		e.b.WriteString(part)
	}
}

var (
	safePlain = regexp.MustCompile(`^[A-Za-z0-9_./~+-][A-Za-z0-9_./~+@%:=-]*$`)
	// reserved is what some reader of YAML takes for something else than a string.
	reserved = regexp.MustCompile(`(?i)^(~|null|true|false|yes|no|on|off|y|n|[-+.]?[0-9].*|[-+]?\.(inf|nan).*|[-.~+=]+)$`)
)

// plainWhereSafe says whether a string of our own making needs no quotes.
func plainWhereSafe(s string) bool { return safePlain.MatchString(s) && !reserved.MatchString(s) }

// block writes a mapping or a list, every line indented.
func (e *emitter) block(n *node, indent int) {
	margin := strings.Repeat(" ", indent)
	for _, f := range n.fields {
		e.write(margin, quoteIfNeeded(f.key, f.plain), ":")
		e.value(f.value, indent+2)
	}
	for _, item := range n.items {
		if inline(item) {
			e.write(margin, "- ", flow(item), "\n")
			continue
		}
		var nested emitter
		nested.block(item, indent+2)
		e.write(margin, "- ", nested.String()[indent+2:])
	}
}

func (e *emitter) value(n *node, indent int) {
	if inline(n) {
		e.write(" ", flow(n), "\n")
		return
	}
	e.write("\n")
	e.block(n, indent)
}

// inline reports whether n is written on the line of its key: a scalar, a list of
// scalars, or nothing.
func inline(n *node) bool {
	for _, item := range n.items {
		if !item.scalar() {
			return false
		}
	}
	return len(n.fields) == 0
}

func flow(n *node) string {
	switch n.kind {
	case mapKind:
		return "{}"
	case listKind:
		items := make([]string, len(n.items))
		for i, item := range n.items {
			items[i] = flow(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case stringKind:
		return quoteIfNeeded(n.text, n.plain)
	case nullKind:
		return "null"
	case integerKind, floatKind, boolKind:
	}
	return n.text
}

func quoteIfNeeded(s string, plain bool) string {
	if plain && safePlain.MatchString(s) && !strings.HasSuffix(s, ":") {
		return s
	}
	return quote(s)
}

// quote writes a string in double quotes, with everything escaped that a reader
// or a terminal could take for something else.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteRune('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < 0x20 || (r >= 0x7f && r < 0xa0) || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == utf8.RuneError:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
