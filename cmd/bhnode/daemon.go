package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"
	"google.golang.org/grpc"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/configs"
	"github.com/blackhole/bhnode/proc"
	"github.com/blackhole/bhnode/supervision"
)

// ownLog is the name of bhnode's own log. The contract's node.log is taken by
// the service called node.
const ownLog = "bhnode.log"

// daemon is a running node and what it stands on.
type daemon struct {
	app     *app
	cfg     *configs.Config
	src     configs.Source
	host    *proc.Host
	config  actors.Config
	past    *actors.Past // nil: the bhnode before this one has ended
	node    *actors.Node
	server  *grpc.Server
	logFile *os.File
	log     zerolog.Logger

	will       *will // of the bhnode in whose place it was put; nil: there was none
	detached   bool  // runs in the background
	successors chan successor
	reloads    *reloads
	listener   *net.UnixListener
	ports      []*port        // all that are listened on, or are to be
	exporter   *exporter      // nil: no metrics are served
	remote     *remoteControl // nil: no other machine is served
	control    *actors.Control
	unwatch    context.CancelFunc
	settle     func() // memory, when it has come up
}

// openDaemon takes possession of the directories.
func (a *app) openDaemon(cfg *configs.Config, src configs.Source, w *will) (*daemon, error) {
	for _, dir := range cfg.PrivateDirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, failure("", "cannot make the directory of the node: %v", err)
		}
	}
	d := &daemon{app: a, cfg: cfg, src: src, will: w, successors: make(chan successor, 1), reloads: newReloads(configs.OpenHistory(cfg.Node.DataDir))}
	if err := d.openLog(); err != nil {
		return nil, err
	}
	host, err := proc.OpenHost(proc.HostOptions{
		Node: cfg.Node.Name, RuntimeDir: cfg.Node.RuntimeDir, Group: cfg.Node.Group, KillOnDeath: cfg.Node.KillOnDaemonDeath, Log: d.log,
		Heir: w != nil,
	})
	if err != nil {
		return nil, errors.Join(lockHint(err, src), d.logFile.Close())
	}
	d.host = host
	d.warnOfLimits()
	return d, nil
}

// warnOfLimits says once of each limit that this machine does not enforce, or not as
// asked, which services have it, why, and what would help.
func (d *daemon) warnOfLimits() {
	var order []proc.Enforcement
	names := map[proc.Enforcement][]string{}
	for i := range d.cfg.Services {
		s := &d.cfg.Services[i]
		if !s.Enabled {
			continue
		}
		for _, e := range d.host.Enforcement(&s.ServiceSpec) {
			if e.Why == "" {
				continue
			}
			e.Value, e.By = "", ""
			if names[e] == nil {
				order = append(order, e)
			}
			names[e] = append(names[e], s.Name)
		}
	}
	for _, e := range order {
		text := fmt.Sprintf("%s of %s is not enforced: %s", e.Limit, strings.Join(names[e], ", "), e.Why)
		if e.Help != "" {
			text += "; what would help: " + e.Help
		}
		d.app.err.printf("%s %s\n", d.app.err.paint(styleWorking, "warning:"), safeLines(text))
		d.log.Warn().Str("limit", e.Limit).Strs("services", names[e]).Str("why", e.Why).Str("help", e.Help).Msg("limit is not enforced")
	}
}

// openLog opens bhnode's own log. Its warnings are shown on the terminal too.
func (d *daemon) openLog() error {
	if err := os.MkdirAll(d.cfg.Logs.Dir, 0o700); err != nil {
		return failure("", "cannot make the log directory: %v", err)
	}
	file, err := os.OpenFile(filepath.Join(d.cfg.Logs.Dir, ownLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return failure("", "cannot open the log of bhnode: %v", err)
	}
	d.logFile = file
	zerolog.TimeFieldFormat = time.RFC3339Nano
	d.log = zerolog.New(file).With().Timestamp().Logger().Level(zerolog.InfoLevel)
	return nil
}

// sweep ends what an earlier bhnode left behind.
func (d *daemon) sweep(ctx context.Context) error {
	var lives map[string]uint64
	var relimited []string
	if d.past != nil {
		lives, relimited = d.past.Lives(), d.past.Relimited()
	}
	left, err := d.host.Sweep(ctx, lives)
	var stuck []string
	for _, l := range left {
		d.app.err.printf("%s %v\n", d.app.err.paint(styleWorking, "left over:"), l)
		d.log.Warn().Stringer("left", l).Bool("stuck", l.Stuck).Msg("process of a dead bhnode found")
		if l.Stuck {
			stuck = append(stuck, l.String())
		}
	}
	switch {
	case err != nil:
		return failure("end those processes by hand, then try again", "what an earlier bhnode left behind could not be ended: %v", err)
	case len(stuck) > 0:
		return failure("nothing is started over a process that lives; try again when it is gone",
			"what an earlier bhnode left behind does not die: %s", strings.Join(stuck, "; "))
	}
	for i := range d.cfg.Services {
		s := &d.cfg.Services[i]
		inc, lives := lives[s.Name]
		if !lives || !s.Enabled {
			continue
		}
		if _, err := d.host.Adopt(&s.ServiceSpec, inc); err != nil && !errors.Is(err, proc.ErrNotFound) {
			return failure("", "%s cannot be taken over: %v", s.Name, err)
		}
		if slices.Contains(relimited, s.Name) {
			if err := d.host.Limit(s.Name, s.Limits); err != nil {
				d.log.Warn().Err(err).Str("service", s.Name).Msg("its changed limits are in force from its next start on")
			}
		}
	}
	return nil
}

// fitting is how what changed comes into force.
func (d *daemon) fitting() actors.Fitting {
	_, fallback := d.reloads.history.Last()
	f := actors.Fitting{Final: !fallback}
	pending, tried := d.reloads.history.Pending()
	f.Reload = tried && pending.Same(d.cfg.Snapshot()) // whoever asked for it waits
	if d.will != nil {
		f.Final, f.Why, f.Reload = d.will.Final, d.will.Why, d.will.reloads()
	}
	return f
}

// configure makes of the configuration what the actors run.
func (d *daemon) configure() error {
	for _, file := range d.host.State().Damaged() {
		d.app.err.printf("%s %s could not be understood and was set aside\n", d.app.err.paint(styleWorking, "warning:"), file)
	}
	c, err := d.actorsConfig(d.cfg)
	if err != nil {
		return configError(err)
	}
	d.config = *c
	return nil
}

// actorsConfig is what the actors run of a configuration.
func (d *daemon) actorsConfig(cfg *configs.Config) (*actors.Config, error) {
	tree, err := supervision.Compile(cfg.Tree)
	if err != nil {
		return nil, err
	}
	kept := d.host.State()
	c := actors.Config{
		Name: cfg.Node.Name, Version: ownVersion().Version, Source: d.src.String(), Tree: tree, Spec: cfg.Tree,
		BestEffort: cfg.Node.BestEffort, MaxParallelStarts: cfg.Node.MaxParallelStarts, ShutdownTimeout: cfg.Node.ShutdownTimeout,
		Logs:          logsOf(cfg.Logs),
		EventsPath:    eventsPath(cfg),
		Seed:          uint64(time.Now().UnixNano()),
		CompatMetrics: cfg.Metrics.CompatNames,
		Log:           d.log, Incarnations: map[supervision.ChildID]uint64{},
	}
	for name, h := range kept.Holds() {
		c.Holds = append(c.Holds, supervision.Hold{ID: supervision.ChildID(name), Only: h.Only})
	}
	slices.SortFunc(c.Holds, func(a, b supervision.Hold) int { return strings.Compare(string(a.ID), string(b.ID)) })
	for name, inc := range kept.LastIncarnations() {
		c.Incarnations[supervision.ChildID(name)] = inc
	}
	for i := range cfg.Services {
		s := &cfg.Services[i]
		c.Services = append(c.Services, actors.Service{
			Spec: &s.ServiceSpec, Health: s.Health, Enabled: s.Enabled, DependsOn: s.DependsOn,
			Description: s.Description, Command: cfg.MaskCommand(s),
		})
	}
	for _, a := range cfg.Notify {
		c.Announcements = append(c.Announcements, actors.Announcement{Command: a.Command, Types: a.On, Names: a.Names, Timeout: a.Timeout})
	}
	if cfg.Metrics.Listen != "" {
		c.SampleInterval = cfg.Metrics.Interval
	}
	c.State, c.Boot = kept, d.host.Boot()
	return &c, nil
}

// start starts the actors.
func (d *daemon) start() (err error) {
	d.config.Past = d.past
	if d.will != nil {
		d.config.Takeover, d.config.TakeoverCause = d.will.Notice, d.will.Cause
	}
	if d.node, err = actors.Start(d.config, actors.OnHost{Host: d.host}); err != nil {
		return failure("", "%s", err.Error())
	}
	return nil
}

// eventsPath is where the journal of a node is.
func eventsPath(cfg *configs.Config) string { return filepath.Join(cfg.Node.DataDir, "events.jsonl") }

func logsOf(l configs.Logs) actors.Logs {
	return actors.Logs{
		Dir: l.Dir, Raw: l.Format == configs.FormatRaw, MaxSize: int64(l.MaxSizeMB) << 20, MaxFiles: l.MaxFiles,
		Compress: l.Compress, Drop: l.Drop, BlockTimeout: l.BlockTimeout,
	}
}

// listen serves the control API on its socket, to root and to our own user.
func (d *daemon) listen() error {
	listener, err := d.inheritedSocket()
	if err == nil && listener == nil {
		listener, err = d.makeSocket()
	}
	d.serveMetrics()
	var watching context.Context
	watching, d.unwatch = context.WithCancel(context.Background())
	go d.watchCertificate(watching)
	d.host.Settled()
	if err != nil {
		return err
	}
	d.listener = listener
	control := actors.NewControl(d.node)
	d.control = control
	if !d.cfg.Node.KillOnDaemonDeath {
		control.Successor = d.checkSuccessor
	}
	control.Reloader = d.reload
	access := d.access()
	d.server = control.Server(access)
	d.serveRemote(control, access)
	go func() {
		if err := d.server.Serve(listener); err != nil {
			d.log.Error().Err(err).Msg("control API ended")
		}
	}()
	return nil
}

// makeSocket makes the control socket.
func (d *daemon) makeSocket() (*net.UnixListener, error) {
	path := d.cfg.Control.Socket
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, failure("", "cannot make the directory of the control socket: %v", err)
	}
	if err := removeStale(path); err != nil {
		return nil, failure("", "cannot listen on the control socket: %v", err)
	}
	mode := uint32(d.cfg.Control.SocketMode.Perm())
	// A socket takes its mode from the inode behind the descriptor at bind. The umask
	// would be that of the services, too, which start at this moment.
	narrow := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = syscall.Fchmod(int(fd), mode) })
		return errors.Join(err, failed)
	}}
	listener, err := narrow.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, failure("", "cannot listen on the control socket: %v", err)
	}
	if err := os.Chmod(path, d.cfg.Control.SocketMode); err != nil { // the umask took bits away
		return nil, errors.Join(failure("", "cannot set the mode of the control socket: %v", err), listener.Close())
	}
	socket, ok := listener.(*net.UnixListener)
	if !ok {
		return nil, errors.Join(failure("", "cannot listen on the control socket: a %T", listener), listener.Close())
	}
	return socket, nil
}

// removeStale removes a socket that nobody listens on any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second) //nolint:noctx // bounded
	if err == nil {
		return errors.Join(fmt.Errorf("somebody else listens on %s", path), conn.Close())
	}
	return os.Remove(path)
}

// close gives everything back, the control socket last: when it is gone the next
// node may start.
func (d *daemon) close() error {
	d.exporter.close()
	if d.unwatch != nil {
		d.unwatch()
	}
	err := d.host.Close()
	if d.server != nil {
		d.stopServing()
	}
	return errors.Join(err, d.logFile.Close())
}

// stopServing lets the streams that have ended deliver what they sent last.
func (d *daemon) stopServing() {
	d.control.Close()
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		d.server.GracefulStop()
		d.remote.finish()
	}()
	select {
	case <-delivered:
	case <-time.After(patience): // somebody does not read
		d.server.Stop()
		d.remote.stop()
		<-delivered
	}
}
