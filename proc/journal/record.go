// Package journal keeps the events of a node in a file of JSON lines, which it rotates,
// and which survives restarts of bhnode: the numbers go on where they ended.
package journal

import (
	"bytes"
	"encoding/json"
	"time"
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

// wire is a Record as JSON has it.
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
func (r Record) MarshalJSON() ([]byte, error) {
	w := wire{
		Seq: r.Seq, Time: r.Time.UTC(), Type: r.Type, Service: r.Service, Supervisor: r.Supervisor,
		Incarnation: orNull(r.Incarnation), Pid: orNull(r.Pid), Cause: orNull(r.Cause),
		Message: r.Message, Attrs: r.Attrs,
	}
	if w.Attrs == nil {
		w.Attrs = map[string]any{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(w)
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), err
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

func orNull[T int | uint64](v T) *T {
	if v == 0 {
		return nil
	}
	return &v
}

func orZero[T int | uint64](p *T) T {
	if p == nil {
		return 0
	}
	return *p
}
