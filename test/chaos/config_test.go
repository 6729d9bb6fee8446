package chaos

import (
	"encoding/json"
	"path/filepath"
)

type object = map[string]any

// config is the plan as a configuration; JSON is YAML.
func (p *plan) config(dir string) []byte {
	services := object{}
	for _, s := range p.services {
		services[s.name] = s.config(filepath.Join(dir, "data", s.name))
	}
	root := p.supervisors[0]
	text, err := json.MarshalIndent(object{
		"node":       object{"name": filepath.Base(dir), "boot": "best_effort", "max_parallel_starts": p.parallel, "shutdown_timeout": "30s"},
		"metrics":    object{"listen": ""},
		"supervisor": root.settings(),
		"services":   services,
		"tree":       root.tree(),
	}, "", " ")
	if err != nil {
		panic(err) // it is made of words and numbers
	}
	return text
}

func (s *supervisor) settings() object {
	order := "graph"
	if s.sequence {
		order = "sequence"
	}
	return object{
		"strategy": s.strategy, "order": order, "max_restarts": s.max, "restart_window": s.window.String(), "auto_shutdown": s.auto,
	}
}

func (s *supervisor) tree() []any {
	var list []any
	for _, c := range s.children {
		switch c := c.(type) {
		case *service:
			list = append(list, c.name)
		case *supervisor:
			o := c.settings()
			o["supervisor"], o["restart"], o["initial_delay"], o["children"] = c.name, c.restart, c.delay.String(), c.tree()
			list = append(list, o)
		}
	}
	return list
}

func (s *service) config(data string) object {
	needs := object{}
	for _, e := range s.needs {
		needs[e.on.name] = object{"condition": e.when, "restart": e.restart}
	}
	command := []string{self, "serve", s.check, "child=" + s.child}
	if s.once {
		command = append(command, "once")
	}
	shutdown := object{"timeout": s.grace.String()}
	if s.brutal {
		shutdown["timeout"] = "brutal_kill"
	}
	restart := object{
		"type": s.restart, "max_restarts": s.max, "restart_window": s.window.String(), "initial_delay": s.delay.String(), "max_delay": "300ms",
		"backoff_factor": 1.5, "jitter": 0.1, "reset_after": "500ms", "on_exhausted": s.exhausted,
	}
	if s.max == never {
		restart["max_restarts"] = "unlimited"
		delete(restart, "on_exhausted")
		delete(restart, "restart_window")
	}
	return object{
		"command": command, "data_dir": data, "depends_on": needs, "health_check": s.healthCheck(data), "restart": restart, "shutdown": shutdown,
		"significant": s.weight,
	}
}

func (s *service) healthCheck(data string) object {
	o := object{"type": s.check}
	if s.check == "none" {
		return o
	}
	o["start_period"] = "4s"
	if s.report {
		o["on_unhealthy"] = "report"
	}
	switch s.check {
	case "tcp", "grpc":
		o["target"] = "unix:" + filepath.Join(data, sockFile)
	case "exec":
		o["target"] = []string{"test", "-e", filepath.Join(data, wellFile)}
	case "log":
		o["target"] = "^ready to serve"
		return o
	case "notify":
		return o
	}
	o["interval"], o["timeout"], o["retries"], o["start_interval"] = "250ms", "2s", 2, "30ms"
	return o
}
