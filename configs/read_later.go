package configs

import "slices"

// withoutEffect is what is said of a key whose effect comes with a later build.
const withoutEffect = "has no effect in this build yet; remove it"

// refuseLater refuses what this build cannot do, so that nothing is silently
// ignored; what switches such a thing off is accepted.
func (d *decoder) refuseLater(top *object) {
	remote := top.child("remote")
	remote.later("listen", "")
	remote.later("advertise", "")
	remote.done()
}

// later refuses a key unless its value is one of those that switch it off.
func (o *object) later(key string, off ...string) {
	t, _, ok := o.scalar(key, "a single value")
	if !ok {
		return
	}
	if slices.Contains(off, t.value) {
		return
	}
	alternative := ""
	switch {
	case len(off) > 0 && off[0] == "":
		alternative = ` or set it to ""`
	case len(off) > 0:
		alternative = " or set it to " + off[0]
	}
	o.fail(key, "", "%s%s", withoutEffect, alternative)
}
