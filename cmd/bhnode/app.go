package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proto/client"
)

// queryTimeout is how long a node may take to say something it knows already.
const queryTimeout = 10 * time.Second

// app is what every command shares: the streams, the environment and the global
// flags.
type app struct {
	stdio
	out, err *screen

	configFlag string
	socketFlag string
	remote     remoteFlags
	output     string
	asked      []string // the names on the command line
	running    bool     // the command line was understood; an error from here on is not one of usage
}

func newApp(std stdio) *app {
	return &app{
		stdio: std,
		out:   newScreen(std.stdout, std.getenv),
		err:   newScreen(std.stderr, std.getenv),
	}
}

func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "bhnode",
		Short: "Runs services under one supervision tree, and talks to a node that does",
		Long: `bhnode runs a node: a set of services, each its own process, under an
Erlang/OTP supervision tree. The other commands talk to a running node.

Exit codes: 0 done; 1 it failed, or something is unhealthy; 2 usage or
configuration; 3 no node answers; 4 no such service; 5 denied.`,
		Example: `  bhnode run                 # the node of ./blackhole.yaml, or the built-in one
  bhnode tree                # who runs, who restarts whom
  bhnode logs -f ledger      # follow one service`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(_ *cobra.Command, args []string) error { return a.begin(args) },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageOf(cmd, err)
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.configFlag, "config", "", "configuration `file` (default: $BHNODE_CONFIG, ./blackhole.yaml, …)")
	flags.StringVar(&a.socketFlag, "socket", "", "control socket of the node (default: $BHNODE_SOCKET, the configuration's)")
	a.remote.flags(flags)
	flags.StringVarP(&a.output, "output", "o", "table", "output `format`: table or json")
	completeFixed(root, "output", "table", "json")
	asGroup(root)
	addGroup(root, "node", "The node:", newRunCommand(a), newShutdownCommand(a), newReloadCommand(a), newUpgradeCommand(a), newServiceCommand(), newGatewayCommand())
	addGroup(root, "look", "What it does:", newStatusCommand(a), newHealthCommand(a), newTreeCommand(a), newTopCommand(a),
		newLogsCommand(a), newEventsCommand(a), newWhyCommand(a))
	addGroup(root, "services", "What it is to do:", newStartCommand(a), newStopCommand(a), newRestartCommand(a),
		newPauseCommand(a), newResumeCommand(a), newSignalCommand(a), newDebugCommand(a), newProfileCommand(a))
	addGroup(root, "more", "Besides:", newConfigCommand(a), newCertCommand(a), newPlanCommand(a), newWhatifCommand(a), newDoctorCommand(a), newVersionCommand(a), newCompletionCommand(a))
	root.SetHelpCommandGroupID("more")
	return root
}

// addGroup adds commands under a heading of the help.
func addGroup(root *cobra.Command, id, title string, cmds ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, cmd := range cmds {
		cmd.GroupID = id
		root.AddCommand(cmd)
	}
}

// asGroup makes a command that only holds others refuse to be run alone or with
// a word it does not know.
func asGroup(cmd *cobra.Command) {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := &exitError{
			code: exitUsage,
			what: fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath()),
			hint: fmt.Sprintf("see %q", cmd.CommandPath()+" --help"),
		}
		var known []string
		for _, sub := range cmd.Commands() {
			known = append(known, sub.Name())
		}
		if name := nearest(args, known); name != "" {
			err.hint = fmt.Sprintf("did you mean %q?", cmd.CommandPath()+" "+name)
		}
		return err
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return &exitError{
			code: exitUsage, what: "no command given",
			hint: fmt.Sprintf("%q lists them", cmd.CommandPath()+" --help"),
		}
	}
}

// begin checks the global flags; every command passes here before it runs.
func (a *app) begin(args []string) error {
	if a.output != "table" && a.output != "json" {
		return &exitError{code: exitUsage, what: fmt.Sprintf("unknown output format %q", a.output), hint: "it is table or json"}
	}
	a.running, a.asked = true, args
	return nil
}

func (a *app) json() bool { return a.output == "json" }

// env is the value of an environment variable, "" when it is not set.
func (a *app) env(name string) string {
	v, _ := a.getenv(name)
	return v
}

// socket says where the node of this command line listens.
func (a *app) socket() (string, error) {
	if a.socketFlag != "" {
		return a.socketFlag, nil
	}
	if s := a.env("BHNODE_SOCKET"); s != "" {
		return s, nil
	}
	return a.configSocket()
}

func (a *app) configSocket() (string, error) {
	src, err := configs.Find(a.configFlag, a.env)
	if err != nil {
		return "", configError(err)
	}
	socket, err := configs.ControlSocket(src, a.getenv)
	if err == nil {
		return socket, nil
	}
	if !src.Embedded { // a node that runs is where it is by default, though its file cannot be read now
		usual := filepath.Join(filepath.Dir(src.Path), "run", "bhnode.sock")
		if _, statErr := os.Stat(usual); statErr == nil {
			return usual, nil
		}
	}
	return "", configError(err)
}

// withNode calls do with a connection to the node; an interrupt ends its context.
func (a *app) withNode(ctx context.Context, do func(context.Context, *client.Client) error) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	node, err := a.dial()
	if err != nil {
		return err
	}
	defer func() { _ = node.Close() }()
	if err := do(ctx, node); err != nil {
		return a.explain(ctx, node, err)
	}
	return nil
}

// query calls do with the patience a question deserves.
func query[T any](ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	ctx, stop := endAfter(ctx, queryTimeout, errNoAnswer)
	defer stop()
	v, err := do(ctx)
	if err != nil && errors.Is(context.Cause(ctx), errNoAnswer) {
		return v, errNoAnswer
	}
	return v, err
}

// endAfter ends a context with a cause after a timeout, 0 for never. It has no
// deadline, which gRPC would tell the node: how long we wait is not its business.
func endAfter(ctx context.Context, timeout time.Duration, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if timeout <= 0 {
		return ctx, func() { cancel(context.Canceled) }
	}
	timer := time.AfterFunc(timeout, func() { cancel(cause) })
	return ctx, func() {
		timer.Stop()
		cancel(context.Canceled)
	}
}
