package configs

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// sheet builds the mapping that shows one part of a configuration.
type sheet struct {
	c    *Config
	path string
	n    *node
}

// Show returns the complete configuration as YAML: defaults filled in, variables
// expanded, secrets masked with ***. Without secrets it reads as the
// configuration it shows.
func (c *Config) Show() string {
	var e emitter
	e.block(c.sheet(false), 0)
	return e.String()
}

// sheet shows a configuration, with the services that the file does not name or without.
func (c *Config) sheet(builtIn bool) *node {
	top := sheet{c: c, n: &node{kind: mapKind}}
	top.raw("version", "1")
	c.showNode(top.child("node"))
	c.showLogs(top.child("logs"))
	c.showMetrics(top.child("metrics"))
	if c.TLS != (TLS{}) {
		tls := top.child("tls")
		tls.optional("ca", c.TLS.CA)
		tls.optional("cert", c.TLS.Cert)
		tls.optional("key", c.TLS.Key)
	}
	if len(c.Notify) > 0 {
		top.put("notify", c.showNotify())
	}
	control := top.child("control")
	control.str("socket", c.Control.Socket)
	control.quoted("socket_mode", fmt.Sprintf("%04o", c.Control.SocketMode))
	if c.Control.Listen != "" {
		control.quoted("listen", c.Control.Listen)
	}
	if c.Remote.Listen != "" {
		remote := top.child("remote")
		remote.quoted("listen", c.Remote.Listen)
		remote.quoted("advertise", c.Remote.Advertise)
	}
	if len(c.Access) > 0 {
		top.put("access", c.showAccess())
	}
	showSupervision(top.child("supervisor"), c.Tree)
	services := top.child("services")
	for i := range c.Services {
		if c.Services[i].BuiltIn && !builtIn {
			continue
		}
		c.Services[i].show(services.child(c.Services[i].Name))
	}
	if c.root.listed > 0 {
		top.put("tree", c.showTree(c.root))
	}
	return top.n
}

func (c *Config) showNode(s sheet) {
	n := c.Node
	s.str("name", n.Name)
	s.str("data_dir", n.DataDir)
	s.str("runtime_dir", n.RuntimeDir)
	s.optional("group", n.Group)
	s.raw("boot", wordFor(bootModes, n.BestEffort))
	s.int("max_parallel_starts", n.MaxParallelStarts)
	s.duration("shutdown_timeout", n.ShutdownTimeout)
	s.raw("on_daemon_death", wordFor(deathModes, n.KillOnDaemonDeath))
}

func (c *Config) showLogs(s sheet) {
	l := c.Logs
	s.str("dir", l.Dir)
	s.raw("format", l.Format)
	s.int("max_size_mb", l.MaxSizeMB)
	s.int("max_files", l.MaxFiles)
	s.bool("compress", l.Compress)
	s.raw("on_overflow", wordFor(overflowing, l.Drop))
	s.duration("block_timeout", l.BlockTimeout)
}

func showSupervision(s sheet, spec supervision.SupervisorSpec) {
	s.raw("strategy", wordFor(strategies, spec.Strategy))
	s.raw("order", wordFor(orders, spec.Order))
	s.int("max_restarts", spec.Intensity.Max)
	s.duration("restart_window", spec.Intensity.Period)
	s.raw("auto_shutdown", wordFor(autoShutdowns, spec.AutoShutdown))
}

// showTree shows the children of a supervisor as far as `tree` lists them.
func (c *Config) showTree(b *branch) *node {
	list := &node{kind: listKind}
	for _, e := range b.entries[:b.listed] {
		if e.service != nil {
			list.items = append(list.items, stringNode(e.service.svc.Name))
			continue
		}
		nested := sheet{c: c, n: &node{kind: mapKind}}
		nested.str("supervisor", e.supervisor.name)
		showSupervision(nested, e.supervisor.spec)
		nested.raw("restart", wordFor(restartTypes, e.supervisor.child.Restart))
		nested.bool("significant", e.supervisor.child.Significant)
		nested.duration("initial_delay", e.supervisor.child.Backoff.Initial)
		nested.put("children", c.showTree(e.supervisor))
		list.items = append(list.items, nested.n)
	}
	return list
}

func (svc *Service) show(s sheet) {
	s.bool("enabled", svc.Enabled)
	s.optional("description", svc.Description)
	s.argv("command", svc.Command)
	s.environment(svc)
	s.str("working_dir", svc.WorkingDir)
	s.optional("user", svc.User)
	s.optional("group", svc.Group)
	s.str("data_dir", svc.DataDir)
	s.str("log_level", svc.LogLevel)
	s.optional("unix_socket", svc.UnixSocket)
	if svc.TCPPort != 0 {
		s.int("tcp_port", svc.TCPPort)
	}
	if len(svc.edges) > 0 {
		deps := s.child("depends_on")
		for _, e := range svc.edges {
			dep := deps.child(string(e.dep.On))
			dep.raw("condition", wordFor(conditions, e.dep.Condition))
			dep.bool("restart", e.dep.Restart)
			dep.bool("required", e.required)
		}
	}
	s.limits(svc.Limits)
	s.birth(svc)
	svc.showHealth(s.child("health_check"))
	svc.showRestart(s.child("restart"))
	svc.showShutdown(s.child("shutdown"))
	s.bool("significant", svc.child.Significant)
	svc.showHooks(s)
	if svc.config != nil {
		s.put("config", s.c.maskTree(svc.config, s.path+".config", false))
	}
}

func (s sheet) environment(svc *Service) {
	s.optional("env_file", svc.envFile)
	if svc.Inherit.Names != nil {
		s.argv("inherit_env", svc.Inherit.Names)
	} else {
		s.bool("inherit_env", svc.Inherit.All)
	}
	if len(svc.Env) == 0 {
		return
	}
	env := s.child("env")
	for _, v := range svc.Env {
		if secretName(v.Name) {
			env.put(v.Name, stringNode(mask))
			continue
		}
		env.put(v.Name, stringNode(env.masked(v.Name, v.Value, escapeRuntime)))
	}
}

func (s sheet) limits(l proc.Limits) {
	if l == (proc.Limits{}) {
		return
	}
	resources := s.child("resources")
	for _, r := range []struct {
		key   string
		value int
	}{
		{"cpu_percent", l.CPUPercent},
		{"memory_mb", l.MemoryMB},
		{"io_weight", l.IOWeight},
		{"open_files", l.OpenFiles},
		{"processes", l.Processes},
	} {
		if r.value != 0 {
			resources.int(r.key, r.value)
		}
	}
	resources.bool("required", l.Required)
}

// birth shows what a process is born with, besides its limits.
func (s sheet) birth(svc *Service) {
	if svc.Nice != nil {
		s.int("nice", *svc.Nice)
	}
	if svc.OOMScoreAdj != nil {
		s.int("oom_score_adj", *svc.OOMScoreAdj)
	}
	if svc.Umask != nil {
		s.quoted("umask", fmt.Sprintf("%04o", *svc.Umask))
	}
	s.bool("no_new_privileges", svc.NoNewPrivileges)
	if svc.Capabilities != nil {
		s.argv("capabilities", *svc.Capabilities)
	}
}

func (svc *Service) showHealth(s sheet) {
	h := svc.Health
	s.raw("type", string(svc.Probe.Type))
	switch {
	case svc.Probe.Argv != nil:
		s.argv("target", svc.Probe.Argv)
	case svc.Probe.Target != "":
		s.put("target", stringNode(s.masked("target", svc.Probe.Target, escapeRuntime)))
	}
	s.duration("interval", h.Interval)
	s.duration("timeout", svc.Probe.Timeout)
	s.int("retries", h.Retries)
	s.int("successes", h.Successes)
	s.duration("start_interval", h.StartInterval)
	if h.StartPeriod == 0 {
		s.raw("start_period", infinity)
	} else {
		s.duration("start_period", h.StartPeriod)
	}
	s.raw("on_unhealthy", wordFor(unhealthyActs, h.OnUnhealthy))
}

func (svc *Service) showRestart(s sheet) {
	child := svc.child
	s.raw("type", wordFor(restartTypes, child.Restart))
	var codes []string
	for _, code := range svc.SuccessCodes {
		codes = append(codes, strconv.Itoa(code))
	}
	for _, sig := range svc.SuccessSignals {
		codes = append(codes, unix.SignalName(sig))
	}
	if codes != nil {
		s.raw("success_codes", "["+strings.Join(codes, ", ")+"]")
	}
	if child.Intensity == nil {
		s.raw("max_restarts", unlimited)
	} else {
		s.int("max_restarts", child.Intensity.Max)
		s.duration("restart_window", child.Intensity.Period)
	}
	s.duration("initial_delay", child.Backoff.Initial)
	s.duration("max_delay", child.Backoff.Max)
	s.raw("backoff_factor", strconv.FormatFloat(child.Backoff.Factor, 'f', -1, 64))
	s.raw("jitter", strconv.FormatFloat(child.Backoff.Jitter, 'f', -1, 64))
	s.duration("reset_after", child.Backoff.ResetAfter)
	s.raw("on_exhausted", wordFor(exhaustions, child.OnExhausted))
}

func (svc *Service) showShutdown(s sheet) {
	s.raw("signal", signalName(svc.StopSignal))
	switch svc.child.Shutdown.Mode {
	case supervision.Infinity:
		s.raw("timeout", infinity)
	case supervision.BrutalKill:
		s.raw("timeout", brutalKill)
	case supervision.Timed:
		s.duration("timeout", svc.child.Shutdown.Grace)
	}
}

func signalName(sig syscall.Signal) string { return unix.SignalName(sig) }

func (svc *Service) showHooks(s sheet) {
	h := svc.Hooks
	if h.PreStart == nil && h.PostStop == nil {
		return
	}
	hooks := s.child("hooks")
	hooks.commands("pre_start", h.PreStart)
	hooks.commands("post_stop", h.PostStop)
	hooks.duration("timeout", h.Timeout)
}

// child adds a mapping under a key.
func (s sheet) child(key string) sheet {
	n := &node{kind: mapKind}
	s.put(key, n)
	return sheet{c: s.c, path: join(s.path, key), n: n}
}

func (s sheet) put(key string, value *node) {
	s.n.fields = append(s.n.fields, field{key: key, plain: plainWhereSafe(key), value: value})
}

// raw adds a value that is written as it is: a number, a word of the language.
func (s sheet) raw(key, value string) {
	if masked, ok := s.c.masked[join(s.path, key)]; ok {
		s.put(key, stringNode(masked))
		return
	}
	s.put(key, &node{kind: integerKind, text: value})
}

func (s sheet) int(key string, value int) { s.raw(key, strconv.Itoa(value)) }

func (s sheet) bool(key string, value bool) { s.raw(key, strconv.FormatBool(value)) }

func (s sheet) duration(key string, d time.Duration) { s.raw(key, supervision.FormatDuration(d)) }

func (s sheet) quoted(key, value string) { s.put(key, &node{kind: stringKind, text: value}) }

// str adds a string, masked.
func (s sheet) str(key, value string) {
	s.put(key, stringNode(s.masked(key, value, escapePlain)))
}

func (s sheet) optional(key, value string) {
	if value != "" {
		s.str(key, value)
	}
}

// masked returns a value as it is shown.
func (s sheet) masked(key, value string, escape func(string) string) string {
	if masked, ok := s.c.masked[join(s.path, key)]; ok {
		return maskText(escapeRuntime(masked))
	}
	return maskText(escape(value))
}

// argv adds an argument vector, masked.
func (s sheet) argv(key string, argv []string) {
	s.put(key, s.argvNode(join(s.path, key), argv))
}

func (s sheet) argvNode(path string, argv []string) *node {
	list := &node{kind: listKind}
	for _, arg := range s.c.maskArgv(path, argv) {
		list.items = append(list.items, stringNode(escapeRuntime(arg)))
	}
	return list
}

// commands adds a list of argument vectors.
func (s sheet) commands(key string, commands [][]string) {
	if len(commands) == 0 {
		return
	}
	path := join(s.path, key)
	list := &node{kind: listKind}
	for i, argv := range commands {
		list.items = append(list.items, s.argvNode(index(path, i), argv))
	}
	s.put(key, list)
}

// maskTree returns a part of `config:` as it is shown; secret says that a key
// around it names a secret.
func (c *Config) maskTree(n *node, path string, secret bool) *node {
	shown := *n
	shown.fields, shown.items = nil, nil
	masked, foreign := c.masked[path]
	switch {
	case !n.scalar():
	case secret:
		shown = *stringNode(mask)
	case foreign:
		shown = *stringNode(maskText(masked))
	case n.kind == stringKind:
		shown.text = maskText(escapePlain(n.text))
	}
	for _, f := range n.fields {
		f.value = c.maskTree(f.value, join(path, f.key), secret || secretName(f.key))
		shown.fields = append(shown.fields, f)
	}
	for i, item := range n.items {
		shown.items = append(shown.items, c.maskTree(item, index(path, i), secret))
	}
	return &shown
}

func stringNode(s string) *node { return &node{kind: stringKind, text: s, plain: plainWhereSafe(s)} }
