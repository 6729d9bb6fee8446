package actors

import (
	"context"
	"maps"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/blackhole/bhnode/supervision"
)

// Manage makes a management call of OTP and waits for its answer, which is as long
// as what it asks for takes. services describe those that the call may start and
// that the configuration does not have. The call's number is the node's affair.
func (n *Node) Manage(ctx context.Context, call supervision.Manage, services ...Service) (supervision.Managed, error) {
	made, err := n.introduce(ctx, services)
	if err != nil {
		return supervision.Managed{}, err
	}
	return ask(ctx, n.root, func(reply chan<- supervision.Managed) any {
		return manage{call: call, services: made, reply: reply}
	})
}

// introduce has the lines of services taken down that may be started.
func (n *Node) introduce(ctx context.Context, services []Service) ([]*service, error) {
	n.adding.Lock()
	defer n.adding.Unlock()
	made := make([]*service, len(services))
	for i := range services {
		n.count(&services[i])
		s, err := n.newService(&services[i], nil)
		if err != nil {
			return nil, err
		}
		if _, err := ask(ctx, n.records, func(reply chan<- struct{}) any { return openLog{s, reply} }); err != nil {
			return nil, err
		}
		made[i] = s
	}
	return made, nil
}

// Freeze holds the mailbox of a supervisor with order sequence until Thaw, as
// supervision.Freeze does.
func (n *Node) Freeze(id supervision.ChildID) {
	n.system.Root.Send(n.root.pid, supervision.Freeze{ID: id})
}

// Thaw ends a Freeze.
func (n *Node) Thaw(id supervision.ChildID) { n.system.Root.Send(n.root.pid, supervision.Thaw{ID: id}) }

func (r *rootActor) manage(c actor.Context, m manage) {
	if id, ok := r.undescribed(m); ok {
		m.reply <- supervision.Managed{Err: &supervision.UnknownChildError{ID: id}}
		return
	}
	r.lastID++
	m.call.Call = r.lastID
	r.managed[m.call.Call] = m
	r.step(c, m.call)
}

// undescribed finds a service that a call would start and nobody has described.
func (r *rootActor) undescribed(m manage) (supervision.ChildID, bool) {
	if m.call.Verb != supervision.ManageStart {
		return "", false
	}
	known := map[supervision.ChildID]bool{}
	for _, s := range m.services {
		known[supervision.ChildID(s.Spec.Name)] = true
	}
	var find func(spec *supervision.ChildSpec) (supervision.ChildID, bool)
	find = func(spec *supervision.ChildSpec) (supervision.ChildID, bool) {
		switch {
		case spec.Supervisor == nil:
			return spec.ID, !known[spec.ID] && r.node.services.get(spec.ID) == nil
		case spec.Supervisor.Strategy == supervision.SimpleOneForOne:
			return "", false
		}
		for i := range spec.Supervisor.Children {
			if id, missing := find(&spec.Supervisor.Children[i]); missing {
				return id, true
			}
		}
		return "", false
	}
	return find(&m.call.Spec)
}

// enrol makes the services known that have joined the tree.
func (r *rootActor) enrol(child *supervision.Node) {
	below := map[string]bool{}
	for s := range child.Services {
		below[string(s.Spec.ID)] = true
	}
	for _, call := range slices.Backward(slices.Sorted(maps.Keys(r.managed))) {
		for _, offered := range r.managed[call].services {
			if below[offered.Spec.Name] {
				r.node.services.put(offered)
			}
		}
	}
}

func (r *rootActor) answer(a supervision.Managed) {
	if m, ok := r.managed[a.Call]; ok {
		delete(r.managed, a.Call)
		m.reply <- a
	}
}
