package configs

import (
	"fmt"
	"regexp"
	"strings"
)

// mask stands for every secret that is shown.
const mask = "***"

// text is a string value with its variables expanded.
type text struct {
	value   string // as it is used; ${BLACKHOLE_…} as written
	runtime string // as proc expands it: literal dollars it could mistake are doubled
	masked  string // as it is shown: *** for what came from a variable
	refs    bool   // it names ${BLACKHOLE_…}
	foreign bool   // it holds the value of a variable
}

// piece is a stretch of a string: literal text, the value of a variable, or a
// ${BLACKHOLE_…} left for proc.
type piece struct {
	text    string
	foreign bool
	ref     bool
}

var (
	runtimeName = regexp.MustCompile(`^BLACKHOLE_[A-Z0-9_]+$`)
	// runtimeLook is literal text that proc would take for a variable of its own.
	runtimeLook = regexp.MustCompile(`\$+\{BLACKHOLE_[A-Z0-9_]+\}`)
	varName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)
)

// expansionError is one variable that cannot be expanded.
type expansionError struct{ message, hint string }

// expand replaces ${VAR}, ${VAR:-default}, ${VAR:?message} and $$. Every
// variable that cannot be expanded is an error of its own.
func expand(s string, getenv func(string) (string, bool)) (text, []expansionError) {
	if !strings.Contains(s, "$") {
		return text{value: s, runtime: s, masked: s}, nil
	}
	e := expander{getenv: getenv}
	e.run(s, false)
	return e.text(), e.errs
}

type expander struct {
	getenv func(string) (string, bool)
	pieces []piece
	errs   []expansionError
}

// run splits s into pieces; foreign says that s is the default of a variable.
func (e *expander) run(s string, foreign bool) {
	for s != "" {
		i := strings.IndexByte(s, '$')
		if i < 0 || i == len(s)-1 {
			e.add(s, foreign)
			return
		}
		e.add(s[:i], foreign)
		switch s[i+1] {
		case '$':
			e.add("$", foreign)
			s = s[i+2:]
		case '{':
			body, rest, closed := braced(s[i+2:])
			if !closed {
				e.fail("${ is never closed", "write $${ for these two characters themselves")
				return
			}
			e.variable(body)
			s = rest
		default:
			e.add("$", foreign)
			s = s[i+1:]
		}
	}
}

// braced cuts s behind the brace that closes it; braces of inner variables nest.
func braced(s string) (body, rest string, closed bool) {
	depth := 1
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '$' && i+1 < len(s) && s[i+1] == '$':
			i++
		case s[i] == '$' && i+1 < len(s) && s[i+1] == '{':
			depth++
			i++
		case s[i] == '}':
			if depth--; depth == 0 {
				return s[:i], s[i+1:], true
			}
		}
	}
	return "", "", false
}

func (e *expander) variable(body string) {
	name := varName.FindString(body)
	modifier := body[len(name):]
	switch {
	case name == "":
		e.fail(fmt.Sprintf("${%s} does not name a variable", body), "write $${ for these two characters themselves")
		return
	case strings.HasPrefix(name, "BLACKHOLE_"):
		if modifier != "" || !runtimeName.MatchString(name) {
			e.fail(fmt.Sprintf("${%s} is not one of bhnode's own variables", body),
				"${BLACKHOLE_…} is set per start: capitals, and no default")
			return
		}
		e.pieces = append(e.pieces, piece{text: "${" + name + "}", ref: true})
		return
	}
	value, set := e.getenv(name)
	fallback, hasDefault := strings.CutPrefix(modifier, ":-")
	message, required := strings.CutPrefix(modifier, ":?")
	switch {
	case modifier != "" && !hasDefault && !required:
		e.fail(fmt.Sprintf("${%s} is not understood", body),
			fmt.Sprintf("there are ${%s}, ${%s:-default} and ${%s:?message}", name, name, name))
	case hasDefault && value == "":
		e.run(fallback, true)
	case required && value == "":
		if message == "" {
			message = "is not set, or empty"
		}
		e.fail(fmt.Sprintf("${%s}: %s", name, message), "")
	case !set:
		e.fail(fmt.Sprintf("${%s} is not set", name), fmt.Sprintf("set it, or write ${%s:-default}", name))
	default:
		e.add(value, true)
	}
}

func (e *expander) fail(message, hint string) {
	e.errs = append(e.errs, expansionError{message, hint})
}

func (e *expander) add(s string, foreign bool) {
	if s == "" {
		return
	}
	if last := len(e.pieces) - 1; last >= 0 && !e.pieces[last].ref && e.pieces[last].foreign == foreign {
		e.pieces[last].text += s
		return
	}
	e.pieces = append(e.pieces, piece{text: s, foreign: foreign})
}

func (e *expander) text() text {
	var t text
	var literal string // since the last reference
	flush := func(beforeRef bool) {
		t.runtime += forProc(literal, beforeRef)
		literal = ""
	}
	for _, p := range e.pieces {
		t.value += p.text
		switch {
		case p.ref:
			flush(true)
			t.runtime += p.text
			t.masked += p.text
			t.refs = true
		case p.foreign:
			literal += p.text
			t.masked += mask
			t.foreign = true
		default:
			literal += p.text
			t.masked += p.text
		}
	}
	flush(false)
	return t
}

// forProc doubles the dollars of literal text that stand in front of something
// proc would expand.
func forProc(literal string, beforeRef bool) string {
	literal = runtimeLook.ReplaceAllStringFunc(literal, func(m string) string {
		dollars := strings.Count(m[:strings.IndexByte(m, '{')], "$")
		return strings.Repeat("$", dollars) + m
	})
	if beforeRef {
		trimmed := strings.TrimRight(literal, "$")
		literal += strings.Repeat("$", len(literal)-len(trimmed))
	}
	return literal
}

// dollars is a run of dollars, with the brace behind it if there is one.
var dollars = regexp.MustCompile(`\$+\{?`)

// escapePlain writes a value so that it expands to itself.
func escapePlain(s string) string {
	return dollars.ReplaceAllStringFunc(s, func(m string) string {
		if m == "$" {
			return m
		}
		return strings.Repeat("$", strings.Count(m, "$")) + m
	})
}

// escapeRuntime writes a value meant for proc so that it expands to itself; what
// proc expands, or takes for an escape of its own, is written alike here.
func escapeRuntime(s string) string {
	var b strings.Builder
	last := 0
	for _, at := range runtimeLook.FindAllStringIndex(s, -1) {
		b.WriteString(escapePlain(s[last:at[0]]))
		b.WriteString(s[at[0]:at[1]])
		last = at[1]
	}
	b.WriteString(escapePlain(s[last:]))
	return b.String()
}
