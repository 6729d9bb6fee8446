package configs

import (
	"path/filepath"
	"strings"
	"time"

	"github.com/blackhole/bhnode/proc"
)

// readCommand reads the command; without one the service is bhnode's own host.
func (d *decoder) readCommand(s *draft) {
	s.o.takes("command", shape{kind: shapeCommand})
	n := s.o.get("command")
	if n == nil {
		s.builtIn = true
		return
	}
	s.svc.Command = d.argv(n, s.o.at("command"))
}

// argv reads an argument vector: a list as it is, or a string that is split as a
// shell would. A program named by a relative path is looked up from the file.
func (d *decoder) argv(n *node, path string) []string {
	var argv []string
	switch {
	case n.kind == listKind:
		argv = d.strings(n, path)
	case n.kind == nullKind:
	case n.scalar():
		words, err := splitCommand(n.text)
		if err != nil {
			d.fail(n.pos, path, "write a list, such as [sh, -c, '…'], if it is meant so", "%s", err)
			return nil
		}
		for i, word := range words {
			argv = append(argv, d.expand(n, index(path, i), word).runtime)
		}
	default:
		d.fail(n.pos, path, "", "must be a string or a list of strings, not %s", n.kind)
		return nil
	}
	if len(argv) == 0 || argv[0] == "" {
		d.fail(n.pos, path, "", "names no program")
		return nil
	}
	for _, arg := range argv {
		if strings.Contains(arg, "\x00") {
			d.fail(n.pos, path, "", "must not contain a NUL byte")
		}
	}
	if strings.Contains(argv[0], "/") && !filepath.IsAbs(argv[0]) && !strings.HasPrefix(argv[0], "${BLACKHOLE_") {
		argv[0] = filepath.Join(d.base, argv[0])
	}
	return argv
}

// strings reads a list of single values, in the form proc expands.
func (d *decoder) strings(n *node, path string) []string {
	var list []string
	for i, item := range n.items {
		t, _ := d.scalar(item, index(path, i), "a string")
		list = append(list, t.runtime)
	}
	return list
}

// readEnvironment reads inherit_env, env_file and env.
func (d *decoder) readEnvironment(s *draft) {
	d.readInherit(s)
	if path := s.o.filePath("env_file", "", d.base); path != "" {
		s.svc.envFile = path
		if s.svc.Enabled {
			s.svc.EnvFile = d.readEnvFile(s.o, path)
		}
	}
	s.o.takes("env", shape{kind: shapeStrings})
	env := s.o.get("env")
	if env == nil || env.kind == nullKind {
		return
	}
	if env.kind != mapKind {
		s.o.fail("env", "write KEY: value", "must be a mapping, not %s", env.kind)
		return
	}
	for _, f := range env.fields {
		path := join(s.o.at("env"), f.key)
		if why := badVariable(f.key); why != "" {
			d.fail(f.pos, path, "", "%s", why)
		}
		t, _ := d.scalar(f.value, path, "a string")
		s.svc.Env = append(s.svc.Env, proc.EnvVar{Name: f.key, Value: t.runtime})
	}
}

// badVariable says why a name cannot be set for a service, "" if it can.
func badVariable(name string) string {
	switch {
	case name == "" || strings.ContainsAny(name, "=\x00"):
		return "is no name of a variable"
	case strings.HasPrefix(name, "BHNODE_"), strings.HasPrefix(name, "BLACKHOLE_SOCKET_"), strings.HasPrefix(name, "BLACKHOLE_PORT_"):
		return "is set by bhnode itself"
	}
	switch name {
	case "BLACKHOLE_SERVICE", "BLACKHOLE_CONFIG", "BLACKHOLE_SOCKET", "BLACKHOLE_PORT", "BLACKHOLE_DATA_DIR", "BLACKHOLE_LOG_LEVEL":
		return "is set by bhnode itself"
	}
	return ""
}

// readInherit reads true, false or the names of what a service gets of bhnode's
// own environment; a service with a user of its own gets nothing by default.
func (d *decoder) readInherit(s *draft) {
	defer s.o.takes("inherit_env", shape{kind: shapeBooleanOrList})
	n := s.o.get("inherit_env")
	if n == nil || n.kind != listKind {
		s.svc.Inherit.All = s.o.boolean("inherit_env", s.svc.User == "")
		return
	}
	path := s.o.at("inherit_env")
	for i, item := range n.items {
		if t, ok := d.scalar(item, index(path, i), "the name of a variable"); ok && d.notRuntime(item, index(path, i), t) {
			s.svc.Inherit.Names = append(s.svc.Inherit.Names, t.value)
		}
	}
}

func (d *decoder) readHooks(s *draft) {
	s.hooks = s.o.child("hooks")
	s.svc.Hooks = proc.Hooks{
		PreStart: d.hook(s.hooks, "pre_start"),
		PostStop: d.hook(s.hooks, "post_stop"),
		Timeout:  s.hooks.duration("timeout", 30*time.Second, time.Millisecond),
	}
	s.hooks.done()
}

// hook reads a string, an argument vector, or a list of argument vectors.
func (d *decoder) hook(o *object, key string) [][]string {
	o.takes(key, shape{kind: shapeCommands})
	n := o.get(key)
	if n == nil || n.kind == nullKind || (n.kind == listKind && len(n.items) == 0) {
		return nil
	}
	if n.kind != listKind || n.items[0].kind != listKind {
		return [][]string{d.argv(n, o.at(key))}
	}
	var list [][]string
	for i, item := range n.items {
		list = append(list, d.argv(item, index(o.at(key), i)))
	}
	return list
}
