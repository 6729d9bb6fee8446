package conformance

import (
	"time"

	"github.com/blackhole/bhnode/supervision"
)

// start makes an attempt to start a process.
func (p *pure) start(c supervision.StartChild) {
	p.accepted(c.ID)
	n := p.nodes[c.ID]
	proc := &process{node: n, id: c.ID, inc: c.Incarnation}
	p.procs[c.ID] = proc
	a := n.attempt(c.Incarnation)
	answer := func() { p.answerStart(proc, a) }
	if a.DelayMS == 0 {
		p.soon = append(p.soon, answer)
		return
	}
	p.after(time.Duration(a.DelayMS)*time.Millisecond, nil, answer)
}

// answerStart answers an attempt. One that is under way cannot be called off: an
// order to stop that has come meanwhile is served when the process runs.
func (p *pure) answerStart(proc *process, a attempt) {
	id, inc := proc.id, proc.inc
	p.see(event{Ev: "start", Sup: string(p.above[id]), Child: string(id), N: inc, Result: a.Result, Reason: a.Reason})
	switch a.Result {
	case "ok":
		proc.alive = true
		if a.ExitAfterMS != nil {
			p.after(time.Duration(*a.ExitAfterMS)*time.Millisecond, proc, func() { p.exit(proc, a.ExitReason) })
		}
		p.send(supervision.ChildStarted{ID: id, Incarnation: inc})
		p.send(supervision.ChildReady{ID: id, Incarnation: inc})
		if proc.stop != nil && proc.ordered.IsZero() {
			p.stop(proc)
		}
	case "error":
		p.send(supervision.ChildExited{ID: id, Incarnation: inc, Kind: supervision.Abnormal, Reason: supervision.ReasonSpawnError, Detail: a.Reason})
	case "ignore":
		p.send(supervision.ChildIgnored{ID: id, Incarnation: inc})
	}
}

// stop carries an order to a process.
func (p *pure) stop(proc *process) {
	proc.ordered = p.now
	e := event{Ev: "stop", Sup: string(p.above[proc.id]), Child: string(proc.id), N: proc.inc, How: "shutdown"}
	rule := proc.stop.Shutdown
	if rule.Mode == supervision.BrutalKill {
		e.How = "kill"
		p.see(e)
		p.exit(proc, "killed")
		return
	}
	p.see(e)
	if on := proc.node.OnStop; !on.Ignore {
		if on.DelayMS == 0 {
			p.soon = append(p.soon, func() { p.exit(proc, on.Exit) })
		} else {
			p.after(time.Duration(on.DelayMS)*time.Millisecond, proc, func() { p.exit(proc, on.Exit) })
		}
	}
	if rule.Mode == supervision.Timed {
		p.after(rule.Grace, proc, func() {
			e.How = "kill"
			p.see(e)
			p.exit(proc, "killed")
		})
	}
}

func (p *pure) exit(proc *process, reason string) {
	if proc == nil || !proc.alive {
		return
	}
	proc.alive = false
	p.see(event{Ev: "exit", Child: string(proc.id), N: proc.inc, Reason: reason})
	p.send(supervision.ChildExited{
		ID: proc.id, Incarnation: proc.inc, Kind: kindOf(reason), Reason: supervision.ReasonExit, Detail: reason, Unexpected: !proc.node.expects(reason),
	})
}

func kindOf(reason string) supervision.ExitKind {
	switch reason {
	case "normal":
		return supervision.Normal
	case "shutdown", "shutdown_term":
		return supervision.ShutdownExit
	}
	return supervision.Abnormal
}

// expects tells whether an order to stop explains that end of a child.
func (n *node) expects(reason string) bool {
	switch {
	case n.Restart != "permanent" && kindOf(reason) != supervision.Abnormal:
		return true
	case n.Shutdown == "brutal_kill":
		return reason == "killed"
	}
	return reason == "shutdown"
}
