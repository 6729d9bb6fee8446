package configs

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

var (
	probeTypes = []choice[proc.ProbeType]{
		{"grpc", proc.ProbeGRPC},
		{"http", proc.ProbeHTTP},
		{"tcp", proc.ProbeTCP},
		{"exec", proc.ProbeExec},
		{"notify", proc.ProbeNotify},
		{"log", proc.ProbeLog},
		{"none", proc.ProbeNone},
	}
	unhealthyActs = []choice[supervision.OnUnhealthy]{
		{"restart", supervision.RestartUnhealthy},
		{"report", supervision.ReportUnhealthy},
	}
)

// readHealth reads how a service is watched; its target waits for completeHealth.
func (d *decoder) readHealth(s *draft) {
	o := s.o.child("health_check")
	s.health = o
	s.svc.Probe = proc.ProbeSpec{
		Type:    pick(o, "type", "", probeTypes),
		Timeout: o.duration("timeout", 3*time.Second, time.Millisecond),
	}
	o.takes("target", shape{kind: shapeCommand})
	o.get("target")
	h := supervision.HealthSpec{
		Interval:    o.duration("interval", 5*time.Second, time.Millisecond),
		Retries:     o.integer("retries", 3, 1, maxInt),
		Successes:   o.integer("successes", 1, 1, maxInt),
		OnUnhealthy: pick(o, "on_unhealthy", supervision.RestartUnhealthy, unhealthyActs),
	}
	h.StartInterval = o.duration("start_interval", min(200*time.Millisecond, h.Interval), time.Millisecond)
	if h.StartInterval > h.Interval {
		o.fail("start_interval", "", "is %s, longer than interval, which is %s", supervision.FormatDuration(h.StartInterval), supervision.FormatDuration(h.Interval))
	}
	h.StartPeriod, _ = o.durationOr("start_period", 30*time.Second, time.Millisecond, infinity)
	s.svc.Health = h
	o.done()
}

// completeHealth settles the type and the target, which depend on the rest of the
// service.
func (d *decoder) completeHealth(s *draft) {
	p := &s.svc.Probe
	reachable := s.svc.UnixSocket != "" || s.svc.TCPPort != 0
	if p.Type == "" {
		p.Type = proc.ProbeNone
		if s.builtIn || (s.o.has("health_check") && reachable) {
			p.Type = proc.ProbeGRPC
		}
	}
	target := s.health.get("target")
	path := s.health.at("target")
	switch p.Type {
	case proc.ProbeNone, proc.ProbeNotify:
		if target != nil {
			s.health.fail("target", "", "a check of type %s has no target", p.Type)
		}
	case proc.ProbeExec:
		if target == nil {
			s.health.fail("target", "", "is missing: the command that checks")
			return
		}
		p.Argv = d.argv(target, path)
	case proc.ProbeGRPC, proc.ProbeTCP:
		if target == nil {
			p.Target = d.defaultTarget(s)
			return
		}
		d.readTarget(s, "", d.address)
	case proc.ProbeHTTP:
		d.readTarget(s, "the URL", d.httpURL)
	case proc.ProbeLog:
		d.readTarget(s, "the regular expression a line must match", d.pattern)
	}
}

// defaultTarget is where the service itself listens.
func (d *decoder) defaultTarget(s *draft) string {
	switch {
	case s.svc.UnixSocket != "":
		d.derive(s.health.at("target"), s.o.at("unix_socket"), "unix:", "")
		return "unix:" + s.svc.UnixSocket
	case s.svc.TCPPort != 0:
		d.derive(s.health.at("target"), s.o.at("tcp_port"), "127.0.0.1:", "")
		return "127.0.0.1:" + strconv.Itoa(s.svc.TCPPort)
	}
	s.health.fail("target", "", "is missing, and the service has neither unix_socket nor tcp_port")
	return ""
}

// readTarget reads a target that is one string; missing says what it is. A target
// that names ${BLACKHOLE_…} is complete only when the service starts and not
// checked here.
func (d *decoder) readTarget(s *draft, missing string, check func(*draft, text) string) {
	if !s.health.has("target") {
		s.health.fail("target", "", "is missing: %s", missing)
		return
	}
	t, _, ok := s.health.scalar("target", "a string")
	switch {
	case !ok:
	case t.refs:
		s.svc.Probe.Target = t.runtime
	default:
		s.svc.Probe.Target = forProc(check(s, t), false)
	}
}

// address checks unix:PATH or HOST:PORT and makes the path absolute.
func (d *decoder) address(s *draft, t text) string {
	if path, unix := strings.CutPrefix(t.value, "unix:"); unix {
		path = absolute(d.socketBase, strings.TrimPrefix(path, "//"))
		s.health.socketFits("target", path)
		return "unix:" + path
	}
	host, port, err := net.SplitHostPort(t.value)
	n, portErr := strconv.Atoi(port)
	if err != nil || portErr != nil || host == "" || n < 1 || n > 65535 {
		s.health.fail("target", "", "must be unix:PATH or HOST:PORT, not %s", quoted(t))
	}
	return t.value
}

func (d *decoder) httpURL(s *draft, t text) string {
	u, err := url.Parse(t.value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		s.health.fail("target", "", "must be a URL such as http://127.0.0.1:8080/healthz, not %s", quoted(t))
	}
	return t.value
}

func (d *decoder) pattern(s *draft, t text) string {
	if _, err := regexp.Compile(t.value); err != nil {
		why := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		if t.foreign {
			why = quoted(t) // the error names parts of the value
		}
		s.health.fail("target", "", "is no regular expression: %s", why)
	}
	return t.value
}
