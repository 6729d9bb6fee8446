package configs

import "slices"

// withoutEffect is what is said of a key whose effect comes with a later build.
const withoutEffect = "has no effect in this build yet; remove it"

// refuseLater refuses what this build cannot do, so that nothing is silently
// ignored; what switches such a thing off is accepted. It reports whether
// metrics are left on.
func (d *decoder) refuseLater(top *object) (metricsOn bool) {
	metrics := top.child("metrics")
	metricsOn = !metrics.has("listen")
	metrics.later("listen", "")
	metrics.later("interval")
	metrics.later("tls", "none", "")
	metrics.later("compat_names", "false")
	metrics.done()

	remote := top.child("remote")
	remote.later("listen", "")
	remote.later("advertise", "")
	remote.done()

	tls := top.child("tls")
	for _, key := range []string{"ca", "cert", "key"} {
		tls.later(key, "")
	}
	tls.done()

	if access := top.get("access"); access != nil && access.kind != nullKind && len(access.items) == 0 && access.kind != listKind {
		top.fail("access", "", "must be a list, not %s", access.kind)
	} else if access != nil && len(access.items) > 0 {
		d.fail(access.items[0].pos, "access", "", withoutEffect)
	}
	return metricsOn
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
