package logstore

import (
	"unicode/utf8"

	"github.com/blackhole/bhnode/proc/internal/jsontext"
)

// maxDepth is how deep a line may nest to be seen as a JSON object.
const maxDepth = 200

// member is a name and a value of a JSON object, as positions in the line.
type member struct {
	name, nameEnd   int // with the quotes
	value, valueEnd int
}

// scanObject appends the members of the JSON object that line is to ms; false: line
// is something else. It is as strict as encoding/json, and stricter about UTF-8.
func scanObject(line []byte, ms []member) ([]member, bool) {
	s := scanner{b: line}
	if s.space() != '{' || !utf8.Valid(line) {
		return ms, false
	}
	s.i++
	if s.space() == '}' {
		s.i++
		return ms, s.space() == 0 && s.i == len(line)
	}
	for {
		var m member
		s.space()
		m.name = s.i
		if !s.str() {
			return ms, false
		}
		m.nameEnd = s.i
		if s.space() != ':' {
			return ms, false
		}
		s.i++
		s.space()
		m.value = s.i
		if !s.val(1) {
			return ms, false
		}
		m.valueEnd = s.i
		ms = append(ms, m)
		switch s.space() {
		case ',':
			s.i++
		case '}':
			s.i++
			return ms, s.space() == 0 && s.i == len(line)
		default:
			return ms, false
		}
	}
}

// scanner walks through one JSON text. Its methods return false where it is none.
type scanner struct {
	b []byte
	i int
}

// space skips white space and returns the byte after it, 0 at the end.
func (s *scanner) space() byte {
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// val skips one value inside of depth others.
func (s *scanner) val(depth int) bool {
	if s.i >= len(s.b) || depth > maxDepth {
		return false
	}
	switch s.b[s.i] {
	case '"':
		return s.str()
	case '{':
		return s.list('}', true, depth)
	case '[':
		return s.list(']', false, depth)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// list skips an object (named) or an array.
func (s *scanner) list(end byte, named bool, depth int) bool {
	s.i++
	if s.space() == end {
		s.i++
		return true
	}
	for {
		if named {
			s.space()
			if !s.str() || s.space() != ':' {
				return false
			}
			s.i++
		}
		s.space()
		if !s.val(depth + 1) {
			return false
		}
		switch s.space() {
		case ',':
			s.i++
		case end:
			s.i++
			return true
		default:
			return false
		}
	}
}

// str skips a string.
func (s *scanner) str() bool {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return false
	}
	for i := s.i + 1; ; {
		i += jsontext.Plain(s.b[i:])
		if i >= len(s.b) {
			return false
		}
		switch s.b[i] {
		case '"':
			s.i = i + 1
			return true
		case '\\':
			n := escape(s.b[i:])
			if n == 0 {
				return false
			}
			i += n
		default: // a control character
			return false
		}
	}
}

// escape returns the length of the escape sequence that b begins with, 0 if it is none.
func escape(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(b) < 6 {
			return 0
		}
		for _, c := range b[2:6] {
			if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0
			}
		}
		return 6
	}
	return 0
}

func (s *scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return false
	}
	s.i += len(w)
	return true
}

// number skips -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?.
func (s *scanner) number() bool {
	s.is('-')
	if !s.is('0') && !s.digits() {
		return false
	}
	if s.is('.') && !s.digits() {
		return false
	}
	if s.is('e') || s.is('E') {
		if !s.is('+') {
			s.is('-')
		}
		return s.digits()
	}
	return true
}

// is skips c if it is next.
func (s *scanner) is(c byte) bool {
	if s.i >= len(s.b) || s.b[s.i] != c {
		return false
	}
	s.i++
	return true
}

// digits skips one or more digits.
func (s *scanner) digits() bool {
	begin := s.i
	for s.i < len(s.b) && isDigit(s.b[s.i]) {
		s.i++
	}
	return s.i > begin
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
