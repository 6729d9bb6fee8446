package configs

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of a document. They keep a hostile file from exhausting stack or
// memory; no honest one comes near.
const (
	maxFileSize  = 4 << 20
	maxDepth     = 100
	maxFromAlias = 1 << 20 // nodes made by following aliases
)

// reporter takes a mistake: where, under which path, what, and a hint or "".
type reporter func(at pos, path, message, hint string)

// parseYAML turns a document into a node tree. A syntax error leaves nothing
// and is reported; every other mistake leaves the rest readable.
func parseYAML(data string, report reporter) *node {
	if at, message := unreadable(data); message != "" {
		report(at, "", message, "")
		return nil
	}
	tokens := lexer.Tokenize(data)
	if at, deep := tooDeep(tokens); deep {
		report(at, "", fmt.Sprintf("nested deeper than %d levels", maxDepth), "")
		return nil
	}
	file, err := parseTokens(tokens)
	if err != nil {
		at, message := syntaxError(err)
		report(at, "", message, "")
		return nil
	}
	c := converter{report: report, anchors: map[string]ast.Node{}}
	var root *node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil:
		case root != nil:
			report(position(doc.Body), "", "a second document; a configuration is one document", "")
		default:
			root = c.convert(doc.Body, "", 0)
		}
	}
	if root == nil {
		return &node{kind: nullKind, pos: pos{1, 1}}
	}
	return root
}

// unreadable finds what the parser must not see: bytes that are not UTF-8, and
// a file beyond the bounds.
func unreadable(data string) (pos, string) {
	if len(data) > maxFileSize {
		return pos{}, fmt.Sprintf("larger than %d MiB", maxFileSize>>20)
	}
	if utf8.ValidString(data) {
		return pos{}, ""
	}
	valid := 0
	for valid < len(data) {
		r, size := utf8.DecodeRuneInString(data[valid:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		valid += size
	}
	before := data[:valid]
	line := before[strings.LastIndexByte(before, '\n')+1:]
	return pos{strings.Count(before, "\n") + 1, utf8.RuneCountInString(line) + 1}, "not UTF-8 text"
}

// tooDeep finds nesting that costs one byte a level, which the recursive parser
// would follow until its stack ends.
func tooDeep(tokens token.Tokens) (pos, bool) {
	flow, line, inLine := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, inLine = t.Position.Line, 0
		}
		switch t.Type { //nolint:exhaustive // only what nests
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			inLine++
		}
		if flow > maxDepth || inLine > 100*maxDepth || (flow == 0 && inLine > maxDepth) {
			return pos{t.Position.Line, t.Position.Column}, true
		}
	}
	return pos{}, false
}

// parseTokens runs the parser; a panic of it on a malformed document is a syntax
// error without a place.
func parseTokens(tokens token.Tokens) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, fmt.Errorf("not YAML: %v", r)
		}
	}()
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

func syntaxError(err error) (pos, string) {
	if at, ok := errors.AsType[yaml.Error](err); ok {
		message := "not YAML: " + at.GetMessage()
		if t := at.GetToken(); t != nil && t.Position != nil {
			return pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}, message
		}
		return pos{}, message
	}
	return pos{}, err.Error()
}

func position(n ast.Node) pos {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return position(n.Values[0])
		}
	case *ast.MappingValueNode:
		return position(n.Key)
	case *ast.LiteralNode:
		return tokenPos(n.Start)
	}
	return tokenPos(n.GetToken())
}

func tokenPos(t *token.Token) pos {
	if t == nil || t.Position == nil {
		return pos{1, 1}
	}
	return pos{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// index appends a list index to a path.
func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
