package logstore

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/blackhole/bhnode/proc/internal/jsontext"
)

// Encode appends e to dst as one LogEntry, without a newline; it parses e if nobody did.
func Encode(dst []byte, e *Entry) []byte {
	return appendBody(appendHead(dst, e), e)
}

// appendHead appends what the lines of a batch mostly have in common.
func appendHead(dst []byte, e *Entry) []byte {
	dst = append(dst, timeKey...)
	dst = e.Time.UTC().AppendFormat(dst, time.RFC3339Nano)
	dst = append(dst, `","service":`...)
	dst = jsontext.AppendString(dst, e.Service)
	dst = append(dst, `,"stream":`...)
	dst = jsontext.AppendString(dst, e.Stream)
	dst = append(dst, `,"pid":`...)
	return strconv.AppendInt(dst, int64(e.Pid), 10)
}

// sameHead reports whether appendHead makes the same of a and b.
func sameHead(a, b *Entry) bool {
	return a.Time.Equal(b.Time) && a.Stream == b.Stream && a.Pid == b.Pid && a.Service == b.Service
}

// appendBody appends the rest.
func appendBody(dst []byte, e *Entry) []byte {
	if e.Message == nil && len(e.Line) > 0 {
		Parse(e)
	}
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, e.Seq, 10)
	if utf8.Valid(e.Message) {
		dst = append(dst, `,"message":`...)
		dst = jsontext.AppendString(dst, e.Message)
	} else {
		dst = append(dst, `,"message_b64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, e.Message)
		dst = append(dst, '"')
	}
	if e.Level != "" {
		dst = append(dst, `,"level":`...)
		dst = jsontext.AppendString(dst, e.Level)
	}
	if len(e.Fields) > 0 {
		dst = append(dst, `,"fields":`...)
		dst = append(dst, e.Fields...)
	}
	if e.Partial {
		dst = append(dst, `,"partial":true`...)
	}
	return append(dst, '}')
}

// timeKey begins every LogEntry.
const timeKey = `{"time":"`

// stored is a LogEntry as it is read back.
type stored struct {
	Time       time.Time       `json:"time"`
	Service    string          `json:"service"`
	Stream     string          `json:"stream"`
	Pid        int             `json:"pid"`
	Seq        uint64          `json:"seq"`
	Message    *string         `json:"message"`
	MessageB64 []byte          `json:"message_b64"`
	Level      string          `json:"level"`
	Fields     json.RawMessage `json:"fields"`
	Partial    bool            `json:"partial"`
}

// decode reads one LogEntry; false: the line is none.
func decode(line []byte) (Entry, bool) {
	if v, ok := look(line); ok {
		return v.entry(&Query{})
	}
	return decodeAny(line)
}

// decodeAny reads one LogEntry that need not be as Encode writes it.
func decodeAny(line []byte) (Entry, bool) {
	if !bytes.HasPrefix(line, []byte(timeKey)) {
		return Entry{}, false
	}
	var s stored
	if err := json.Unmarshal(line, &s); err != nil || (s.Message == nil && s.MessageB64 == nil) {
		return Entry{}, false
	}
	e := Entry{
		Time: s.Time, Service: s.Service, Stream: s.Stream, Pid: s.Pid, Seq: s.Seq,
		Message: s.MessageB64, Level: s.Level, Fields: s.Fields, Partial: s.Partial,
	}
	if s.Message != nil {
		e.Message = []byte(*s.Message)
	}
	return e, true
}

// decodeTime reads the time of a LogEntry and nothing else of it.
func decodeTime(line []byte) (time.Time, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(timeKey))
	if !ok {
		return time.Time{}, false
	}
	text, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	return t, err == nil
}
