package main

import (
	"fmt"
	"strings"
	"time"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// sentence tells one step of a chain.
func (in *inquiry) sentence(g link) string {
	text := in.told(g)
	cause := g.cause
	if g.through != nil {
		cause = g.through
	}
	if why := in.because(g.at, cause); why != "" {
		text += ", because " + why
	}
	return text + "."
}

// told is what happened, and when.
func (in *inquiry) told(g link) string {
	e, who, when := g.at, subject(g.at), ago(in.now, g.at.GetTime())
	switch e.GetType() {
	case supervision.ServiceStarting, supervision.ServiceStarted, supervision.ServiceReady:
		return who + " " + in.started(g) + " " + when + afterDelay(g.delay)
	case supervision.ServiceWaiting:
		return in.waiting(e)
	case supervision.ServiceExited:
		verb, how := ended(e)
		if attr(e, "reason") == string(supervision.ReasonStartTimeout) || attr(e, "reason") == string(supervision.ReasonSpawnError) {
			return who + " " + verb + " " + when + detail(e)
		}
		return who + " " + verb + how + " " + when + in.unready(e)
	case supervision.ServiceStopped:
		return who + " was stopped" + killed(e) + " " + when
	case supervision.ServiceStopping:
		return who + " was ordered to stop " + when
	case supervision.ServiceBackoff:
		return who + " " + in.backoff(e)
	case supervision.ServiceStuck:
		return who + " got stuck " + when + detail(e)
	case supervision.ServiceCompleted:
		return who + " completed " + when + exitOf(in.before(e))
	case supervision.ServiceFailed:
		return who + " failed " + when + in.exhausted(e)
	case supervision.ServiceUnhealthy:
		return who + " became unhealthy " + when + detail(e)
	case supervision.ServiceHealthy:
		return who + " became healthy again " + when
	case supervision.SupervisorRestarting:
		return in.restarted(e) + " " + when + with(e)
	case supervision.SupervisorGaveUp:
		return who + " gave up " + when + detail(e)
	case supervision.SupervisorPaused:
		return who + " was paused " + when + in.stillPaused(who)
	case supervision.SupervisorResumed:
		return who + " was resumed " + when
	case supervision.OperatorCommand:
		return operator(e) + " " + when
	case supervision.NodeStarting:
		return "the node started " + when
	case supervision.NodeStopping:
		text := "the node began to stop " + when
		if g.cause.GetType() == supervision.ServiceExited || g.cause == nil {
			text += detail(e) // the others say it themselves
		}
		return text
	}
	return fmt.Sprintf("%s: %s %s%s", who, e.GetType(), when, detail(e))
}

// because names a cause in the sentence about what it brought about.
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

// meanwhile says what happened during the pause.
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

// subject is whom an event is about.
func subject(e *bhnodev1.Event) string {
	if name := e.GetService() + e.GetSupervisor(); name != "" {
		return name
	}
	return "the node"
}

// started says whether it is a first start: of a service that has lived in this
// life of the node it is none.
func (in *inquiry) started(g link) string {
	if verb, _ := command(g.cause); verb == "start" || !in.livedBefore(g.at) {
		return "started"
	}
	return "restarted"
}

func (in *inquiry) livedBefore(e *bhnodev1.Event) bool {
	boot := lastBefore(in.events, e, supervision.NodeStarting)
	if boot == nil {
		return e.GetIncarnation() > 1
	}
	for _, x := range in.about[e.GetService()] {
		if x.GetSeq() > boot.GetSeq() && x.GetSeq() < e.GetSeq() && x.GetType() == supervision.ServiceStarting &&
			x.GetIncarnation() < e.GetIncarnation() {
			return true
		}
	}
	return false
}

// again says that a service became healthy, for the first time or once more.
func (in *inquiry) again(e *bhnodev1.Event) string {
	if e.GetType() == supervision.ServiceHealthy || in.livedBefore(e) {
		return "was healthy again"
	}
	return "was healthy"
}

func afterDelay(backoff *bhnodev1.Event) string {
	if d := seconds(backoff, "delay_seconds"); d > 0 {
		return " after a back-off of " + span(d)
	}
	return ""
}

func seconds(e *bhnodev1.Event, key string) time.Duration {
	return time.Duration(e.GetAttrs().GetFields()[key].GetNumberValue() * float64(time.Second))
}

// backoff says how long a service is still held back.
func (in *inquiry) backoff(e *bhnodev1.Event) string {
	began := e.GetTime().AsTime()
	text := fmt.Sprintf("has been in back-off for %s", span(in.now.Sub(began)))
	if left := began.Add(seconds(e, "delay_seconds")).Sub(in.now); left > 0 {
		text += fmt.Sprintf(" and starts in %s", span(left))
	}
	return text
}

// waiting says for whom a service waits, and how they are.
func (in *inquiry) waiting(e *bhnodev1.Event) string {
	s := in.services[e.GetService()]
	if s.GetState() != bhnodev1.ServiceState_SERVICE_STATE_WAITING {
		return fmt.Sprintf("%s began to wait %s %s", e.GetService(), e.GetMessage(), ago(in.now, e.GetTime()))
	}
	text := fmt.Sprintf("%s has been waiting for %s", e.GetService(), span(in.now.Sub(e.GetTime().AsTime())))
	var parts []string
	for part := range strings.SplitSeq(strings.TrimPrefix(e.GetMessage(), "for "), ", ") {
		name, condition, _ := strings.Cut(part, " (")
		if d := in.services[name]; d != nil && waitsFor(s, name) {
			parts = append(parts, fmt.Sprintf("for %s to be %s (it %s)", name, strings.TrimSuffix(condition, ")"), stateText(d.GetState())))
		}
	}
	if len(parts) > 0 {
		text += " " + list(parts)
	}
	return text
}

// stateText is a state in a sentence, behind "it".
func stateText(s bhnodev1.ServiceState) string {
	switch s { //nolint:exhaustive // the others are adjectives
	case bhnodev1.ServiceState_SERVICE_STATE_BACKOFF:
		return "is in back-off"
	case bhnodev1.ServiceState_SERVICE_STATE_FAILED, bhnodev1.ServiceState_SERVICE_STATE_COMPLETED:
		return "has " + stateWord(s)
	}
	return "is " + stateWord(s)
}

// ended says how a life ended: the verb, and in brackets how.
func ended(e *bhnodev1.Event) (verb, how string) {
	switch attr(e, "reason") {
	case string(supervision.ReasonSpawnError):
		return "could not be started", ""
	case string(supervision.ReasonStartTimeout):
		return "was stopped", ""
	case string(supervision.ReasonProbe):
		return "was stopped as unhealthy", ""
	case string(supervision.ReasonStrategy):
		return "ended", detail(e)
	}
	return "exited", exitOf(e)
}

// hadEnded is ended in the tense of what came before.
func hadEnded(e *bhnodev1.Event) string {
	switch attr(e, "reason") {
	case string(supervision.ReasonSpawnError):
		return "could not be started"
	case string(supervision.ReasonStartTimeout):
		return "had not become healthy in time"
	case string(supervision.ReasonProbe):
		return "had been stopped as unhealthy"
	}
	verb, how := ended(e)
	return "had " + verb + how
}

// exitOf is the exit code or the signal of an end, in brackets.
func exitOf(e *bhnodev1.Event) string { return strings.Replace(detail(e), "(exit ", "(code ", 1) }

// unready says that a life ended before its service was healthy.
func (in *inquiry) unready(e *bhnodev1.Event) string {
	switch attr(e, "reason") {
	case string(supervision.ReasonExit), string(supervision.ReasonSignal), string(supervision.ReasonOOM):
	default:
		return ""
	}
	for _, x := range in.about[e.GetService()] {
		if x.GetIncarnation() == e.GetIncarnation() && x.GetSeq() < e.GetSeq() &&
			(x.GetType() == supervision.ServiceReady || x.GetType() == "service.adopted") {
			return ""
		}
	}
	return ", before it was healthy"
}

// killed says that a stop took a KILL.
func killed(e *bhnodev1.Event) string {
	if strings.HasPrefix(e.GetMessage(), "SIGKILL") {
		return " (SIGKILL)"
	}
	return ""
}

// detail is the message of an event in brackets, on one line.
func detail(e *bhnodev1.Event) string {
	if text := strings.TrimRight(strings.Join(strings.Fields(e.GetMessage()), " "), "."); text != "" {
		return " (" + text + ")"
	}
	return ""
}

// exhausted says why a service is not restarted.
func (in *inquiry) exhausted(e *bhnodev1.Event) string {
	switch {
	case attr(e, "reason") == string(supervision.ReasonTemporary):
		return " for good, as a temporary service does"
	case in.before(e).GetMessage() == e.GetMessage():
		return " for good"
	}
	return detail(e)
}

func (in *inquiry) stillPaused(supervisor string) string {
	if in.nodes[supervisor].GetPaused() {
		return " and restarts nothing until it is resumed"
	}
	return ""
}

// restarted is a supervisor's decision, with its strategy.
func (in *inquiry) restarted(e *bhnodev1.Event) string {
	who := e.GetSupervisor()
	if s := attr(e, "strategy"); s != "" {
		who += " (" + s + ")"
	}
	return who + " restarted " + attr(e, "child")
}

// maxListed is how many names a sentence lists.
const maxListed = 8

// with names what a restart took with it.
func with(e *bhnodev1.Event) string {
	var names []string
	for _, v := range e.GetAttrs().GetFields()["with"].GetListValue().GetValues() {
		names = append(names, v.GetStringValue())
	}
	if len(names) == 0 {
		return ""
	}
	if more := len(names) - maxListed; more > 1 {
		names = append(names[:maxListed:maxListed], fmt.Sprintf("%d others", more))
	}
	return " and with it " + list(names)
}

func list(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// needed says how the service of an event stands to that of its cause.
func (in *inquiry) needed(e, cause *bhnodev1.Event) string {
	if in.needs(e.GetService(), cause.GetService()) {
		return ", which it needs,"
	}
	return ""
}

// related says what a restarted child is to the service of an event.
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

// operator is who gave which command.
func operator(e *bhnodev1.Event) string {
	who := attr(e, "who")
	if who == "" || who == "unknown" {
		who = "an operator"
	}
	return fmt.Sprintf("%s ran %q", who, "bhnode "+e.GetMessage())
}

// reach says why a command that names others concerns the service of an event.
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
