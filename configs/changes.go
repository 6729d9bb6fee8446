package configs

import (
	"slices"
	"strings"
)

// KeyChange is a key that two configurations differ in, with its values as they are shown;
// "" where it is not there.
type KeyChange struct {
	Path         string
	Service, Key string // where it stands below services; a name may hold dots
	From, To     string
}

// Changes are the keys that another configuration has otherwise, in its order, then those
// that it lacks. A secret that differs shows as such, without its value.
func (c *Config) Changes(next *Config) []KeyChange {
	from, to := flatten(c), flatten(next)
	var all []KeyChange
	for _, path := range to.order {
		if was, is := from.value[path], to.value[path]; was != is || !from.has(path) {
			all = append(all, to.change(path, was, is))
		}
	}
	for _, path := range from.order {
		if !to.has(path) {
			all = append(all, from.change(path, from.value[path], ""))
		}
	}
	return append(all, c.hidden(next, all)...)
}

// hidden are the services that differ in nothing that is shown.
func (c *Config) hidden(next *Config, shown []KeyChange) []KeyChange {
	var all []KeyChange
	for i := range next.Services {
		s := &next.Services[i]
		at := join("services", s.Name)
		before := slices.IndexFunc(c.Services, func(o Service) bool { return o.Name == s.Name })
		known := slices.ContainsFunc(shown, func(k KeyChange) bool { return strings.HasPrefix(k.Path, at+".") })
		if before >= 0 && !known && differInSecrets(&c.Services[before], s) {
			all = append(all, KeyChange{at + " (a secret)", s.Name, "a secret", mask, mask})
		}
	}
	return all
}

func differInSecrets(a, b *Service) bool {
	return string(a.Config) != string(b.Config) || !slices.Equal(a.Command, b.Command) ||
		!slices.Equal(a.Env, b.Env) || !slices.Equal(a.EnvFile, b.EnvFile) || a.Probe.Target != b.Probe.Target
}

// flat is a configuration as a list of keys with one value each.
type flat struct {
	order []string
	value map[string]string
	of    map[string]string // the service that a path is below
}

func (f *flat) has(path string) bool {
	_, ok := f.value[path]
	return ok
}

func flatten(c *Config) *flat {
	f := &flat{value: map[string]string{}, of: map[string]string{}}
	f.add(c.sheet(true), "", "")
	return f
}

func (f *flat) change(path, from, to string) KeyChange {
	c := KeyChange{Path: path, Service: f.of[path], From: from, To: to}
	if c.Service != "" {
		c.Key = strings.TrimPrefix(path, join("services", c.Service)+".")
	}
	return c
}

func (f *flat) add(n *node, path, service string) {
	if n.kind == mapKind && len(n.fields) > 0 {
		for _, k := range n.fields {
			below := service
			if path == "services" {
				below = k.key
			}
			f.add(k.value, join(path, k.key), below)
		}
		return
	}
	f.order = append(f.order, path)
	f.value[path], f.of[path] = inLine(n), service
}

// inLine is a value in one line.
func inLine(n *node) string {
	var parts []string
	switch n.kind {
	case mapKind:
		for _, k := range n.fields {
			parts = append(parts, k.key+": "+inLine(k.value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case listKind:
		for _, item := range n.items {
			parts = append(parts, inLine(item))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case nullKind:
		return "null"
	case stringKind, integerKind, floatKind, boolKind:
	}
	return n.text
}
