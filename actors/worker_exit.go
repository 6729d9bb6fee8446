package actors

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// over reports the end of the incarnation, of which nothing is left.
func (w *worker) over(c actor.Context) {
	e := w.outcome()
	e.ID, e.Incarnation = w.spec.ID, w.inc
	if w.process != nil {
		exit := w.process.Exit()
		w.detail.Exit = &exit
	}
	w.cancelStart()
	w.detail.Pid = 0
	w.process, w.prober = nil, nil
	w.show()
	w.tell(c, e)
	if w.next != nil {
		next := *w.next
		w.next = nil
		w.start(c, next)
	}
}

func (w *worker) cancelStart() {
	if w.cancel != nil {
		w.cancel()
	}
}

// outcome is how the incarnation ended, for its restart.
func (w *worker) outcome() supervision.ChildExited {
	switch {
	case w.process == nil && w.ordered:
		return supervision.ChildExited{Kind: supervision.ShutdownExit, Reason: w.why, Detail: "stopped before it ran"}
	case w.process == nil:
		return w.failedStart()
	}
	exit := w.process.Exit()
	attrs := exitAttrs(exit)
	if w.verdict != nil {
		e := *w.verdict
		e.Attrs = attrs
		return e
	}
	e := supervision.ChildExited{Detail: exit.String(), Attrs: attrs, Reason: supervision.ReasonExit, Kind: supervision.Abnormal}
	switch {
	case w.ordered:
		e.Kind, e.Reason = supervision.ShutdownExit, w.why
	case exit.OOMKilled:
		e.Reason = supervision.ReasonOOM
	case exit.Signal != 0:
		e.Reason = supervision.ReasonSignal
	}
	if !w.ordered && w.succeeded(exit) {
		e.Kind = supervision.Normal
	}
	return e
}

func (w *worker) failedStart() supervision.ChildExited {
	e := supervision.ChildExited{Kind: supervision.Abnormal, Reason: supervision.ReasonSpawnError, Detail: w.startErr.Error()}
	var start *proc.StartError
	if errors.As(w.startErr, &start) {
		e.Hopeless = start.Hopeless
		e.Attrs = []supervision.Attr{{Key: "stage", Value: string(start.Stage)}}
	}
	return e
}

func (w *worker) succeeded(exit proc.Exit) bool {
	if exit.Signal != 0 {
		return slices.Contains(w.svc.Spec.SuccessSignals, exit.Signal)
	}
	return exit.Known && (exit.Code == 0 || slices.Contains(w.svc.Spec.SuccessCodes, exit.Code))
}

func exitAttrs(exit proc.Exit) []supervision.Attr {
	var code, sig any
	switch {
	case exit.Signal != 0:
		sig = proc.SignalName(exit.Signal)
	case exit.Known:
		code = exit.Code
	}
	return []supervision.Attr{{Key: "code", Value: code}, {Key: "signal", Value: sig}, {Key: "oom_killed", Value: exit.OOMKilled}}
}

// endReason is what post_stop hooks are told.
func (w *worker) endReason() string { return string(w.outcome().Reason) }

// tellStuck reports an incarnation that does not die.
func (w *worker) tellStuck(c actor.Context, m stuck) {
	if m.incarnation != w.inc || w.stage != supervision.Stuck {
		return
	}
	names := make([]string, len(m.left))
	for i, r := range m.left {
		names[i] = r.String()
	}
	w.tell(c, supervision.ChildStuck{
		ID: w.spec.ID, Incarnation: w.inc, Detail: fmt.Sprintf("alive %v after SIGKILL: %s", killTime, strings.Join(names, ", ")),
		Attrs: []supervision.Attr{{Key: "processes", Value: names}},
	})
}
