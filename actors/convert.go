package actors

import (
	"encoding/json"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/proc/journal"
	"github.com/blackhole/bhnode/proc/logstore"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// states and reasons on the wire, by their names in supervision.
var (
	states = map[supervision.State]bhnodev1.ServiceState{
		supervision.StateStopped:   bhnodev1.ServiceState_SERVICE_STATE_STOPPED,
		supervision.StateWaiting:   bhnodev1.ServiceState_SERVICE_STATE_WAITING,
		supervision.StateStarting:  bhnodev1.ServiceState_SERVICE_STATE_STARTING,
		supervision.StateRunning:   bhnodev1.ServiceState_SERVICE_STATE_RUNNING,
		supervision.StateUnhealthy: bhnodev1.ServiceState_SERVICE_STATE_UNHEALTHY,
		supervision.StateStopping:  bhnodev1.ServiceState_SERVICE_STATE_STOPPING,
		supervision.StateStuck:     bhnodev1.ServiceState_SERVICE_STATE_STUCK,
		supervision.StateBackoff:   bhnodev1.ServiceState_SERVICE_STATE_BACKOFF,
		supervision.StateCompleted: bhnodev1.ServiceState_SERVICE_STATE_COMPLETED,
		supervision.StateFailed:    bhnodev1.ServiceState_SERVICE_STATE_FAILED,
	}
	reasons = map[supervision.Reason]bhnodev1.Reason{
		supervision.ReasonExit:         bhnodev1.Reason_REASON_EXIT,
		supervision.ReasonSignal:       bhnodev1.Reason_REASON_SIGNAL,
		supervision.ReasonOOM:          bhnodev1.Reason_REASON_OOM,
		supervision.ReasonProbe:        bhnodev1.Reason_REASON_PROBE,
		supervision.ReasonStartTimeout: bhnodev1.Reason_REASON_START_TIMEOUT,
		supervision.ReasonSpawnError:   bhnodev1.Reason_REASON_SPAWN_ERROR,
		supervision.ReasonDependency:   bhnodev1.Reason_REASON_DEPENDENCY,
		supervision.ReasonStrategy:     bhnodev1.Reason_REASON_STRATEGY,
		supervision.ReasonOperator:     bhnodev1.Reason_REASON_OPERATOR,
		supervision.ReasonReload:       bhnodev1.Reason_REASON_RELOAD,
		supervision.ReasonStuck:        bhnodev1.Reason_REASON_STUCK,
		supervision.ReasonHeld:         bhnodev1.Reason_REASON_HELD,
		supervision.ReasonTemporary:    bhnodev1.Reason_REASON_TEMPORARY,
	}
)

// healthOf is the health of a service or supervisor.
func healthOf(v supervision.View) bhnodev1.Health {
	switch v.State {
	case supervision.StateRunning:
		return bhnodev1.Health_HEALTH_HEALTHY
	case supervision.StateUnhealthy:
		return bhnodev1.Health_HEALTH_UNHEALTHY
	case supervision.StateStarting:
		return bhnodev1.Health_HEALTH_UNKNOWN
	case supervision.StateStopped, supervision.StateWaiting, supervision.StateStopping, supervision.StateStuck,
		supervision.StateBackoff, supervision.StateCompleted, supervision.StateFailed:
	}
	return bhnodev1.Health_HEALTH_DOWN
}

// nodeState is the state of the root supervisor.
func nodeState(views []supervision.View) bhnodev1.NodeState {
	switch views[0].State {
	case supervision.StateRunning:
		return bhnodev1.NodeState_NODE_STATE_READY
	case supervision.StateStarting:
		return bhnodev1.NodeState_NODE_STATE_STARTING
	case supervision.StateStopped, supervision.StateWaiting, supervision.StateUnhealthy, supervision.StateStopping,
		supervision.StateStuck, supervision.StateBackoff, supervision.StateCompleted, supervision.StateFailed:
	}
	return bhnodev1.NodeState_NODE_STATE_STOPPING
}

// fill writes what a service's actor knows.
func fill(out *bhnodev1.Service, d Detail, v supervision.View, now time.Time) {
	if d.Incarnation == v.Incarnation && d.Pid != 0 {
		out.Pid = new(int32(d.Pid)) //nolint:gosec // a pid fits
		out.StartedAt = timestamppb.New(d.StartedAt)
		out.Uptime = durationpb.New(now.Sub(d.StartedAt))
	}
	if d.Exit != nil {
		out.Exit = exitOf(*d.Exit)
	}
	out.HealthDetail = &bhnodev1.HealthDetail{}
	if d.Probed {
		out.HealthDetail.LastCheck = timestamppb.New(d.LastCheck)
		out.HealthDetail.Latency = durationpb.New(d.Latency)
		out.HealthDetail.Failures = int32(d.Failures) //nolint:gosec // a small count
		if d.LastError != "" {
			out.HealthDetail.LastError = new(d.LastError)
		}
	}
}

// isolation tells what holds the services of this node.
func (n *nodeContext) isolation() *bhnodev1.Isolation {
	out := isolationOf(n.backend.Isolation())
	for _, s := range n.services.all() {
		for _, l := range s.limits {
			if l.Why != "" && !slices.Contains(out.GetUnenforced(), l.Limit) {
				out.Unenforced = append(out.Unenforced, l.Limit)
			}
		}
	}
	return out
}

func isolationOf(i proc.Isolation) *bhnodev1.Isolation {
	out := &bhnodev1.Isolation{Backend: i.Backend, Tracking: i.Tracking, Whole: i.Whole, Path: i.Path}
	for _, p := range i.Problems {
		out.Problems = append(out.Problems, &bhnodev1.Problem{What: p.What, Why: p.Why, Help: p.Help})
	}
	return out
}

func limitsOf(limits []proc.Enforcement) []*bhnodev1.Limit {
	out := make([]*bhnodev1.Limit, len(limits))
	for i, l := range limits {
		out[i] = &bhnodev1.Limit{Name: l.Limit, Value: l.Value, EnforcedBy: l.By, Why: l.Why, Help: l.Help}
	}
	return out
}

// countersOf is what the kernel counted of the present life, or of the last.
func countersOf(d Detail) *bhnodev1.Counters {
	if d.Gauge == nil {
		return nil
	}
	c := d.Gauge.Counters()
	return &bhnodev1.Counters{
		OomKills: c.OOMKills, ThrottledPeriods: c.ThrottledPeriods, Throttled: durationpb.New(c.Throttled), ForksRefused: c.PidsRefused,
	}
}

func exitOf(e proc.Exit) *bhnodev1.Exit {
	out := &bhnodev1.Exit{OomKilled: e.OOMKilled, Time: timestamppb.New(e.At)}
	switch {
	case e.Signal != 0:
		out.Signal = new(proc.SignalName(e.Signal))
	case e.Known:
		out.Code = new(int32(e.Code)) //nolint:gosec // an exit code fits
	}
	return out
}

// EventOf is a record of the journal on the wire.
func EventOf(r journal.Record) *bhnodev1.Event {
	e := &bhnodev1.Event{
		Seq: r.Seq, Time: timestamppb.New(r.Time), Type: r.Type, Service: r.Service, Supervisor: r.Supervisor,
		Incarnation: r.Incarnation, Pid: int32(r.Pid), Cause: r.Cause, Message: r.Message, //nolint:gosec // a pid fits
	}
	if len(r.Attrs) == 0 {
		return e
	}
	attrs := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(r.Attrs))}
	for name, value := range r.Attrs {
		v, err := valueOf(value)
		if err != nil {
			return e // an attribute that is no JSON is not worth an event
		}
		attrs.Fields[name] = v
	}
	e.Attrs = attrs
	return e
}

// valueOf is an attribute on the wire.
func valueOf(attr any) (*structpb.Value, error) {
	switch attr.(type) {
	case string, bool, int, uint64, float64:
		if v, err := structpb.NewValue(attr); err == nil { // else a text that is no UTF-8
			return v, nil
		}
	}
	raw, err := json.Marshal(attr)
	if err != nil {
		return nil, err
	}
	v := &structpb.Value{}
	return v, protojson.Unmarshal(raw, v)
}

// LineOf is a line of a log on the wire.
func LineOf(e logstore.Entry) *bhnodev1.LogEntry {
	if e.Message == nil {
		logstore.Parse(&e)
	}
	return &bhnodev1.LogEntry{
		Time: timestamppb.New(e.Time), Service: e.Service, Stream: e.Stream, Pid: int32(e.Pid), Seq: e.Seq, //nolint:gosec // a pid fits
		Message: e.Message, Level: e.Level, Fields: e.Fields, Partial: e.Partial,
	}
}
