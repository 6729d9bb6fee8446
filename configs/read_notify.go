package configs

import (
	"slices"
	"strings"
	"time"

	"github.com/blackhole/bhnode/supervision"
)

// Announcement is a command that is run for events.
type Announcement struct {
	Command []string
	On      []string // types of events
	Names   []string // of services and supervisors; nil: whatever it is about
	Timeout time.Duration

	on []string // as written
}

// readNotify reads the commands that tell of events.
func (d *decoder) readNotify(c *Config, top *object) {
	n := top.get("notify")
	switch {
	case n == nil || n.kind == nullKind:
		return
	case n.kind != listKind:
		top.fail("notify", "write - before it", "must be a list of commands with what they tell of, not %s", n.kind)
		return
	}
	for i, item := range n.items {
		o := d.object(item, index("notify", i))
		if item.kind != mapKind {
			continue
		}
		a := Announcement{Timeout: o.duration("timeout", 10*time.Second, time.Millisecond)}
		o.takes("command", shape{kind: shapeCommand})
		if command := o.get("command"); command != nil {
			a.Command = d.argv(command, o.at("command"))
			d.checkBinary(command.pos, o.at("command"), a.Command)
		} else {
			o.fail("command", "", "is missing: what to run")
		}
		a.on = d.words(o, "on")
		if !o.has("on") {
			o.fail("on", "for instance [service.failed, supervisor.*]", "is missing: the types of the events to tell of")
		}
		for _, pattern := range a.on {
			a.On = append(a.On, d.typesOf(o, pattern)...)
		}
		a.Names = d.words(o, "services")
		o.done()
		c.Notify = append(c.Notify, a)
	}
}

// words reads a list of words.
func (d *decoder) words(o *object, key string) []string {
	o.takes(key, shape{kind: shapeList})
	n := o.get(key)
	switch {
	case n == nil || n.kind == nullKind:
		return nil
	case n.kind != listKind:
		o.fail(key, "write ["+n.text+"]", "must be a list, not %s", n.kind)
		return nil
	}
	var list []string
	for i, item := range n.items {
		if t, ok := d.scalar(item, index(o.at(key), i), "a word"); ok {
			list = append(list, t.value)
		}
	}
	return list
}

// typesOf are the types that a pattern names: one, or all that begin as it does before a *.
func (d *decoder) typesOf(o *object, pattern string) []string {
	prefix, all := strings.CutSuffix(pattern, "*")
	var types []string
	for _, t := range supervision.NoticeTypes {
		if t == pattern || all && strings.HasPrefix(t, prefix) {
			types = append(types, t)
		}
	}
	if len(types) == 0 {
		o.fail("on", suggest(pattern, supervision.NoticeTypes), "there is no event of type %q", pattern)
	}
	return types
}

// checkNotify checks that what commands tell of is there.
func (d *decoder) checkNotify(c *Config, top *object, ds *drafts, t *tree) {
	n := top.get("notify")
	for i, a := range c.Notify {
		for _, name := range a.Names {
			if ds.byName[name] == nil && t.branches[name] == nil && name != rootName {
				at := index("notify", i) + ".services"
				d.fail(n.items[i].pos, at, suggest(name, slices.Concat(ds.names(), []string{rootName})), "there is no service or supervisor %q", name)
			}
		}
	}
}
