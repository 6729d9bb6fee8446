package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// newRunCommand returns the node itself.
func newRunCommand(a *app) *cobra.Command {
	var detach, check bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Runs the node, in the foreground",
		Long: `Runs the node: starts its services in the order of their dependencies, shows how
that goes, then prints what they say. SIGTERM, SIGINT and a closed terminal stop
it in reverse order; a second one kills what is left.`,
		Example: `  bhnode run                       # ./blackhole.yaml, or the built-in nine services
  bhnode run --config shop.yaml
  bhnode run --detach              # in the background; returns once all are healthy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if check {
				return a.checkRun()
			}
			if detach {
				return a.startDetached(cmd.Context(), a.configFlag)
			}
			return a.runNode(cmd.Context())
		},
	}
	cmd.Flags().BoolVarP(&detach, "detach", "d", false, "in the background; return once it has come up")
	cmd.Flags().BoolVar(&check, "check", false, "only say whether it could take over from a node of this configuration")
	_ = cmd.Flags().MarkHidden("check") // for upgrade
	return cmd
}

// runNode runs the node to its end. The main goroutine, which is locked to the
// main thread, serves its host.
func (a *app) runNode(ctx context.Context) error {
	tell := newLauncher(a.getenv)
	err := a.serve(ctx, tell)
	tell.failed(err)
	return err
}

func (a *app) serve(ctx context.Context, tell *launcher) error {
	settle := growFreely(a.getenv)
	w := readWill(a.getenv)
	src, cfg, err := a.loadFor(w)
	if err != nil && w.reloads() && w.Config != "" {
		return w.goBackAtOnce(configs.OpenHistory(filepath.Dir(filepath.Dir(w.Config))), err)
	}
	if err != nil {
		return configError(err)
	}
	cfg.Forget()
	a.err.printf("bhnode %s  node %s  config %s\n", ownVersion().Version, cfg.Node.Name, src)
	a.warn(cfg)
	onTerminal := hasTerminal(w != nil)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	// Who reads what we print may go away; that must not end the node. A signal that
	// is ignored instead would be so for the services too.
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)

	d, err := a.openDaemon(cfg, src, w)
	if err != nil {
		return err
	}
	d.settle = settle
	d.detached = tell.waits() || w != nil && w.Detached
	serving, stopServing := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		defer stopServing()
		ended <- d.run(serving, signals, onTerminal, tell)
	}()
	d.host.Serve(serving)
	err = <-ended
	return errors.Join(err, d.close())
}

// run sweeps, starts the node and sees it to its end.
func (d *daemon) run(ctx context.Context, signals chan os.Signal, onTerminal bool, tell *launcher) error {
	if err := d.open(ctx); err != nil {
		if d.will.reloads() && !d.will.Final {
			if d.goBack(err) {
				d.become(<-d.successors, signals)
			}
		}
		return err
	}
	defer d.node.Close()
	show := newShow(d)
	defer show.end()
	booted := d.node.Booted()
	hold := newWatchdog(d)
	defer hold.stop()
	for asked := 0; ; {
		select {
		case b := <-booted:
			booted = nil
			show.booted(b)
			tell.ready()
			d.cameUp(ctx, b, hold)
			d.settle()
		case sig := <-signals:
			if sig == syscall.SIGHUP && !onTerminal {
				go d.hangUp(ctx, "SIGHUP", hold)
				continue
			}
			asked++
			hold.stopping()
			show.stopping(sig, asked > 1)
			if err := d.node.Stop(ctx, asked > 1, "bhnode", sig.String()); err != nil {
				return err
			}
		case s := <-d.successors:
			if asked == 0 {
				d.become(s, signals)
			}
			d.node.StayOn()
			d.reloads.set(false, "")
		case r := <-d.node.Reloaded():
			d.reloadEnded(ctx, r, hold)
		case out := <-d.node.Ended():
			return d.verdict(ctx, out, asked > 1)
		}
	}
}

// open takes over what is there, and starts the node.
func (d *daemon) open(ctx context.Context) error {
	for _, step := range []func() error{
		d.configure, d.recall, func() error { return d.sweep(ctx) }, d.start,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := d.listen(); err != nil {
		if !d.will.reloads() {
			d.node.Close()
		}
		return err
	}
	if d.reloads.resumed {
		d.reloads.set(false, `a reload is under way; "bhnode reload --abandon" gives it up`)
	}
	return nil
}

// cameUp is told when the node has come up as far as it can.
func (d *daemon) cameUp(ctx context.Context, b supervision.Booted, hold *watchdog) {
	if d.reloads.resumed { // it is told at the end of that
		d.reloads.setBooted()
		return
	}
	d.keepConfig("run") // what a reload goes back to, before there can be one
	d.reloads.set(true, "")
	hold.ready(b)
	d.reloadFile(ctx, hold)
}

// hangUp reloads at a signal, or at the start.
func (d *daemon) hangUp(ctx context.Context, why string, hold *watchdog) {
	hold.reloading()
	plan, err := d.reload(ctx, false, why)
	switch {
	case err != nil:
		text := rpcMessage(err)
		d.log.Error().Str("why", text).Msg("nothing was reloaded")
		d.app.err.printf("%s %s\n", d.app.err.paint(styleBad, "nothing was reloaded:"), safeLines(text))
		first, _, _ := strings.Cut(text, "\n")
		hold.reloaded("nothing was reloaded: " + first)
	case !plan.GetChanges():
		hold.reloaded("nothing has changed")
	}
}

// hasTerminal tells whether there is a controlling terminal, whose end SIGHUP
// means then, and nobody asked (nohup) to outlive it. It has to be asked at the
// start: at its end a terminal is not there any more.
func hasTerminal(heir bool) bool {
	if signal.Ignored(syscall.SIGHUP) && !heir { // which ignored it for the moment of the exec
		return false
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	return tty.Close() == nil
}

// verdict is what the end of the node means for the exit code.
func (d *daemon) verdict(ctx context.Context, out actors.Outcome, killed bool) error {
	switch {
	case out.Panic != nil:
		return failure("please report it; the log of bhnode has the details", "an actor panicked: %v", out.Panic)
	case killed:
		return failure("", "killed before the services had stopped in order")
	}
	switch out.Why {
	case supervision.EndOrdered:
		return nil
	case supervision.EndAutoShutdown:
		if out.AllNormal {
			return nil
		}
		return failure("", "significant service %s has ended", out.ID)
	case supervision.EndIntensity:
		return failure(fmt.Sprintf("the logs in %s show what was said last; max_restarts and restart_window set the limit", d.cfg.Logs.Dir),
			"the node gave up: %s", out.Detail)
	case supervision.EndBootFailed:
		return d.bootFailure(ctx, out)
	}
	return nil
}

// bootFailure names the service, the stage, its last lines and what to do.
func (d *daemon) bootFailure(ctx context.Context, out actors.Outcome) error {
	err := &exitError{
		code: exitFailed,
		what: fmt.Sprintf("%s could not be started, so everything was stopped again: %s", out.ID, out.Detail),
		hint: `mend it, or let the rest run without it: node: {boot: best_effort}`,
	}
	if lines, failed := d.node.LastLines(ctx, string(out.ID)); failed == nil && len(lines) > 0 {
		err.detail = fmt.Sprintf("the last lines of %s:", out.ID)
		for _, line := range lines {
			err.detail += "\n  " + safeText(line)
		}
	}
	return err
}

// lockHint is what to do where another bhnode runs.
func lockHint(err error, src configs.Source) error {
	if locked, ok := errors.AsType[*proc.LockedError](err); ok {
		return failure(fmt.Sprintf(`"bhnode status" shows it; "bhnode shutdown" ends it (config %s)`, src), "%s", locked.Error())
	}
	return failure("", "%s", err.Error())
}
