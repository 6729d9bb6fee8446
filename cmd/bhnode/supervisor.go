package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// findSupervisor returns the supervisor of this name and the one above it; nil: there is
// none.
func findSupervisor(above, n *bhnodev1.TreeNode, name string) (found, parent *bhnodev1.TreeNode) {
	if n.GetKind() != bhnodev1.NodeKind_NODE_KIND_SUPERVISOR {
		return nil, nil
	}
	if n.GetName() == name {
		return n, above
	}
	for _, c := range n.GetChildren() {
		if found, parent = findSupervisor(n, c, name); found != nil {
			return found, parent
		}
	}
	return nil, nil
}

// servicesBelow appends the names of the services below a supervisor, in the order of the
// tree.
func servicesBelow(names []string, n *bhnodev1.TreeNode) []string {
	for _, c := range n.GetChildren() {
		if c.GetKind() == bhnodev1.NodeKind_NODE_KIND_SERVICE {
			names = append(names, c.GetName())
		}
		names = servicesBelow(names, c)
	}
	return names
}

// meant are the services that names on the command line mean: of a supervisor all below it.
// What the tree does not know is left for the node to say.
func meant(ctx context.Context, node *client.Client, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	tree, err := getTree(ctx, node)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		switch s, _ := findSupervisor(nil, tree.GetRoot(), name); {
		case s != nil:
			out = servicesBelow(out, s)
		default:
			out = append(out, name)
		}
	}
	if len(out) == 0 { // which would mean all
		return nil, failure("", "there is no service below %s", strings.Join(names, ", "))
	}
	return out, nil
}

// supervisorStatus prints all that is known about a supervisor; found is false where none is
// called so. As JSON it is the status of the services below it.
func (a *app) supervisorStatus(ctx context.Context, node *client.Client, name string) (found bool, err error) {
	tree, err := getTree(ctx, node)
	if err != nil {
		return false, err
	}
	s, above := findSupervisor(nil, tree.GetRoot(), name)
	if s == nil {
		return false, nil
	}
	st, err := getStatus(ctx, node)
	if err != nil {
		return true, err
	}
	names := servicesBelow(nil, s)
	below := slices.DeleteFunc(st.GetServices(), func(svc *bhnodev1.Service) bool { return !slices.Contains(names, svc.GetName()) })
	if a.json() {
		return true, printJSON(a.out, statusToJSON(st.GetNode(), below))
	}
	a.supervisorDetail(s, above)
	a.next(below)
	return true, nil
}

// supervisorDetail prints a supervisor as detail does a service.
func (a *app) supervisorDetail(s, above *bhnodev1.TreeNode) {
	a.out.printf("%s %s - supervisor\n", a.out.paint(looks[s.GetState()].style, a.out.symbol(s.GetState())),
		a.out.paint(styleBold, safeText(s.GetName())))
	state := []string{stateWord(s.GetState())}
	if s.GetUptime() != nil {
		state[0] += " (" + span(s.GetUptime().AsDuration()) + ")"
	}
	if s.GetPaused() {
		state = append(state, `paused until "bhnode resume `+s.GetName()+`"`)
	}
	if s.GetMessage() != "" {
		state = append(state, s.GetMessage())
	}
	children := make([]string, len(s.GetChildren()))
	for i, c := range s.GetChildren() {
		children[i] = c.GetName() + " " + stateWord(c.GetState())
	}
	var rows [][]cell
	for _, field := range [][2]string{
		{"State", strings.Join(state, ", ")},
		{"Health", healthWord(s.GetHealth())},
		{"Strategy", fmt.Sprintf("%s, order %s", s.GetStrategy(), s.GetOrder())},
		{"Restarts", windowText(s) + ", of its children"},
		{"Children", strings.Join(children, ", ")},
		{"Supervisor", above.GetName()},
	} {
		if field[1] != "" {
			rows = append(rows, []cell{{}, {field[0] + ":", styleDim}, plain(field[1])})
		}
	}
	for _, line := range a.out.columns(rows) {
		a.out.printf("  %s\n", line)
	}
}
