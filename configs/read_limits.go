package configs

import (
	"io/fs"
	"slices"
	"strings"

	"github.com/blackhole/bhnode/proc"
)

func (d *decoder) readResources(s *draft) {
	o := s.o.child("resources")
	s.svc.Limits = proc.Limits{
		CPUPercent: o.integer("cpu_percent", 0, 0, maxInt),
		MemoryMB:   o.integer("memory_mb", 0, 0, maxInt),
		IOWeight:   o.integer("io_weight", 0, 0, 10_000),
		OpenFiles:  o.integer("open_files", 0, 0, maxInt),
		Processes:  o.integer("processes", 0, 0, maxInt),
		Required:   o.boolean("required", false),
	}
	o.done()
}

// readBirth reads what a process is born with, besides its limits.
func (d *decoder) readBirth(s *draft) {
	s.o.takes("nice", shape{kind: shapeInteger, low: -20, high: 19})
	s.o.takes("oom_score_adj", shape{kind: shapeInteger, low: -1000, high: 1000})
	s.o.takes("umask", shape{kind: shapeMode})
	if s.o.has("nice") {
		s.svc.Nice = new(s.o.integer("nice", 0, -20, 19))
	}
	if s.o.has("oom_score_adj") {
		s.svc.OOMScoreAdj = new(s.o.integer("oom_score_adj", 0, -1000, 1000))
	}
	if s.o.has("umask") {
		s.svc.Umask = new(s.o.mode("umask", fs.FileMode(0)))
	}
	s.svc.NoNewPrivileges = s.o.boolean("no_new_privileges", s.svc.User != "")
	d.readCapabilities(s)
}

// readCapabilities reads the capabilities that a service keeps, of all there are.
func (d *decoder) readCapabilities(s *draft) {
	s.o.takes("capabilities", shape{kind: shapeList})
	n := s.o.get("capabilities")
	switch {
	case n == nil || n.kind == nullKind:
		return
	case n.kind != listKind:
		s.o.fail("capabilities", "write [] for none", "must be a list of names, not %s", n.kind)
		return
	}
	known, names := proc.CapabilityNames(), []string{}
	for i, item := range n.items {
		path := index(s.o.at("capabilities"), i)
		t, ok := d.scalar(item, path, "the name of a capability")
		if !ok || !d.notRuntime(item, path, t) {
			continue
		}
		name := "CAP_" + strings.TrimPrefix(strings.ToUpper(t.value), "CAP_")
		if !slices.Contains(known, name) {
			d.fail(item.pos, path, suggest(name, known), "there is no capability %s", quoted(t))
			continue
		}
		names = append(names, name)
	}
	s.svc.Capabilities = &names
}
