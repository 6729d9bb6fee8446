package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/blackhole/bhnode/proc"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// machine tells what holds services, and what becomes of their limits.
type machine interface {
	Isolation() proc.Isolation
	Enforcement(s *proc.ServiceSpec) []proc.Enforcement
}

// runningNode is what a node tells: it may be in other groups than we are. One that
// does not answer tells nothing.
type runningNode struct {
	isolation *bhnodev1.Isolation
	services  []*bhnodev1.Service
}

func (n *runningNode) Isolation() proc.Isolation {
	i := n.isolation
	out := proc.Isolation{Backend: i.GetBackend(), Path: i.GetPath(), Tracking: i.GetTracking(), Whole: i.GetWhole()}
	for _, p := range i.GetProblems() {
		out.Problems = append(out.Problems, proc.Problem{What: p.GetWhat(), Why: p.GetWhy(), Help: p.GetHelp()})
	}
	return out
}

func (n *runningNode) Enforcement(s *proc.ServiceSpec) (all []proc.Enforcement) {
	for _, svc := range n.services {
		if svc.GetName() != s.Name {
			continue
		}
		for _, l := range svc.GetLimits() {
			all = append(all, proc.Enforcement{Limit: l.GetName(), Value: l.GetValue(), By: l.GetEnforcedBy(), Why: l.GetWhy(), Help: l.GetHelp()})
		}
	}
	return all
}

// lookAtNode asks the node that runs, if one does, and else the machine itself.
func (a *app) lookAtNode(ctx context.Context, x *examiner) {
	pid, runs := proc.RunningOn(x.cfg.Node.RuntimeDir)
	if !runs {
		x.machine = proc.Examine()
		x.found(checkOK, "node", "none runs on "+x.cfg.Node.RuntimeDir, "")
		return
	}
	node := &runningNode{}
	x.machine, x.running = node, true
	x.found(checkOK, "node", fmt.Sprintf("bhnode runs on %s (pid %s); isolation and limits are what it says", x.cfg.Node.RuntimeDir, known(pid)), "")
	err := a.withNode(ctx, func(ctx context.Context, c *client.Client) error {
		all, err := getStatus(ctx, c)
		if err != nil {
			return err
		}
		var names []string
		for _, s := range all.GetServices() {
			names = append(names, s.GetName())
		}
		node.isolation = all.GetIsolation()
		if len(names) == 0 {
			return nil
		}
		named, err := getStatus(ctx, c, names...) // only who is named tells its limits
		node.services = named.GetServices()
		return err
	})
	if err != nil {
		hint := "see its log in " + x.cfg.Logs.Dir
		if failed, ok := errors.AsType[*exitError](err); ok && failed.hint != "" {
			hint = failed.hint
		}
		x.found(checkError, "node", "it does not answer: "+err.Error(), hint)
		return
	}
	for _, s := range x.enabled() {
		if !slices.ContainsFunc(node.services, func(has *bhnodev1.Service) bool { return has.GetName() == s.Name }) {
			x.found(checkWarning, "node", s.Name+" is none of its services: it runs another configuration", "bhnode reload --dry-run")
		}
	}
}

func known(pid int) string {
	if pid == 0 {
		return "unknown"
	}
	return fmt.Sprint(pid)
}
