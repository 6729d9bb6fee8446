package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// operation is a start, stop or restart: of what, and how long to wait for it.
type operation struct {
	verb    string
	names   []string
	all     bool
	only    bool
	noWait  bool
	dryRun  bool
	timeout time.Duration
	// call asks the node; with dryRun it says what that would bring about.
	call func(context.Context, *client.Client, *operation) (*bhnodev1.Consequence, error)
}

func startOperation() *operation {
	return &operation{verb: "start", call: func(ctx context.Context, node *client.Client, op *operation) (*bhnodev1.Consequence, error) {
		out, err := node.StartServices(ctx, &bhnodev1.StartServicesRequest{Names: op.names, All: op.all, NoWait: op.noWait, DryRun: op.dryRun})
		return out.GetConsequence(), err
	}}
}

func newStartCommand(a *app) *cobra.Command {
	op := startOperation()
	cmd := a.operationCommand(op, "start [--all | --services=a,b | NAME...]", "Starts services, and what they need")
	cmd.Long = `Starts services or all below a supervisor, lifts holds on them and on what they
need, and clears failures. It waits until they are healthy. With --all and no
node running it starts one detached.`
	cmd.Example = `  bhnode start ledger
  bhnode start --services=ledger,wallet --timeout 30s
  bhnode start --all         # also starts the node when none runs`
	return cmd
}

func stopOperation() *operation {
	return &operation{verb: "stop", call: func(ctx context.Context, node *client.Client, op *operation) (*bhnodev1.Consequence, error) {
		out, err := node.StopServices(ctx, &bhnodev1.StopServicesRequest{Names: op.names, All: op.all, Only: op.only, NoWait: op.noWait, DryRun: op.dryRun})
		return out.GetConsequence(), err
	}}
}

func newStopCommand(a *app) *cobra.Command {
	op := stopOperation()
	cmd := a.operationCommand(op, "stop [--all | --services=a,b | NAME...]", "Stops services and what depends on them, and holds them")
	cmd.Long = `Stops services or all below a supervisor, what depends on them first, and
waits until nothing of them is alive. They stay down, also over a restart of the
node, until "bhnode start".`
	cmd.Example = `  bhnode stop ledger         # and what depends on it
  bhnode stop --only ledger  # dependents are left running
  bhnode stop --all          # the node itself runs on`
	cmd.Flags().BoolVar(&op.only, "only", false, "leave what depends on them running")
	return cmd
}

func restartOperation() *operation {
	return &operation{verb: "restart", call: func(ctx context.Context, node *client.Client, op *operation) (*bhnodev1.Consequence, error) {
		out, err := node.RestartServices(ctx, &bhnodev1.RestartServicesRequest{Names: op.names, Only: op.only, NoWait: op.noWait, DryRun: op.dryRun})
		return out.GetConsequence(), err
	}}
}

func newRestartCommand(a *app) *cobra.Command {
	op := restartOperation()
	cmd := a.operationCommand(op, "restart NAME...", "Restarts services and what depends on them, in order")
	cmd.Long = `Restarts services or all below a supervisor: what depends on them stops first
and starts last. It counts against no restart limit, and waits until all are
healthy again.`
	cmd.Example = `  bhnode restart ledger
  bhnode restart --only ledger   # dependents are left alone
  bhnode restart root            # everything`
	cmd.Flags().BoolVar(&op.only, "only", false, "leave what depends on them alone")
	return cmd
}

// operationCommand is what the three commands have in common. Only start and
// stop take --all and --services.
func (a *app) operationCommand(op *operation, use, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short,
		ValidArgsFunction: a.completeNames(0, services|supervisors),
		RunE: func(cmd *cobra.Command, args []string) error {
			for i, name := range op.names {
				op.names[i] = strings.TrimSpace(name) // --services="a, b"
			}
			op.names = append(op.names, args...)
			a.asked = op.names
			switch {
			case op.all && len(op.names) > 0:
				return usageError(fmt.Sprintf("see %q", cmd.CommandPath()+" --help"), "--all and names exclude each other")
			case !op.all && len(op.names) == 0:
				return usageError(fmt.Sprintf("see %q", cmd.CommandPath()+" --help"), "%s what? Name services or supervisors", op.verb)
			}
			return a.operate(cmd.Context(), op)
		},
	}
	flags := cmd.Flags()
	if op.verb != "restart" {
		flags.BoolVar(&op.all, "all", false, "all services")
		flags.StringSliceVar(&op.names, "services", nil, "services by `name`, separated by commas")
		_ = cmd.RegisterFlagCompletionFunc("services", a.completeNames(0, services))
	}
	flags.BoolVar(&op.dryRun, "dry-run", false, "only say who would stop and start, in order")
	flags.BoolVar(&op.noWait, "no-wait", false, "do not wait until it is done")
	flags.DurationVar(&op.timeout, "timeout", 0, "stop waiting after this `time`; the work goes on")
	return cmd
}

func (a *app) operate(ctx context.Context, op *operation) error {
	if op.dryRun {
		return a.withNode(ctx, func(ctx context.Context, node *client.Client) error { return a.foretell(ctx, node, op) })
	}
	ctx, stop := endAfter(ctx, op.timeout, context.DeadlineExceeded)
	defer stop()
	err := a.withNode(ctx, func(ctx context.Context, node *client.Client) error {
		return a.carryOut(ctx, node, op)
	})
	if err == nil || !op.all || op.verb != "start" || exitCode(err) != exitNoNode || errors.Is(err, errNoAnswer) {
		return err
	}
	if target, err2 := a.target(); err2 == nil {
		if own, err2 := a.configSocket(); err2 == nil && own != target.Socket {
			return err // what would be started does not listen where was asked
		}
	}
	if err := a.startDetached(ctx, a.configFlag); err != nil {
		return err
	}
	return a.withNode(ctx, func(ctx context.Context, node *client.Client) error {
		st, err := getStatus(ctx, node)
		if err != nil {
			return err
		}
		return a.touched(op, nil, st)
	})
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	return exitFailed
}

// consequenceJSON is `stop --dry-run -o json`, and what goes with it.
type consequenceJSON struct {
	Stop  [][]string `json:"stop"`
	Start [][]string `json:"start"`
}

// consequence asks the node what it would bring about.
func (op *operation) consequence(ctx context.Context, node *client.Client) (*bhnodev1.Consequence, error) {
	dry := *op
	dry.dryRun = true
	return query(ctx, func(ctx context.Context) (*bhnodev1.Consequence, error) { return op.call(ctx, node, &dry) })
}

// foretell says what a command would bring about.
func (a *app) foretell(ctx context.Context, node *client.Client, op *operation) error {
	what, err := op.consequence(ctx, node)
	if err != nil {
		return err
	}
	stops, starts := namesIn(what.GetStops()), namesIn(what.GetStarts())
	if a.json() {
		return printJSON(a.out, consequenceJSON{stops, starts})
	}
	a.wave("stops", stops)
	a.wave("starts", starts)
	return nil
}

func namesIn(waves []*bhnodev1.Wave) [][]string {
	out := make([][]string, len(waves))
	for i, w := range waves {
		out[i] = w.GetServices()
	}
	return out
}

// carryOut asks the node, waits, and tells what became of the services.
func (a *app) carryOut(ctx context.Context, node *client.Client, op *operation) error {
	plan, err := op.consequence(ctx, node)
	if err != nil && status.Code(err) != codes.FailedPrecondition { // that it cannot be done now the command says itself
		return waitError(ctx, op, err)
	}
	done := a.progress(ctx, node, op.noWait)
	_, err = op.call(ctx, node, op)
	done()
	if err != nil {
		return waitError(ctx, op, err)
	}
	after, err := getStatus(context.WithoutCancel(ctx), node)
	if err != nil {
		return err
	}
	return a.touched(op, plan, after)
}

// waitError tells an end of the waiting from an end of the work.
func waitError(ctx context.Context, op *operation, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return failure(`"bhnode status" shows how far it is`, "%s: not done after %v; the work goes on", op.verb, op.timeout)
	case ctx.Err() != nil:
		return failure(`"bhnode status" shows how far it is`, "%s: interrupted; the work goes on", op.verb)
	}
	return err
}

// touched prints the services that were named, and those that went with them by plan:
// what else has changed meanwhile was not its doing.
func (a *app) touched(op *operation, plan *bhnodev1.Consequence, after *bhnodev1.GetStatusResponse) error {
	names := slices.Concat(slices.Concat(namesIn(plan.GetStops())...), slices.Concat(namesIn(plan.GetStarts())...), op.names)
	var hit []*bhnodev1.Service
	for _, s := range after.GetServices() {
		if op.all && s.GetWanted() || slices.Contains(names, s.GetName()) {
			hit = append(hit, s)
		}
	}
	if a.json() {
		return printJSON(a.out, statusToJSON(after.GetNode(), hit))
	}
	if op.noWait {
		what := strings.Join(op.names, ", ")
		if op.all {
			what = "all services"
		}
		a.err.printf("%s of %s is under way\n", op.verb, safeText(what))
		return nil
	}
	if len(hit) == 0 {
		a.err.printf("nothing to %s\n", op.verb)
		return nil
	}
	now := a.now()
	rows := make([][]cell, len(hit))
	for i, s := range hit {
		rows[i] = []cell{plain(s.GetName()), a.err.state(s.GetState()), plain(detailText(now, s))}
	}
	a.err.lines(a.err.columns(rows))
	return nil
}

// progress shows on a terminal what a waiting command waits for, until the
// returned function is called.
func (a *app) progress(ctx context.Context, node *client.Client, noWait bool) (done func()) {
	if noWait || !a.err.tty {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		live := block{screen: a.err}
		defer live.erase()
		stream, err := node.WatchStatus(ctx, &bhnodev1.WatchStatusRequest{Interval: durationpb.New(watchInterval)})
		if err != nil {
			return // the waiting itself reports what is wrong
		}
		_ = each(ctx, stream.Recv, func(change *bhnodev1.WatchStatusResponse) error {
			live.draw(a.waitingFor(change.GetStatus().GetServices()))
			return nil
		})
	}()
	return func() {
		cancel()
		<-over
	}
}

// waitingFor is the line that names the services on their way.
func (a *app) waitingFor(services []*bhnodev1.Service) []string {
	var on []string
	for _, s := range services {
		if slices.Contains(moving, s.GetState()) {
			on = append(on, safeText(s.GetName())+" "+stateWord(s.GetState()))
		}
	}
	if len(on) == 0 {
		return nil
	}
	return []string{a.err.paint(styleDim, "waiting for "+strings.Join(on, ", "))}
}
