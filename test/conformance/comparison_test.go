package conformance

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// comparison holds what is asserted of a trace. Left out are the times (but for
// those that a machine checks itself), orders to processes that are dead already,
// and the order within a group of children that stop in parallel.
type comparison struct{ diffs []string }

func (c *comparison) errorf(format string, args ...any) {
	c.diffs = append(c.diffs, fmt.Sprintf(format, args...))
}

// events compares the events of one step.
func (c *comparison) events(want, got []event, adapted bool) {
	want = slices.DeleteFunc(slices.Clone(want), func(e event) bool { return e.TargetDead })
	groups := slices.Clone(want)
	lines := func(events []event) (out []string) {
		for _, e := range regroup(events, groups) {
			out = append(out, e.essence().String())
		}
		return out
	}
	w, g := lines(want), lines(got)
	if adapted {
		slices.Sort(w)
		slices.Sort(g)
	}
	if !slices.Equal(w, g) {
		c.errorf("events (- recorded, + ours):\n%s", sideBySide(w, g))
	}
}

// regroup sorts the runs of events that stand where those of a group were recorded
// by child; each child's own events keep their order.
func regroup(events, recorded []event) []event {
	events = slices.Clone(events)
	for i := 0; i < len(recorded); {
		j := i + 1
		for recorded[i].Group != 0 && j < len(recorded) && recorded[j].Group == recorded[i].Group {
			j++
		}
		if run := events[min(i, len(events)):min(j, len(events))]; len(run) > 1 {
			slices.SortStableFunc(run, func(a, b event) int { return strings.Compare(a.Child, b.Child) })
		}
		i = j
	}
	return events
}

// essence is what is asserted of an event.
func (e event) essence() event {
	e.TMS, e.Group = 0, 0
	e.Reason = class(e.Reason)
	switch {
	case e.Ev == "start", e.Ev == "stop", e.Ev == "give_up":
		e.Reason = ""
	case e.Context == "start_error":
		e.Reason = "" // the texts are Erlang's
	}
	if e.Context != "" {
		e.N = 0
	}
	return e
}

// class is the class of a reason: clean ones with an explanation are clean.
func class(reason string) string {
	if reason == "shutdown_term" || strings.HasPrefix(reason, "failed_to_start_child") {
		return "shutdown"
	}
	return reason
}

// result compares the answer to a call. The reason of a failed start is a text of
// Erlang's; that it failed is what counts.
func (c *comparison) result(want, got any) {
	if fmt.Sprint(reduce(want)) != fmt.Sprint(reduce(got)) {
		c.errorf("result: recorded %v, ours %v", want, got)
	}
}

func (c *comparison) state(want, got any) {
	if w, g := fmt.Sprint(want), fmt.Sprint(got); w != g {
		c.errorf("state:\n\trecorded %s\n\tours     %s", w, g)
	}
}

// reduce replaces the reasons of failed starts.
func reduce(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = reduce(v[i])
		}
		return out
	case map[string]any:
		v = maps.Clone(v)
		if reason, ok := v["error"].(string); ok && !slices.Contains(codes, reason) {
			v["error"] = "start_failed"
		}
		return v
	}
	return v
}

// codes are the errors of calls other than failed starts.
var codes = []string{"running", "restarting", "not_found", "already_started", "already_present", "simple_one_for_one"}

// sideBySide shows two lists up to where they differ, and a little more.
func sideBySide(want, got []string) string {
	var b strings.Builder
	same := 0
	for same < len(want) && same < len(got) && want[same] == got[same] {
		same++
	}
	for _, line := range want[max(0, same-3):same] {
		fmt.Fprintf(&b, "\t  %s\n", line)
	}
	for _, line := range want[same:min(len(want), same+6)] {
		fmt.Fprintf(&b, "\t- %s\n", line)
	}
	for _, line := range got[same:min(len(got), same+6)] {
		fmt.Fprintf(&b, "\t+ %s\n", line)
	}
	return b.String()
}
