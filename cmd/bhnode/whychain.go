package main

import (
	"slices"
	"strings"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// explain adds the steps that led to the present state of a service or
// supervisor.
func (in *inquiry) explain(name string) {
	if in.asked[name] {
		return
	}
	in.asked[name] = true
	if s := in.services[name]; s != nil {
		in.explainService(s)
	} else {
		in.explainSupervisor(name)
	}
}

func (in *inquiry) explainService(s *bhnodev1.Service) {
	name := s.GetName()
	mine := in.about[name]
	switch s.GetState() { //nolint:exhaustive // of the others the last event tells
	case bhnodev1.ServiceState_SERVICE_STATE_DISABLED:
		return
	case bhnodev1.ServiceState_SERVICE_STATE_STARTING, bhnodev1.ServiceState_SERVICE_STATE_RUNNING,
		bhnodev1.ServiceState_SERVICE_STATE_UNHEALTHY:
		in.walk(last(mine, supervision.ServiceReady, supervision.ServiceStarted, supervision.ServiceStarting))
		if h := last(mine, supervision.ServiceHealthy, supervision.ServiceUnhealthy); h.GetIncarnation() == s.GetIncarnation() {
			in.walk(h)
		}
		return
	case bhnodev1.ServiceState_SERVICE_STATE_WAITING:
		in.walk(last(mine))
		for _, d := range s.GetDependsOn() {
			if waitsFor(s, d) {
				in.explain(d)
			}
		}
	default:
		in.walk(last(mine))
	}
	in.explainDown(s)
}

// explainDown adds what keeps a service down that no event about it tells.
func (in *inquiry) explainDown(s *bhnodev1.Service) {
	name := s.GetName()
	if s.GetReason() == bhnodev1.Reason_REASON_HELD {
		if s.GetHeld() {
			in.walk(in.lastStop(name))
		}
		for _, d := range s.GetDependsOn() {
			if in.services[d].GetReason() == bhnodev1.Reason_REASON_HELD {
				in.explain(d)
			}
		}
		return
	}
	for at, ok := in.parent[name]; ok; at, ok = in.parent[at] {
		switch n := in.nodes[at]; {
		case n.GetPaused():
			in.walk(in.lastOf(at, supervision.SupervisorPaused))
		case n.GetState() == bhnodev1.ServiceState_SERVICE_STATE_STOPPED, n.GetState() == bhnodev1.ServiceState_SERVICE_STATE_BACKOFF,
			n.GetState() == bhnodev1.ServiceState_SERVICE_STATE_STOPPING:
			in.explain(at)
		}
	}
	if stop := last(in.events, supervision.NodeStarting, supervision.NodeStopping); stop.GetType() == supervision.NodeStopping || len(in.steps) == 0 {
		in.walk(stop)
	}
}

// explainSupervisor starts from what happened last to a supervisor, or what it did
// last; one to which nothing happened is as it is since the node started.
func (in *inquiry) explainSupervisor(name string) {
	started := last(in.events, supervision.NodeStarting, supervision.NodeStopping)
	var latest *bhnodev1.Event
	for _, e := range in.events {
		if strings.HasPrefix(e.GetType(), "supervisor.") && (e.GetSupervisor() == name || attr(e, "child") == name) {
			latest = e
		}
	}
	if _, has := in.parent[name]; latest.GetSeq() < started.GetSeq() || !has && started.GetType() == supervision.NodeStopping {
		latest = started
	}
	in.walk(in.real(latest))
}

// walk adds the step of an event and of all that led to it.
func (in *inquiry) walk(e *bhnodev1.Event) {
	for e != nil {
		g := in.gather(e)
		if _, known := in.steps[g.at.GetSeq()]; known {
			return
		}
		in.steps[g.at.GetSeq()] = step{g.at, in.sentence(g)}
		if end := in.endInPause(g.at, g.cause); end != nil {
			in.walk(end)
		}
		e = g.cause
	}
}

// link is one step of a chain: the events about one turn in the life of one
// child, and what made it happen.
type link struct {
	at    *bhnodev1.Event // what the sentence is about
	cause *bhnodev1.Event
	delay *bhnodev1.Event // the back-off before a start
	// through is the restart that brought a service's own start about; the sentence
	// names what is behind it.
	through *bhnodev1.Event
}

// gather finds the step that an event belongs to.
func (in *inquiry) gather(e *bhnodev1.Event) link {
	switch e.GetType() {
	case supervision.ServiceReady, supervision.ServiceStarted, supervision.ServiceStarting:
		return in.gatherStart(e)
	case supervision.ServiceStopped, supervision.ServiceStuck:
		g := link{at: e}
		e = in.skip(e, e.GetService(), supervision.ServiceStopping)
		g.cause = in.real(in.before(e))
		return g
	case supervision.ServiceCompleted:
		exit := in.skip(e, e.GetService(), supervision.ServiceExited)
		return link{at: e, cause: in.real(in.before(exit))}
	case supervision.ServiceBackoff:
		g := link{at: e, cause: in.before(e)}
		if g.cause.GetType() == supervision.SupervisorRestarting {
			g.through = in.real(in.before(g.cause))
		}
		return g
	}
	return link{at: e, cause: in.real(in.before(e))}
}

// gatherStart goes back from a start to what brought it about: over its back-off,
// its wait and the ordered stop before it.
func (in *inquiry) gatherStart(e *bhnodev1.Event) link {
	name := e.GetService()
	e = in.skip(e, name, supervision.ServiceStarted, supervision.ServiceStarting)
	g := link{at: e}
	for {
		c := in.before(e)
		if c.GetService() != name || !slices.Contains(between, c.GetType()) {
			g.cause = in.real(c)
			break
		}
		if c.GetType() == supervision.ServiceBackoff {
			g.delay = c
		}
		e = c
	}
	if g.cause.GetType() == supervision.SupervisorRestarting && attr(g.cause, "child") == name {
		g.through = in.real(in.before(g.cause))
	}
	return g
}

// endInPause is the end that was dealt with when a supervisor was resumed; nil if
// the cause of the event is no such thing.
func (in *inquiry) endInPause(e, cause *bhnodev1.Event) *bhnodev1.Event {
	if cause.GetType() != supervision.SupervisorResumed {
		return nil
	}
	name := e.GetService()
	if name == "" {
		name = attr(e, "child")
	}
	return lastBefore(in.about[name], cause, supervision.ServiceExited)
}

// between are the events of a service between an end and the start after it.
var between = []string{
	supervision.ServiceBackoff, supervision.ServiceWaiting, supervision.ServiceStopped, supervision.ServiceStopping,
}

// skip follows the causes of an event while they are of these types and about the
// same service, and returns the last of them.
func (in *inquiry) skip(e *bhnodev1.Event, name string, types ...string) *bhnodev1.Event {
	for {
		c := in.before(e)
		if c.GetService() != name || !slices.Contains(types, c.GetType()) {
			return e
		}
		e = c
	}
}

// before is the cause of an event, nil if it has none.
func (in *inquiry) before(e *bhnodev1.Event) *bhnodev1.Event {
	if e.GetCause() == 0 {
		return nil
	}
	c := in.bySeq[e.GetCause()]
	if c == nil {
		in.lost = e.GetCause()
	}
	return c
}

// real is the event that a cause stands for: of a supervisor that was told that
// another gave up, that one's; of a back-off that others are stopped in, the
// restart it belongs to.
func (in *inquiry) real(e *bhnodev1.Event) *bhnodev1.Event {
	for e.GetType() == supervision.SupervisorEscalated || e.GetType() == supervision.ServiceBackoff {
		c := in.before(e)
		if c == nil {
			return e
		}
		e = c
	}
	return e
}

// lastStop is the operator's command that holds a service.
func (in *inquiry) lastStop(name string) *bhnodev1.Event {
	for _, e := range slices.Backward(in.events) {
		verb, names := command(e)
		if verb == "stop" && slices.ContainsFunc(names, func(n string) bool { return n == name || n == "--all" || in.below(name, n) }) {
			return e
		}
	}
	return nil
}

// command is the verb of an operator's command and the words behind it.
func command(e *bhnodev1.Event) (verb string, words []string) {
	fields := strings.Fields(e.GetMessage())
	if e.GetType() != supervision.OperatorCommand || len(fields) == 0 {
		return "", nil
	}
	return fields[0], fields[1:]
}

func (in *inquiry) lastOf(supervisor, kind string) *bhnodev1.Event {
	for _, e := range slices.Backward(in.events) {
		if e.GetSupervisor() == supervisor && e.GetType() == kind {
			return e
		}
	}
	return nil
}

// last is the last event of one of these types, or of any.
func last(events []*bhnodev1.Event, types ...string) *bhnodev1.Event {
	for _, e := range slices.Backward(events) {
		if len(types) == 0 || slices.Contains(types, e.GetType()) {
			return e
		}
	}
	return nil
}

func lastBefore(events []*bhnodev1.Event, limit *bhnodev1.Event, kind string) *bhnodev1.Event {
	for _, e := range slices.Backward(events) {
		if e.GetSeq() < limit.GetSeq() && e.GetType() == kind {
			return e
		}
	}
	return nil
}

// attr is an attribute of an event that is a string.
func attr(e *bhnodev1.Event, key string) string {
	return e.GetAttrs().GetFields()[key].GetStringValue()
}

// waitsFor tells whether a service waits for a dependency now.
func waitsFor(s *bhnodev1.Service, dependency string) bool {
	return strings.Contains(s.GetMessage(), " "+dependency+" (")
}
