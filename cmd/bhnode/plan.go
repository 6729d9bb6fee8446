package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/supervision"
)

// planJSON is `plan -o json`.
type planJSON struct {
	Waves [][]string `json:"waves"`
	Tree  branchJSON `json:"tree"`
}

// branchJSON has the keys of `tree -o json`; what only a live tree knows is null.
type branchJSON struct {
	Name        string       `json:"name"`
	Kind        string       `json:"kind"`
	Strategy    *string      `json:"strategy"`
	Order       *string      `json:"order"`
	State       *string      `json:"state"`
	Health      *string      `json:"health"`
	PID         *int32       `json:"pid"`
	Incarnation *uint64      `json:"incarnation"`
	Restarts    *uint64      `json:"restarts"`
	Uptime      *float64     `json:"uptime_seconds"`
	Actor       *string      `json:"actor"`
	Children    []branchJSON `json:"children"`
}

func newPlanCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Shows in which order a configuration starts, and its tree",
		Long: `Shows what a configuration amounts to, without a node: the waves in which its
services start, each with what it waits for, and the tree of its supervisors.
Services of one wave start side by side; they stop in reverse order.`,
		Example: `  bhnode plan
  bhnode plan --config shop.yaml
  bhnode plan -o json | jq '.waves'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			tree, opt, err := a.compile()
			if err != nil {
				return err
			}
			waves := supervision.PredictBoot(tree, opt)
			if a.json() {
				return printJSON(a.out, planJSON{Waves: waveNames(waves), Tree: branchToJSON(tree.Root)})
			}
			a.plan(tree, waves)
			return nil
		},
	}
}

// compile reads the configuration and compiles its tree.
func (a *app) compile() (*supervision.Tree, supervision.Options, error) {
	_, cfg, err := a.load(nil)
	if err != nil {
		return nil, supervision.Options{}, configError(err)
	}
	a.warn(cfg)
	tree, err := supervision.Compile(cfg.Tree)
	if err != nil {
		return nil, supervision.Options{}, configError(err)
	}
	return tree, bootOptions(cfg), nil
}

// bootOptions are the options that have a say in the order of things.
func bootOptions(cfg *configs.Config) supervision.Options {
	return supervision.Options{BestEffort: cfg.Node.BestEffort, MaxParallelStarts: cfg.Node.MaxParallelStarts}
}

func waveNames(waves [][]supervision.ChildID) [][]string {
	out := make([][]string, len(waves))
	for i, wave := range waves {
		out[i] = childNames(wave)
	}
	return out
}

func childNames(ids []supervision.ChildID) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return names
}

func branchToJSON(n *supervision.Node) branchJSON {
	out := branchJSON{Name: string(n.Spec.ID), Kind: "service", Children: make([]branchJSON, len(n.Children))}
	if s := n.Spec.Supervisor; s != nil {
		out.Kind = "supervisor"
		out.Strategy, out.Order = new(s.Strategy.String()), new(s.Order.String())
	}
	for i, c := range n.Children {
		out.Children[i] = branchToJSON(c)
	}
	return out
}

// plan prints the waves and the tree.
func (a *app) plan(tree *supervision.Tree, waves [][]supervision.ChildID) {
	var rows [][]cell
	for i, wave := range waves {
		for j, id := range wave {
			number := ""
			if j == 0 {
				number = strconv.Itoa(i + 1)
			}
			rows = append(rows, []cell{plain(number), plain(string(id)), orDash(waitsText(tree.Node(id)))})
		}
	}
	a.out.table([]string{"WAVE", "SERVICE", "WAITS FOR"}, rows)
	t := planTree{screen: a.out}
	t.add(tree.Root, "", "")
	a.out.printf("\n")
	a.out.table([]string{"TREE", "RESTART", "LIMIT", ""}, t.rows)
}

// waitsText names the dependencies of a service and their conditions.
func waitsText(n *supervision.Node) string {
	parts := make([]string, len(n.Needs))
	for i, e := range n.Needs {
		parts[i] = fmt.Sprintf("%s (%s)", e.To.Spec.ID, e.Condition)
	}
	return strings.Join(parts, ", ")
}

// planTree draws a compiled tree.
type planTree struct {
	screen *screen
	rows   [][]cell
}

func (t *planTree) add(n *supervision.Node, stem, below string) {
	limit, note := "", ""
	if n.Spec.Intensity != nil {
		limit = limitText(*n.Spec.Intensity)
	}
	if s := n.Spec.Supervisor; s != nil {
		limit, note = limitText(s.Intensity), s.Strategy.String()+" "+s.Order.String()
	}
	if n.Spec.Significant {
		note = strings.TrimSpace(note + "  significant")
	}
	restart := plain(restartWord(n.Spec.Restart))
	if n.Parent == nil {
		restart = orDash("")
	}
	t.rows = append(t.rows, []cell{plain(stem + string(n.Spec.ID)), restart, orDash(limit), plain(note)})
	for i, c := range n.Children {
		if i < len(n.Children)-1 {
			t.add(c, below+t.screen.pick("├─ ", "|- "), below+t.screen.pick("│  ", "|  "))
		} else {
			t.add(c, below+t.screen.pick("└─ ", "\\- "), below+"   ")
		}
	}
}

func limitText(in supervision.Intensity) string {
	return fmt.Sprintf("%d in %s", in.Max, span(in.Period))
}

// restartWord is the configuration's word for a restart type.
func restartWord(r supervision.Restart) string {
	switch r {
	case supervision.Permanent:
		return "permanent"
	case supervision.Transient:
		return "transient"
	case supervision.Temporary:
		return "temporary"
	}
	return "unknown"
}
