// Package journal keeps the events of a node in a file of JSON lines, which it rotates,
// and which survives restarts of bhnode: the numbers go on where they ended.
package journal

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/blackhole/bhnode/proc/internal/jsontext"
)

// Record is one event. As JSON it is
//
//	{"seq","time","type","service"|"supervisor","incarnation","pid","cause","message","attrs"}
//
// where service and supervisor are left out if empty, incarnation, pid and cause are
// null if 0, and attrs is {} if empty.
type Record struct {
	Seq         uint64 // from 1
	Time        time.Time
	Type        string
	Service     string // "": not about a service
	Supervisor  string // "": not about a supervisor
	Incarnation uint64 // 0: none
	Pid         int    // 0: none
	Cause       uint64 // the Seq of the event that made this one happen; 0: none
	Message     string
	Attrs       map[string]any
}

// wire is a Record as it is read back.
type wire struct {
	Seq         uint64         `json:"seq"`
	Time        time.Time      `json:"time"`
	Type        string         `json:"type"`
	Service     string         `json:"service,omitempty"`
	Supervisor  string         `json:"supervisor,omitempty"`
	Incarnation *uint64        `json:"incarnation"`
	Pid         *int           `json:"pid"`
	Cause       *uint64        `json:"cause"`
	Message     string         `json:"message"`
	Attrs       map[string]any `json:"attrs"`
}

// MarshalJSON implements json.Marshaler.
func (r Record) MarshalJSON() ([]byte, error) { return r.append(nil) }

// append appends it as JSON.
func (r *Record) append(b []byte) ([]byte, error) {
	b = strconv.AppendUint(append(b, `{"seq":`...), r.Seq, 10)
	b = r.Time.UTC().AppendFormat(append(b, `,"time":"`...), time.RFC3339Nano)
	b = appendText(append(b, `","type":`...), r.Type)
	if r.Service != "" {
		b = appendText(append(b, `,"service":`...), r.Service)
	}
	if r.Supervisor != "" {
		b = appendText(append(b, `,"supervisor":`...), r.Supervisor)
	}
	b = appendOrNull(append(b, `,"incarnation":`...), r.Incarnation)
	b = appendOrNull(append(b, `,"pid":`...), r.Pid)
	b = appendOrNull(append(b, `,"cause":`...), r.Cause)
	b = appendText(append(b, `,"message":`...), r.Message)
	b = append(b, `,"attrs":{`...)
	for i, name := range slices.Sorted(maps.Keys(r.Attrs)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendText(b, name), ':')
		var err error
		if b, err = appendValue(b, r.Attrs[name]); err != nil {
			return nil, err
		}
	}
	return append(b, '}', '}'), nil
}

func appendText(b []byte, s string) []byte {
	return jsontext.AppendString(b, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

func appendOrNull[T int | uint64](b []byte, n T) []byte {
	switch {
	case n == 0:
		return append(b, "null"...)
	case n < 0:
		return strconv.AppendInt(b, int64(n), 10)
	}
	return strconv.AppendUint(b, uint64(n), 10)
}

func appendValue(b []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return appendText(b, v), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(value)
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte{'\n'})...), err
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *Record) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*r = Record{
		Seq: w.Seq, Time: w.Time, Type: w.Type, Service: w.Service, Supervisor: w.Supervisor,
		Incarnation: orZero(w.Incarnation), Pid: orZero(w.Pid), Cause: orZero(w.Cause),
		Message: w.Message,
	}
	if len(w.Attrs) > 0 {
		r.Attrs = w.Attrs
	}
	return nil
}

func orZero[T int | uint64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}
