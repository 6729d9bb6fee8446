package configs

import (
	"slices"
	"strings"
)

// KeyChange is a key that two configurations differ in, with its values as they are shown;
// "" where it is not there.
type KeyChange struct {
	Path     string
	From, To string
}

// Changes are the keys that another configuration has otherwise, in its order, then those
// that it lacks. A secret that differs shows as such, without its value.
func (c *Config) Changes(next *Config) []KeyChange {
	from, to := flatten(c), flatten(next)
	var all []KeyChange
	for _, path := range to.order {
		if was, is := from.value[path], to.value[path]; was != is || !from.has(path) {
			all = append(all, KeyChange{path, was, is})
		}
	}
	for _, path := range from.order {
		if !to.has(path) {
			all = append(all, KeyChange{Path: path, From: from.value[path]})
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
			all = append(all, KeyChange{at + " (a secret)", mask, mask})
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
}

func (f *flat) has(path string) bool {
	_, ok := f.value[path]
	return ok
}

func flatten(c *Config) *flat {
	f := &flat{value: map[string]string{}}
	f.add(c.sheet(), "")
	return f
}

func (f *flat) add(n *node, path string) {
	if n.kind == mapKind && len(n.fields) > 0 {
		for _, k := range n.fields {
			f.add(k.value, join(path, k.key))
		}
		return
	}
	f.order = append(f.order, path)
	f.value[path] = inLine(n)
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
