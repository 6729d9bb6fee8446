package logstore

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/blackhole/bhnode/proc/internal/jsontext"
)

// Entry is one line of a service, or a part of one too long to come whole.
type Entry struct {
	Time    time.Time
	Service string
	Stream  string // stdout or stderr; "" where a raw log does not tell
	Pid     int
	Seq     uint64 // counts per service, across its lives; 0 where a raw log does not tell
	// Line is the line as written, without its newline. What Read returns of a log in
	// the format json has none, but for lines that are no LogEntry.
	Line []byte
	// Partial says that the line goes on in the next entry of this stream.
	Partial bool
	// NoNewline says that the line was the last of its stream and had no newline.
	NoNewline bool

	// Joined is how many lines more Line holds, a newline before each; Seq is the number of
	// the last of them. A raw log takes such entries, and none is ever read.
	Joined int

	// UpTo is where its stream stands behind it; for a Keeper.
	UpTo uint64

	// Message, Level and Fields are what Parse makes of Line: Fields is a JSON object,
	// nil if there is nothing in it.
	Message []byte
	Level   string
	Fields  []byte
}

// InMemory is about how many bytes e takes.
func (e *Entry) InMemory() int { return 256 + len(e.Line) + len(e.Message) + len(e.Fields) }

// Lines returns an entry as one entry a line, but of those only the last n.
func (e *Entry) Lines(n int) []Entry {
	n = min(n, e.Joined+1)
	out := make([]Entry, n)
	rest := e.Line
	for i := n - 1; i >= 0; i-- {
		out[i] = *e
		out[i].Joined, out[i].Seq = 0, e.Seq-uint64(n-1-i) //nolint:gosec // not negative
		at := -1
		if i > 0 || n <= e.Joined {
			at = bytes.LastIndexByte(rest, '\n')
		}
		out[i].Line = rest[at+1:]
		rest = rest[:max(at, 0)]
	}
	return out
}

// Parse fills Message, Level and Fields from Line. Of a line that is a JSON object,
// Message is its msg or else its message, Level its level, and Fields the rest as it
// stands, members of these names that are no strings included. Any other line is the
// message itself. Message is never nil after it unless Line is, and may share its bytes.
func Parse(e *Entry) {
	e.Message = e.Line
	if e.Partial || len(e.Line) < 2 {
		return
	}
	var room [24]member
	ms, ok := scanObject(e.Line, room[:0])
	if !ok {
		return
	}
	e.Message, e.Level, e.Fields = []byte{}, "", nil
	text, level := -1, -1
	for i, m := range ms {
		if e.Line[m.value] != '"' {
			continue
		}
		switch string(e.Line[m.name:m.nameEnd]) {
		case `"msg"`:
			if text < 0 || string(e.Line[ms[text].name:ms[text].nameEnd]) != `"msg"` {
				text = i
			}
		case `"message"`:
			if text < 0 {
				text = i
			}
		case `"level"`:
			if level < 0 {
				level = i
			}
		}
	}
	if text >= 0 {
		e.Message = unquote(e.Line[ms[text].value:ms[text].valueEnd])
	}
	if level >= 0 {
		e.Level = levelName(unquote(e.Line[ms[level].value:ms[level].valueEnd]))
	}
	e.Fields = rest(e.Line, ms, text, level)
}

// rest returns the object without the members at text and level, nil if it is empty.
func rest(line []byte, ms []member, text, level int) []byte {
	var fields []byte
	for i, m := range ms {
		if i == text || i == level {
			continue
		}
		if fields == nil {
			fields = append(make([]byte, 0, len(line)), '{')
		} else {
			fields = append(fields, ',')
		}
		fields = append(fields, line[m.name:m.valueEnd]...)
	}
	if fields != nil {
		fields = append(fields, '}')
	}
	return fields
}

// unquote returns what a valid JSON string stands for; it shares bytes where it can.
func unquote(s []byte) []byte {
	inner := s[1 : len(s)-1]
	if jsontext.Plain(inner) == len(inner) {
		return inner
	}
	if out, ok := unescape(inner); ok {
		return out
	}
	var text string
	if err := json.Unmarshal(s, &text); err != nil {
		return inner // cannot be: it was scanned
	}
	return []byte(text)
}

// levelName returns b as a string, without allocating for the names in use.
func levelName(b []byte) string {
	for _, name := range [...]string{"info", "debug", "warn", "error", "INFO", "DEBUG", "WARN", "ERROR"} {
		if string(b) == name {
			return name
		}
	}
	return string(b)
}
