package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// watchInterval is how often at most a watched tree is drawn for changes.
const watchInterval = 200 * time.Millisecond

func newTreeCommand(a *app) *cobra.Command {
	var watch, actors bool
	cmd := &cobra.Command{
		Use:   "tree",
		Short: "Shows the live supervision tree",
		Long: `Shows the live supervision tree: of a supervisor its strategy, order and
restarts in the window, of a service its state, health, pid, uptime and what
it depends on.`,
		Example: `  bhnode tree                # once
  bhnode tree --watch        # drawn again at every change
  bhnode tree -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				if watch {
					return a.watchTree(ctx, node, actors)
				}
				tree, err := getTree(ctx, node)
				if err != nil {
					return err
				}
				if a.json() {
					return printJSON(a.out, treeToJSON(tree.GetRoot()))
				}
				a.out.lines(a.treeLines(tree.GetRoot(), 0, actors))
				return nil
			})
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "draw it again at every change")
	cmd.Flags().BoolVar(&actors, "actors", false, "show the name of each actor")
	return cmd
}

func getTree(ctx context.Context, node *client.Client) (*bhnodev1.GetTreeResponse, error) {
	return query(ctx, func(ctx context.Context) (*bhnodev1.GetTreeResponse, error) {
		return node.GetTree(ctx, &bhnodev1.GetTreeRequest{})
	})
}

// watchTree redraws the tree in place on a terminal, every second for the
// uptimes; elsewhere it appends a snapshot at every change.
func (a *app) watchTree(ctx context.Context, node *client.Client, actors bool) error {
	stream, err := node.WatchStatus(ctx, &bhnodev1.WatchStatusRequest{Interval: durationpb.New(watchInterval)})
	if err != nil {
		return err
	}
	changes, failed := receive(ctx, stream.Recv)
	live := block{screen: a.out}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var tree *bhnodev1.TreeNode
	var at time.Time
	draw := func() { live.draw(a.treeLines(tree, a.now().Sub(at), actors)) }
	for {
		select {
		case change := <-changes:
			tree, at = change.GetTree().GetRoot(), a.now()
			switch {
			case a.json():
				if err := printLine(a.out, treeToJSON(tree)); err != nil {
					return err
				}
			case a.out.tty:
				draw()
			default:
				a.out.lines(append([]string{at.Format(time.RFC3339)}, a.treeLines(tree, 0, actors)...))
			}
		case <-tick.C:
			if a.out.tty && !a.json() && tree != nil {
				draw()
			}
		case err := <-failed:
			return err
		}
	}
}

// receive reads a stream in a goroutine of its own.
func receive[T any](ctx context.Context, recv func() (T, error)) (<-chan T, <-chan error) {
	values, failed := make(chan T), make(chan error, 1)
	go func() {
		failed <- each(ctx, recv, func(v T) error {
			select {
			case values <- v:
			case <-ctx.Done():
			}
			return nil
		})
	}()
	return values, failed
}

// errWentAway: the node has ended without a word, or has become another bhnode.
var errWentAway = &exitError{code: exitNoNode, what: "the node went away", hint: startHint}

// each calls do with everything that comes from a stream. A stream that has been
// read to its end, or whose reader has seen enough, is no error.
func each[T any](ctx context.Context, recv func() (T, error), do func(T) error) error {
	for seen := false; ; seen = true {
		v, err := recv()
		switch {
		case errors.Is(err, io.EOF), err != nil && ctx.Err() != nil:
			return nil //nolint:nilerr // so it was to end
		case err == nil:
		case seen && client.IsNoNode(err):
			return errWentAway
		default:
			return err
		}
		if err := do(v); err != nil {
			return err
		}
	}
}

// treeLines draws the tree; later is how long ago its uptimes were true.
func (a *app) treeLines(root *bhnodev1.TreeNode, later time.Duration, actors bool) []string {
	t := treeTable{screen: a.out, later: later, actors: actors}
	t.add(root, "", "")
	return a.out.columns(t.rows)
}

type treeTable struct {
	screen *screen
	later  time.Duration
	actors bool
	rows   [][]cell
}

// add appends a node and what is below it; stem and below are what stands before
// its name and before those of its children.
func (t *treeTable) add(n *bhnodev1.TreeNode, stem, below string) {
	actor := ""
	if t.actors {
		actor = n.GetActor()
	}
	pid, up, note := "", "", t.notes(n)
	if n.GetKind() == bhnodev1.NodeKind_NODE_KIND_SUPERVISOR {
		note = append([]string{n.GetStrategy() + " " + n.GetOrder(), windowText(n)}, note...)
	}
	if n.GetPid() != 0 {
		pid = fmt.Sprintf("pid %d", n.GetPid())
	}
	if n.GetUptime() != nil {
		up = span(n.GetUptime().AsDuration() + t.later)
	}
	t.rows = append(t.rows, []cell{
		plain(stem + n.GetName()), t.screen.state(n.GetState()), t.screen.health(n.GetHealth()),
		plain(pid), plain(up), plain(actor), plain(strings.Join(note, t.screen.pick(" · ", " | "))),
	})
	for i, child := range n.GetChildren() {
		if i < len(n.GetChildren())-1 {
			t.add(child, below+t.screen.pick("├─ ", "|- "), below+t.screen.pick("│  ", "|  "))
		} else {
			t.add(child, below+t.screen.pick("└─ ", "\\- "), below+"   ")
		}
	}
}

// notes is what stands at the end of a node's line.
func (t *treeTable) notes(n *bhnodev1.TreeNode) []string {
	var notes []string
	if n.GetPaused() {
		notes = append(notes, "paused")
	}
	if n.GetRestarts() > 0 {
		notes = append(notes, plural(n.GetRestarts(), "restart"))
	}
	if deps := n.GetDependsOn(); len(deps) > 0 {
		notes = append(notes, t.screen.pick("⟵ ", "<- ")+strings.Join(deps, ", "))
	}
	switch {
	case n.GetMessage() != "":
		notes = append(notes, n.GetMessage())
	case n.GetHeld():
		notes = append(notes, "held")
	}
	return notes
}

func windowText(n *bhnodev1.TreeNode) string {
	text := fmt.Sprintf("%d/%d", n.GetRestartsInWindow(), n.GetRestartLimit())
	if n.GetRestartWindow() != nil {
		text += " in " + span(n.GetRestartWindow().AsDuration())
	}
	return text
}
