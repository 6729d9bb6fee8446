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
	if e.GetService() != "" {
		if text := in.toldOfService(g); text != "" {
			return who + " " + text
		}
	}
	switch e.GetType() {
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

// toldOfService is what happened to a service; "" where that has no words.
func (in *inquiry) toldOfService(g link) string {
	e, when := g.at, ago(in.now, g.at.GetTime())
	switch e.GetType() {
	case supervision.ServiceStarting, supervision.ServiceStarted, supervision.ServiceReady:
		return in.started(g) + " " + when + afterDelay(g.delay)
	case supervision.ServiceWaiting:
		return in.waiting(e)
	case supervision.ServiceExited:
		return in.exited(e)
	case supervision.ServiceStopped:
		return "was stopped" + killed(e) + " " + when
	case supervision.ServiceStopping:
		return "was ordered to stop " + when
	case supervision.ServiceBackoff:
		return in.backoff(e)
	case supervision.ServiceStuck:
		return "got stuck " + when + detail(e)
	case supervision.ServiceCompleted:
		return "completed " + when + exitOf(in.before(e))
	case supervision.ServiceFailed:
		return "failed " + when + in.exhausted(e)
	case supervision.ServiceUnhealthy:
		return "became unhealthy " + when + detail(e)
	case supervision.ServiceHealthy:
		return "became healthy again " + when
	}
	return ""
}

// exited says how a life ended; what ended it comes after the time where it is
// long.
func (in *inquiry) exited(e *bhnodev1.Event) string {
	verb, how := ended(e)
	switch when := ago(in.now, e.GetTime()); attr(e, "reason") {
	case string(supervision.ReasonStartTimeout), string(supervision.ReasonSpawnError):
		return verb + " " + when + detail(e)
	default:
		return verb + how + " " + when + in.unready(e)
	}
}

// because names a cause in the sentence about what it brought about.
// meanwhile says what happened during the pause.
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
		return fmt.Sprintf("began to wait %s %s", e.GetMessage(), ago(in.now, e.GetTime()))
	}
	text := "has been waiting for " + span(in.now.Sub(e.GetTime().AsTime()))
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
// related says what a restarted child is to the service of an event.
// operator is who gave which command.
// reach says why a command that names others concerns the service of an event.
