package chaos

import (
	"slices"
	"testing"
	"time"
)

// small is a plan of d, which needs p, under a supervisor that allows two
// restarts of p, and a temporary t.
func small(sequence bool) *plan {
	root := &supervisor{name: "root", depth: 1, strategy: "rest_for_one", sequence: sequence, max: 5, window: time.Minute, restart: "permanent"}
	p := &service{name: "p", sup: root, restart: "permanent", max: 2, window: time.Minute, exhausted: "fail", grace: time.Second}
	d := &service{name: "d", sup: root, index: 1, restart: "transient", max: never, grace: time.Second}
	x := &service{name: "t", sup: root, index: 2, restart: "temporary", max: never, grace: time.Second}
	link(d, p, "healthy", true)
	root.children = []any{p, d, x}
	return &plan{
		services: []*service{p, d, x}, supervisors: []*supervisor{root},
		byName:    map[string]*service{"p": p, "d": d, "t": x},
		supByName: map[string]*supervisor{"root": root},
	}
}

// journal makes the events of a story; each happens a second after the last.
type journal struct{ list []event }

func (j *journal) add(cause uint64, kind, service string, inc uint64) *event {
	at := time.Unix(1000, 0).Add(time.Duration(len(j.list)) * time.Second)
	j.list = append(j.list, event{
		Seq: uint64(len(j.list)) + 1, Time: at, Type: kind, Service: service, Incarnation: inc, Cause: cause, Attrs: map[string]any{},
	})
	return &j.list[len(j.list)-1]
}

func (j *journal) last() uint64 { return uint64(len(j.list)) }

// up brings a service up for a cause.
func (j *journal) up(cause uint64, service string, inc uint64) {
	j.add(cause, "service.starting", service, inc)
	j.add(j.last(), "service.started", service, inc)
	j.add(j.last(), "service.ready", service, inc)
}

func (j *journal) down(cause uint64, service string, inc uint64) {
	j.add(cause, "service.stopping", service, inc)
	j.add(j.last(), "service.stopped", service, inc)
}

func (j *journal) restarting(cause uint64, child string, with ...any) uint64 {
	e := j.add(cause, "supervisor.restarting", "", 0)
	e.Supervisor, e.Attrs["child"], e.Attrs["with"] = "root", child, with
	return e.Seq
}

func (j *journal) command(text string) uint64 {
	j.add(0, "operator.command", "", 0).Message = text
	return j.last()
}

func (j *journal) exit(service string, inc uint64, code float64) uint64 {
	e := j.add(0, "service.exited", service, inc)
	e.Attrs["code"], e.Attrs["reason"] = code, "exit"
	return e.Seq
}

// crash is p dying and coming back with what it takes along.
func (j *journal) crash(p, d uint64) {
	r := j.restarting(j.exit("p", p, 1), "p", "d")
	j.down(r, "d", d)
	j.up(r, "p", p+1)
	j.up(j.last(), "d", d+1)
}

// TestModelNotices tells stories in which something is wrong, and one in which
// nothing is.
func TestModelNotices(t *testing.T) {
	tests := []struct {
		name     string
		sequence bool
		tell     func(j *journal)
		rule     string // "": none
	}{
		{"nothing", false, func(j *journal) { j.crash(1, 1) }, ""},
		{"a hold and its end", false, func(j *journal) {
			c := j.command("stop p")
			j.down(c, "d", 1)
			j.down(c, "p", 1)
			c = j.command("start d")
			j.up(c, "p", 2)
			j.up(j.last(), "d", 2)
		}, ""},
		{"a gap", false, func(j *journal) { j.add(1, "service.unhealthy", "p", 1).Seq += 3 }, "seq has no gap"},
		{"a cause to come", false, func(j *journal) { j.add(1000, "service.unhealthy", "p", 1) }, "causes point at earlier events"},
		{"no cause", false, func(j *journal) { j.down(0, "d", 1) }, "every decision has a cause"},
		{"two lives", false, func(j *journal) { j.add(1, "service.starting", "p", 2) }, "at most one life at a time"},
		{"a start too early", false, func(j *journal) {
			r := j.restarting(j.exit("p", 1, 1), "p", "d")
			j.down(r, "d", 1)
			j.add(r, "service.starting", "p", 2)
			j.add(r, "service.starting", "d", 2)
		}, "no start before its conditions hold"},
		{"a dependency that stops first", false, func(j *journal) {
			c := j.command("stop p")
			j.down(c, "p", 1)
			j.down(c, "d", 1)
		}, "stop order respects edges"},
		{"stops in the order of the list", true, func(j *journal) {
			c := j.command("stop d t")
			j.down(c, "d", 1)
			j.down(c, "t", 1)
		}, "in sequence stops come in reverse order"},
		{"a dependent that is left", false, func(j *journal) {
			j.up(j.restarting(j.exit("p", 1, 1), "p", "d"), "p", 2)
		}, "what a restart takes with it is gone before the restarted starts"},
		{"a dependent that is not named", false, func(j *journal) {
			j.restarting(j.exit("p", 1, 1), "p")
		}, "a restart takes with it what the strategy says"},
		{"a stranger that stops", false, func(j *journal) {
			j.down(j.restarting(j.exit("p", 1, 1), "p", "d"), "t", 1)
		}, "only what an event is about stops for it"},
		{"a held service that starts", false, func(j *journal) {
			c := j.command("stop d")
			j.down(c, "d", 1)
			j.add(c, "service.starting", "d", 2)
		}, "a held service never runs"},
		{"one restart too many", false, func(j *journal) {
			for i := range uint64(3) {
				j.crash(1+i, 1+i)
			}
		}, "no window holds more than max_restarts"},
		{"a failure too early", false, func(j *journal) {
			j.crash(1, 1)
			j.add(j.exit("p", 2, 1), "service.failed", "p", 2).Attrs["reason"] = "exit"
		}, "failed comes after max_restarts"},
		{"a restart counted twice", false, func(j *journal) {
			x := j.exit("p", 1, 1)
			j.restarting(x, "p", "d")
			j.restarting(x, "p", "d")
		}, "each restart is counted once"},
		{"a transient restarted after success", false, func(j *journal) {
			j.restarting(j.exit("d", 1, 0), "d")
		}, "the restart type says who is restarted"},
		{"a temporary restarted", false, func(j *journal) {
			j.add(j.exit("t", 1, 1), "service.starting", "t", 2)
		}, "the restart type says who is restarted"},
		{"a start during a pause", false, func(j *journal) {
			c := j.command("pause root")
			j.add(c, "supervisor.paused", "", 0).Supervisor = "root"
			j.add(j.exit("d", 1, 1), "service.starting", "d", 2)
		}, "nothing is restarted while a supervisor is paused"},
		{"a stop without end", false, func(j *journal) {
			c := j.command("stop d")
			j.add(c, "service.stopping", "d", 1)
			e := j.add(c+1, "service.stopped", "d", 1)
			e.Time = e.Time.Add(time.Minute)
		}, "every stop ends"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j := &journal{}
			j.add(0, "node.starting", "", 0)
			for _, s := range []string{"p", "d", "t"} {
				j.up(1, s, 1)
			}
			tt.tell(j)
			m := newModel(small(tt.sequence))
			for _, e := range j.list {
				m.take(e)
			}
			var rules []string
			for _, v := range m.found {
				rules = append(rules, v.rule)
			}
			if tt.rule == "" && len(rules) > 0 || tt.rule != "" && !slices.Contains(rules, tt.rule) {
				t.Errorf("got %q, want %q", rules, tt.rule)
			}
		})
	}
}
