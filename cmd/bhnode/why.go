package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// whyJSON is `why -o json`.
type whyJSON struct {
	Name  string     `json:"name"`
	State *string    `json:"state"`
	Steps []stepJSON `json:"steps"`
}

type stepJSON struct {
	Seq  uint64  `json:"seq"`
	Time *string `json:"time"`
	Type string  `json:"type"`
	Text string  `json:"text"`
}

func newWhyCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "why NAME",
		Short: "Explains the state of a service or supervisor",
		Long: `Explains why a service or supervisor is as it is: walks the journal back from
what happened to it last, over what made that happen, to where it began. One
sentence a step, the newest first, each with the number of its event.`,
		Example: `  bhnode why wallet
  bhnode why data -o json | jq -r '.steps[].text'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(1, services|supervisors),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				return a.why(ctx, node, args[0])
			})
		},
	}
}

func (a *app) why(ctx context.Context, node *client.Client, name string) error {
	st, err := getStatus(ctx, node)
	if err != nil {
		return err
	}
	tree, err := getTree(ctx, node)
	if err != nil {
		return err
	}
	events, err := getEvents(ctx, node, &bhnodev1.StreamEventsRequest{})
	if err != nil {
		return err
	}
	in := newInquiry(a.now(), st.GetServices(), tree.GetRoot(), events)
	state, ok := in.state(name)
	if !ok {
		return &exitError{code: exitNoService, what: fmt.Sprintf("no service or supervisor is called %s", name), hint: in.nearest(name)}
	}
	in.explain(name)
	steps := in.newestFirst()
	if a.json() {
		return printJSON(a.out, whyToJSON(name, state, steps))
	}
	a.out.printf("%s\n", a.whyTitle(name, state))
	for _, s := range steps {
		a.out.printf("%s  %s\n", a.out.paint(styleDim, fmt.Sprintf("%6d", s.event.GetSeq())), safeText(s.text))
	}
	switch {
	case state == bhnodev1.ServiceState_SERVICE_STATE_DISABLED:
		a.out.printf("%6s  %s is disabled in the configuration.\n", "", safeText(name))
	case in.lost != 0:
		a.err.printf("%s\n", a.err.paint(styleDim, fmt.Sprintf("What came before is no longer in memory: event %d is in events.jsonl, in the node's data_dir", in.lost)))
	}
	return nil
}

func (a *app) whyTitle(name string, state bhnodev1.ServiceState) string {
	c := a.out.state(state)
	return a.out.paint(c.style, a.out.symbol(state)) + " " + a.out.paint(styleBold, safeText(name)) + "  " + stateWord(state)
}

// getEvents are the events that the node has in memory.
func getEvents(ctx context.Context, node *client.Client, req *bhnodev1.StreamEventsRequest) ([]*bhnodev1.Event, error) {
	return query(ctx, func(ctx context.Context) (all []*bhnodev1.Event, err error) {
		stream, err := node.StreamEvents(ctx, req)
		if err != nil {
			return nil, err
		}
		err = each(ctx, stream.Recv, func(batch *bhnodev1.StreamEventsResponse) error {
			all = append(all, batch.GetEvents()...)
			return nil
		})
		return all, err
	})
}

func whyToJSON(name string, state bhnodev1.ServiceState, steps []step) whyJSON {
	out := whyJSON{Name: name, State: orNull(stateWord(state)), Steps: make([]stepJSON, len(steps))}
	for i, s := range steps {
		out.Steps[i] = stepJSON{Seq: s.event.GetSeq(), Time: timeOrNull(s.event.GetTime()), Type: s.event.GetType(), Text: s.text}
	}
	return out
}

// inquiry walks the causes of events back.
type inquiry struct {
	now      time.Time
	services map[string]*bhnodev1.Service
	nodes    map[string]*bhnodev1.TreeNode
	parent   map[string]string // supervisor of each child
	events   []*bhnodev1.Event // by number
	bySeq    map[uint64]*bhnodev1.Event
	about    map[string][]*bhnodev1.Event // those of each service
	steps    map[uint64]step
	asked    map[string]bool
	lost     uint64 // a cause that is no longer in memory
}

// step is one sentence and the event it is about.
type step struct {
	event *bhnodev1.Event
	text  string
}

func newInquiry(now time.Time, services []*bhnodev1.Service, root *bhnodev1.TreeNode, events []*bhnodev1.Event) *inquiry {
	in := &inquiry{
		now: now, services: map[string]*bhnodev1.Service{}, nodes: map[string]*bhnodev1.TreeNode{}, parent: map[string]string{},
		events: events, bySeq: map[uint64]*bhnodev1.Event{}, about: map[string][]*bhnodev1.Event{},
		steps: map[uint64]step{}, asked: map[string]bool{},
	}
	for _, s := range services {
		in.services[s.GetName()] = s
	}
	in.addNode(root)
	for _, e := range events {
		in.bySeq[e.GetSeq()] = e
		if e.GetService() != "" {
			in.about[e.GetService()] = append(in.about[e.GetService()], e)
		}
	}
	return in
}

func (in *inquiry) addNode(n *bhnodev1.TreeNode) {
	in.nodes[n.GetName()] = n
	for _, c := range n.GetChildren() {
		in.parent[c.GetName()] = n.GetName()
		in.addNode(c)
	}
}

func (in *inquiry) state(name string) (bhnodev1.ServiceState, bool) {
	if s := in.services[name]; s != nil {
		return s.GetState(), true
	}
	n := in.nodes[name]
	return n.GetState(), n != nil
}

func (in *inquiry) nearest(name string) string {
	var known []string
	for n := range in.nodes {
		known = append(known, n)
	}
	slices.Sort(known)
	if near := nearest([]string{name}, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return `"bhnode tree" shows them all`
}

func (in *inquiry) newestFirst() []step {
	out := make([]step, 0, len(in.steps))
	for _, s := range in.steps {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b step) int { return int(b.event.GetSeq()) - int(a.event.GetSeq()) }) //nolint:gosec // numbers of events are far from overflow
	return out
}

// needs tells whether a service depends on another, directly or not.
func (in *inquiry) needs(name, on string) bool {
	seen := map[string]bool{}
	var visit func(string) bool
	visit = func(n string) bool {
		if n == on {
			return true
		}
		if seen[n] {
			return false
		}
		seen[n] = true
		return slices.ContainsFunc(in.services[n].GetDependsOn(), visit)
	}
	return name != on && visit(name)
}

// below tells whether a child lives somewhere below a supervisor.
func (in *inquiry) below(name, supervisor string) bool {
	for at, ok := in.parent[name]; ok; at, ok = in.parent[at] {
		if at == supervisor {
			return true
		}
	}
	return false
}
