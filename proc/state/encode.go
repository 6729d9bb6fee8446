package state

import (
	"strconv"
	"time"

	"github.com/blackhole/bhnode/proc/internal/jsontext"
)

// append appends f as encoding/json would, which took half of the time of a put.
func (f *file) append(b []byte) []byte {
	o := object{append(b, '{'), true}
	o.number("version", uint64(f.Version)) //nolint:gosec // small
	o.key("life")
	o.b = strconv.AppendBool(o.b, f.Life)
	o.text("service", f.Service)
	o.number("incarnation", f.Incarnation)
	o.some("boot_id", f.BootID)
	o.count("pid", uint64(f.Pid)) //nolint:gosec // positive
	o.count("start_time", f.StartTime)
	o.count("stop_signal", uint64(f.StopSignal)) //nolint:gosec // positive
	o.count("grace_ns", uint64(f.Grace))         //nolint:gosec // positive
	o.some("socket", f.Socket)
	if !f.Started.IsZero() {
		o.key("started")
		o.b = append(f.Started.AppendFormat(append(o.b, '"'), time.RFC3339Nano), '"')
	}
	o.count("stdout", f.Stdout)
	o.count("stderr", f.Stderr)
	if f.Group != nil {
		o.key("group")
		o.b = f.Group.append(o.b)
	}
	return append(o.b, '}')
}

func (g *Group) append(b []byte) []byte {
	o := object{append(b, '{'), true}
	o.some("leaf", g.Leaf)
	o.flag("frozen", g.Frozen)
	o.flag("limited", g.Limited)
	o.list("holders", g.Holders)
	o.list("enter", g.Enter)
	if len(g.Counts) > 0 {
		o.key("counts")
		in := object{append(o.b, '{'), true}
		for controller, dir := range g.Counts {
			in.text(controller, dir)
		}
		o.b = append(in.b, '}')
	}
	o.count("ran_ns", uint64(g.Ran)) //nolint:gosec // not negative
	o.key("base")
	for i, n := range g.Base {
		o.b = strconv.AppendUint(append(o.b, "[,,,"[i]), n, 10)
	}
	return append(o.b, ']', '}')
}

// object is a JSON object that grows.
type object struct {
	b     []byte
	empty bool
}

func (o *object) key(name string) {
	if !o.empty {
		o.b = append(o.b, ',')
	}
	o.empty = false
	o.b = append(jsontext.AppendString(o.b, name), ':')
}

func (o *object) text(name, value string) {
	o.key(name)
	o.b = jsontext.AppendString(o.b, value)
}

func (o *object) number(name string, n uint64) {
	o.key(name)
	o.b = strconv.AppendUint(o.b, n, 10)
}

// some, count, flag and list leave out what is empty.
func (o *object) some(name, value string) {
	if value != "" {
		o.text(name, value)
	}
}

func (o *object) count(name string, n uint64) {
	if n != 0 {
		o.number(name, n)
	}
}

func (o *object) flag(name string, on bool) {
	if on {
		o.key(name)
		o.b = append(o.b, "true"...)
	}
}

func (o *object) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	o.key(name)
	for i, v := range values {
		o.b = append(o.b, "[,"[min(i, 1)])
		o.b = jsontext.AppendString(o.b, v)
	}
	o.b = append(o.b, ']')
}
