package conformance

import (
	"encoding/json"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// decided sees what happens to supervision and what it makes of that.
func (l *live) decided(at time.Time, ev supervision.Event, commands []supervision.Command) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.happened(at, ev)
	for _, cmd := range commands {
		l.ordered(at, cmd)
	}
	if l.seen > maxEvents {
		l.world.halt()
	}
	l.touch()
}

// heard notes that supervision knows of what was asked.
func (l *live) heard(match func(do op) bool) {
	for _, r := range l.asked {
		if r.begun && !r.heard && match(r.do) {
			r.heard = true
			if r.do.Op == "exit" {
				r.done = true
			}
			return
		}
	}
}

func (l *live) happened(at time.Time, ev supervision.Event) {
	switch e := ev.(type) {
	case supervision.ShutDown:
		l.see(event{Ev: "stop", Child: l.tree.ID, N: l.sups[l.tree.ID], How: "shutdown"})
		l.heard(func(do op) bool { return do.Op == "stop_root" })
	case supervision.Manage:
		l.heard(func(do op) bool { return do.Op == "call" && do.Sup == string(e.Supervisor) && verbs[do.Fn] == e.Verb })
	case supervision.ChildStarted:
		if p := l.living(e.ID, e.Incarnation); p != nil {
			p.pid = e.Pid
		}
	case supervision.ChildReady:
		if p := l.living(e.ID, e.Incarnation); p != nil {
			l.ready(at, p)
		}
	case supervision.ChildIgnored:
		if p := l.living(e.ID, e.Incarnation); p != nil {
			delete(l.lives, p.id)
			l.see(event{Ev: "start", Sup: l.above[p.id], Child: p.id, N: p.inc, Result: "ignore"})
		}
	case supervision.ChildExited:
		if p := l.living(e.ID, e.Incarnation); p != nil {
			l.exited(at, p, e)
		}
	case supervision.SupervisorCrashed:
		l.crashed(string(e.ID))
	case supervision.Freeze:
		l.frozen++
	case supervision.Thaw:
		l.frozen--
	case supervision.Abandon, supervision.Boot, supervision.Resume, supervision.ChildAdopted, supervision.ChildHealth, supervision.ChildStuck, supervision.BackoffOver, supervision.Operate,
		supervision.KillAll, supervision.Note:
	}
}

func (l *live) living(id supervision.ChildID, inc uint64) *life {
	if p := l.lives[string(id)]; p != nil && p.inc == inc {
		return p
	}
	return nil
}

func (l *live) ready(at time.Time, p *life) {
	p.ready, p.due = true, time.Time{}
	l.see(event{Ev: "start", Sup: l.above[p.id], Child: p.id, N: p.inc, Result: "ok"})
	if a := p.node.attempt(p.inc); a.ExitAfterMS != nil {
		after := l.ms(*a.ExitAfterMS)
		p.due = at.Add(after)
		time.AfterFunc(after, func() { l.end(p, a.ExitReason) })
	}
}

func (l *live) exited(at time.Time, p *life, e supervision.ChildExited) {
	delete(l.lives, p.id)
	l.heard(func(do op) bool { return do.Op == "exit" && do.Child == p.id })
	reason := reasonOf(e.Detail)
	if !p.ready {
		l.see(event{Ev: "start", Sup: l.above[p.id], Child: p.id, N: p.inc, Result: "error", Reason: reason})
		return
	}
	if !p.ordered.IsZero() {
		l.stopped(at, p, reason)
	}
	l.see(event{Ev: "exit", Child: p.id, N: p.inc, Reason: reason})
}

// stopped sees how a process ended that was ordered to stop, and whether it had its
// time.
func (l *live) stopped(at time.Time, p *life, reason string) {
	took, grace := at.Sub(p.ordered), p.rule.Grace
	on := p.node.OnStop
	killed := reason == "killed" && p.rule.Mode == supervision.Timed && took >= grace
	switch {
	case killed:
		l.see(event{Ev: "stop", Sup: l.above[p.id], Child: p.id, N: p.inc, How: "kill"})
		if l.world.strict() && took > grace+grace/4+50*time.Millisecond {
			l.complain("%s was killed %v after it was ordered to stop, want %v", p.id, took, grace)
		}
	case reason == on.Exit && reason != "killed" && !p.told && took < l.ms(on.DelayMS):
		l.complain("%s ended %v after the order, its script says %v", p.id, took, l.ms(on.DelayMS))
	}
}

// crashed: the actor of a supervisor has panicked; everything below is gone with it.
func (l *live) crashed(id string) {
	l.heard(func(do op) bool { return do.Op == "exit" && do.Child == id })
	l.see(event{Ev: "supervisor_exit", Child: id, N: l.sups[id], Reason: l.killed[id]})
	delete(l.sups, id)
	for _, p := range sortedKeys(l.lives) {
		for above := l.above[p]; above != ""; above = l.above[above] {
			if above == id {
				l.see(event{Ev: "exit", Child: p, N: l.lives[p].inc, Reason: "killed"})
				delete(l.lives, p)
				break
			}
		}
	}
}

func (l *live) ordered(at time.Time, cmd supervision.Command) {
	switch c := cmd.(type) {
	case supervision.StartChild:
		n := l.nodes[string(c.ID)]
		l.lives[string(c.ID)] = &life{node: n, id: string(c.ID), inc: c.Incarnation, due: at.Add(l.ms(n.attempt(c.Incarnation).DelayMS))}
	case supervision.StopChild:
		if p := l.living(c.ID, c.Incarnation); p != nil {
			l.told(at, p, c.Shutdown)
		}
	case supervision.SupervisorState:
		l.supervisorIs(c)
	case supervision.Report:
		l.report(c)
	case supervision.ChildJoined:
		l.join(c.Node)
	case supervision.Managed, supervision.AdoptChild, supervision.KillChild, supervision.Reply, supervision.Held, supervision.Booted, supervision.Ended,
		supervision.Notice, supervision.ChildLeft, supervision.RolledOut:
	case supervision.Wake:
		l.complain("%s waits %v before its restart", c.ID, c.After)
	}
}

// told: a process is ordered to stop.
func (l *live) told(at time.Time, p *life, rule supervision.Shutdown) {
	p.ordered, p.rule = at, rule
	e := event{Ev: "stop", Sup: l.above[p.id], Child: p.id, N: p.inc, How: "shutdown"}
	on := p.node.OnStop
	switch {
	case rule.Mode == supervision.BrutalKill:
		e.How = "kill"
		p.due = at
	case !on.Ignore && (rule.Mode == supervision.Infinity || l.ms(on.DelayMS) < rule.Grace):
		p.due = at.Add(l.ms(on.DelayMS))
	case rule.Mode == supervision.Timed:
		p.due = at.Add(rule.Grace)
	}
	l.see(e)
}

// join takes the script of a child that has joined the tree.
func (l *live) join(child *supervision.Node) {
	id := string(child.Spec.ID)
	l.above[id] = string(child.Parent.Spec.ID)
	for _, r := range l.asked {
		if r.do.Op != "call" || verbs[r.do.Fn] != supervision.ManageStart || r.done {
			continue
		}
		n := r.do.Spec
		if n == nil && r.do.Dyn == id {
			n = instance(l.tree, r.do)
		}
		if n != nil && n.ID == id {
			l.learn(n, l.above[id])
			return
		}
	}
	if n, _ := l.tree.find(id, ""); n != nil { // it is there again, as it was
		l.learn(n, l.above[id])
	}
}

func (l *live) supervisorIs(c supervision.SupervisorState) {
	id := string(c.ID)
	inc, alive := l.sups[id]
	e, ok := stateEvent(c, l.above[id], inc, alive)
	if !ok || l.killed[id] != "" && c.State == supervision.StateStopped {
		return
	}
	switch {
	case e.Ev == "start" && e.Result == "ok":
		l.sups[id] = c.Incarnation
		delete(l.killed, id)
	case e.Ev == "supervisor_exit":
		delete(l.sups, id)
	}
	l.see(e)
	if id == l.tree.ID && e.Ev == "start" {
		l.first = firstAnswer(c)
	}
}

func (l *live) report(c supervision.Report) {
	e := reportEvent(c)
	e.Reason = reasonOf(e.Reason)
	if reason := l.killed[string(c.Child)]; reason != "" {
		e.Reason = reason
	}
	l.see(e)
}

// toldNormal is the normal end of a permanent child that was ordered to stop: not what
// an order brings about.
const toldNormal = "told normal"

// The exit codes of processes that end for a reason that a process of Erlang's can
// have. Those beyond 0 that are clean are success codes of the service.
var codesOf = map[string]int{"normal": 0, "crash": 1, "shutdown": 10, "shutdown_term": 11, toldNormal: 20}

// exitFor is how a process ends for a reason.
func exitFor(n *node, reason string, told bool) (code int, sig syscall.Signal) {
	switch {
	case reason == "killed":
		return -1, syscall.SIGKILL
	case reason == "normal" && told && n.Restart == "permanent":
		return codesOf[toldNormal], 0
	}
	return codesOf[reason], 0
}

// reasonOf is the reason for which a process ended.
func reasonOf(detail string) string {
	for reason, code := range codesOf {
		if (proc.Exit{Code: code, Known: true}).String() == detail {
			if reason == toldNormal {
				return "normal"
			}
			return reason
		}
	}
	switch detail {
	case (proc.Exit{Signal: syscall.SIGKILL, Known: true}).String():
		return "killed"
	case (proc.Exit{Signal: syscall.SIGTERM, Known: true}).String():
		return "shutdown"
	}
	return detail
}

// service is a service that lives as the node's script says.
func (n *node) service(scale int) actors.Service {
	script, err := json.Marshal(n)
	if err != nil {
		panic(err)
	}
	clean := []int{codesOf["shutdown"]}
	if n.Restart != "permanent" {
		clean = append(clean, codesOf["shutdown_term"])
	}
	return actors.Service{
		Enabled: true, Health: supervision.HealthSpec{Interval: time.Hour, StartInterval: time.Hour, Retries: 1, Successes: 1},
		Spec: &proc.ServiceSpec{
			Name: n.ID, Command: []string{self(), puppetArg, string(script), strconv.Itoa(scale)}, StopSignal: syscall.SIGTERM, SuccessCodes: clean,
			Probe: proc.ProbeSpec{Type: proc.ProbeNotify}, Inherit: proc.Inherit{All: true},
		},
	}
}

// services are those at or below n.
func (n *node) services(scale int) []actors.Service {
	if !n.isSupervisor() {
		return []actors.Service{n.service(scale)}
	}
	var all []actors.Service
	if n.Strategy != "simple_one_for_one" {
		for _, k := range n.Children {
			all = append(all, k.services(scale)...)
		}
	}
	return all
}

func self() string {
	path, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return path
}
