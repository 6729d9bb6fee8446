package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/actors"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/proto/client"
	"github.com/blackhole/bhnode/supervision"
)

const (
	// checkTime is how long a binary may take to say whether it could take over.
	checkTime = 20 * time.Second
	// answerTime lets the answer to an upgrade reach its caller first.
	answerTime = 50 * time.Millisecond
	// upgradeTime is how long the new bhnode may take to answer.
	upgradeTime = 30 * time.Second
)

func newUpgradeCommand(a *app) *cobra.Command {
	var binary string
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Puts another bhnode in the place of the one that runs",
		Long: `Has the running bhnode check another binary, and then become it: the process and
all services stay as they are, no line of theirs is lost. If the other one cannot
take over, the running one goes on.`,
		Example: `  bhnode upgrade                         # to the bhnode that this command is of
  bhnode upgrade --binary ./bhnode-2.0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := successorPath(binary)
			if err != nil {
				return failure("name it with --binary", "cannot find the binary: %v", err)
			}
			return a.upgrade(cmd.Context(), path)
		},
	}
	cmd.Flags().StringVar(&binary, "binary", "", "the `file` to upgrade to (default: this one)")
	return cmd
}

func successorPath(binary string) (string, error) {
	if binary == "" {
		return os.Executable()
	}
	return filepath.Abs(binary)
}

func (a *app) upgrade(ctx context.Context, path string) error {
	var before *bhnodev1.GetNodeResponse
	err := a.withNode(ctx, func(ctx context.Context, node *client.Client) error {
		var err error
		if before, err = getNode(ctx, node); err == nil {
			ctx, stop := endAfter(ctx, checkTime, errNoAnswer)
			defer stop()
			_, err = node.Upgrade(ctx, &bhnodev1.UpgradeRequest{Binary: path})
			if status.Code(err) == codes.Unavailable && before != nil { // it was quicker than its answer
				return nil
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	for late := time.After(upgradeTime); ; {
		now, err := a.who(ctx)
		if err == nil && !now.GetStartedAt().AsTime().Equal(before.GetStartedAt().AsTime()) {
			a.err.printf("%s runs now, in the place of %s (pid %d)\n", now.GetVersion(), before.GetVersion(), now.GetPid())
			return nil
		}
		select {
		case <-time.After(2 * answerTime):
		case <-late:
			return failure("its log says why: see bhnode.log", "bhnode %s still runs, or none answers", before.GetVersion())
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// who asks the node who it is.
func (a *app) who(ctx context.Context) (who *bhnodev1.GetNodeResponse, err error) {
	node, err := a.dial()
	if err != nil {
		return nil, err
	}
	defer func() { _ = node.Close() }()
	return getNode(ctx, node)
}

// checkJSON is what `run --check` says.
type checkJSON struct {
	Version string `json:"version"`
	State   int    `json:"state_version"`
}

// checkRun says whether this bhnode could take over from a node of this configuration.
func (a *app) checkRun() error {
	_, cfg, err := a.load(nil)
	if err != nil {
		return configError(err)
	}
	if cfg.Node.KillOnDaemonDeath {
		return failure("restart it instead", "with node.on_daemon_death: kill nothing is taken over")
	}
	return printJSON(a.out, checkJSON{Version: ownVersion().Version, State: actors.PastVersion})
}

// checkSuccessor has a binary say whether it can take over, and it is put in our place
// soon after.
func (d *daemon) checkSuccessor(ctx context.Context, binary string) (string, error) {
	if !d.node.Keeps() {
		return "", errors.New("nobody could take over: what this bhnode decides cannot be kept, its log says why")
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(slices.Clone(os.Args[1:]), "--check")...) //nolint:gosec // who may ask for it may run anything as us
	cmd.Env = heirEnvironment()
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s cannot take over: %w: %s", binary, err, strings.TrimSpace(said.String()))
	}
	var told checkJSON
	if err := json.Unmarshal([]byte(out.String()), &told); err != nil {
		return "", fmt.Errorf("%s cannot take over: it is no bhnode, or an old one", binary)
	}
	if told.State != actors.PastVersion && told.State != actors.PastVersion+1 {
		return "", fmt.Errorf("%s (%s) cannot take over: it reads version %d of the state, this one writes %d", binary, told.Version, told.State, actors.PastVersion)
	}
	if err := d.reloads.upgrading(); err != nil {
		return "", err
	}
	w := &will{Notice: supervision.NodeUpgraded}
	if last, ok := d.reloads.history.Last(); ok && last.Same(d.cfg.Snapshot()) { // whatever the file says by now
		w.Config = d.reloads.history.Path(last.Number)
	}
	time.AfterFunc(answerTime, func() { d.succeed(successor{binary, w}) })
	return told.Version, nil
}

// successor is a program that takes over, and what it is left word of.
type successor struct {
	binary string
	will   *will
}

func (d *daemon) succeed(s successor) {
	select {
	case d.successors <- s:
	default: // another one is on its way
	}
}

// heirEnvironment is ours without what is meant for this program alone.
func heirEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, launcherFD+"=") || strings.HasPrefix(v, heirVariable+"=")
	})
}

// become puts another bhnode in our place. It returns if that could not be done.
func (d *daemon) become(s successor, signals chan os.Signal) {
	s.will.Detached = d.detached
	d.log.Info().Str("binary", s.binary).Str("for", s.will.Notice).Msg("this bhnode becomes another one")
	exec := func(keep ...int) error {
		argv := append([]string{s.binary}, os.Args[1:]...)
		return d.host.Become(s.binary, argv, s.will.environment(), func(exec func() error) error {
			// Handlers end with an exec, and SIGHUP would then end us; what is ignored stays so.
			signal.Ignore(syscall.SIGHUP)
			defer signal.Notify(signals, syscall.SIGHUP)
			return exec()
		}, keep...)
	}
	err := withDescriptors(d.listening(), exec)
	d.log.Error().Err(err).Msg("this bhnode goes on, as it could not become the other one")
}

// listening are the sockets that we listen on; one that was not taken over waits where it
// was left.
func (d *daemon) listening() []syscall.Conn {
	var all []syscall.Conn
	if d.listener != nil {
		all = append(all, d.listener)
	}
	for _, p := range d.ports {
		if l := p.listener.Load(); l != nil {
			all = append(all, l)
		}
	}
	return all
}

// withDescriptors calls what to do with the descriptors of all.
func withDescriptors(all []syscall.Conn, do func(fds ...int) error, fds ...int) error {
	if len(all) == 0 {
		return do(fds...)
	}
	raw, err := all[0].SyscallConn()
	if err != nil {
		return err
	}
	ctlErr := raw.Control(func(fd uintptr) { err = withDescriptors(all[1:], do, append(fds, int(fd))...) })
	return errors.Join(ctlErr, err)
}

// inheritedSocket is the control socket of the bhnode before this one.
func (d *daemon) inheritedSocket() (*net.UnixListener, error) {
	file := d.host.Listener(d.cfg.Control.Socket)
	if file == nil {
		return nil, nil
	}
	defer func() { _ = file.Close() }()
	l, err := net.FileListener(file)
	if err != nil {
		return nil, failure("", "cannot go on with the control socket: %v", err)
	}
	socket, ok := l.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(failure("", "the control socket is a %T", l), l.Close())
	}
	socket.SetUnlinkOnClose(true)
	return socket, nil
}
