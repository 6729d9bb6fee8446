package configs

import (
	"syscall"
	"time"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

var (
	restartTypes = []choice[supervision.Restart]{
		{"permanent", supervision.Permanent},
		{"transient", supervision.Transient},
		{"temporary", supervision.Temporary},
		{"always", supervision.Permanent},
		{"on_failure", supervision.Transient},
		{"never", supervision.Temporary},
	}
	exhaustions = []choice[supervision.OnExhausted]{
		{"fail", supervision.Fail},
		{"keep", supervision.Keep},
		{"escalate", supervision.Escalate},
	}
)

// The words that stand in place of a number or a duration.
const (
	unlimited  = "unlimited"
	infinity   = "infinity"
	brutalKill = "brutal_kill"
)

// defaultBackoff is the back-off of services and nested supervisors.
var defaultBackoff = supervision.Backoff{
	Initial: time.Second, Max: 5 * time.Minute, Factor: 2, Jitter: 0.1, ResetAfter: time.Minute,
}

// readRestart reads when and how often a service is restarted.
func (d *decoder) readRestart(s *draft) {
	o := s.o.child("restart")
	s.restart = o
	child := &s.svc.child
	s.typed = o.has("type")
	child.Restart = pick(o, "type", supervision.Permanent, restartTypes)
	child.OnExhausted = pick(o, "on_exhausted", supervision.Fail, exhaustions)
	child.Intensity = d.readIntensity(o)
	child.Backoff = supervision.Backoff{
		Initial:    o.duration("initial_delay", defaultBackoff.Initial, 0),
		Max:        o.duration("max_delay", defaultBackoff.Max, 0),
		Factor:     o.number("backoff_factor", defaultBackoff.Factor, 1, 1000),
		Jitter:     o.number("jitter", defaultBackoff.Jitter, 0, 1),
		ResetAfter: o.duration("reset_after", defaultBackoff.ResetAfter, 0),
	}
	if b := child.Backoff; b.Initial > b.Max {
		o.fail("initial_delay", "", "is %s, longer than max_delay, which is %s", supervision.FormatDuration(b.Initial), supervision.FormatDuration(b.Max))
	}
	d.readSuccess(s, o)
	o.done()
}

// readIntensity reads the service's own limit, nil if it has none.
func (d *decoder) readIntensity(o *object) *supervision.Intensity {
	defer o.takes("max_restarts", shape{kind: shapeInteger, high: maxInt, words: []string{unlimited}, fallback: 5})
	limit := supervision.Intensity{Max: 5, Period: o.duration("restart_window", time.Hour, time.Millisecond)}
	if n := o.get("max_restarts"); n != nil && n.kind == stringKind {
		t, ok := d.scalar(n, o.at("max_restarts"), "an integer")
		switch {
		case !ok:
			return &limit
		case t.value == unlimited:
			return nil
		case !t.foreign:
			o.fail("max_restarts", suggest(t.value, []string{unlimited}), "must be an integer or %s, not %s", unlimited, quoted(t))
			return &limit
		}
	}
	limit.Max = o.integer("max_restarts", limit.Max, 0, maxInt)
	return &limit
}

// readSuccess reads the exit codes and signals that end a service normally.
func (d *decoder) readSuccess(s *draft, o *object) {
	o.takes("success_codes", shape{kind: shapeList})
	n := o.get("success_codes")
	if n == nil || n.kind == nullKind {
		return
	}
	if n.kind != listKind {
		o.fail("success_codes", "", "must be a list of exit codes and signals, not %s", n.kind)
		return
	}
	for i, item := range n.items {
		path := index(o.at("success_codes"), i)
		t, ok := d.scalar(item, path, "an exit code or a signal")
		if !ok {
			continue
		}
		code, err := parseInt(t.value)
		sig, named := parseSignal(t.value)
		switch {
		case err == nil && code >= 0 && code <= 255:
			s.svc.SuccessCodes = append(s.svc.SuccessCodes, code)
		case err == nil:
			d.fail(item.pos, path, "", "an exit code lies between 0 and 255, not %s", t.masked)
		case named:
			s.svc.SuccessSignals = append(s.svc.SuccessSignals, sig)
		default:
			d.fail(item.pos, path, "", "must be an exit code or a signal such as SIGTERM, not %s", shown(item, t))
		}
	}
}

// readShutdown reads how a service is stopped.
func (d *decoder) readShutdown(s *draft) {
	o := s.o.child("shutdown")
	s.svc.StopSignal = o.signal("signal", syscall.SIGTERM)
	grace, word := o.durationOr("timeout", 30*time.Second, 0, infinity, brutalKill)
	switch word {
	case infinity:
		s.svc.child.Shutdown = supervision.Shutdown{Mode: supervision.Infinity}
	case brutalKill:
		s.svc.child.Shutdown = supervision.Shutdown{Mode: supervision.BrutalKill}
		s.svc.StopGrace = time.Nanosecond
	default:
		s.svc.child.Shutdown = supervision.Shutdown{Mode: supervision.Timed, Grace: grace}
		s.svc.StopGrace = max(grace, time.Nanosecond)
	}
	o.done()
}

// signal reads the name of a signal, with or without SIG.
func (o *object) signal(key string, fallback syscall.Signal) syscall.Signal {
	o.takes(key, shape{kind: shapeSignal, fallback: proc.SignalName(fallback)})
	t, n, ok := o.scalar(key, "a signal")
	if !ok {
		return fallback
	}
	sig, known := parseSignal(t.value)
	if !known {
		o.fail(key, "", "must be a signal such as SIGTERM, not %s", shown(n, t))
		return fallback
	}
	return sig
}
