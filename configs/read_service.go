package configs

import (
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// draft is a service while it is read: its values, and where they stand.
type draft struct {
	o       *object
	svc     Service
	health  *object
	restart *object
	hooks   *object
	builtIn bool // runs bhnode's own service host
	typed   bool // restart.type is written
}

// drafts are the services in file order and by name.
type drafts struct {
	list   []*draft
	byName map[string]*draft
}

// names returns the names of all services, in file order.
func (ds *drafts) names() []string {
	list := make([]string, len(ds.list))
	for i, s := range ds.list {
		list[i] = s.svc.Name
	}
	return list
}

// readServices reads every service with `defaults` merged under it.
func (d *decoder) readServices(c *Config, top *object) *drafts {
	ds := &drafts{byName: map[string]*draft{}}
	defaults := top.get("defaults")
	d.readService(c, d.object(defaults, "defaults"), "") // its own mistakes, once
	services := top.get("services")
	switch {
	case services == nil:
		d.fail(top.pos("services"), "services", "", "is missing: nothing to run")
		return ds
	case services.kind == nullKind:
		return ds
	case services.kind != mapKind:
		top.fail("services", "", "must be a mapping of names to services, not %s", services.kind)
		return ds
	}
	for _, f := range services.fields {
		path := join("services", f.key)
		switch {
		case !serviceName.MatchString(f.key):
			d.fail(f.pos, path, "", "a name is made of a-z, 0-9, dots, dashes and underscores, begins with a letter or digit, and has 64 characters at most")
		case f.key == rootName:
			d.fail(f.pos, path, "", "the root supervisor has this name")
		case ownFile(f.key):
			d.fail(f.pos, path, "", "bhnode keeps files of its own under this name, in data_dir or logs.dir")
		}
		value := f.value
		if value.kind == nullKind {
			value = &node{kind: mapKind, pos: f.pos}
		}
		if defaults != nil && defaults.kind == mapKind {
			value = merge(defaults, value)
		}
		o := d.object(value, path)
		o.place = f.pos
		s := d.readService(c, o, f.key)
		d.complete(c, s)
		ds.list = append(ds.list, s)
		ds.byName[f.key] = s
	}
	return ds
}

// readService reads the keys of a service, each by itself. With an empty name it
// reads `defaults`.
func (d *decoder) readService(c *Config, o *object, name string) *draft {
	s := &draft{o: o}
	s.svc = Service{
		Enabled:     o.boolean("enabled", true),
		Description: o.str("description", ""),
		ServiceSpec: proc.ServiceSpec{
			Name:     name,
			User:     o.account("user"),
			Group:    o.account("group"),
			DataDir:  o.filePath("data_dir", filepath.Join(c.Node.DataDir, name), d.base),
			LogLevel: o.str("log_level", "info"),
			TCPPort:  o.integer("tcp_port", 0, 1, 65535),
		},
	}
	s.svc.UnixSocket = o.filePath("unix_socket", "", d.socketBase)
	s.svc.WorkingDir = o.filePath("working_dir", "", d.base)
	d.readCommand(s)
	d.readEnvironment(s)
	d.readHooks(s)
	d.readResources(s)
	d.readBirth(s)
	d.readDependsOn(s)
	d.readRestart(s)
	d.readShutdown(s)
	d.readHealth(s)
	d.readServiceConfig(s)
	s.svc.child.ID = supervision.ChildID(name)
	s.svc.child.Significant = o.boolean("significant", false)
	o.done()
	return s
}

// complete fills in what depends on other keys and checks keys against each
// other.
func (d *decoder) complete(c *Config, s *draft) {
	svc := &s.svc
	if !s.o.has("data_dir") {
		d.derive(s.o.at("data_dir"), "node.data_dir", "", "/"+svc.Name)
	}
	if svc.WorkingDir == "" {
		svc.WorkingDir = d.base
		if svc.User != "" {
			svc.WorkingDir = svc.DataDir
			d.derive(s.o.at("working_dir"), s.o.at("data_dir"), "", "")
		}
	}
	if s.builtIn && !s.o.has("unix_socket") {
		socket := filepath.Join("svc", svc.Name, svc.Name+".sock")
		svc.UnixSocket = filepath.Join(c.Node.RuntimeDir, socket)
		d.derive(s.o.at("unix_socket"), "node.runtime_dir", "", "/"+socket)
	}
	s.o.socketFits("unix_socket", svc.UnixSocket)
	if s.builtIn {
		svc.Command = d.hostCommand(svc)
	}
	d.completeHealth(s)
	if svc.Enabled {
		d.checkMachine(s)
	}
}

// hostCommand is the default command: bhnode's own service host.
func (d *decoder) hostCommand(svc *Service) []string {
	argv := []string{d.machine.executable, "service", svc.Name}
	if svc.Config != nil {
		argv = append(argv, "--config", "${BLACKHOLE_CONFIG}")
	}
	if svc.UnixSocket != "" {
		argv = append(argv, "--socket", "${BLACKHOLE_SOCKET}")
	}
	if svc.TCPPort != 0 {
		argv = append(argv, "--port", "${BLACKHOLE_PORT}")
	}
	return argv
}

// finish returns the service with what its dependencies tell.
func (s *draft) finish(ds *drafts) Service {
	svc := s.svc
	for _, dep := range svc.child.DependsOn {
		p := ds.byName[string(dep.On)].svc
		svc.DependsOn = append(svc.DependsOn, p.Name)
		svc.Peers = append(svc.Peers, proc.Peer{Name: p.Name, UnixSocket: p.UnixSocket, TCPPort: p.TCPPort})
	}
	return svc
}

// readServiceConfig renders `config:`, which is handed to the service as is.
func (d *decoder) readServiceConfig(s *draft) {
	s.o.takes("config", shape{kind: shapeAny})
	n := s.o.get("config")
	if n == nil || n.kind == nullKind {
		return
	}
	path := s.o.at("config")
	if n.kind != mapKind {
		d.fail(n.pos, path, "", "must be a mapping, not %s", n.kind)
		return
	}
	s.svc.config = d.expandTree(n, path)
	var e emitter
	e.block(s.svc.config, 0)
	s.svc.Config = []byte(e.String())
}

// expandTree returns n with every string in it expanded.
func (d *decoder) expandTree(n *node, path string) *node {
	expanded := *n
	expanded.fields, expanded.items = nil, nil
	if n.kind == stringKind {
		t := d.text(n, path)
		expanded.text, expanded.plain = t.value, n.plain && t.value == n.text
		if !utf8.ValidString(t.value) {
			d.fail(n.pos, path, "", "its value is not UTF-8 text")
		}
	}
	for _, f := range n.fields {
		f.value = d.expandTree(f.value, join(path, f.key))
		expanded.fields = append(expanded.fields, f)
	}
	for i, item := range n.items {
		expanded.items = append(expanded.items, d.expandTree(item, index(path, i)))
	}
	return &expanded
}

// checkMachine checks what depends on who runs bhnode: accounts need root, and
// root does not run what others may write.
func (d *decoder) checkMachine(s *draft) {
	if s.svc.User != "" {
		s.o.needsRoot("user")
	}
	if s.svc.Group != "" {
		s.o.needsRoot("group")
	}
	if !s.builtIn {
		d.checkBinary(s.o.pos("command"), s.o.at("command"), s.svc.Command)
	}
	for _, key := range []string{"pre_start", "post_stop"} {
		hooks := s.svc.Hooks.PreStart
		if key == "post_stop" {
			hooks = s.svc.Hooks.PostStop
		}
		for _, argv := range hooks {
			d.checkBinary(s.hooks.pos(key), s.hooks.at(key), argv)
		}
	}
	if s.svc.Probe.Type == proc.ProbeExec {
		d.checkBinary(s.health.pos("target"), s.health.at("target"), s.svc.Probe.Argv)
	}
}

// ownFile tells whether the log or the directory of a service of this name would be in the
// place of what bhnode keeps: its log, its journal, and earlier configurations.
func ownFile(service string) bool {
	return service == "bhnode" || service == "configs" || strings.HasPrefix(service, "events.jsonl")
}

func (d *decoder) checkBinary(at pos, path string, argv []string) {
	if len(argv) == 0 || !filepath.IsAbs(argv[0]) {
		return
	}
	why, known := d.trust[argv[0]]
	if !known {
		why = d.machine.distrustPath(argv[0])
		if d.trust == nil {
			d.trust = map[string]string{}
		}
		d.trust[argv[0]] = why
	}
	if why != "" {
		d.fail(at, path, "", "%s: %s", argv[0], why)
	}
}
