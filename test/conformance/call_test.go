package conformance

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/blackhole/bhnode/supervision"
)

var verbs = map[string]supervision.Verb{
	"start_child": supervision.ManageStart, "terminate_child": supervision.ManageTerminate, "restart_child": supervision.ManageRestart,
	"delete_child": supervision.ManageDelete, "get_childspec": supervision.ManageSpec,
	"which_children": supervision.ManageList, "count_children": supervision.ManageCount,
}

// call makes a management call.
func (p *pure) call(c *call) {
	do := c.do
	verb, known := verbs[do.Fn]
	if !known {
		p.t.Fatalf("call %q is not known", do.Fn)
	}
	sup := supervision.ChildID(do.Sup)
	p.calls++
	c.id = p.calls
	e := supervision.Manage{
		Call: p.calls, Supervisor: sup, Verb: verb, Child: supervision.ChildID(do.Child + do.Dyn), ByProcess: do.Dyn != "",
	}
	if verb == supervision.ManageStart {
		n := do.Spec
		if n == nil {
			n = instance(p.tree, do)
		}
		e.Spec = n.spec()
		if p.nodes[e.Spec.ID] == nil {
			p.learn(n, sup)
		} else {
			p.offered[e.Spec.ID] = n
		}
	}
	p.send(e)
}

// accepted takes over the script of a child that is started by a call. One that is
// there already is meant unless it was deleted, or is temporary: of such a one none
// is kept.
func (p *pure) accepted(id supervision.ChildID) {
	n := p.offered[id]
	if n != nil && (p.deleted[id] || p.nodes[id].Restart == "temporary") {
		p.learn(n, p.above[id])
		delete(p.offered, id)
	}
}

// managed sees the answer to a call.
func (p *pure) managed(a supervision.Managed) {
	p.answers[a.Call] = a
	for _, c := range p.asked {
		if c.id != a.Call || c.do.Op != "call" {
			continue
		}
		switch verbs[c.do.Fn] {
		case supervision.ManageStart:
			if c.do.Spec != nil {
				delete(p.offered, supervision.ChildID(c.do.Spec.ID))
			}
		case supervision.ManageDelete:
			p.deleted[supervision.ChildID(c.do.Child)] = a.Err == nil
		case supervision.ManageTerminate, supervision.ManageRestart, supervision.ManageSpec, supervision.ManageList, supervision.ManageCount:
		}
	}
}

// instance is what a simple_one_for_one supervisor makes of its one specification.
func instance(tree *node, do op) *node {
	template, _ := tree.find(do.Sup, "")
	n := *template.Children[0]
	n.ID = do.Dyn
	if script, ok := n.DynStart[do.Dyn]; ok {
		n.Start = script
	}
	if on, ok := n.DynOnStop[do.Dyn]; ok {
		n.OnStop = on
	}
	return &n
}

// answered is the answer to a call as it is recorded.
func (p *pure) answered(c call) any {
	a, ok := p.answers[c.id]
	if !ok {
		return "no answer to " + c.String()
	}
	return shape(c.do, a)
}

// shape is an answer as it is recorded.
func shape(do op, a supervision.Managed) any {
	if a.Err != nil {
		var e *supervision.ManageError
		if !errors.As(a.Err, &e) {
			return map[string]any{"error": a.Err.Error()}
		}
		return map[string]any{"error": string(e.Code)}
	}
	switch verbs[do.Fn] {
	case supervision.ManageStart, supervision.ManageRestart:
		if a.Child == "" {
			return map[string]any{"ok": true, "child": nil}
		}
		return map[string]any{"ok": true, "child": string(a.Child), "n": a.Incarnation}
	case supervision.ManageSpec:
		return map[string]any{"ok": true, "spec": shapeSpec(do, a.Spec)}
	case supervision.ManageList:
		list := make([]any, 0, len(a.Children))
		for _, k := range a.Children {
			list = append(list, shapeChild(k, true))
		}
		return list
	case supervision.ManageCount:
		return shapeCount(a.Count)
	case supervision.ManageTerminate, supervision.ManageDelete:
	}
	return map[string]any{"ok": true}
}

func shapeSpec(do op, s supervision.ChildSpec) any {
	spec := map[string]any{
		"id": string(s.ID), "restart": []string{"permanent", "transient", "temporary"}[s.Restart],
		"significant": s.Significant, "type": "worker",
	}
	if do.Dyn != "" {
		spec["id"] = nil
	}
	if s.Supervisor != nil {
		spec["type"] = "supervisor"
	}
	switch s.Shutdown.Mode {
	case supervision.BrutalKill:
		spec["shutdown"] = "brutal_kill"
	case supervision.Infinity:
		spec["shutdown"] = "infinity"
	case supervision.Timed:
		spec["shutdown_ms"] = int(s.Shutdown.Grace / time.Millisecond)
	}
	return spec
}

func shapeChild(k supervision.ChildStatus, typed bool) map[string]any {
	child := map[string]any{"id": string(k.ID), "status": string(k.Status)}
	if k.Status == supervision.StatusRunning {
		child["n"] = k.Incarnation
	}
	if typed {
		child["type"] = "worker"
		if k.Nested {
			child["type"] = "supervisor"
		}
	}
	return child
}

func shapeCount(n supervision.ChildCount) map[string]any {
	return map[string]any{"specs": n.Specs, "active": n.Active, "supervisors": n.Supervisors, "workers": n.Workers}
}

// state asks every living supervisor for its children.
func (p *pure) state() any {
	all := make([]any, 0, len(p.sups))
	for _, id := range p.supervisors() {
		n, _ := p.tree.find(string(id), "")
		simple := n != nil && n.Strategy == "simple_one_for_one"
		all = append(all, shapeState(string(id), p.sups[id], simple, p.ask(id, supervision.ManageList), p.ask(id, supervision.ManageCount)))
	}
	return all
}

// shapeState is a supervisor with its children in start order; those made from one
// specification are sorted by name.
func shapeState(id string, n uint64, simple bool, list, count supervision.Managed) map[string]any {
	children := make([]any, 0, len(list.Children))
	slices.Reverse(list.Children)
	if simple {
		slices.SortFunc(list.Children, func(a, b supervision.ChildStatus) int { return strings.Compare(string(a.ID), string(b.ID)) })
	}
	for _, k := range list.Children {
		children = append(children, shapeChild(k, false))
	}
	return map[string]any{"sup": id, "n": n, "children": children, "count": shapeCount(count.Count)}
}

func (p *pure) ask(id supervision.ChildID, verb supervision.Verb) supervision.Managed {
	p.calls++
	p.send(supervision.Manage{Call: p.calls, Supervisor: id, Verb: verb})
	a, ok := p.answers[p.calls]
	if !ok {
		p.t.Errorf("supervisor %s does not answer", id)
	}
	return a
}
