package main

import (
	"fmt"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

func (in *inquiry) because(e, cause *bhnodev1.Event) string {
	if cause == nil || e.GetType() == supervision.ServiceWaiting {
		return ""
	}
	who := subject(cause)
	self := who == subject(e)
	if self {
		who = "it"
	}
	switch cause.GetType() {
	case supervision.ServiceReady, supervision.ServiceHealthy:
		return who + in.needed(e, cause) + " " + in.again(cause)
	case supervision.ServiceStarted:
		return who + in.needed(e, cause) + " had started"
	case supervision.ServiceCompleted:
		return who + in.needed(e, cause) + " had completed"
	case supervision.ServiceFailed:
		return who + in.needed(e, cause) + " had failed"
	case supervision.ServiceExited:
		return who + " " + hadEnded(cause)
	case supervision.ServiceUnhealthy:
		return who + " had become unhealthy"
	case supervision.ServiceStuck:
		return who + " was stuck"
	case supervision.ServiceStopping, supervision.ServiceStopped:
		return who + " was stopped"
	case supervision.SupervisorRestarting:
		return in.restarted(cause) + in.related(e, attr(cause, "child"))
	case supervision.SupervisorGaveUp:
		return who + " gave up"
	case supervision.SupervisorPaused:
		return who + " was paused"
	case supervision.SupervisorResumed:
		return who + " was resumed" + in.meanwhile(e, cause)
	case supervision.OperatorCommand:
		return operator(cause) + in.reach(e, cause)
	case supervision.NodeStarting:
		return "the node started"
	case supervision.NodeStopping:
		return "the node began to stop"
	}
	return fmt.Sprintf("of event %d (%s)", cause.GetSeq(), cause.GetType())
}

func (in *inquiry) meanwhile(e, resumed *bhnodev1.Event) string {
	end := in.endInPause(e, resumed)
	switch {
	case end == nil:
		return ""
	case end.GetService() == e.GetService():
		return " and it " + hadEnded(end)
	}
	return " and " + end.GetService() + " " + hadEnded(end)
}

func (in *inquiry) again(e *bhnodev1.Event) string {
	if e.GetType() == supervision.ServiceHealthy || in.livedBefore(e) {
		return "was healthy again"
	}
	return "was healthy"
}

func (in *inquiry) needed(e, cause *bhnodev1.Event) string {
	if in.needs(e.GetService(), cause.GetService()) {
		return ", which it needs,"
	}
	return ""
}

func (in *inquiry) related(e *bhnodev1.Event, child string) string {
	switch {
	case in.needs(e.GetService(), child):
		return ", which it needs"
	case in.below(e.GetService(), child):
		return ", which it belongs to"
	case child != subject(e):
		return " and the others of its group"
	}
	return ""
}

func operator(e *bhnodev1.Event) string {
	who := attr(e, "who")
	if who == "" || who == "unknown" {
		who = "an operator"
	}
	return fmt.Sprintf("%s ran %q", who, "bhnode "+e.GetMessage())
}

func (in *inquiry) reach(e, cause *bhnodev1.Event) string {
	_, words := command(cause)
	for _, w := range words {
		if w == e.GetService() || w == e.GetSupervisor() || in.below(e.GetService(), w) {
			return ""
		}
	}
	for _, w := range words {
		switch {
		case in.needs(e.GetService(), w):
			return fmt.Sprintf(" and it needs %s", w)
		case in.needs(w, e.GetService()):
			return fmt.Sprintf(" and %s needs it", w)
		}
	}
	return ""
}
