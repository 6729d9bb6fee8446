package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/blackhole/bhnode/actors"
	"github.com/blackhole/bhnode/configs"
	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
	"github.com/blackhole/bhnode/supervision"
)

// fixed are the keys that belong to the node as long as it runs.
var fixed = []string{
	"node.name", "node.data_dir", "node.runtime_dir", "node.group", "node.on_daemon_death", "control.socket", "control.socket_mode", "logs.dir", "logs.format",
}

// keepingTime is what keeping a configuration takes at most on a disk that is well.
const keepingTime = 2 * time.Second

// reloads is what a daemon knows of reloads.
type reloads struct {
	history configs.History
	mu      sync.Mutex
	up      chan struct{} // closed when the node has come up
	resumed bool          // this node began with one under way
	file    bool          // the file has changed since bhnode died, and is to be reloaded
	busy    string        // why none can begin; "": one can
	freed   chan struct{} // closed when one can again
}

func newReloads(history configs.History) *reloads {
	return &reloads{history: history, up: make(chan struct{})}
}

func (r *reloads) set(booted bool, busy string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keepOut(busy)
	if booted {
		r.come()
	}
}

// keepOut notes why no reload can begin, "" that one can; r is locked.
func (r *reloads) keepOut(why string) {
	switch {
	case r.busy == "" && why != "":
		r.freed = make(chan struct{})
	case r.busy != "" && why == "":
		close(r.freed)
	}
	r.busy = why
}

func (r *reloads) setBooted() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.come()
}

// come notes that the node has come up; r is locked.
func (r *reloads) come() {
	if !r.booted() {
		close(r.up)
	}
}

func (r *reloads) booted() bool {
	select {
	case <-r.up:
		return true
	default:
		return false
	}
}

// await waits a moment for the node to come up, and for a reload to end: both are told of just
// before the next one can begin.
func (r *reloads) await(ctx context.Context) {
	r.mu.Lock()
	wait := r.up
	if r.busy != "" {
		wait = r.freed
	}
	r.mu.Unlock()
	select {
	case <-wait:
	case <-time.After(keepingTime):
	case <-ctx.Done():
	}
}

// upgrading keeps reloads out, if none is under way.
func (r *reloads) upgrading() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy != "" {
		return errors.New(r.busy)
	}
	r.keepOut("an upgrade is under way")
	return nil
}

// enter lets one reload in at a time.
func (r *reloads) enter(ctx context.Context) error {
	r.await(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.busy != "":
		return status.Error(codes.FailedPrecondition, r.busy)
	case !r.booted():
		return status.Error(codes.FailedPrecondition, "the node is still starting; reload when it is ready")
	}
	r.keepOut(`a reload is under way; "bhnode reload --abandon" gives it up`)
	return nil
}

// reload implements the API, and SIGHUP.
func (d *daemon) reload(ctx context.Context, dry bool, who string) (*bhnodev1.ReloadResponse, error) {
	if err := d.reloads.enter(ctx); err != nil {
		return nil, err
	}
	begun := false
	defer func() {
		if !begun {
			d.reloads.set(false, "")
		}
	}()
	cfg, next, err := d.nextConfig()
	if err != nil {
		return nil, err
	}
	plan, err := d.planReload(cfg, next)
	if err != nil || dry {
		return plan, err
	}
	if !plan.GetChanges() { // but for what says nothing
		return plan, d.reloads.history.Apply(cfg.Snapshot(), d.app.now(), "reload by "+who)
	}
	if !d.node.Keeps() {
		return nil, status.Error(codes.FailedPrecondition, "what this bhnode decides cannot be kept, its log says why; restart it instead")
	}
	file, err := d.reloads.history.Prepare(cfg.Snapshot(), d.app.now(), "reload by "+who)
	if err != nil {
		return nil, err
	}
	if plan.Event, err = d.node.NoteReload(ctx, who, "reload"); err != nil {
		return nil, err
	}
	begun = true
	_, fallback := d.reloads.history.Last()
	w := &will{Notice: supervision.NodeReloading, Cause: plan.GetEvent(), Config: file, Final: !fallback}
	time.AfterFunc(answerTime, func() { d.handOver(plan.GetRemoved(), w) })
	return plan, nil
}

// handOver stops what leaves, and has the one with the other configuration take over.
func (d *daemon) handOver(removed []string, w *will) {
	if len(removed) > 0 {
		if err := d.node.Park(context.Background(), removed, w.Cause); err != nil {
			d.log.Warn().Err(err).Strs("services", removed).Msg("what leaves the configuration did not stop in order")
		}
	}
	if err := d.node.HandOver(context.Background()); err != nil {
		d.log.Error().Err(err).Msg("nothing was reloaded")
		d.reloads.set(false, "")
		return
	}
	d.succeed(successor{ownBinary(), w})
}

// reloadFile reloads a file that has changed while no bhnode ran.
func (d *daemon) reloadFile(ctx context.Context, hold *watchdog) {
	if d.reloads.file {
		d.reloads.file = false
		go d.hangUp(ctx, "run", hold)
	}
}

// nextConfig reads the configuration anew.
func (d *daemon) nextConfig() (*configs.Config, *actors.Config, error) {
	cfg, err := configs.Load(d.src, d.app.getenv)
	if err != nil {
		return nil, nil, status.Error(codes.InvalidArgument, invalidText(err))
	}
	next, err := d.actorsConfig(cfg)
	if err != nil {
		return nil, nil, status.Error(codes.InvalidArgument, invalidText(err))
	}
	return cfg, next, nil
}

// invalidText is what is wrong with a configuration: a line about it, then all of it.
func invalidText(err error) string {
	if mistakes, ok := errors.AsType[configs.Errors](err); ok && len(mistakes) > 0 {
		return fmt.Sprintf("%s: %s\n%s", mistakes[0].File, plural(len(mistakes), "mistake"), strings.TrimRight(err.Error(), "\n"))
	}
	return err.Error()
}

// planReload says what a configuration changes.
func (d *daemon) planReload(cfg *configs.Config, next *actors.Config) (*bhnodev1.ReloadResponse, error) {
	keys := d.cfg.Changes(cfg)
	var cannot []string
	for _, k := range keys {
		if slices.Contains(fixed, k.Path) {
			cannot = append(cannot, k.Path)
		}
	}
	if len(cannot) > 0 {
		return nil, status.Errorf(codes.FailedPrecondition, "%s cannot change while the node runs: end it with \"bhnode shutdown\", then \"bhnode run\"", strings.Join(cannot, ", "))
	}
	change, err := actors.Compare(&d.config, next)
	if err != nil {
		return nil, err
	}
	p := &bhnodev1.ReloadResponse{Config: d.src.String(), Added: change.Added, Removed: change.Removed, With: change.With, Tree: change.Tree}
	of := map[string][]string{}
	for _, k := range keys {
		switch {
		case k.Service != "":
			of[k.Service] = append(of[k.Service], k.Key)
		case k.Path != "version":
			p.Keys = append(p.Keys, k.Path)
		}
	}
	changed := func(names []string) []*bhnodev1.ChangedService {
		var list []*bhnodev1.ChangedService
		for _, name := range names {
			list = append(list, &bhnodev1.ChangedService{Name: name, Keys: of[name]})
			delete(of, name)
		}
		return list
	}
	p.Restarted, p.InPlace = changed(change.Restarted), changed(change.InPlace)
	for _, name := range slices.Concat(change.Added, change.Removed) {
		delete(of, name)
	}
	for i := range cfg.Services { // what is told of a service, or one that is disabled, and means nothing to supervision
		if list := of[cfg.Services[i].Name]; list != nil {
			p.InPlace = append(p.InPlace, &bhnodev1.ChangedService{Name: cfg.Services[i].Name, Keys: list})
		}
	}
	for _, wave := range change.Waves {
		p.Waves = append(p.Waves, &bhnodev1.Wave{Services: wave})
	}
	p.Changes = len(p.GetAdded())+len(p.GetRemoved())+len(p.GetRestarted())+len(p.GetInPlace())+len(p.GetKeys()) > 0 || p.GetTree()
	return p, nil
}

// reloadEnded does what follows the end of a reload: what was tried is in force, or what
// ran before comes back.
func (d *daemon) reloadEnded(ctx context.Context, r supervision.RolledOut, hold *watchdog) {
	if r.Err != nil {
		time.AfterFunc(answerTime, func() { // who called it off is answered first
			if d.node.HandOver(ctx) == nil && !d.goBack(r.Err) {
				d.node.StayOn()
			}
		})
		return
	}
	back := d.will != nil && d.will.Why != ""
	if !back {
		d.keepConfig("reload")
	}
	if err := d.reloads.history.Settle(!back); err != nil {
		d.log.Warn().Err(err).Msg("the configuration that was tried could not be put away")
	}
	d.reloads.set(false, "")
	if !back {
		hold.reloaded("reloaded")
		d.reloadFile(ctx, hold)
		return
	}
	hold.reloaded("the reload was rolled back: " + d.will.Why)
}

// keepConfig notes that the configuration is in force.
func (d *daemon) keepConfig(by string) {
	if pending, ok := d.reloads.history.Pending(); ok && pending.Same(d.cfg.Snapshot()) {
		by = pending.By
	}
	if err := d.reloads.history.Apply(d.cfg.Snapshot(), d.app.now(), by); err != nil {
		d.log.Warn().Err(err).Msg("the configuration could not be kept: there may be no way back to it")
	}
}

// goBack has what ran before take over; it tells whether that is known.
func (d *daemon) goBack(why error) bool {
	last, ok := d.reloads.history.Last()
	if !ok {
		d.log.Error().Err(why).Msg("the reload has failed, and what ran before is not known any more")
		return false
	}
	w := &will{Notice: supervision.NodeReloading, Config: d.reloads.history.Path(last.Number), Final: true, Why: oneLine(why)}
	if d.will != nil {
		w.Cause = d.will.Cause
	}
	d.succeed(successor{ownBinary(), w})
	return true
}
