package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
)

// goneInterval is how often shutdown looks whether the node still answers.
const goneInterval = 50 * time.Millisecond

func newPauseCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "pause SUPERVISOR",
		Short: "Keeps a supervisor from restarting anything",
		Long: `Keeps a supervisor from restarting anything: what ends below it is recorded
and dealt with at "bhnode resume".`,
		Example: `  bhnode pause root          # the whole node
  bhnode pause data          # one supervisor`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(1, supervisors),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				_, err := query(ctx, func(ctx context.Context) (*bhnodev1.PauseSupervisorResponse, error) {
					return node.PauseSupervisor(ctx, &bhnodev1.PauseSupervisorRequest{Name: args[0]})
				})
				if err != nil {
					return err
				}
				return a.confirm(map[string]any{"supervisor": args[0], "paused": true},
					"%s paused: nothing below it is restarted until \"bhnode resume %s\"", args[0], args[0])
			})
		},
	}
}

func newResumeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "resume SUPERVISOR",
		Short: "Ends a pause and deals with what ended meanwhile",
		Example: `  bhnode resume root
  bhnode resume data`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(1, supervisors),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				_, err := query(ctx, func(ctx context.Context) (*bhnodev1.ResumeSupervisorResponse, error) {
					return node.ResumeSupervisor(ctx, &bhnodev1.ResumeSupervisorRequest{Name: args[0]})
				})
				if err != nil {
					return err
				}
				return a.confirm(map[string]any{"supervisor": args[0], "paused": false}, "%s resumed", args[0])
			})
		},
	}
}

// confirm says on standard error what was done, or with -o json on standard
// output.
func (a *app) confirm(value map[string]any, format string, args ...any) error {
	if a.json() {
		return printJSON(a.out, value)
	}
	a.err.printf("%s\n", safeText(fmt.Sprintf(format, args...)))
	return nil
}

func newSignalCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "signal NAME SIGNAL",
		Short: "Sends a signal to the main process of a service",
		Long: `Sends a signal to the main process of a service. A program that does not know
what to do at it ends by most of them, and that is a crash like any other: to
stop a service there is "bhnode stop".`,
		Example: `  bhnode signal app HUP      # for services that reload on it
  bhnode signal app SIGUSR1  # for services that open their logs anew on it
  bhnode signal app 18       # by its number: SIGCONT, which ends nobody`,
		Args: cobra.ExactArgs(2),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "KILL", "STOP", "CONT"}, cobra.ShellCompDirectiveNoFileComp
			}
			return a.completeNames(1, services)(cmd, args, toComplete)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			sig, err := parseSignal(args[1])
			if err != nil {
				return err
			}
			a.asked = args[:1]
			return a.withNode(cmd.Context(), func(ctx context.Context, node *client.Client) error {
				sent, err := query(ctx, func(ctx context.Context) (*bhnodev1.SignalServiceResponse, error) {
					return node.SignalService(ctx, &bhnodev1.SignalServiceRequest{Name: args[0], Signal: int32(sig)}) //nolint:gosec // at most 64
				})
				if err != nil {
					return err
				}
				return a.confirm(map[string]any{"service": args[0], "signal": signalName(sig), "pid": sent.GetPid()},
					"%s sent to %s (pid %d)", signalName(sig), args[0], sent.GetPid())
			})
		},
	}
}

// parseSignal takes a name, with or without SIG, or a number.
func parseSignal(text string) (syscall.Signal, error) {
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n > 0 && n <= 64 {
		return syscall.Signal(n), nil
	}
	return 0, usageError(`"kill -l" lists them`, "unknown signal %q", text)
}

func signalName(sig syscall.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}

func newShutdownCommand(a *app) *cobra.Command {
	var now, noWait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "shutdown",
		Short: "Ends the node, in order",
		Long: `Stops all services in reverse order and ends the node, and waits until it has
ended. It holds nothing: the next "bhnode run" starts them all again.`,
		Example: `  bhnode shutdown
  bhnode shutdown --timeout 30s
  bhnode shutdown --now      # kills what runs instead of asking it to stop`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := endAfter(cmd.Context(), timeout, context.DeadlineExceeded)
			defer stop()
			return a.withNode(ctx, func(ctx context.Context, node *client.Client) error {
				op := &operation{verb: "shutdown", noWait: noWait, timeout: timeout}
				return waitError(ctx, op, a.shutdown(ctx, node, now, noWait))
			})
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "kill everything at once")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "do not wait until it has ended")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "stop waiting after this `time`; the work goes on")
	return cmd
}

func (a *app) shutdown(ctx context.Context, node *client.Client, now, noWait bool) error {
	who, err := getNode(ctx, node)
	if err != nil {
		return err
	}
	done := a.progress(ctx, node, noWait)
	defer done()
	if _, err := node.Shutdown(ctx, &bhnodev1.ShutdownRequest{Now: now}); err != nil && !client.IsNoNode(err) {
		return err
	}
	if noWait {
		return a.confirm(map[string]any{"node": who.GetName(), "stopped": false}, "shutdown of %s is under way", who.GetName())
	}
	if err := a.awaitGone(ctx, node, who.GetPid()); err != nil {
		return err
	}
	done()
	return a.confirm(map[string]any{"node": who.GetName(), "stopped": true}, "%s stopped", who.GetName())
}

func getNode(ctx context.Context, node *client.Client) (*bhnodev1.GetNodeResponse, error) {
	return query(ctx, func(ctx context.Context) (*bhnodev1.GetNodeResponse, error) {
		return node.GetNode(ctx, &bhnodev1.GetNodeRequest{})
	})
}

// awaitGone returns when the node of this pid answers no more.
func (a *app) awaitGone(ctx context.Context, node *client.Client, pid int32) error {
	tick := time.NewTicker(goneInterval)
	defer tick.Stop()
	for {
		who, err := getNode(ctx, node)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && who.GetPid() != pid:
			return nil
		case err != nil && client.IsNoNode(err):
			return nil
		case err != nil && !errors.Is(err, errNoAnswer):
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
