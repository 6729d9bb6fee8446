package proc

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Life is what an environment says beyond the spec: one incarnation of a service.
type Life struct {
	ID           string // <node>/<service>/<incarnation>
	Instance     string // of the node's runtime directory
	ConfigPath   string // of the rendered config, "": none
	NotifySocket string // "": none
}

// Environment returns the environment of one life, NAME=VALUE, each name once. own is
// bhnode's. What follows wins over what was there, so nobody can pass for another
// service; only an explicit GOMEMLIMIT is left as it is.
func (s *ServiceSpec) Environment(own []string, l Life) []string {
	env := environment{vars: make([]string, 0, len(own)+16), at: make(map[string]int, len(own)+16)}
	for _, v := range own {
		if name, _, ok := strings.Cut(v, "="); ok && s.Inherit.passes(name) {
			env.put(name, v)
		}
	}
	given := slices.Concat(s.EnvFile, s.Env)
	if s.Limits.MemoryMB > 0 && !slices.ContainsFunc(given, func(v EnvVar) bool { return v.Name == "GOMEMLIMIT" }) {
		env.set("GOMEMLIMIT", strconv.Itoa(s.Limits.MemoryMB*1024*9/10)+"KiB")
	}
	facts := s.facts(l)
	for _, v := range s.EnvFile {
		env.set(v.Name, v.Value)
	}
	for _, v := range s.Env {
		env.set(v.Name, expand(v.Value, func(name string) string { return lookup(facts, name) }))
	}
	for _, v := range facts {
		env.set(v.Name, v.Value)
	}
	return env.vars
}

// facts are the variables that bhnode alone sets.
func (s *ServiceSpec) facts(l Life) []EnvVar {
	facts := []EnvVar{{"BLACKHOLE_SERVICE", s.Name}}
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, EnvVar{name, value})
		}
	}
	add("BLACKHOLE_CONFIG", l.ConfigPath)
	add("BLACKHOLE_SOCKET", s.UnixSocket)
	add("BLACKHOLE_PORT", port(s.TCPPort))
	add("BLACKHOLE_DATA_DIR", s.DataDir)
	add("BLACKHOLE_LOG_LEVEL", s.LogLevel)
	for _, p := range s.Peers {
		name := variableName(p.Name)
		add("BLACKHOLE_SOCKET_"+name, p.UnixSocket)
		add("BLACKHOLE_PORT_"+name, port(p.TCPPort))
	}
	add("NOTIFY_SOCKET", l.NotifySocket)
	add(envID, l.ID)
	add(envInstance, l.Instance)
	return facts
}

func port(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// variableName makes a service's name fit for a variable: my-db → MY_DB.
func variableName(service string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z':
			return r - 'a' + 'A'
		case 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return r
		}
		return '_'
	}, service)
}

// private are the variables that mean bhnode itself, or what started it; those that
// end in an underscore stand for all that begin so.
var private = []string{
	"NOTIFY_SOCKET", "INVOCATION_ID", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY",
	"LISTEN_", "WATCHDOG_", "BHNODE_", "BLACKHOLE_",
}

func (i Inherit) passes(name string) bool {
	for _, p := range private {
		if name == p || strings.HasSuffix(p, "_") && strings.HasPrefix(name, p) {
			return false
		}
	}
	return i.All || slices.Contains(i.Names, name)
}

// Expand replaces ${BLACKHOLE_…} in text by the value in env, by nothing if it is not
// there. Two dollars in front of {BLACKHOLE_…} stand for one that means itself; all
// else, dollars too, stays as it is.
func Expand(env []string, text string) string {
	return expand(text, func(name string) string {
		value, _ := getenv(env, name)
		return value
	})
}

func expandAll(env, texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = Expand(env, t)
	}
	return out
}

// runtimeVariable is what expand looks for, with all dollars in front of it.
var runtimeVariable = regexp.MustCompile(`\$+\{BLACKHOLE_[A-Z0-9_]+\}`)

func expand(text string, value func(name string) string) string {
	if !strings.Contains(text, "{BLACKHOLE_") {
		return text
	}
	return runtimeVariable.ReplaceAllStringFunc(text, func(found string) string {
		dollars := strings.IndexByte(found, '{')
		kept, name := found[:dollars/2], found[dollars:]
		if dollars%2 == 0 {
			return kept + name
		}
		return kept + value(name[1:len(name)-1])
	})
}

func lookup(vars []EnvVar, name string) string {
	for _, v := range vars {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

func getenv(env []string, name string) (string, bool) {
	for _, v := range env {
		if n, value, ok := strings.Cut(v, "="); ok && n == name {
			return value, true
		}
	}
	return "", false
}

// environment is a list of NAME=VALUE in which a later value takes the place of an earlier.
type environment struct {
	vars []string
	at   map[string]int
}

func (e *environment) set(name, value string) { e.put(name, name+"="+value) }

// put sets the variable that v is, as NAME=VALUE.
func (e *environment) put(name, v string) {
	if i, ok := e.at[name]; ok {
		e.vars[i] = v
		return
	}
	e.at[name] = len(e.vars)
	e.vars = append(e.vars, v)
}
