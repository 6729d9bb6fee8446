package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
	"github.com/blackhole/bhnode/supervision"
)

// reloadJSON is `reload -o json`.
type reloadJSON struct {
	Changes   bool          `json:"changes"`
	Config    string        `json:"config"`
	Added     []string      `json:"added"`
	Removed   []string      `json:"removed"`
	Restarted []changedJSON `json:"restarted"`
	With      []string      `json:"with"` // restart with what they depend on
	InPlace   []changedJSON `json:"in_place"`
	Tree      bool          `json:"tree"`
	Keys      []string      `json:"keys"`
	Waves     [][]string    `json:"waves"`
	Result    *string       `json:"result"` // applied, rolled_back; null: nothing was done
	Why       *string       `json:"why"`    // it was rolled back
}

type changedJSON struct {
	Name string   `json:"name"`
	Keys []string `json:"keys"`
}

func newReloadCommand(a *app) *cobra.Command {
	var dry, abandon, noWait bool
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Brings the changed configuration into force",
		Long: `Has the node read its configuration again and restart what is to run otherwise, in
the order of the dependencies, one wave at a time: each has to become healthy before
the next begins. If one does not, all goes back to what ran before. What only is
watched, limited or treated otherwise runs on; what is unchanged is not touched. A
file with mistakes changes nothing.`,
		Example: `  bhnode reload --dry-run      # only say what would change
  bhnode reload
  bhnode reload --abandon      # from elsewhere: back to what ran before`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if abandon {
				return a.abandonReload(cmd.Context())
			}
			return a.reload(cmd.Context(), dry, noWait)
		},
	}
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would change, and do nothing")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait for its end")
	cmd.Flags().BoolVar(&abandon, "abandon", false, "give the reload up that is under way")
	cmd.MarkFlagsMutuallyExclusive("dry-run", "abandon", "no-wait")
	return cmd
}

func (a *app) abandonReload(ctx context.Context) error {
	return a.withNode(ctx, func(ctx context.Context, node *client.Client) error {
		resp, err := node.AbandonReload(ctx, &bhnodev1.AbandonReloadRequest{})
		switch {
		case err != nil:
			return err
		case !resp.GetReloading():
			return failure("", "no reload is under way")
		}
		return a.confirm(map[string]any{"abandoned": true}, "what ran before comes back")
	})
}

func (a *app) reload(ctx context.Context, dry, noWait bool) error {
	var plan *bhnodev1.ReloadResponse
	err := a.withNode(ctx, func(ctx context.Context, node *client.Client) (err error) {
		plan, err = node.Reload(ctx, &bhnodev1.ReloadRequest{DryRun: dry})
		return reloadError(err)
	})
	if err != nil {
		return err
	}
	if !a.json() {
		a.out.printf("%s", planText(plan))
	}
	out := reloadOf(plan)
	if plan.GetEvent() == 0 || noWait {
		return a.printReload(out)
	}
	return a.awaitReload(ctx, plan, out)
}

func (a *app) printReload(out reloadJSON) error {
	if !a.json() {
		return nil
	}
	return printJSON(a.out, out)
}

// awaitReload shows how a reload goes, and returns at its end.
func (a *app) awaitReload(ctx context.Context, plan *bhnodev1.ReloadResponse, out reloadJSON) error {
	var end *bhnodev1.Event
	shown := eventPrinter{screen: a.err, clock: a.now}
	err := a.followReload(ctx, plan.GetEvent(), func(e *bhnodev1.Event) bool {
		switch e.GetType() {
		case supervision.NodeReloaded:
			end = e
			return true
		case supervision.NodeReloading, supervision.ServiceStarted, supervision.NodeAdopted, supervision.ServiceAdopted, supervision.ServiceLimits:
		default:
			if !a.json() {
				a.err.printf("%s", shown.line(e))
			}
		}
		return false
	})
	if err != nil {
		return err
	}
	result := "applied"
	back := end.GetAttrs().GetFields()["rolled_back"].GetBoolValue()
	if back {
		result = "rolled_back"
		why := end.GetAttrs().GetFields()["why"].GetStringValue()
		out.Why = &why
	}
	out.Result = &result
	if err := a.printReload(out); err != nil {
		return err
	}
	if back {
		return failure(fmt.Sprintf(`"bhnode events --since 5m" shows how it went; %s is as you left it: mend it and reload again`, plan.GetConfig()),
			"the reload was rolled back: %s", *out.Why)
	}
	a.err.printf("%s is in force\n", plan.GetConfig())
	return nil
}

// followReload hands the events after a number to see, until that has seen enough. The
// node is not there for a moment, when it becomes the one with the other configuration.
func (a *app) followReload(ctx context.Context, after uint64, see func(*bhnodev1.Event) bool) error {
	f := &reloadFollower{after: after, see: see, heard: a.now}
	f.last = a.now()
	for {
		err := a.withNode(ctx, f.follow)
		switch {
		case f.done:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case exitCode(err) != exitNoNode && !errors.Is(err, io.EOF), a.now().Sub(f.last) > upgradeTime:
			return err
		}
		time.Sleep(2 * answerTime)
	}
}

// reloadFollower hands events on, over several connections.
type reloadFollower struct {
	after uint64
	see   func(*bhnodev1.Event) bool
	heard func() time.Time
	last  time.Time // that something was heard
	done  bool
}

func (f *reloadFollower) follow(ctx context.Context, node *client.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := node.StreamEvents(ctx, &bhnodev1.StreamEventsRequest{Follow: true, After: f.after})
	for err == nil && !f.done {
		var batch *bhnodev1.StreamEventsResponse
		if batch, err = stream.Recv(); err != nil {
			return err
		}
		f.last = f.heard()
		for _, e := range batch.GetEvents() {
			f.after = e.GetSeq()
			if f.done = f.done || f.see(e); e.GetType() == supervision.NodeStopped {
				return failure("", "the node has ended meanwhile")
			}
		}
	}
	return err
}

// reloadError gives a configuration with mistakes the exit code of one.
func reloadError(err error) error {
	if st, ok := status.FromError(err); ok && st.Code() == codes.InvalidArgument {
		text, mistakes, _ := strings.Cut(st.Message(), "\n")
		return &exitError{code: exitUsage, what: text + "; nothing was changed", detail: mistakes}
	}
	return err
}

func reloadOf(p *bhnodev1.ReloadResponse) reloadJSON {
	out := reloadJSON{
		Changes: p.GetChanges(), Config: p.GetConfig(), Added: orEmpty(p.GetAdded()), Removed: orEmpty(p.GetRemoved()),
		Restarted: changesJSON(p.GetRestarted()), With: orEmpty(p.GetWith()), InPlace: changesJSON(p.GetInPlace()), Tree: p.GetTree(), Keys: orEmpty(p.GetKeys()),
		Waves: [][]string{},
	}
	for _, w := range p.GetWaves() {
		out.Waves = append(out.Waves, w.GetServices())
	}
	return out
}

func changesJSON(list []*bhnodev1.ChangedService) []changedJSON {
	out := []changedJSON{}
	for _, c := range list {
		out = append(out, changedJSON{c.GetName(), orEmpty(c.GetKeys())})
	}
	return out
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// planText says what changes, a line each.
func planText(p *bhnodev1.ReloadResponse) string {
	if !p.GetChanges() {
		return "nothing changes\n"
	}
	var rows [][2]string
	add := func(what, how string) { rows = append(rows, [2]string{what, how}) }
	for _, name := range p.GetAdded() {
		add(name, "is new")
	}
	for _, c := range p.GetRestarted() {
		add(c.GetName(), "restarts: "+strings.Join(c.GetKeys(), ", "))
	}
	for _, name := range p.GetWith() {
		add(name, "restarts with what it depends on")
	}
	for _, c := range p.GetInPlace() {
		add(c.GetName(), "runs on: "+strings.Join(c.GetKeys(), ", "))
	}
	for _, name := range p.GetRemoved() {
		add(name, "is stopped and leaves")
	}
	for _, key := range p.GetKeys() {
		add(key, "changes")
	}
	if p.GetTree() && !slices.ContainsFunc(p.GetKeys(), func(k string) bool { return strings.HasPrefix(k, "tree") || strings.HasPrefix(k, "supervisor") }) {
		add("the tree", "changes")
	}
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%-*s  %s\n", width, safeText(r[0]), safeText(strings.TrimSuffix(r[1], ": ")))
	}
	var waves []string
	for _, w := range p.GetWaves() {
		waves = append(waves, strings.Join(w.GetServices(), ", "))
	}
	if len(waves) > 0 {
		fmt.Fprintf(&b, "starts: %s\n", strings.Join(waves, "; then "))
	}
	return b.String()
}
