package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/blackhole/bhnode/supervision"
)

// maxTimes is how many ends in a row whatif works out.
const maxTimes = 10_000

// whatifJSON is `whatif -o json`.
type whatifJSON struct {
	Stop      [][]string `json:"stop"`
	Start     [][]string `json:"start"`
	Untouched []string   `json:"untouched"`
	Escalates bool       `json:"escalates"`
}

func newWhatifCommand(a *app) *cobra.Command {
	exit, times := "crash", 1
	cmd := &cobra.Command{
		Use:   "whatif NAME",
		Short: "Says what an end of a service would bring about",
		Long: `Says what follows when a service ends, without a node and without touching
anything: who stops and who starts, in order, who is left alone, and which limit
counts it. All services are taken to run. With --times the service ends as often
in a row, each time as soon as all has settled, and the last end is shown.`,
		Example: `  bhnode whatif ledger
  bhnode whatif ledger --times 6         # is a limit hit by then?
  bhnode whatif migrate --exit normal
  bhnode whatif ledger -o json | jq '.start'`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(1, services),
		RunE: func(_ *cobra.Command, args []string) error {
			kind, ok := map[string]supervision.ExitKind{"crash": supervision.Abnormal, "normal": supervision.Normal}[exit]
			if !ok {
				return usageError("it is crash or normal", "unknown exit %q", exit)
			}
			if times < 1 || times > maxTimes {
				return usageError(fmt.Sprintf("it lies between 1 and %d", maxTimes), "%d is no number of times", times)
			}
			tree, opt, err := a.compile()
			if err != nil {
				return err
			}
			p, err := supervision.Predict(tree, opt, supervision.ChildID(args[0]), kind, times)
			if err != nil {
				return unknownService(err, args[0], tree)
			}
			if a.json() {
				return printJSON(a.out, whatifJSON{
					Stop: waveNames(p.Stop), Start: waveNames(p.Start), Untouched: childNames(p.Untouched), Escalates: p.Escalates,
				})
			}
			a.whatif(forecast{Prediction: p, node: tree.Node(supervision.ChildID(args[0])), kind: kind, times: times})
			return nil
		},
	}
	cmd.Flags().StringVar(&exit, "exit", exit, "how it ends: crash or normal")
	cmd.Flags().IntVar(&times, "times", times, "how often it ends in a row")
	completeFixed(cmd, "exit", "crash", "normal")
	return cmd
}

// unknownService says that a configuration has no such service, and what comes
// near it.
func unknownService(err error, name string, tree *supervision.Tree) error {
	if _, ok := errors.AsType[*supervision.UnknownChildError](err); !ok {
		return err
	}
	exit := &exitError{code: exitNoService, what: fmt.Sprintf("no enabled service is called %s", name), hint: `"bhnode plan" lists the services`}
	if n := tree.Node(supervision.ChildID(name)); n != nil {
		exit.code, exit.what = exitUsage, name+" is a supervisor: name one of the services below it"
		return exit
	}
	var known []string
	for s := range tree.Root.Services {
		known = append(known, string(s.Spec.ID))
	}
	if near := nearest([]string{name}, known); near != "" {
		exit.hint = fmt.Sprintf("did you mean %q?", near)
	}
	return exit
}

// forecast is a prediction and what was asked.
type forecast struct {
	supervision.Prediction
	node  *supervision.Node
	kind  supervision.ExitKind
	times int
}

// whatif prints a prediction for people.
func (a *app) whatif(f forecast) {
	a.out.printf("%s\n", a.out.paint(styleBold, f.headline()))
	a.wave("stops", waveNames(f.Stop))
	a.wave("starts", waveNames(f.Start))
	a.wave("untouched", [][]string{childNames(f.Untouched)})
	for _, line := range slices.Concat(f.consequence(), f.limit()) {
		a.out.printf("  %s\n", line)
	}
}

// wave prints lists of services, one line for each that stop or start together.
func (a *app) wave(what string, waves [][]string) {
	lines := make([]string, len(waves))
	for i, wave := range waves {
		lines[i] = safeText(strings.Join(wave, ", "))
	}
	if len(slices.Concat(waves...)) == 0 {
		lines = []string{"nobody"}
	}
	for i, line := range lines {
		a.out.printf("  %s  %s\n", a.out.paint(styleDim, fmt.Sprintf("%-9s", waveLabel(what, i))), line)
	}
}

// waveLabel stands before the i-th wave.
func waveLabel(what string, i int) string {
	if i > 0 {
		return "  then"
	}
	return what
}

func (f forecast) name() string { return string(f.node.Spec.ID) }

func (f forecast) headline() string {
	verb := "crashes"
	if f.kind == supervision.Normal {
		verb = "ends normally"
	}
	switch {
	case f.times == 1:
		return fmt.Sprintf("If %s %s:", f.name(), verb)
	case f.Ends < f.times:
		return fmt.Sprintf("If %s %s %d times in a row: after %s it is down for good. The last of them:",
			f.name(), verb, f.times, plural(f.Ends, "time"))
	}
	return fmt.Sprintf("If %s %s %d times in a row, the last time:", f.name(), verb, f.times)
}

// consequence says what becomes of the service and of the supervisors.
func (f forecast) consequence() (lines []string) {
	for _, s := range f.GaveUp {
		lines = append(lines, fmt.Sprintf("%s gives up: it stops its children and ends, since a limit is exceeded.", s))
	}
	if f.Ended {
		return append(lines, "The node stops.")
	}
	for _, s := range f.GaveUp {
		if !slices.Contains(f.Down, s) {
			lines = append(lines, fmt.Sprintf("Its supervisor starts %s again, with all below it.", s))
		}
	}
	for _, s := range f.Down {
		lines = append(lines, fmt.Sprintf("%s has ended with all below it, and is not started again.", s))
	}
	switch {
	case len(lines) > 0:
	case f.Restarts && f.Delay > 0:
		lines = append(lines, fmt.Sprintf("%s starts after a back-off of %s.", f.name(), span(f.Delay)))
	case f.Restarts:
		lines = append(lines, f.name()+" starts at once, without a back-off.")
	case f.Child.State == supervision.StateCompleted:
		lines = append(lines, fmt.Sprintf("%s is %s: after a normal end it is completed and is not started again.", f.name(), restartWord(f.node.Spec.Restart)))
	case f.node.Spec.Restart == supervision.Temporary:
		lines = append(lines, f.name()+" is temporary: it is failed and is not started again.")
	case f.Child.State == supervision.StateFailed:
		until := "an operator starts it"
		if slices.ContainsFunc(f.node.Needs, func(e *supervision.Edge) bool { return e.Restart }) {
			until += ", or what it needs comes up anew"
		}
		lines = append(lines, fmt.Sprintf("%s is failed: it has used up its restarts. What would restart with it stops and waits until %s.", f.name(), until))
	}
	return lines
}

// limit says where the restart counts, and what one too many means.
func (f forecast) limit() []string {
	in, used := f.Counter.Limit, f.Counter.InWindow
	switch {
	case !f.node.Spec.Restart.After(f.kind):
		return nil
	case used > in.Max && f.Restarts && !f.Escalates:
		return []string{fmt.Sprintf("It is restart %d within %s and the limit of %s is %d: on_exhausted says to go on.", used, span(in.Period), f.Counter.ID, in.Max)}
	case used > in.Max:
		return []string{fmt.Sprintf("It would be restart %d within %s; the limit of %s is %d.", used, span(in.Period), f.Counter.ID, in.Max)}
	case used == 0:
		return nil
	}
	whose := "the limit of its supervisor " + string(f.Counter.ID)
	if f.Counter.ID == f.node.Spec.ID {
		whose = "its own limit"
	}
	return []string{
		fmt.Sprintf("It is restart %d of %d within %s, %s.", used, in.Max, span(in.Period), whose),
		fmt.Sprintf("One more than %d: %s.", in.Max, f.tooMany()),
	}
}

func (f forecast) tooMany() string {
	above := f.node.Parent
	if f.node.Spec.Intensity != nil {
		switch f.node.Spec.OnExhausted {
		case supervision.Fail:
			return f.name() + " is failed, and what would restart with it stops and waits"
		case supervision.Keep:
			return fmt.Sprintf("%s goes on, after %s each time", f.name(), span(f.node.Spec.Backoff.Max))
		case supervision.Escalate:
		}
	}
	if above.Parent == nil {
		return fmt.Sprintf("%s gives up, and the node stops in order", above.Spec.ID)
	}
	return fmt.Sprintf("%s gives up and ends, and %s decides about it as about any child", above.Spec.ID, above.Parent.Spec.ID)
}
