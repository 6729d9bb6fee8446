package logstore

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/blackhole/bhnode/proc/internal/jsontext"
)

// view is a LogEntry taken apart where it stands. It shares the bytes of the line.
type view struct {
	time                   time.Time
	service, stream, level []byte // JSON strings with their quotes; level is nil if there is none
	pid                    int
	seq                    uint64
	message                []byte // a JSON string with its quotes, or nil
	bytes                  []byte // what message_b64 stands for, where there is no message
	fields                 []byte
	partial                bool
}

// look takes a line apart that is as Encode writes it; false: it is not. What it finds
// is what encoding/json would, so a line that may be read in more than one way is none.
func look(line []byte) (v view, ok bool) {
	s := scanner{b: line}
	at := s.member(`{"time":`)
	if at == nil || v.time.UnmarshalText(at[1:len(at)-1]) != nil {
		return v, false
	}
	v.service = s.member(`,"service":`)
	v.stream = s.member(`,"stream":`)
	if v.service == nil || v.stream == nil || !v.numbers(&s) || !v.text(&s) {
		return v, false
	}
	v.level = s.member(`,"level":`)
	if s.word(`,"fields":{`) {
		s.i--
		begin := s.i
		if !s.val(1) {
			return v, false
		}
		v.fields = line[begin:s.i]
	}
	v.partial = s.word(`,"partial":true`)
	return v, s.word(`}`) && s.i == len(line) && utf8.Valid(line)
}

// member skips a key and the string behind it, which it returns with its quotes; nil:
// they are not next.
func (s *scanner) member(key string) []byte {
	begin := s.i
	if s.word(key) && s.str() {
		return s.b[begin+len(key) : s.i]
	}
	s.i = begin
	return nil
}

// numbers reads pid and seq.
func (v *view) numbers(s *scanner) bool {
	var err error
	for i, key := range [...]string{`,"pid":`, `,"seq":`} {
		if !s.word(key) {
			return false
		}
		begin := s.i
		if !s.number() {
			return false
		}
		if digits := string(s.b[begin:s.i]); i == 0 {
			v.pid, err = strconv.Atoi(digits)
		} else {
			v.seq, err = strconv.ParseUint(digits, 10, 64)
		}
		if err != nil {
			return false
		}
	}
	return true
}

// text reads message or message_b64.
func (v *view) text(s *scanner) bool {
	if v.message = s.member(`,"message":`); v.message != nil {
		return true
	}
	encoded := s.member(`,"message_b64":`)
	if encoded == nil || bytes.IndexByte(encoded, '\\') >= 0 {
		return false
	}
	var err error
	v.bytes, err = base64.StdEncoding.AppendDecode([]byte{}, encoded[1:len(encoded)-1])
	return err == nil
}

// entry returns the LogEntry, in memory of its own, if it is wanted; what costs more
// comes after what costs less.
func (v *view) entry(q *Query) (Entry, bool) {
	e := Entry{Time: v.time, Stream: streamName(unquote(v.stream)), Pid: v.pid, Seq: v.seq, Partial: v.partial}
	if v.level != nil {
		e.Level = levelName(unquote(v.level))
	}
	if !q.matchHead(&e) {
		return Entry{}, false
	}
	e.Message, e.Fields = v.bytes, v.fields
	if v.message != nil {
		e.Message = unquote(v.message)
	}
	if !q.matchText(&e) {
		return Entry{}, false
	}
	e.Service = string(unquote(v.service))
	e.Message, e.Fields = append([]byte{}, e.Message...), bytes.Clone(e.Fields)
	return e, true
}

// streamName returns b as a string, without allocating for the names in use.
func streamName(b []byte) string {
	for _, name := range [...]string{"stdout", "stderr"} {
		if string(b) == name {
			return name
		}
	}
	return string(b)
}

// unescape returns what the inside of a valid JSON string stands for; false: it has
// escapes that jsontext does not write.
func unescape(s []byte) ([]byte, bool) {
	out := make([]byte, 0, len(s))
	for {
		n := jsontext.Plain(s)
		out = append(out, s[:n]...)
		if n == len(s) {
			return out, true
		}
		s = s[n+1:] // it was scanned: here is a backslash, and something behind it
		c := s[0]
		switch c {
		case '"', '\\':
		case 't':
			c = '\t'
		case 'r':
			c = '\r'
		case 'n':
			c = '\n'
		case 'u':
			code, err := strconv.ParseUint(string(s[1:5]), 16, 8)
			if err != nil || code >= utf8.RuneSelf {
				return nil, false
			}
			c = byte(code)
			s = s[4:]
		default:
			return nil, false
		}
		out = append(out, c)
		s = s[1:]
	}
}
